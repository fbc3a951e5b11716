"""Contenders, each in a warm process of its own, that take turns at the same work."""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.peers import peer_python, script

OURS = "coinbase_assets"


@dataclass
class Contender:
    """`work` is the script in `peers/`; `environment` names its pins, or is OURS."""

    name: str
    work: str
    environment: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    first: float = 0.0
    seconds: list[float] = field(default_factory=list)

    def command(self) -> list[str]:
        own = self.environment == OURS
        python = Path(sys.executable) if own else peer_python(self.environment)
        return [str(python), str(script(self.work))]


def take_turns(
    contenders: Sequence[Contender],
    runs: int,
    arguments: Mapping[str, Any],
    before_each: Callable[[], object] = lambda: None,
) -> Any:
    """Let each work once, which is its `first`, and `runs` times more; what they agree on.

    Libraries are loaded before, so that only the work itself is measured.
    """
    with ExitStack() as closing:
        processes = [closing.enter_context(_started(one.command())) for one in contenders]
        for run in range(runs + 1):
            results = []
            for one, process in zip(contenders, processes, strict=True):
                before_each()
                seconds, result = _asked(process, {**arguments, **one.arguments})
                results.append(result)
                if run:
                    one.seconds.append(seconds)
                else:
                    one.first = seconds
            assert all(result == results[0] for result in results), results
    return results[0]


def _started(command: Sequence[str]) -> subprocess.Popen[str]:
    """The process, once its libraries are loaded."""
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "ready\n", command
    return process


def _asked(process: subprocess.Popen[str], arguments: Mapping[str, Any]) -> tuple[float, Any]:
    assert process.stdin
    assert process.stdout
    print(json.dumps(arguments), file=process.stdin, flush=True)
    seconds, result = json.loads(process.stdout.readline())
    return seconds, result
