"""A busy machine: a request that would be sent long after its slot takes another one."""

import asyncio
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

from coinbase_assets.candles.series import Granularity
from coinbase_assets.exchange.budget import SLOT_SECONDS, RequestBudget
from coinbase_assets.exchange.budget_stores import BudgetFile
from coinbase_assets.exchange.client import ExchangeClient
from coinbase_assets_tests.exchange.test_budget import SimulatedLoop
from coinbase_assets_tests.stand_in.exchange import StandInExchange

START = datetime(2024, 1, 1, tzinfo=UTC)


def test_a_slot_is_kept_for_a_while_and_then_renewed(tmp_path: Path) -> None:
    async def main() -> None:
        now = asyncio.get_running_loop().time
        with closing(BudgetFile(tmp_path / "budget", now)) as store:
            budget = RequestBudget(store, "http://exchange", rate=1, burst=1)
            slot = await budget.wait()
            await asyncio.sleep(SLOT_SECONDS / 2)
            await budget.renew(slot)
            assert round(now() - slot, 6) == SLOT_SECONDS / 2
            await asyncio.sleep(SLOT_SECONDS)
            await budget.renew(slot)
            assert round(now() - slot, 6) == 1

    with asyncio.Runner(loop_factory=SimulatedLoop) as runner:
        runner.run(main())


def test_a_request_that_became_late_on_its_way_is_counted_again(tmp_path: Path) -> None:
    class BusyMachine(RequestBudget):
        slots = 0

        async def wait(self) -> float:
            slot = await super().wait()
            self.slots += 1
            if self.slots == 1:
                time.sleep(SLOT_SECONDS * 1.5)
            return slot

    async def fetch(exchange: StandInExchange, budget: RequestBudget) -> None:
        async with ExchangeClient(exchange.url, budget) as client:
            end = START + timedelta(minutes=10)
            async for _ in client.fetch_candles("BTC-USD", Granularity.ONE_MINUTE, START, end):
                pass

    with StandInExchange() as exchange:
        busy = BusyMachine(BudgetFile(tmp_path / "budget"), exchange.url, rate=10)
        asyncio.run(fetch(exchange, busy))
    assert len(exchange.requests) == 1
    assert busy.slots >= 2
