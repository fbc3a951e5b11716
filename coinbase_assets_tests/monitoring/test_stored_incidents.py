"""Incidents that earlier versions stored are read: one for each kind of problem in them."""

from coinbase_assets.monitoring.destinations import Level
from coinbase_assets.monitoring.incidents import Incident, Problem
from coinbase_assets.monitoring.kinds import Kind
from coinbase_assets.monitoring.stored_incidents import read_incidents

BEGAN, A, B = "2026-03-01T12:00:00Z", "A-USD:1m", "B-USD:1m"
LATE, FAILED = "answers_are_recent: late", "run 12345678 of A-USD/1m/raw_candles failed"


def test_incident_of_version_without_kinds_is_read() -> None:
    stored = {"began": BEGAN, "series": [A], "open": {A: [LATE]}, "told": True}
    problem = Problem(A, Kind.STALE, LATE)
    assert read_incidents([stored]) == [
        Incident(BEGAN, Kind.STALE, [A], [problem], Level.FAILURE, 1)
    ]


def test_incident_of_version_with_mixed_kinds_is_split() -> None:
    def problem(subject: str, kind: str, text: str) -> dict[str, object]:
        return {"subject": subject, "kind": kind, "text": text, "urgent": False}

    stored = {
        "began": BEGAN,
        "subjects": [A, B],
        "standing": [
            problem(A, "check_failed", LATE),
            problem(A, "not_fresh", "A-USD/1m/raw_candles is not fresh (WARN)"),
            problem(A, "run_failed", FAILED),
            problem(B, "check_failed", "every_hole_is_explained: 3 holes"),
            problem(B, "check_failed", "candles_are_unique: 1"),
        ],
        "reported": False,
    }
    found = {incident.kind: incident for incident in read_incidents([stored])}
    subjects = {kind: list(incident.subjects) for kind, incident in found.items()}
    assert subjects == {
        Kind.STALE: [A],
        Kind.RUN_FAILED: [A],
        Kind.INCOMPLETE: [B],
        Kind.INVALID: [B],
    }
    assert {incident.severity for incident in found.values()} == {None}
