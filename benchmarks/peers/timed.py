"""What every contender's process does: the work as often as it is told to, and say how long."""

import json
import sys
import time
from collections.abc import Callable
from typing import Any


def serve(work: Callable[..., Any]) -> None:
    """For each line of the input, work with the arguments in it; print seconds and the result."""
    print("ready", flush=True)
    for line in sys.stdin:
        arguments = json.loads(line)
        begin = time.perf_counter()
        result = work(**arguments)
        seconds = time.perf_counter() - begin
        print(json.dumps([seconds, _told(result)]), flush=True)


def _told(result: Any) -> Any:
    """What tells one table of candles from another, or the result itself."""
    if not hasattr(result, "columns"):
        return result
    assert list(result.columns) == ["time", "close"], result.columns
    times, closes = result["time"], result["close"]
    return [len(result), str(times.iloc[0]), str(times.iloc[-1]), round(float(closes.sum()), 2)]
