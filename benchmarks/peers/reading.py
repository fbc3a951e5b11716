"""What every reading contender does: read as often as it is told to, and say how long it took."""

import json
import sys
import time
from collections.abc import Callable
from typing import Any


def answer(read: Callable[..., Any]) -> None:
    """For each line of the input, read with the arguments in it and print seconds and content."""
    for line in sys.stdin:
        place = json.loads(line)
        begin = time.perf_counter()
        frame = read(**place)
        seconds = time.perf_counter() - begin
        assert list(frame.columns) == ["time", "close"], frame.columns
        content = [len(frame), str(frame["time"].iloc[-1]), round(float(frame["close"].sum()), 2)]
        print(json.dumps([seconds, content]), flush=True)
