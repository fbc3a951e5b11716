"""The Dagster definitions, built from the settings. All parts of the project meet here."""

import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg

from coinbase_assets.assets.candle_chart import build_candle_chart
from coinbase_assets.assets.candle_coverage import build_candle_coverage
from coinbase_assets.assets.candle_history import build_candle_history
from coinbase_assets.assets.candle_lake import CandleLake
from coinbase_assets.assets.candle_rollup import build_candle_rollup
from coinbase_assets.assets.checks import build_candle_checks, build_rollup_checks
from coinbase_assets.assets.labels import with_labels
from coinbase_assets.assets.market_halts import build_market_halts
from coinbase_assets.assets.products import build_products
from coinbase_assets.assets.raw_candles import build_raw_candles
from coinbase_assets.assets.recency_checks import build_recency_checks
from coinbase_assets.automation.first_runs_sensor import build_first_runs_sensor
from coinbase_assets.automation.healing import build_heal_job, heal_candles_schedule
from coinbase_assets.automation.housekeeping import orphaned_runs_sensor, superseded_runs_sensor
from coinbase_assets.automation.rebuild_sensors import (
    build_candle_history_sensor,
    build_candle_rollup_sensor,
)
from coinbase_assets.automation.recency_sensor import build_recency_sensor
from coinbase_assets.automation.schedules import (
    build_candle_chart_schedule,
    build_live_candles_schedule,
    build_settle_candles_schedule,
    products_schedule,
)
from coinbase_assets.completeness.halts import can_tell_halts
from coinbase_assets.dagster_instance.executor import LockedInProcessExecutor
from coinbase_assets.environment.azure_accounts import DEVELOPMENT_STORAGE
from coinbase_assets.exchange.outages import OUTAGE_ERRORS
from coinbase_assets.exchange.resource import ExchangeResource
from coinbase_assets.monitoring.alerts import build_alerts_sensor
from coinbase_assets.monitoring.destinations import parse_destinations
from coinbase_assets.monitoring.freshness import freshness_windows, with_freshness
from coinbase_assets.process_tuning import without_garbage_collection
from coinbase_assets.settings import (
    ACCOUNT_URL,
    BUDGET_URL,
    CONNECTION_STRING,
    Settings,
    SettingsError,
    load_settings,
)
from coinbase_assets.storage.resource import AzureStorageResource


def build_definitions(
    settings: Settings, *, storage: dg.ConfigurableResource | None = None
) -> dg.Definitions:
    """Return the definitions for these settings. `storage` replaces the storage they name."""
    # A run for series of several granularities is wanted; only back-fills follow the policies.
    warnings.filterwarnings("ignore", "(?s)Asset job .* varying BackfillPolicies")
    with warnings.catch_warnings():
        # Backfill policies and mappings to days that do not exist yet are beta. We need both.
        warnings.simplefilter("ignore", dg.BetaWarning)
        assets = [
            build(series, settings.start)
            for series in (*settings.series, *settings.other_series)
            for build in (build_raw_candles, build_candle_history, build_candle_coverage)
        ]
        assets += [build_candle_rollup(rollup, settings.start) for rollup in settings.rollups]
        if can_tell_halts(settings.series):
            assets.append(build_market_halts(settings.series, settings.start))
    charts = [build_candle_chart(series) for series in settings.series]
    windows = {each: freshness_windows(each, settings) for each in settings.series}
    checks = [check for series in settings.series for check in build_candle_checks(series)]
    checks += map(build_rollup_checks, settings.rollups)
    checks += [build_recency_checks(series, window) for series, window in windows.items()]
    lake = _without_run_config(
        CandleLake(storage=storage or build_storage(settings), container=settings.container)
    )
    return dg.Definitions(
        assets=with_labels(
            [*with_freshness(assets, settings), build_products(settings.series), *charts], settings
        ),
        asset_checks=checks,
        resources={
            "exchange": _without_run_config(build_exchange(settings)),
            "lake": lake,
            # Else every job would offer Dagster's default, which writes pickle files.
            "io_manager": lake,
        },
        jobs=[build_heal_job(settings.series, settings.start)],
        schedules=[
            build_live_candles_schedule(settings.series, settings.start),
            build_settle_candles_schedule(settings.series, settings.start),
            heal_candles_schedule,
            products_schedule,
            build_candle_chart_schedule(settings.series),
        ],
        sensors=[
            build_first_runs_sensor(settings.series),
            build_candle_history_sensor(settings.series, settings.start),
            *(
                [build_candle_rollup_sensor(settings.rollups, settings.start)]
                if settings.rollups
                else []
            ),
            build_recency_sensor(windows),
            build_alerts(settings, checks),
            orphaned_runs_sensor,
            superseded_runs_sensor,
        ],
        executor=LockedInProcessExecutor(said_elsewhere=OUTAGE_ERRORS),
    )


