"""What the commands print that read the lake: holdings, status, incidents, pictures."""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path

from rich.filesize import decimal

from coinbase_assets.candles.calendar import DAY, as_ranges, format_time
from coinbase_assets.candles.series import CandleSeries, Series
from coinbase_assets.cli.alerts import print_incidents
from coinbase_assets.cli.console import console
from coinbase_assets.cli.opened import opened_instance
from coinbase_assets.cli.parameters import folded_seconds, refuse_too_many
from coinbase_assets.cli.status_report import print_json, print_with_problems
from coinbase_assets.lake import charts
from coinbase_assets.lake.account import open_store, with_storage
from coinbase_assets.lake.candle_months import collected_source, stored_series
from coinbase_assets.lake.holdings import Holding, stored_holdings
from coinbase_assets.lake.portable_json import to_json
from coinbase_assets.lake.replaced_files import replaced
from coinbase_assets.monitoring.alert_state import load_state
from coinbase_assets.monitoring.freshness import freshness_windows
from coinbase_assets.plain_text import quoted
from coinbase_assets.settings import Settings
from coinbase_assets.storage.errors import PartitionMissing
from coinbase_assets.storage.parquet_store import ParquetStore


def show_status(settings: Settings, series: Sequence[Series], as_json: bool) -> bool:
    """Print the status of each of the series, and their problems.

    Returns whether all are complete and fresh.
    """
    with (
        with_storage(settings) as settings,
        open_store(settings) as store,
        opened_instance(settings.dagster_home) as instance,
    ):
        incidents = load_state(instance).incidents
        windows = {
            each: freshness_windows(each, settings.freshness_warn, settings.freshness_fail)
            for each in series
        }
        if as_json:
            return print_json(store, windows, incidents, settings.rollups)
        return print_with_problems(console, store, windows, incidents, settings.rollups)


def show_metrics(settings: Settings) -> None:
    """Print what `GET /metrics` answers."""
    # It loads the assets, which other commands here do not need.
    from coinbase_assets.web.metrics import MetricsPage

    with (
        with_storage(settings) as settings,
        opened_instance(settings.dagster_home) as instance,
    ):
        print(MetricsPage(settings, instance).text(), end="")


def show_incidents(settings: Settings) -> bool:
    """Print the open incidents. Returns whether there are any."""
    with opened_instance(settings.dagster_home) as instance:
        incidents = load_state(instance).incidents
    print_incidents(incidents, datetime.now(UTC))
    return bool(incidents)


def show_holdings(settings: Settings, text: str, as_json: bool) -> None:
    """Print what the lake holds of each series whose name holds the text, configured or not."""
    with with_storage(settings) as settings, open_store(settings) as store:
        now, wanted = datetime.now(UTC), text.lower()
        holdings = [each for each in stored_holdings(store) if wanted in str(each.series).lower()]
        if as_json:
            print(to_json([_as_json(each, now) for each in holdings], indent=2))
            return
        console.print_table(
            ("series", "from", "to", "candles", "size", "age", "days missing"),
            [_cells(each, now) for each in holdings],
        )
        if not holdings:
            what = f"No series with {quoted(text)} is stored" if text else "Nothing is stored yet"
            console.print(f"{what}; run coinbase-assets collect")
        console.print(f"Container {store.container_uri}")


def _cells(holding: Holding, now: datetime) -> Sequence[str]:
    first, last, age = holding.first_candle, holding.last_candle, holding.age(now)
    return (
        str(holding.series),
        f"{first:%F %H:%M}" if first else "-",
        f"{last:%F %H:%M}" if last else "-",
        f"{holding.candles:,}",
        decimal(holding.size),
        "-" if age is None else str(age).split(".")[0],
        as_ranges(holding.missing_days) or "-",
    )


def _as_json(holding: Holding, now: datetime) -> dict[str, object]:
    first, last, age = holding.first_candle, holding.last_candle, holding.age(now)
    return {
        "series": str(holding.series),
        "product": holding.series.product,
        "granularity": holding.series.granularity.value,
        "first_candle": format_time(first) if first else None,
        "last_candle": format_time(last) if last else None,
        "candles": holding.candles,
        "bytes": holding.size,
        "age_seconds": None if age is None else int(age.total_seconds()),
        "missing_days": list(holding.missing_days),
    }


def plot_series(
    settings: Settings,
    series: Sequence[CandleSeries],
    first: date | None,
    last: date | None,
    out: Path | None,
    length: str | None,
) -> list[Path]:
    """Draw each series, from the day `first` to `last`, both inclusive, and print where.

    By default, draws the newest DAYS days, into a file named after the series in the current
    folder. The candles drawn have this `length`, by default that of a series that is not
    collected, or else as few as fit. Raises PartitionMissing if there is no candle.
    """
    files = []
    with with_storage(settings) as settings, open_store(settings) as store:
        for each in series:
            file = out or Path.cwd() / f"{each.product}_{each.granularity}.png"
            _plot(store, each, first, last, file, length)
            console.print(f"{each}: drawn to {file}")
            files.append(file)
    return files


def _plot(
    store: ParquetStore,
    series: CandleSeries,
    first: date | None,
    last: date | None,
    file: Path,
    length: str | None,
) -> None:
    source = collected_source(store, series)
    newest = charts.last_candle(store, source) if source else None
    if not source or not newest:
        raise PartitionMissing(f"{series}: not in the lake; {_stored_series(store)}")
    last = last or newest.date()
    first = first or last - (charts.DAYS - 1) * DAY
    drawn = length or (None if source == series else series.granularity.value)
    step = folded_seconds(source, drawn) if drawn else None
    if step:
        refuse_too_many(first, last, step)
    figure = charts.draw_days(store, source, first, last, last, step)
    if not figure:
        raise PartitionMissing(
            f"{series}: no candles from {first} to {last}; the newest is from {newest:%F}"
        )
    from coinbase_assets.lake.drawing import render

    with replaced(file) as part:
        part.write_bytes(render(figure, file.suffix.lower().removeprefix(".")))


def _stored_series(store: ParquetStore) -> str:
    names = ", ".join(map(str, stored_series(store)))
    return f"it holds {names}" if names else "it holds no history yet; run collect first"
