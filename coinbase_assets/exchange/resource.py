"""The exchange as a Dagster resource: its configuration, and a client without async."""

from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import dagster as dg
from anyio.from_thread import BlockingPortal, start_blocking_portal
from pydantic import PrivateAttr

from coinbase_assets.candles.series import Series
from coinbase_assets.candles.trades import TradePage
from coinbase_assets.candles.windows import Answer, Question
from coinbase_assets.exchange.budget import RequestBudget
from coinbase_assets.exchange.budget_servers import budget_store
from coinbase_assets.exchange.budget_stores import BUDGET_FILE
from coinbase_assets.exchange.client import ExchangeClient
from coinbase_assets.exchange.head_start import Begun, begun_requests
from coinbase_assets.exchange.outages import Outages
from coinbase_assets.exchange.products import Catalogue
from coinbase_assets.exchange.request_counts import REQUEST_COUNTS_FILE, RequestCounts


@dataclass
class BlockingExchange:
    """An ExchangeClient without async: it runs in its own thread, and fetches ahead there."""

    client: ExchangeClient
    portal: BlockingPortal
    _asked: dict[Question, "Future[list[Answer]]"] | None = None

    def ask_ahead(self, questions: Iterable[Question]) -> None:
        """Begin to ask all of them; `fetch_candles` then returns the answers.

        Only the first call of a client does so.
        """
        if self._asked is None:
            self._asked = {}
            for each in questions:
                self._asked[each] = self.portal.start_task_soon(self._answers, *each)

    def stop_asking(self) -> None:
        """End the requests whose answers nobody has taken."""
        for asked in (self._asked or {}).values():
            asked.cancel()

    async def _answers(self, series: Series, start: datetime, end: datetime) -> list[Answer]:
        product, granularity = series.product, series.granularity
        return [each async for each in self.client.fetch_candles(product, granularity, start, end)]

    def fetch_candles(
        self, series: Series, start: datetime, end: datetime, *, confirm_empty: bool = True
    ) -> Generator[Answer, None, None]:
        """See ExchangeClient.fetch_candles. If the caller stops early, so do the requests."""
        if asked := (self._asked or {}).pop((series, start, end), None):
            yield from asked.result()
            return
        product, granularity = series.product, series.granularity
        answers = self.client.fetch_candles(
            product, granularity, start, end, confirm_empty=confirm_empty
        )
        try:
            while answer := self.portal.call(anext, answers, None):
                yield answer
        finally:
            # A portal that has stopped has ended the requests, too.
            with suppress(RuntimeError):
                self.portal.call(answers.aclose)

    def fetch_products(self) -> Catalogue:
        """See ExchangeClient.fetch_products."""
        return self.portal.call(self.client.fetch_products)

    def fetch_trades(self, product: str, after: int | None = None) -> TradePage:
        """See ExchangeClient.fetch_trades."""
        return self.portal.call(self.client.fetch_trades, product, after)


DEFAULT_URL = "https://api.exchange.coinbase.com"


class ExchangeResource(dg.ConfigurableResource):
    """The Coinbase Exchange or a stand-in, and the request budget for it.

    The processes of one machine share the budget in the file `budget_path`, by default in the
    folder of the Dagster instance, and beside it what is known of an outage, and the requests so
    far by their answers. If `budget_url` is set, the processes of several machines share the budget
    on that server instead. `give_up_after` is in seconds. The steps of a run that one process
    executes share connections.
    """

    api_url: str = DEFAULT_URL
    requests_per_second: float = 10
    give_up_after: float = 120
    budget_path: str = ""
    budget_url: str = ""
    _instance_folder: str = PrivateAttr(default="")
    _of_run: ExitStack | None = PrivateAttr(default=None)
    _clients: dict[tuple[bool, float], BlockingExchange] = PrivateAttr(default_factory=dict)

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator["ExchangeResource"]:
        """Yield the resource of a run; its clients stay open until the end of the run."""
        if context.instance:
            self._instance_folder = context.instance.root_directory
        with ExitStack() as opened:
            self._of_run = opened
            try:
                yield self
            finally:
                self._of_run = None
                self._clients.clear()

    @contextmanager
    def get_client(
        self, urgent: bool = False, give_up_after: float | None = None
    ) -> Iterator[BlockingExchange]:
        """Yield a client; requests of an `urgent` client come before those of other clients.

        A failed request is repeated for `give_up_after` seconds, by default the resource's value.
        """
        patience = self.give_up_after if give_up_after is None else give_up_after
        if self._of_run is None:
            with self._opened_client(urgent, patience) as client:
                yield client
            return
        if (urgent, patience) not in self._clients:
            opened = self._of_run.enter_context(self._opened_client(urgent, patience))
            self._clients[urgent, patience] = opened
        yield self._clients[urgent, patience]

    @contextmanager
    def _opened_client(self, urgent: bool, give_up_after: float) -> Iterator[BlockingExchange]:
        with start_blocking_portal() as portal:
            client = portal.call(self._new_client, urgent, give_up_after, begun_requests())
            exchange = BlockingExchange(client, portal)
            with portal.wrap_async_context_manager(client):
                try:
                    yield exchange
                finally:
                    exchange.stop_asking()

    async def _new_client(self, urgent: bool, give_up_after: float, begun: Begun) -> ExchangeClient:
        path = Path(self.budget_path or Path(self._instance_folder, BUDGET_FILE))
        store = budget_store(self.budget_url, path)
        return ExchangeClient(
            self.api_url,
            RequestBudget(store, self.api_url, self.requests_per_second, urgent=urgent),
            give_up_after,
            outages=Outages(path.with_name("exchange_outage.json")),
            counts=RequestCounts(path.with_name(REQUEST_COUNTS_FILE)),
            begun=begun,
        )
