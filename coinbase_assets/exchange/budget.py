"""The request budget that all processes behind one IP address share.

Each exchange has a leaky bucket: a process reserves the next free slot, and sleeps until then.
Slots are given in the order of the reservations, and a process holds at most MAX_RESERVED of them.
So all processes get equal shares, and a process that dies wastes only the slots that it holds.

An urgent request waits only for other urgent requests: it takes a slot before those of the waiting
ordinary requests, and adds 1 to a shared count. When the slot of an ordinary request comes, the
request reads the count, and sleeps for as many further slots as were added since it reserved.
"""

import asyncio
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

from coinbase_assets.exchange.budget_stores import BudgetStore, Lanes

# The largest burst of requests that the exchange allows (its documentation).
BURST = 15
# Requests of that burst that stay unused: one because an urgent and an ordinary request may be sent
# at the same time, two because evenly sent requests may arrive up to 0.2 s closer together.
HEADROOM = 3
MAX_RESERVED = 3
# A busy machine may send a request long after its slot, together with those of later slots. The
# exchange counts that as one burst, so that a slot is good for so many seconds, HEADROOM at 10/s.
SLOT_SECONDS = 0.3


class RequestBudget:
    """Allows `rate` requests a second to the exchange at `api_url`, for all users of the store.

    Requests of an `urgent` budget come before the requests of other budgets; all together keep to
    the rate. Every method raises ExchangeError if the store cannot be used.
    """

    def __init__(
        self,
        store: BudgetStore,
        api_url: str,
        rate: float,
        burst: int = BURST - HEADROOM,
        *,
        urgent: bool = False,
    ) -> None:
        self.rate = rate
        self._store = store
        self._urgent = urgent
        self._exchange = urlsplit(api_url).netloc
        self._burst = burst
        self._reserving = asyncio.Semaphore(MAX_RESERVED)

    async def wait(self) -> float:
        """Wait for the next slot. Returns it: a time in the event loop's seconds."""
        async with self._reserving:
            return await (self._go_first() if self._urgent else self._queue())

    async def renew(self, slot: float) -> None:
        """Wait for another slot if this one is too old for a request that is sent now."""
        now = asyncio.get_running_loop().time
        while now() - slot > SLOT_SECONDS:
            slot = await self.wait()

    async def pause(self, seconds: float) -> None:
        """Stop all requests for `seconds`, except urgent ones already waiting."""

        def push_back(lanes: Lanes) -> Lanes:
            slots = max(0.0, seconds * self.rate - lanes.urgent_backlog)
            return lanes._replace(
                backlog=max(lanes.backlog, self._burst) + slots,
                urgent_backlog=lanes.urgent_backlog + slots,
                pushed_back=lanes.pushed_back + slots,
            )

        await self._update(push_back)

    async def expected_waits(self) -> Mapping[str, float]:
        """Return how many seconds a request would wait now, by its lane: ordinary or urgent."""
        lanes, _ = await self._update(lambda lanes: lanes)
        return {
            "ordinary": max(0.0, lanes.backlog + 1 - self._burst) / self.rate,
            "urgent": lanes.urgent_backlog / self.rate,
        }

    def close(self) -> None:
        self._store.close()

    async def _go_first(self) -> float:
        now = asyncio.get_running_loop().time
        lanes, reserved = await self._update(self._with_urgent)
        slot = reserved + max(0.0, lanes.urgent_backlog - 1) / self.rate
        await asyncio.sleep(slot - now())
        return slot

    async def _queue(self) -> float:
        """Sleep until the reserved slot, and longer if it is pushed back meanwhile."""
        now = asyncio.get_running_loop().time
        lanes, reserved = await self._update(
            lambda lanes: lanes._replace(backlog=lanes.backlog + 1)
        )
        slot = reserved + max(0.0, lanes.backlog - self._burst) / self.rate
        while (seconds := slot - now()) > 0:
            await asyncio.sleep(seconds)
            seen = lanes.pushed_back
            lanes, _ = await self._update(lambda lanes: lanes)
            slot += (lanes.pushed_back - seen) / self.rate
        return slot

    def _with_urgent(self, lanes: Lanes) -> Lanes:
        """Add an urgent request; it delays ordinary requests only if the burst is used up."""
        first = lanes.backlog + 1 > self._burst
        return lanes._replace(
            backlog=lanes.backlog + 1,
            urgent_backlog=lanes.urgent_backlog + first,
            pushed_back=lanes.pushed_back + first,
        )

    async def _update(self, change: Callable[[Lanes], Lanes]) -> tuple[Lanes, float]:
        """The changed lanes, and when they were changed, in the event loop's seconds."""
        loop = asyncio.get_running_loop()
        changed = loop.time()

        def drain_and_change(stored: Lanes, now: float) -> Lanes:
            nonlocal changed
            changed = loop.time()
            return change(self._drained(stored, now))

        lanes = self._store.update_at_once(self._exchange, drain_and_change)
        if not lanes:
            lanes = await asyncio.to_thread(self._store.update, self._exchange, drain_and_change)
        return lanes, changed

    def _drained(self, lanes: Lanes, now: float) -> Lanes:
        """Return the lanes as of `now`. If the clock was set back, nothing has drained."""
        done = max(0.0, now - lanes.at) * self.rate
        return lanes._replace(
            backlog=max(0.0, lanes.backlog - done),
            urgent_backlog=max(0.0, lanes.urgent_backlog - done),
            at=now,
        )
