"""Rollups: what is summed up to what, as COINBASE_ROLLUPS says it. Pure: no I/O."""

from collections.abc import Iterator
from dataclasses import dataclass

from coinbase_assets.series import CandleSeries, RollupGranularity, Series


@dataclass(frozen=True)
class Rollup(CandleSeries):
    """Candles of a product, made of those of a collected series, the `source`."""

    granularity: RollupGranularity
    source: Series


def parse_rollups(text: str) -> tuple[Rollup, ...]:
    """Read `ETH-EUR:1m>5m,1h;BTC-USD:1m>1d`. Raises ValueError with the value and the rule."""
    rollups: dict[str, Rollup] = {}
    for part in filter(None, map(str.strip, text.split(";"))):
        for one in _parse(part):
            other = rollups.setdefault(str(one), one)
            if other != one:
                raise ValueError(f"{one} is made of both {other.source} and {one.source}; keep one")
    return tuple(rollups.values())


def _parse(part: str) -> Iterator[Rollup]:
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