def build_alerts(
    settings: Settings, checks: Sequence[dg.AssetChecksDefinition]
) -> dg.SensorDefinition:
    """Return the sensor for alerts about series and checks.

    The alert URLs are secrets. They stay in this process, and are in no definition.
    """
    urls, heartbeat = settings.alert_urls, settings.heartbeat_url
    return build_alerts_sensor(
        settings.series,
        [key for check in checks for key in check.check_keys],
        parse_destinations(urls.get_secret_value()) if urls else (),
        heartbeat.get_secret_value() if heartbeat else None,
        settings.start if settings.start_is_set else None,
        settings.web_url,
    )


def _without_run_config(
    resource: dg.ConfigurableResource | dg.ConfigurableIOManager,
) -> dg.ResourceDefinition:
    """Return a definition of the resource that takes no run config.

    Else whoever starts a run could replace the exchange, the account and the paths, or send a
    secret to any host with `{env: NAME}`.
    """

    def opened(context: dg.InitResourceContext) -> Iterator[object]:
        # Without the instance, Dagster makes an ephemeral instance first, which takes 0.1 s.
        with dg.build_resources({"ready": resource}, instance=context.instance) as resources:
            yield resources.ready

    is_io_manager = isinstance(resource, dg.ConfigurableIOManager)
    definition: Any = dg.IOManagerDefinition if is_io_manager else dg.ResourceDefinition
    return definition(opened, config_schema={}, description=type(resource).__doc__)


def build_exchange(settings: Settings) -> ExchangeResource:
    """Return the exchange, with a request budget shared by all processes that use it."""
    return ExchangeResource(
        api_url=settings.api_url,
        requests_per_second=settings.requests_per_second,
        give_up_after=settings.give_up_after,
        budget_path=str(settings.dagster_home / "request_budget.sqlite"),
        budget_url=dg.EnvVar(BUDGET_URL) if settings.budget_url else "",
    )


def build_storage(settings: Settings) -> AzureStorageResource:
    """Return the storage account. Raises SettingsError if the settings name none.

    Dagster reads the secrets only when it opens the account, so that no definition holds them.
    """
    if settings.connection_string:
        return AzureStorageResource(connection_string=dg.EnvVar(CONNECTION_STRING))
    if not settings.account_url:
        raise SettingsError(
            f"neither {CONNECTION_STRING} nor {ACCOUNT_URL} is set; set one of them to your storage"
            f" account, or set {CONNECTION_STRING}={DEVELOPMENT_STORAGE} for Azurite"
        )
    return AzureStorageResource(
        account_url=settings.account_url,
        account_key=dg.EnvVar("AZURE_STORAGE_KEY") if settings.account_key else "",
        sas_token=dg.EnvVar("AZURE_STORAGE_SAS_TOKEN") if settings.sas_token else "",
    )


@dg.definitions
def defs() -> dg.Definitions:
    """Return the definitions of the code location. Dagster calls this."""
    with without_garbage_collection():
        return build_definitions(load_settings())
