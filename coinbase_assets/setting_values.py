"""How the values of settings are written. Each function raises ValueError with the rule."""

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from importlib.util import find_spec
from urllib.parse import SplitResult, urlsplit

from coinbase_assets.candles.series import Rollup, RollupGranularity, Series

DEVELOPMENT_STORAGE = "UseDevelopmentStorage=true"

_DURATION = re.compile(r"(\d{1,6})([smhd])")
_UNITS = {
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
}
_DRIVERS = {
    "postgresql": ("psycopg", "postgres"),
    "postgres": ("psycopg", "postgres"),
    "redis": ("redis", "redis"),
    "rediss": ("redis", "redis"),
}


def parse_series(text: str) -> tuple[Series, ...]:
    """Read `ETH-EUR:15m,BTC-USD:1m`, each once. Raises ValueError with the value and the rule."""
    series = tuple(Series.parse(part) for part in text.split(",") if part.strip())
    if not series:
        raise ValueError("names no series; write PRODUCT:GRANULARITY, such as ETH-EUR:15m")
    return tuple(dict.fromkeys(series))


def parse_rollups(text: str) -> tuple[Rollup, ...]:
    """Read `ETH-EUR:1m>5m,1h;BTC-USD:1m>1d`. Raises ValueError with the value and the rule."""
    rollups: dict[str, Rollup] = {}
    for part in filter(None, map(str.strip, text.split(";"))):
        for one in _rollups_of(part):
            other = rollups.setdefault(str(one), one)
            if other != one:
                raise ValueError(
                    f"{one} is made of both {other.made_of} and {one.made_of}; keep one"
                )
    return tuple(rollups.values())


def _rollups_of(part: str) -> Iterator[Rollup]:
    source, arrow, targets = part.partition(">")
    if not arrow:
        raise ValueError(f"{part!r}: names nothing to make of it; write such as ETH-EUR:1m>5m,1h")
    series = Series.parse(source)
    for target in map(str.strip, targets.split(",")):
        if target not in set(RollupGranularity):
            raise ValueError(
                f"{part!r}: unknown granularity {target!r};"
                f" allowed are {' '.join(RollupGranularity)}"
            )
        granularity = RollupGranularity(target)
        times, rest = divmod(granularity.seconds, series.granularity.seconds)
        if times < 2 or rest:
            raise ValueError(
                f"{part!r}: {series.granularity} candles do not sum up to {granularity} ones;"
                f" give a multiple of {series.granularity}"
            )
        yield Rollup(series.product, granularity, series)


def parse_start(text: str) -> date:
    """Read `2024-01-31`, a day that is not in the future. Raises ValueError with the rule."""
    try:
        start = date.fromisoformat(text)
    except ValueError:
        raise ValueError("not a day; write YYYY-MM-DD") from None
    if start > datetime.now(UTC).date():
        raise ValueError("in the future; give the first day to collect")
    return start


def parse_duration(text: str) -> timedelta:
    """Read `90s`, `45m`, `2h` or `1d`, at least a minute. Raises ValueError with the rule."""
    if not (match := _DURATION.fullmatch(text)):
        raise ValueError("not a duration; write such as 90s, 45m or 2h")
    duration = int(match[1]) * _UNITS[match[2]]
    if duration < _UNITS["m"]:
        raise ValueError("shorter than Dagster allows; give 60s or more")
    return duration


def check_budget_url(url: str) -> None:
    """Raises ValueError, without the URL, which may hold a password."""
    try:
        parts = urlsplit(url)
        # PostgreSQL's sockets are folders, which its URLs name in the query.
        named = (parts.hostname or "host=/" in parts.query) and parts.port != 0
    except ValueError:
        named = False
    if not named or parts.scheme not in _DRIVERS:
        raise ValueError(
            "not a server's URL; write postgresql://USER:PASSWORD@HOST/DATABASE or redis://HOST"
        )
    driver, extra = _DRIVERS[parts.scheme]
    if not find_spec(driver):
        raise ValueError(
            f"{driver} is not installed, which {parts.scheme} needs;"
            f" pip install 'coinbase-assets[{extra}]'"
        )


def require_url(value: str, remedy: str) -> SplitResult:
    try:
        parts = urlsplit(value)
        is_url = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        is_url = False
    if not is_url or re.search(r"\s", value):
        raise ValueError(f"not a URL; {remedy}")
    return parts


def require_plain_url(value: str, no_secrets: str) -> None:
    parts = require_url(value, "write https://HOST, or http://HOST:PORT for an emulator")
    if parts.query or parts.username or parts.password:
        raise ValueError(f"holds what may be secret; {no_secrets}")


def require_connection_string(value: str) -> None:
    parts = dict(part.partition("=")[::2] for part in value.split(";") if part)
    if parts.get("UseDevelopmentStorage") == "true":
        return
    if not all(parts.values()) or not {"AccountName", "BlobEndpoint"} & parts.keys():
        raise ValueError(
            "not a connection string; copy it from the storage account's page"
            f" (AccountName=...;AccountKey=...), or write {DEVELOPMENT_STORAGE} for Azurite"
        )
