"""The exchange as a Dagster resource: its configuration, and a client without async."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import dagster as dg
from anyio.from_thread import BlockingPortal, start_blocking_portal
from pydantic import PrivateAttr

from coinbase_assets.candles.series import Series
from coinbase_assets.candles.trades import TradePage
from coinbase_assets.candles.windows import Answer
from coinbase_assets.exchange.budget import RequestBudget
from coinbase_assets.exchange.budget_servers import budget_server
from coinbase_assets.exchange.budget_stores import BudgetFile
from coinbase_assets.exchange.client import ExchangeClient
from coinbase_assets.exchange.outages import Outages
from coinbase_assets.exchange.products import Catalogue


@dataclass(frozen=True)
class BlockingExchange:
    """An ExchangeClient without async: it runs in its own thread, and fetches ahead there.

    If the caller stops early, the requests under way end together with the thread.
    """

    client: ExchangeClient
    portal: BlockingPortal

    def fetch_candles(
        self, series: Series, start: datetime, end: datetime, *, confirm_empty: bool = True
    ) -> Iterator[Answer]:
        """See ExchangeClient.fetch_candles."""
        product, granularity = series.product, series.granularity
        answers = self.client.fetch_candles(
            product, granularity, start, end, confirm_empty=confirm_empty
        )
        while answer := self.portal.call(anext, answers, None):
            yield answer

    def fetch_products(self) -> Catalogue:
        """See ExchangeClient.fetch_products."""
        return self.portal.call(self.client.fetch_products)

    def fetch_trades(self, product: str, after: int | None = None) -> TradePage:
        """See ExchangeClient.fetch_trades."""
        return self.portal.call(self.client.fetch_trades, product, after)


DEFAULT_URL = "https://api.exchange.coinbase.com"
BUDGET_FILE = "request_budget.sqlite"


class ExchangeResource(dg.ConfigurableResource):
    """The Coinbase Exchange or a stand-in, and the request budget for it.

    The processes of one machine share the budget in the file `budget_path`, by default in the
    folder of the Dagster instance, and beside it what is known of an outage. If `budget_url` is
    set, the processes of several machines share the budget on that server instead. `give_up_after`
    is in seconds.
    """

    api_url: str = DEFAULT_URL
    requests_per_second: float = 10
    give_up_after: float = 120
    budget_path: str = ""
    budget_url: str = ""
    _instance_folder: str = PrivateAttr(default="")

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:
        if context.instance:
            self._instance_folder = context.instance.root_directory

    @contextmanager
    def get_client(
        self, urgent: bool = False, give_up_after: float | None = None
    ) -> Iterator[BlockingExchange]:
        """Yield a client; requests of an `urgent` client come before those of other clients.

        A failed request is repeated for `give_up_after` seconds, by default the resource's value.
        """
        with start_blocking_portal() as portal:
            patience = self.give_up_after if give_up_after is None else give_up_after
            client = portal.call(self._new_client, urgent, patience)
            with portal.wrap_async_context_manager(client):
                yield BlockingExchange(client, portal)

    async def _new_client(self, urgent: bool, give_up_after: float) -> ExchangeClient:
        url = self.budget_url
        path = Path(self.budget_path or Path(self._instance_folder, BUDGET_FILE))
        store = budget_server(url) if url else BudgetFile(path)
        budget = RequestBudget(store, self.api_url, self.requests_per_second, urgent=urgent)
        outages = Outages(path.with_name("exchange_outage.json"))
        return ExchangeClient(self.api_url, budget, give_up_after, outages=outages)
