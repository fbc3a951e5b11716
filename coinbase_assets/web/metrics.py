"""What `coinbase-assets metrics` and `GET /metrics` show, read from the lake and the instance."""

import asyncio
import logging
import threading
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta

import dagster as dg

from coinbase_assets.automation.healing import HEAL_JOB
from coinbase_assets.candles.series import Rollup, Series
from coinbase_assets.environment.secrets import public
from coinbase_assets.exchange.budget import RequestBudget
from coinbase_assets.exchange.budget_servers import budget_store
from coinbase_assets.exchange.budget_stores import BUDGET_FILE
from coinbase_assets.exchange.errors import ExchangeError
from coinbase_assets.exchange.request_counts import REQUEST_COUNTS_FILE, read_request_counts
from coinbase_assets.lake.account import open_store
from coinbase_assets.lake.status import SeriesStatus, series_status
from coinbase_assets.monitoring.alert_state import load_state
from coinbase_assets.monitoring.metrics import Facts, metrics_text
from coinbase_assets.settings import ACCOUNT_URL, CONNECTION_STRING, Settings, SettingsError

log = logging.getLogger(__name__)

# A series takes five listings, and each costs money. Ages are computed at each request.
KEPT = timedelta(minutes=5)


class MetricsPage:
    """The metrics of the configured series. The lake is read every five minutes at most."""

    def __init__(self, settings: Settings, instance: dg.DagsterInstance) -> None:
        self._settings = settings
        self._instance = instance
        self._reading = threading.Lock()
        self._facts: Facts | None = None

    def text(self) -> str:
        """Return the page. Raises SettingsError, StorageError."""
        with self._reading:
            now = datetime.now(UTC)
            if self._facts is None or now - self._facts.read_at > KEPT:
                self._facts = read_facts(self._settings, self._instance)
            return metrics_text(self._facts, now)


def read_facts(settings: Settings, instance: dg.DagsterInstance) -> Facts:
    """Read what the metrics show. Raises SettingsError, StorageError."""
    now = datetime.now(UTC)
    return Facts(
        now,
        _statuses(settings, now),
        load_state(instance).incidents,
        _waits(settings),
        read_request_counts(settings.dagster_home / REQUEST_COUNTS_FILE),
        _verified_at(instance),
    )


def _statuses(settings: Settings, now: datetime) -> list[SeriesStatus]:
    if not settings.names_storage:
        raise SettingsError(f"no Azure storage is set; set {ACCOUNT_URL} or {CONNECTION_STRING}")
    with open_store(settings) as store:
        return [
            series_status(store, series, now.date(), _rollups_of(settings, series))
            for series in settings.series
        ]


def _rollups_of(settings: Settings, series: Series) -> list[Rollup]:
    return [rollup for rollup in settings.rollups if rollup.made_of == series]


def _waits(settings: Settings) -> Mapping[str, float]:
    """Return the waits for the request budget; none if its server does not answer."""
    url, file = settings.budget_url, settings.dagster_home / BUDGET_FILE
    store = budget_store(url.get_secret_value() if url else "", file)
    with closing(RequestBudget(store, settings.api_url, settings.requests_per_second)) as budget:
        try:
            return asyncio.run(budget.expected_waits())
        except ExchangeError as error:
            log.warning("%s", public(str(error)))
            return {}


def _verified_at(instance: dg.DagsterInstance) -> datetime | None:
    """Return when a run of the healing job, which verifies files, last ended well."""
    wanted = dg.RunsFilter(job_name=HEAL_JOB, statuses=[dg.DagsterRunStatus.SUCCESS])
    ends = (record.end_time for record in instance.get_run_records(wanted, limit=1))
    return next((datetime.fromtimestamp(end, UTC) for end in ends if end), None)
