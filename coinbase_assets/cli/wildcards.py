"""Wildcards in COINBASE_SERIES: the exchange is asked for its products before they are used."""

import os

from coinbase_assets.cli.console import errors
from coinbase_assets.environment.listed_products import (
    FILE,
    has_wildcard,
    read_products,
    write_products,
)
from coinbase_assets.exchange.errors import ExchangeError
from coinbase_assets.settings import SERIES, Settings, SettingsError, load_settings

_WITHOUT_WILDCARD = {SERIES: "ETH-EUR:15m", "COINBASE_ROLLUPS": "", "COINBASE_SHARD": "1/1"}


def load_settings_with_products() -> Settings:
    """Return the settings, after asking the exchange for its products if wildcards need them.

    If the exchange does not answer, the wildcards match the products known before. Raises
    SettingsError, or ExchangeError if none are known.
    """
    plain = load_settings(**_WITHOUT_WILDCARD)
    if has_wildcard(os.environ.get(SERIES, "")):
        _refresh_products(plain)
    return load_settings()


def _refresh_products(settings: Settings) -> None:
    # They load Dagster, which other commands do not need yet.
    from coinbase_assets.components.catalogue import fetch_products
    from coinbase_assets.components.own_deployment import build_exchange

    home = settings.dagster_home
    file = home / FILE
    try:
        home.mkdir(parents=True, exist_ok=True)
        known = read_products(file) if file.exists() else ()
        write_products(file, known, fetch_products(build_exchange(settings), home))
    except ExchangeError as error:
        if not file.exists():
            raise
        errors.print(f"No new products for {SERIES}: {error}")
    except ValueError as error:
        raise SettingsError(f"{error}; delete it") from None
