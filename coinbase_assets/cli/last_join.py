"""What Ctrl-C leaves behind: what landed is joined, if that takes a moment only."""

from collections.abc import Sequence

from coinbase_assets.automation.collector import Collector
from coinbase_assets.candles.calendar import DAY
from coinbase_assets.candles.series import Series
from coinbase_assets.cli.console import PlainConsole
from coinbase_assets.lake.inventory import inspect

JOIN_SECONDS = 3.0


def join_landed(
    console: PlainConsole,
    collector: Collector,
    series: Sequence[Series],
    seconds: float = JOIN_SECONDS,
) -> None:
    """Join the stored days of the series that takes at most `seconds`.

    Print the commands that join the others. They ask the exchange for nothing.
    """
    for each in series:
        inventory = inspect(collector.store, each)
        if not inventory.stale_months:
            continue
        expected = _join_seconds(each, len(inventory.stale_months))
        if expected > seconds or collector.join(each):
            day = min(inventory.days)
            console.print(
                f"{each}: stored, not joined yet: run coinbase-assets collect --series {each}"
                f" --from {day} --to {day}"
            )
        else:
            seconds -= expected


def _join_seconds(series: Series, months: int) -> float:
    """Return how long joining takes: 1.8 s for a month of 1m candles, 3.5 s for four (measured)."""
    candles = months * 30 * DAY // series.granularity.delta
    return 1 + months / 10 + candles / 80_000
