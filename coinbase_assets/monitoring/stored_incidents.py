"""Reads incidents as they are stored, also those of earlier versions."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from operator import attrgetter
from typing import Any

from pydantic import TypeAdapter

from coinbase_assets.monitoring.destinations import Level
from coinbase_assets.monitoring.incidents import Incident, Problem
from coinbase_assets.monitoring.kinds import OF_CHECKS, Kind


def read_incidents(stored: Sequence[Mapping[str, Any]]) -> list[Incident]:
    """Returns the incidents in objects of JSON."""
    return [incident for each in stored for incident in _read(each)]


def _read(stored: Mapping[str, Any]) -> Iterator[Incident]:
    if "kind" in stored:
        yield TypeAdapter(Incident).validate_python(stored)
    else:
        yield from _read_without_kind(stored)


def _read_without_kind(stored: Mapping[str, Any]) -> Iterator[Incident]:
    """Yields an incident for each kind of problem in an incident of versions before 0.3."""
    if "open" in stored:
        texts = [(name, text) for name, lines in stored["open"].items() for text in lines]
    else:
        texts = [(problem["subject"], problem["text"]) for problem in stored["standing"]]
    problems = {(name, _kind_of(text)): Problem(name, _kind_of(text), text) for name, text in texts}
    is_reported = stored.get("reported", stored.get("told"))
    by_kind = attrgetter("kind", "subject")
    for kind, group in groupby(sorted(problems.values(), key=by_kind), attrgetter("kind")):
        standing = list(group)
        incident = Incident(stored["began"], kind, [p.subject for p in standing], standing)
        if is_reported:
            incident = replace(incident, severity=Level.FAILURE, size=len(standing))
        yield incident


def _kind_of(text: str) -> Kind:
    if text.startswith("run "):
        return Kind.RUN_FAILED
    check, colon, _ = text.partition(": ")
    return OF_CHECKS.get(check, Kind.INVALID) if colon else Kind.STALE
