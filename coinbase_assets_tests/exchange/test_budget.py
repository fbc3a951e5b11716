"""The request budget in a file: bursts, rate, pauses, clocks, and the urgent lane."""

import asyncio
import random
import selectors
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from coinbase_assets.exchange.budget import BURST, HEADROOM, RequestBudget
from coinbase_assets.exchange.budget_stores import BudgetFile
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
    urgent: bool = False,
) -> int:
    """Return how many requests a new process may send within so many seconds."""

    async def count() -> int:
        budget = RequestBudget(BudgetFile(path, clock), url, rate, burst, urgent=urgent)
        with closing(budget):
            waits = [asyncio.create_task(budget.wait()) for _ in range(requests)]
            sent, late = await asyncio.wait(waits, timeout=within)
            for wait in late:
                wait.cancel()
            await asyncio.gather(*sent)
        return len(sent)

    return asyncio.run(count())


def pause(path: Path, clock: Clock, seconds: float) -> None:
    with closing(RequestBudget(BudgetFile(path, clock), URL, 1, 2)) as budget:
        asyncio.run(budget.pause(seconds))


# Rate, burst, clock


def test_budget_sends_burst_at_once(path: Path) -> None:
    assert granted(path, 9, rate=0.01, burst=5) == 5


def test_budget_burst_is_below_exchange_burst(path: Path) -> None:
    async def reserve(budget: RequestBudget) -> None:
        await asyncio.wait_for(asyncio.gather(*(budget.wait() for _ in range(BURST))), 0.4)

    with closing(RequestBudget(BudgetFile(path), URL, 0.01)) as budget, pytest.raises(TimeoutError):
        asyncio.run(reserve(budget))


def test_budget_keeps_rate_after_burst(path: Path) -> None:
    began = time.monotonic()
    assert granted(path, 12, rate=20, burst=2, within=10) == 12
    assert 0.45 <= time.monotonic() - began < 3


def test_budget_counts_requests_of_earlier_process(path: Path, clock: Clock) -> None:
    assert granted(path, 2, clock) == 2
    assert granted(path, 1, clock) == 0


def test_budget_refills_to_one_burst(path: Path, clock: Clock) -> None:
    assert granted(path, 2, clock) == 2
    clock.now += 1000 * HOUR
    assert granted(path, 5, clock) == 2


def test_budget_refills_at_rate(path: Path, clock: Clock) -> None:
    assert granted(path, 5, clock, rate=0.5, burst=5) == 5
    clock.now += 6
    assert granted(path, 5, clock, rate=0.5, burst=5) == 3


def test_budget_survives_clock_set_back(path: Path, clock: Clock) -> None:
    assert granted(path, 2, clock) == 2
    clock.now -= HOUR
    assert granted(path, 1, clock) == 0
    clock.now += 3
    assert granted(path, 5, clock) == 2


def test_budget_is_separate_for_each_exchange(path: Path, clock: Clock) -> None:
    assert granted(path, 2, clock) == 2
    assert granted(path, 2, clock, url="http://127.0.0.1:8900") == 2
    assert granted(path, 1, clock, url=f"{URL}/") == 0


# Pauses


def test_pause_delays_every_process(path: Path, clock: Clock) -> None:
    pause(path, clock, 30)
    clock.now += 29
    assert granted(path, 1, clock) == 0
    clock.now += 3
    assert granted(path, 1, clock) == 1


def test_pause_ends_at_rate(path: Path, clock: Clock) -> None:
    pause(path, clock, 30)
    clock.now += 31
    assert granted(path, 2, clock) == 1


def test_pause_keeps_longer_pause(path: Path, clock: Clock) -> None:
    pause(path, clock, 30)
    pause(path, clock, 1)
    clock.now += 20
    assert granted(path, 1, clock) == 0


def test_pause_of_several_processes_does_not_add_up(path: Path, clock: Clock) -> None:
    for _ in range(3):
        pause(path, clock, 30)
    clock.now += 31
    assert granted(path, 2, clock) == 1


def test_pause_spares_other_exchange(path: Path, clock: Clock) -> None:
    pause(path, clock, 30)
    assert granted(path, 2, clock, url="http://127.0.0.1:8900") == 2


def test_pause_delays_urgent_requests(path: Path, clock: Clock) -> None:
    pause(path, clock, 30)
    clock.now += 29
    assert granted(path, 1, clock, urgent=True) == 0
    clock.now += 2
    assert granted(path, 2, clock, urgent=True) == 1


