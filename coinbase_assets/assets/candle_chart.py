"""`candle_chart/<product>/<granularity>`: the newest candles, and how complete they are, drawn."""

import base64
from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

import dagster as dg
import pyarrow as pa

from coinbase_assets.assets import candle_coverage, candle_history
from coinbase_assets.candles import clip_candles, empty_candles
from coinbase_assets.coarsening import coarsen_candles
from coinbase_assets.coverage import COVERAGE_SCHEMA
from coinbase_assets.days import DAY
from coinbase_assets.partitions import day_start, month_of
from coinbase_assets.series import Series
from coinbase_assets.storage.io_manager import AzureParquetIOManager
from coinbase_assets.storage.paths import PATH_METADATA
from coinbase_assets.storage.read_ahead import read_ahead

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from coinbase_assets.storage.parquet_store import ParquetStore

KIND = "candle_chart"
DAYS = 30


def blob_path(series: Series) -> str:
    return f"{series.blob_folder(KIND)}chart.png"


def build_candle_chart(series: Series) -> dg.AssetsDefinition:
    """The asset that draws the last days of a series."""

    @dg.asset(
        key=series.asset_key(KIND),
        deps=[
            dg.AssetKey(series.asset_key(kind))
            for kind in (candle_history.KIND, candle_coverage.KIND)
        ],
        group_name=series.group,
        kinds={"azure", "matplotlib"},
        metadata={PATH_METADATA: blob_path(series)},
        description=(
            f"A picture of {series.product}: its {series.granularity} candles and their volume of"
            f" the last {DAYS} days, and a calendar of the last year, each day in the colour of its"
            " worst bucket's state. Drawn every hour; see `chart` in its metadata."
        ),
    )
    def candle_chart(lake: dg.ResourceParam[AzureParquetIOManager]) -> dg.MaterializeResult:
        return dg.MaterializeResult(metadata=_store_chart(lake.store, series))

    return candle_chart


def last_candle(store: "ParquetStore", series: Series) -> datetime | None:
    """The start of the newest candle's bucket; None if there are no candles."""
    months = store.list_partitions(series.blob_folder(candle_history.KIND)).values()
    found = [blob.fields["last_candle"] for blob in months if blob.fields.get("last_candle")]
    return max(map(datetime.fromisoformat, found), default=None)


def draw_days(
    store: "ParquetStore", series: Series, first: date, last: date, calendar_until: date
) -> "Figure | None":
    """The candles from the first to the last day, both inclusive, UTC; None if there are none."""
    # It takes a second to load, and only who draws should wait for it.
    from coinbase_assets import charts

    start, end = day_start(str(first)), day_start(str(last + DAY))
    step = charts.drawn_step(series, start, end)
    months = _tables(store, series.blob_folder(candle_history.KIND), first, last)
    # Each month at once, since those of years may not fit into memory.
    parts = [coarsen_candles(clip_candles(one, start, end), step) for one in months]
    candles = pa.concat_tables([empty_candles(), *parts])
    if not candles.num_rows:
        return None
    begin = calendar_until - (charts.CALENDAR_DAYS - 1) * DAY
    ledgers = _tables(store, series.blob_folder(candle_coverage.KIND), begin, calendar_until)
    ledger = pa.concat_tables([COVERAGE_SCHEMA.empty_table(), *ledgers])
    calendar = charts.build_calendar(ledger, calendar_until)
    return charts.draw_candles(candles, series, start, end, calendar)


def _store_chart(store: "ParquetStore", series: Series) -> dict[str, dg.MetadataValue]:
    """Draw and store; what the web UI shows of it."""
    from coinbase_assets.charts import render

    newest = last_candle(store, series)
    if not newest:
        said = f"Nothing to draw yet: the lake holds no history of {series}."
        return {"chart": dg.MetadataValue.md(said)}
    first, last = newest.date() - (DAYS - 1) * DAY, newest.date()
    figure = draw_days(store, series, first, last, datetime.now(UTC).date())
    assert figure
    picture = render(figure)
    blob = store.put_bytes(blob_path(series), picture, "image/png")
    data = base64.b64encode(picture).decode()
    return {
        "chart": dg.MetadataValue.md(f"![{series}](data:image/png;base64,{data})"),
        "first_day": dg.MetadataValue.text(str(first)),
        "last_day": dg.MetadataValue.text(str(last)),
        "dagster/uri": dg.MetadataValue.text(store.uri(blob.path)),
        "size_bytes": dg.MetadataValue.int(blob.size),
    }


def _tables(store: "ParquetStore", folder: str, first: date, last: date) -> Iterator[pa.Table]:
    """The months' tables from that of the first to that of the last day, without their fields."""
    blobs = store.list_partitions(folder)
    paths = [
        blobs[key].path
        for key in sorted(blobs)
        if month_of(f"{first}") <= key <= month_of(f"{last}")
    ]
    return (table.replace_schema_metadata(None) for table in read_ahead(store.get, paths))
