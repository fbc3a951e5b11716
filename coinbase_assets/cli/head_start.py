"""The first requests of `collect`, sent before Dagster is loaded."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from coinbase_assets.candles.series import Series
from coinbase_assets.settings import Settings

if TYPE_CHECKING:
    from coinbase_assets.storage.parquet_store import ParquetStore

# A host name that takes longer is left to the collection, which reports it.
_LOOK_UP_SECONDS = 1.0


def asked_ahead(
    settings: Settings,
    store: "ParquetStore",
    series: Sequence[Series],
    keys: Sequence[str],
    again: bool,
) -> AbstractContextManager[None]:
    """Ask for the first of the days that the lake lacks, for the runs of the block.

    Requests that fail are sent again by the runs, which report failures. Raises StorageError.
    """
    # They load Arrow, and the libraries for requests.
    from coinbase_assets.collection.first_questions import first_questions
    from coinbase_assets.exchange.budget import RequestBudget
    from coinbase_assets.exchange.budget_servers import budget_store
    from coinbase_assets.exchange.budget_stores import BUDGET_FILE
    from coinbase_assets.exchange.client import ExchangeClient
    from coinbase_assets.exchange.head_start import head_start
    from coinbase_assets.exchange.host_name import unknown_host
    from coinbase_assets.exchange.request_counts import REQUEST_COUNTS_FILE, RequestCounts

    questions = list(first_questions(store, series, keys, again))
    if not questions or unknown_host(settings.api_url, _LOOK_UP_SECONDS):
        return nullcontext()
    home, url = settings.dagster_home, settings.budget_url
    budget = budget_store(url.get_secret_value() if url else "", home / BUDGET_FILE)
    client = ExchangeClient(
        settings.api_url,
        RequestBudget(budget, settings.api_url, settings.requests_per_second),
        give_up_after=0,
        counts=RequestCounts(home / REQUEST_COUNTS_FILE),
    )
    return head_start(client, questions)
