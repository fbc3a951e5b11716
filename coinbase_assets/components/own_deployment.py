"""The options of the deployment that the settings describe, and its exchange and storage."""

import dagster as dg

from coinbase_assets.components.candle_options import AlertOptions, CandleOptions
from coinbase_assets.environment.azure_accounts import DEVELOPMENT_STORAGE
from coinbase_assets.exchange.budget_stores import BUDGET_FILE
from coinbase_assets.exchange.resource import ExchangeResource
from coinbase_assets.monitoring.destinations import parse_destinations
from coinbase_assets.settings import (
    ACCOUNT_URL,
    BUDGET_URL,
    CONNECTION_STRING,
    Settings,
    SettingsError,
)
from coinbase_assets.storage.resource import AzureStorageResource


def options_of(settings: Settings, storage: dg.ConfigurableResource | None = None) -> CandleOptions:
    """Return the options for these settings. `storage` replaces the storage they name."""
    return CandleOptions(
        series=settings.series,
        other_series=settings.other_series,
        rollups=settings.rollups,
        start=settings.start,
        storage=storage or build_storage(settings),
        exchange=build_exchange(settings),
        container=settings.container,
        freshness_warn=settings.freshness_warn,
        freshness_fail=settings.freshness_fail,
        owners=settings.owners,
        alerts=_alerts(settings),
        is_shard=bool(settings.shard),
    )


def _alerts(settings: Settings) -> AlertOptions:
    """The alert URLs are secrets. They stay in this process, and are in no definition."""
    urls, heartbeat = settings.alert_urls, settings.heartbeat_url
    return AlertOptions(
        parse_destinations(urls.get_secret_value()) if urls else (),
        heartbeat.get_secret_value() if heartbeat else None,
        settings.web_url,
        settings.start if settings.start_is_set else None,
    )


def build_exchange(settings: Settings) -> ExchangeResource:
    """Return the exchange, with a request budget shared by all processes that use it."""
    return ExchangeResource(
        api_url=settings.api_url,
        requests_per_second=settings.requests_per_second,
        give_up_after=settings.give_up_after,
        budget_path=str(settings.dagster_home / BUDGET_FILE),
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