# The urgent lane, on a simulated clock: a busy machine does not change the times


class _Selector(selectors.SelectSelector):
    """Adds the seconds to its time instead of waiting."""

    now = 1000.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.now += timeout or 0.0
        return super().select(0)


class SimulatedLoop(asyncio.SelectorEventLoop):
    """An event loop in which only sleeping takes time."""

    def __init__(self) -> None:
        self._simulated = _Selector()
        super().__init__(self._simulated)

    def time(self) -> float:
        return self._simulated.now

    def run_in_executor(  # type: ignore[override]
        self, executor: None, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        done = self.create_future()
        done.set_result(func(*args))
        return done


class Simulation:
    """Processes that share a budget.

    `sent` and `urgent` get the times of ordinary and urgent requests, in seconds since the start.
    """

    def __init__(self, path: Path, rate: float = 1) -> None:
        self.path, self.rate = path, rate
        self.loop = asyncio.get_running_loop()
        self.began = self.loop.time()
        self.sent: list[float] = []
        self.urgent: list[float] = []

    def process(self, *, urgent: bool = False) -> RequestBudget:
        store = BudgetFile(self.path, self.loop.time)
        return RequestBudget(store, URL, self.rate, urgent=urgent)

    async def send(self, budget: RequestBudget, times: list[float], requests: int = 1) -> None:
        for _ in range(requests):
            await budget.wait()
            times.append(round(self.loop.time() - self.began, 3))

    async def backfill(self, processes: int, requests: int) -> None:
        """Run processes that each send 5 times `requests`, as fast as the budget allows."""
        budgets = [self.process() for _ in range(processes)]
        await asyncio.gather(
            *(self.send(each, self.sent, requests) for each in budgets for _ in range(5))
        )
        for budget in budgets:
            budget.close()

    async def refresh(self, at: float, requests: int = 1) -> None:
        """Run a process that sends so many urgent requests together."""
        await asyncio.sleep(self.began + at - self.loop.time())
        budget = self.process(urgent=True)
        await asyncio.gather(*(self.send(budget, self.urgent) for _ in range(requests)))
        budget.close()


def simulate(
    path: Path,
    backfills: tuple[int, int],
    *refreshes: tuple[float, int],
    rate: float = 1,
    pause: tuple[float, float] | None = None,
) -> tuple[list[float], list[float]]:
    """Return the times of ordinary and of urgent requests.

    `backfills` is the number of processes, and a fifth of the requests of each. A refresh is a time
    and the number of urgent requests then. `pause` is the time and the length of a pause.
    """

    async def main() -> tuple[list[float], list[float]]:
        simulation = Simulation(path, rate)
        tasks = [simulation.backfill(*backfills)]
        tasks += [simulation.refresh(*each) for each in refreshes]
        if pause:
            tasks.append(pause_at(simulation, *pause))
        await asyncio.gather(*tasks)
        return simulation.sent, simulation.urgent

    with asyncio.Runner(loop_factory=SimulatedLoop) as runner:
        return runner.run(main())


async def pause_at(simulation: Simulation, at: float, seconds: float) -> None:
    await asyncio.sleep(at)
    budget = simulation.process()
    await budget.pause(seconds)
    budget.close()


SLOTS = [0.0] * 12 + [float(second) for second in range(1, 1000)]
"""The times of ordinary requests at one a second, if there are no urgent requests."""


@pytest.mark.parametrize("processes", [3, 10, 30])
def test_urgent_request_goes_at_once(path: Path, processes: int) -> None:
    sent, urgent = simulate(path, (processes, 4), (5.5, 1), (8.5, 1))
    assert urgent == [5.5, 8.5]
    assert len(sent) == processes * 20


def test_urgent_requests_keep_rate(path: Path) -> None:
    sent, urgent = simulate(path, (3, 4), (5.5, 2), (6, 2))
    assert urgent == [5.5, 6.5, 7.5, 8.5]
    assert not [time for time in sent if 5.5 < time < 9.5]


def test_urgent_requests_delay_ordinary_requests(path: Path) -> None:
    sent, _ = simulate(path, (3, 4), (5.5, 3), (20.2, 1))
    begun = SLOTS.index(6)
    again = SLOTS.index(18)
    expected = SLOTS[:begun] + [slot + 3 for slot in SLOTS[begun:again]]
    assert sent == expected + [slot + 4 for slot in SLOTS[again : len(sent)]]


def test_urgent_requests_add_up_delays(path: Path) -> None:
    sent, urgent = simulate(path, (1, 3), (0.5, 1), (1.5, 1))
    assert urgent == [0.5, 1.5]
    assert sent == [0.0] * 12 + [3.0, 4.0, 5.0]


def test_urgent_requests_use_free_burst(path: Path) -> None:
    _, urgent = simulate(path, (1, 1), (1000, 3), (1000, 3), (1000, 3), (1000, 6))
    assert urgent == [1000] * 13 + [1001, 1002]


def test_pause_delays_reserved_slots(path: Path) -> None:
    sent, urgent = simulate(path, (3, 4), (40, 1), pause=(5.5, 30))
    assert [time for time in sent if time > 4][:7] == [5, 36, 37, 38, 39, 40, 42]
    assert urgent == [40]


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("rate", [1.0, 10.0])
def test_urgent_and_ordinary_requests_keep_exchange_limit(
    path: Path, rate: float, seed: int
) -> None:
    dice = random.Random(seed)
    refreshes = [(dice.uniform(0, 90 / rate), dice.randint(1, 9)) for _ in range(10)]
    sent, urgent = simulate(path, (8, 2), *refreshes, rate=rate)
    tokens, last = float(BURST), 0.0
    for sent_at in sorted(sent + urgent):
        tokens = min(BURST, tokens + (sent_at - last) * rate) - 1
        last = sent_at
        assert tokens > HEADROOM - 1.1
    assert len(sent) == 80


def test_urgent_request_survives_clock_set_back(path: Path, clock: Clock) -> None:
    assert granted(path, 9, clock) == 2
    clock.now -= HOUR
    assert granted(path, 2, clock, urgent=True) == 1
    clock.now += 2
    assert granted(path, 2, clock, urgent=True) == 1
    assert granted(path, 1, clock) == 0


# The file


def refusal(path: Path) -> str:
    with pytest.raises(ExchangeError) as refused:
        granted(path, 1)
    return str(refused.value)


def test_budget_file_damaged_names_remedy(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"no database " * 100)
    message = refusal(path)
    assert message.startswith(f"{path}: ")
    assert message.endswith("delete the file")
    assert "\n" not in message
    path.unlink()
    assert granted(path, 1) == 1


def test_budget_file_names_folder_that_cannot_be_made(path: Path) -> None:
    path.parent.write_text("a file where the folder should be")
    message = refusal(path)
    assert str(path) in message
    assert "\n" not in message


def test_budget_file_of_older_version_is_used(path: Path, clock: Clock) -> None:
    path.parent.mkdir()
    row = (urlsplit(URL).netloc, 5.0, clock())
    with closing(sqlite3.connect(path, isolation_level=None)) as older:
        older.execute("CREATE TABLE request_budget (exchange TEXT PRIMARY KEY, backlog REAL, at)")
        older.execute("INSERT INTO request_budget VALUES (?, ?, ?)", row)
        assert granted(path, 9, clock) == 2
        assert granted(path, 9, clock, urgent=True) == 1
        assert older.execute("SELECT * FROM request_budget").fetchall() == [row]


def test_budget_file_is_updated_at_once_unless_it_is_used(path: Path) -> None:
    path.parent.mkdir()
    with closing(BudgetFile(path)) as store, closing(sqlite3.connect(path)) as other:
        changed = store.update_at_once(URL, lambda lanes, now: lanes._replace(backlog=3.0))
        assert changed
        assert changed.backlog == 3
        other.execute("BEGIN IMMEDIATE")
        assert store.update_at_once(URL, lambda lanes, now: lanes) is None
        other.rollback()
        assert store.update_at_once(URL, lambda lanes, now: lanes)


def test_budget_file_waits_while_created(path: Path) -> None:
    async def wait() -> None:
        budget = RequestBudget(BudgetFile(path), URL, 1)
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


def test_budget_file_survives_cancelled_requests(path: Path) -> None:
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
        budget = RequestBudget(BudgetFile(path), URL, 1000)
        await budget.wait()
        lock = sqlite3.connect(path, isolation_level=None)
        for _ in range(8):
            await cancel_one(budget, lock)
        lock.close()
        budget.close()

    asyncio.run(main())
