"""`<product>/<granularity>/candle_chart`: a picture of the newest candles and of their gaps."""

import base64
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import dagster as dg

from coinbase_assets.candles.calendar import DAY
from coinbase_assets.candles.datasets import CANDLE_CHART, CANDLE_COVERAGE, CANDLE_HISTORY
from coinbase_assets.candles.series import Series
from coinbase_assets.dagster_instance.deployment import OWN, Deployment
from coinbase_assets.lake.charts import DAYS, LAST_DAY, draw_days, last_candle
from coinbase_assets.storage.blob_metadata import blob_metadata
from coinbase_assets.storage.io_manager import AzureParquetIOManager
from coinbase_assets.storage.paths import PATH_METADATA

if TYPE_CHECKING:
    from coinbase_assets.storage.parquet_store import ParquetStore

_STATES = """\
A day of the calendar has the colour of its worst state, and a shade for the part of the day in it:
`not_collected`: nobody asked; `open`: not over, or not compared yet; `unconfirmed`: in doubt, and
asked for again; `unprovable`: in doubt, without a witness; `pending`: due in the next nights.
"""


def build_candle_chart(series: Series, deployment: Deployment = OWN) -> dg.AssetsDefinition:
    """Return the asset that draws the last days of a series."""

    @dg.asset(
        key=deployment.key(CANDLE_CHART, series),
        deps=[deployment.key(kind, series) for kind in (CANDLE_HISTORY, CANDLE_COVERAGE)],
        required_resource_keys={deployment.lake},
        group_name=series.group,
        kinds={"azure", "matplotlib"},
        metadata={PATH_METADATA: CANDLE_CHART.path(series)},
        description=(
            f"A picture of {series.product}: the {series.granularity} candles and volume of the"
            f" last {DAYS} days, and a calendar of the last year with the state of each day. It is"
            " drawn every hour, and is in the metadata entry `chart`, with its words in `states`."
        ),
    )
    def candle_chart(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        lake: AzureParquetIOManager = deployment.lake_of(context)
        return dg.MaterializeResult(metadata=_store_chart(lake.store, series))

    return candle_chart


def _store_chart(store: "ParquetStore", series: Series) -> dict[str, dg.MetadataValue]:
    """Draw the chart, store it, and return the metadata that the web UI shows."""
    from coinbase_assets.lake.drawing import render

    newest = last_candle(store, series)
    if not newest:
        message = f"Nothing to draw yet: the lake holds no history of {series}."
        return {"chart": dg.MetadataValue.md(message)}
    first, last = newest.date() - (DAYS - 1) * DAY, newest.date()
    figure = draw_days(store, series, first, last, datetime.now(UTC).date())
    assert figure
    picture = render(figure)
    fields = {LAST_DAY: str(last)}
    blob = store.put_bytes(CANDLE_CHART.path(series), picture, "image/png", fields)
    data = base64.b64encode(picture).decode()
    return {
        "chart": dg.MetadataValue.md(f"![{series}](data:image/png;base64,{data})"),
        "states": dg.MetadataValue.md(_STATES),
        "first_day": dg.MetadataValue.text(str(first)),
        **blob_metadata(store.uri(blob.path), blob),
    }
