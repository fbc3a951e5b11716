"""The request budget: bursts, rate, pauses and clocks; and its sharing between real processes."""

import asyncio
import json
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from coinbase_assets.exchange.budget import BURST, RequestBudget
from coinbase_assets.exchange.errors import ExchangeError

HOUR = 3600.0


class Clock:
    """A clock that stands still unless it is set."""

    def __init__(self) -> None:
        self.now = 1_704_067_200.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "made" / "budget.sqlite"


def budget(
    path: Path,
    rate: float = 1,
    burst: int = 2,
    url: str = "https://exchange",
    clock: Callable[[], float] = time.time,
) -> RequestBudget:
    return RequestBudget(path, url, rate, burst, clock)


def granted(budget: RequestBudget, requests: int, within: float = 0.25) -> int:
    """How many of the requests may be sent within so many seconds."""

    async def count() -> int:
        waits = [asyncio.create_task(budget.wait()) for _ in range(requests)]
        done, late = await asyncio.wait(waits, timeout=within)
        for wait in late:
            wait.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        return len([wait.result() for wait in done])

    return asyncio.run(count())


# One process


def test_a_burst_goes_at_once(path: Path) -> None:
    assert granted(budget(path, rate=0.01, burst=5), 9, within=0.5) == 5


def test_the_burst_is_below_the_exchanges(path: Path) -> None:
    assert 1 < granted(RequestBudget(path, "https://exchange", 0.01), 20, within=0.5) < BURST


def test_after_the_burst_requests_go_at_the_rate(path: Path) -> None:
    limited, began = budget(path, rate=20, burst=2), time.monotonic()
    assert granted(limited, 12, within=10) == 12
    assert 0.5 <= time.monotonic() - began < 3


def test_requests_worked_off_make_room_for_a_burst(path: Path) -> None:
    limited = budget(path, clock=(clock := Clock()))
    assert granted(limited, 2) == 2
    assert granted(limited, 1) == 0
    clock.now += 3
    assert granted(limited, 5) == 2


def test_the_budget_outlives_the_process(path: Path) -> None:
    first, second = (budget(path, clock=Clock()) for _ in range(2))
    assert granted(first, 2) == 2
    first.close()
    assert granted(second, 1) == 0


def test_a_clock_set_back_neither_stops_requests_nor_gives_more(path: Path) -> None:
    limited = budget(path, clock=(clock := Clock()))
    assert granted(limited, 2) == 2
    clock.now -= HOUR
    assert granted(limited, 1) == 0
    clock.now += 3
    assert granted(limited, 5) == 2


def test_a_clock_set_forward_gives_a_burst_and_no_more(path: Path) -> None:
    limited = budget(path, clock=(clock := Clock()))
    assert granted(limited, 2) == 2
    clock.now += 1000 * HOUR
    assert granted(limited, 5) == 2


def test_a_pause_holds_back_everybody_and_ends(path: Path) -> None:
    clock = Clock()
    here, elsewhere = (budget(path, clock=clock) for _ in range(2))
    asyncio.run(here.pause(30))
    clock.now += 29
    assert granted(elsewhere, 1) == 0
    clock.now += 3
    assert granted(elsewhere, 1) == 1


def test_after_a_pause_requests_go_at_the_rate(path: Path) -> None:
    limited = budget(path, burst=5, clock=(clock := Clock()))
    asyncio.run(limited.pause(10))
    clock.now += 11
    assert granted(limited, 3) == 1


def test_a_short_pause_does_not_cut_a_long_one(path: Path) -> None:
    limited = budget(path, clock=(clock := Clock()))
    asyncio.run(limited.pause(30))
    asyncio.run(limited.pause(1))
    clock.now += 20
    assert granted(limited, 1) == 0


def test_each_exchange_has_a_budget_of_its_own(path: Path) -> None:
    real, again, other = (
        budget(path, url=url, clock=Clock())
        for url in ("https://exchange", "https://exchange/", "http://127.0.0.1:8900")
    )
    assert granted(real, 2) == 2
    assert granted(again, 1) == 0
    assert granted(other, 2) == 2


def test_cancelled_requests_do_not_disturb_the_next(path: Path) -> None:
    async def cancel_while_the_file_is_locked(limited: RequestBudget) -> None:
        with sqlite3.connect(path, isolation_level=None) as lock:
            lock.execute("BEGIN IMMEDIATE")
            cancelled = asyncio.create_task(limited.wait())
            await asyncio.sleep(0.02)
            cancelled.cancel()
            others = [asyncio.create_task(limited.wait()) for _ in range(3)]
            await asyncio.sleep(0.02)
        await asyncio.gather(*others)
        lock.close()

    async def main() -> None:
        limited = budget(path, rate=1000)
        await limited.wait()
        for _ in range(8):
            await cancel_while_the_file_is_locked(limited)

    asyncio.run(main())


# A file that cannot be used


def refusal(path: Path) -> str:
    with pytest.raises(ExchangeError) as refused:
        asyncio.run(budget(path).wait())
    return str(refused.value)


def test_a_damaged_file_is_named_in_one_line(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"no database " * 100)
    assert str(path) in refusal(path)
    assert "delete the file" in refusal(path)
    assert "\n" not in refusal(path)
    path.unlink()
    assert granted(budget(path), 1) == 1


def test_a_folder_that_cannot_be_made_is_named_in_one_line(path: Path) -> None:
    path.parent.write_text("a file where the folder should be")
    assert str(path) in refusal(path)
    assert "\n" not in refusal(path)


# Many processes

RATE, SPARE = 100.0, 12
WORKER = """
import asyncio, json, sys, time
from pathlib import Path
from coinbase_assets.exchange.budget import RequestBudget

async def main(path, rate, burst, tasks, seconds):
    budget, sent = RequestBudget(Path(path), "https://exchange", float(rate), int(burst)), []
    print("ready", flush=True)
    sys.stdin.readline()
    end = time.monotonic() + float(seconds)
    async def send():
        while time.monotonic() < end:
            await budget.wait()
            print(time.monotonic(), flush=True)
    await asyncio.gather(*(send() for _ in range(int(tasks))))

asyncio.run(main(*sys.argv[1:]))
"""


def start(path: Path, tasks: int, seconds: float) -> "subprocess.Popen[str]":
    """A process that sends requests by so many tasks, from its next line of input on."""
    arguments = [str(path), str(RATE), str(SPARE), str(tasks), str(seconds)]
    process = subprocess.Popen(
        [sys.executable, "-c", WORKER, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    return process
