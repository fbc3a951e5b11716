"""The request budget: bursts, rate, pauses and clocks; and its sharing between real processes."""

import asyncio
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import chain
from pathlib import Path

import pytest

from coinbase_assets.exchange.budget import BURST, RequestBudget
from coinbase_assets.exchange.errors import ExchangeError

URL = "https://exchange"
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


@pytest.fixture
def clock() -> Clock:
    return Clock()


def granted(
    path: Path,
    requests: int,
    clock: Callable[[], float] = time.time,
    *,
    rate: float = 1,
    burst: int = 2,
    url: str = URL,
    within: float = 0.3,
) -> int:
    """How many of the requests of a new process may be sent within so many seconds."""

    async def count() -> int:
        budget = RequestBudget(path, url, rate, burst, clock)
        waits = [asyncio.create_task(budget.wait()) for _ in range(requests)]
        sent, late = await asyncio.wait(waits, timeout=within)
        for wait in late:
            wait.cancel()
        await asyncio.gather(*sent)
        budget.close()
        return len(sent)

    return asyncio.run(count())


def pause(path: Path, clock: Clock, seconds: float) -> None:
    asyncio.run(RequestBudget(path, URL, 1, 2, clock).pause(seconds))


# Rate, burst, clock


def test_a_burst_goes_at_once(path: Path) -> None:
    assert granted(path, 9, rate=0.01, burst=5) == 5


def test_the_burst_is_smaller_than_the_exchanges(path: Path) -> None:
    async def reserve() -> None:
        budget = RequestBudget(path, URL, 0.01)
        await asyncio.wait_for(asyncio.gather(*(budget.wait() for _ in range(BURST))), 0.4)

    with pytest.raises(TimeoutError):
        asyncio.run(reserve())


def test_after_the_burst_requests_go_at_the_rate(path: Path) -> None:
    began = time.monotonic()
    assert granted(path, 12, rate=20, burst=2, within=10) == 12
    assert 0.45 <= time.monotonic() - began < 3


def test_a_new_process_knows_what_was_sent(path: Path, clock: Clock) -> None:
    assert granted(path, 2, clock) == 2
    assert granted(path, 1, clock) == 0


def test_time_makes_room_for_a_burst_and_no_more(path: Path, clock: Clock) -> None:
    assert granted(path, 2, clock) == 2
    clock.now += 1000 * HOUR
    assert granted(path, 5, clock) == 2


def test_time_makes_room_at_the_rate(path: Path, clock: Clock) -> None:
    assert granted(path, 5, clock, rate=0.5, burst=5) == 5
    clock.now += 6
    assert granted(path, 5, clock, rate=0.5, burst=5) == 3


def test_a_clock_set_back_neither_stops_requests_nor_gives_more(path: Path, clock: Clock) -> None:
    assert granted(path, 2, clock) == 2
    clock.now -= HOUR
    assert granted(path, 1, clock) == 0
    clock.now += 3
    assert granted(path, 5, clock) == 2


def test_each_exchange_has_a_budget_of_its_own(path: Path, clock: Clock) -> None:
    assert granted(path, 2, clock) == 2
    assert granted(path, 2, clock, url="http://127.0.0.1:8900") == 2
    assert granted(path, 1, clock, url=f"{URL}/") == 0


# Pauses


def test_a_pause_holds_back_every_process_and_ends(path: Path, clock: Clock) -> None:
    pause(path, clock, 30)
    clock.now += 29
    assert granted(path, 1, clock) == 0
    clock.now += 3
    assert granted(path, 1, clock) == 1


def test_after_a_pause_requests_go_at_the_rate(path: Path, clock: Clock) -> None:
    pause(path, clock, 30)
    clock.now += 31
    assert granted(path, 2, clock) == 1


def test_a_short_pause_does_not_cut_a_long_one(path: Path, clock: Clock) -> None:
    pause(path, clock, 30)
    pause(path, clock, 1)
    clock.now += 20
    assert granted(path, 1, clock) == 0


def test_a_pause_holds_back_no_other_exchange(path: Path, clock: Clock) -> None:
    pause(path, clock, 30)
    assert granted(path, 2, clock, url="http://127.0.0.1:8900") == 2


# The file


