"""How the values of settings are written.

Every function takes the text of a setting and raises ValueError with the rule and a remedy. The
message leaves out a value that may be secret. `settings` adds the variable's name.
"""

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from coinbase_assets.candles.series import Granularity, Rollup, RollupGranularity, Series
from coinbase_assets.environment.plain_urls import plain_url, split_url
from coinbase_assets.plain_text import quoted

_CONTAINER = re.compile(r"(?=.{3,63}$)[a-z0-9](-?[a-z0-9])+")
_OWNER = re.compile(r"team:[\w .-]{1,100}|[^@\s]{1,100}@[^@\s]{1,100}\.[^@\s]{1,100}")
_HOST_NAME = re.compile(r"(?=.{1,253}$)[a-z0-9-]{1,63}(\.[a-z0-9-]{1,63})*")
_DURATION = re.compile(r"(\d{1,6})([smhd])")
_UNITS = {
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
}


def parse_series(text: str) -> tuple[Series, ...]:
    """Return the series in a text like `ETH-EUR:15m,BTC-USD:1m`, each once."""
    series = tuple(Series.parse(part) for part in text.split(",") if part.strip())
    if not series:
        raise ValueError("names no series; write PRODUCT:GRANULARITY, for example ETH-EUR:15m")
    return tuple(dict.fromkeys(series))


def parse_rollups(text: str) -> tuple[Rollup, ...]:
    """Return the rollups in a text like `ETH-EUR:1m>5m,1h;BTC-USD:1m>1d`, each once."""
    rollups: dict[str, Rollup] = {}
    for part in filter(None, map(str.strip, text.split(";"))):
        for rollup in _rollups_of(part):
            other = rollups.setdefault(str(rollup), rollup)
            if other != rollup:
                raise ValueError(
                    f"{rollup} is to be made from both {other.made_of} and {rollup.made_of};"
                    " remove one of them"
                )
    return tuple(rollups.values())


def rollups_of_all(granularity: str, series: Sequence[Series]) -> Iterator[Rollup]:
    """Yield a rollup of this granularity for each product, made of its shortest candles.

    A product is left out if it is collected at this granularity, or if none of its candles fit.
    Raises ValueError for any other granularity than those of rollups.
    """
    if granularity not in set(RollupGranularity):
        raise ValueError(
            f"{quoted(granularity)}: unknown granularity; write for example ETH-EUR:1m>5m,1h or one"
            f" of {' '.join(RollupGranularity)}"
        )
    coarse = RollupGranularity(granularity)
    shortest = dict[str, Series]()
    for each in sorted(series, key=lambda each: each.granularity.seconds):
        if _can_be_made(coarse, each.granularity):
            shortest.setdefault(each.product, each)
    collected = {str(each) for each in series}
    for product, source in shortest.items():
        if f"{product}:{granularity}" not in collected:
            yield Rollup(product, coarse, source)


def _rollups_of(part: str) -> Iterator[Rollup]:
    """Yield the rollups in a text like `ETH-EUR:1m>5m,1h`."""
    source, arrow, targets = part.partition(">")
    if not arrow:
        raise ValueError(
            f"{quoted(part)} has no '>GRANULARITY' part; write for example ETH-EUR:1m>5m,1h"
        )
    series = Series.parse(source)
    for target in map(str.strip, targets.split(",")):
        yield Rollup(series.product, _rollup_granularity(part, target, series.granularity), series)


def _rollup_granularity(part: str, target: str, fine: Granularity) -> RollupGranularity:
    if target not in set(RollupGranularity):
        raise ValueError(
            f"{quoted(part)}: unknown granularity {quoted(target)};"
            f" allowed are {' '.join(RollupGranularity)}"
        )
    allowed = [coarse for coarse in RollupGranularity if _can_be_made(coarse, fine)]
    if target not in allowed:
        raise ValueError(
            f"{quoted(part)}: {target} candles cannot be made from {fine} candles;"
            f" allowed are {' '.join(allowed)}"
        )
    return RollupGranularity(target)


def _can_be_made(coarse: RollupGranularity, fine: Granularity) -> bool:
    times, rest = divmod(coarse.seconds, fine.seconds)
    return times >= 2 and not rest


def parse_start(text: str) -> date:
    """Return the day in a text like `2024-01-31`. A day in the future (UTC) is refused."""
    try:
        start = date.fromisoformat(text)
    except ValueError:
        raise ValueError("not a day; write YYYY-MM-DD") from None
    if start > datetime.now(UTC).date():
        raise ValueError("in the future; give today or an earlier day")
    return start


def parse_duration(text: str) -> timedelta:
    """Return the duration in a text like `90s`, `45m`, `2h` or `1d`. At least a minute."""
    if not (match := _DURATION.fullmatch(text)):
        raise ValueError("not a duration; write for example 90s, 45m, 2h or 1d")
    duration = int(match[1]) * _UNITS[match[2]]
    if duration < _UNITS["m"]:
        raise ValueError("shorter than Dagster allows; give at least 60s")
    return duration


def require_heartbeat_url(text: str) -> None:
    split_url(text, "write https://HOST/PATH")


def parse_api_url(text: str) -> str:
    """Return the URL of the exchange, without slashes at its end."""
    return plain_url(text, "write it without them")


def parse_web_url(text: str) -> str:
    """Return the address of the web UI, without slashes at its end."""
    return plain_url(text, "write it without them")


def parse_web_hosts(text: str) -> tuple[str, ...]:
    """Return the host names in a text like `dagster.example.com,candles.lan`, in lower case."""
    hosts = tuple(host.strip().lower() for host in text.split(",") if host.strip())
    for host in hosts:
        if not _HOST_NAME.fullmatch(host):
            raise ValueError(
                f"{quoted(host)} is not a host name; write it without https:// and port"
            )
    return hosts


def parse_owners(text: str) -> tuple[str, ...]:
    """Return the owners in a text like `ada@example.com,team:market-data`, as Dagster has them."""
    owners = tuple(owner.strip() for owner in text.split(",") if owner.strip())
    for owner in owners:
        if not _OWNER.fullmatch(owner):
            raise ValueError(
                f"{quoted(owner)} is no owner; write an email address, or team: and a name"
            )
    return owners


def require_container(name: str) -> None:
    if not _CONTAINER.fullmatch(name):
        raise ValueError(
            "not a container name; write 3 to 63 characters: a-z, 0-9 and single dashes inside"
        )


def require_absolute(path: Path) -> None:
    if not path.is_absolute():
        raise ValueError("not an absolute path; Dagster needs the full path")