def refusal(path: Path) -> str:
    with pytest.raises(ExchangeError) as refused:
        granted(path, 1)
    return str(refused.value)


def test_a_damaged_file_is_named_in_one_line_with_the_remedy(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"no database " * 100)
    message = refusal(path)
    assert message.startswith(f"{path}: ")
    assert message.endswith("delete the file")
    assert "\n" not in message
    path.unlink()
    assert granted(path, 1) == 1


def test_a_folder_that_cannot_be_made_is_named_in_one_line(path: Path) -> None:
    path.parent.write_text("a file where the folder should be")
    message = refusal(path)
    assert str(path) in message
    assert "\n" not in message


def test_a_process_that_is_just_creating_the_file_is_waited_for(path: Path) -> None:
    async def wait() -> None:
        budget = RequestBudget(path, URL, 1)
        waiting = asyncio.create_task(budget.wait())
        await asyncio.sleep(0.1)
        creator.execute("COMMIT")
        await waiting
        budget.close()

    path.parent.mkdir()
    creator = sqlite3.connect(path, isolation_level=None)
    creator.execute("BEGIN IMMEDIATE")
    creator.execute("CREATE TABLE unrelated (name)")
    asyncio.run(wait())
    creator.close()


def test_requests_cancelled_while_the_file_is_locked_leave_it_usable(path: Path) -> None:
    async def cancel_one(budget: RequestBudget, lock: sqlite3.Connection) -> None:
        lock.execute("BEGIN IMMEDIATE")
        cancelled = asyncio.create_task(budget.wait())
        await asyncio.sleep(0.02)
        cancelled.cancel()
        others = [asyncio.create_task(budget.wait()) for _ in range(3)]
        await asyncio.sleep(0.02)
        lock.execute("COMMIT")
        await asyncio.gather(*others)

    async def main() -> None:
        budget = RequestBudget(path, URL, 1000)
        await budget.wait()
        lock = sqlite3.connect(path, isolation_level=None)
        for _ in range(8):
            await cancel_one(budget, lock)
        lock.close()
        budget.close()

    asyncio.run(main())


# Several processes

RATE, SPARE = 100.0, 12
WORKER = """
import asyncio, sys, time
from pathlib import Path
from coinbase_assets.exchange.budget import RequestBudget

async def main(path, url, rate, burst, tasks, seconds):
    budget = RequestBudget(Path(path), url, float(rate), int(burst))
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
Process = subprocess.Popen[str]


def start(path: Path, *tasks: int, seconds: float) -> tuple[float, list[Process]]:
    """Processes with so many tasks that send requests for so many seconds, and their start."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, *map(str, (path, URL, RATE, SPARE, number, seconds))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in tasks
    ]
    for process in processes:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
    began = time.monotonic()
    for process in processes:
        assert process.stdin
        process.stdin.write("\n")
        process.stdin.flush()
    return began, processes


def sent(process: Process) -> list[float]:
    """When the process sent its requests, in monotonic seconds; waits for its end."""
    with process:
        return [float(line) for line in process.communicate()[0].splitlines()]


def within_budget(began: float, *times: list[float]) -> bool:
    counted = enumerate(sorted(chain(*times)), start=1)
    return all(number <= SPARE + RATE * (time - began) + 1 for number, time in counted)


def test_processes_get_equal_shares_however_much_they_want(path: Path) -> None:
    began, processes = start(path, 3, 8, 30, seconds=2.5)
    times = [sent(process) for process in processes]
    shares = [sum(began + 0.5 < time < began + 2.5 for time in each) for each in times]
    assert min(shares) >= 0.8 * max(shares)
    assert sum(shares) >= 0.8 * RATE * 2
    assert within_budget(began, *times)


def test_killing_a_process_leaves_the_others_the_full_rate(path: Path) -> None:
    began, (victim, *others) = start(path, 8, 8, 8, seconds=2)
    time.sleep(0.8)
    victim.kill()
    killed = time.monotonic()
    last, *rest = map(sent, (victim, *others))
    assert last
    after = [time for time in chain(*rest) if killed + 0.2 < time < began + 2]
    assert len(after) >= 0.8 * RATE * (began + 2 - killed - 0.2)
    assert within_budget(began, last, *rest)
