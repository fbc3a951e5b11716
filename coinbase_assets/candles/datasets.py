"""The datasets of the lake: their names, asset keys and blob paths. Pure: no I/O.

An asset's key and the paths of its blobs both derive from its dataset. So a module finds the data
of an asset without importing the asset's module.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import lru_cache

from coinbase_assets.candles.series import CandleSeries, is_product, parse_candle_series

_PATH = re.compile(
    r"(?P<name>[a-z_]+)/"
    r"(product=(?P<product>[^/=]+)/granularity=(?P<granularity>[^/=]+)/)?"
    r"((?P<partition>date|month|product)=(?P<key>[^/=]+)/)?"
    r"(?P<file>[^/]+)"
)
_MONTH = re.compile(r"[0-9]{4}-(0[1-9]|1[0-2])")


@dataclass(frozen=True)
class Dataset:
    """A kind of file: its name, what partitions it (such as `month`, or ""), and its file name.

    Most datasets have a folder for each series. Datasets that all series share have none: their
    methods are called without a series.
    """

    name: str
    partition: str
    file: str

    def asset_key(self, series: CandleSeries | None = None) -> list[str]:
        """Return the parts of the asset's key, such as `ETH-EUR/15m/raw_candles`."""
        return [series.product, series.granularity.value, self.name] if series else [self.name]

    def folder(self, series: CandleSeries | None = None) -> str:
        """Return the folder of the dataset, or of the series in it, Hive-style, with a final slash.

        It is "" for a single file that all series share.
        """
        if series:
            return f"{self.name}/product={series.product}/granularity={series.granularity}/"
        return f"{self.name}/" if self.partition else ""

    def path(self, series: CandleSeries | None = None) -> str:
        """Return the template of the blobs' paths, with `{partition}` for the partition key."""
        partition = f"{self.partition}={{partition}}/" if self.partition else ""
        return f"{self.folder(series)}{partition}{self.file}"


@dataclass(frozen=True)
class Place:
    """Where a file of the lake belongs: its dataset, its series if it has one, its partition."""

    dataset: Dataset
    series: CandleSeries | None
    key: str


RAW_CANDLES = Dataset("raw_candles", "date", "candles.parquet")
CANDLE_HISTORY = Dataset("candle_history", "month", "candles.parquet")
CANDLE_COVERAGE = Dataset("candle_coverage", "month", "coverage.parquet")
CANDLE_ROLLUP = Dataset("candle_rollup", "month", "candles.parquet")
CANDLE_CHART = Dataset("candle_chart", "", "chart.png")
# A file is named after the time of the answer that brought the revisions.
CANDLE_REVISIONS = Dataset("candle_revisions", "date", "{answered}.parquet")
# What is known of each hole of a day that no single witness proves.
PROOFS = Dataset("proofs", "date", "proofs.parquet")
MARKET_HALTS = Dataset("market_halts", "month", "halts.parquet")
PRODUCTS = Dataset("products", "", "products.parquet")
LISTINGS = Dataset("listings", "product", "listing.parquet")
# Trade ids and their times, from which a search for the trades of a time begins.
TRADE_ANCHORS = Dataset("trade_anchors", "product", "anchors.parquet")

_WITH_SERIES = {
    each.name: each
    for each in (
        RAW_CANDLES,
        CANDLE_HISTORY,
        CANDLE_COVERAGE,
        CANDLE_ROLLUP,
        CANDLE_CHART,
        CANDLE_REVISIONS,
        PROOFS,
    )
}
_SHARED = {each.name: each for each in (MARKET_HALTS, LISTINGS, TRADE_ANCHORS)}


# A listing is read several times over: this many paths are a series of many years.
@lru_cache(maxsize=10_000)
def place_of(path: str) -> Place | None:
    """Return the place of a blob's path; None for a path that the lake does not use."""
    if not (match := _PATH.fullmatch(path)):
        return None
    has_series, key = match["product"] is not None, match["key"] or ""
    dataset = (_WITH_SERIES if has_series else _SHARED).get(match["name"])
    if not dataset or (match["partition"] or "") != dataset.partition:
        return None
    if not is_key(dataset, key) or dataset.file not in (match["file"], CANDLE_REVISIONS.file):
        return None
    try:
        name = f"{match['product']}:{match['granularity']}"
        return Place(dataset, parse_candle_series(name) if has_series else None, key)
    except ValueError:
        return None


def dataset_of(asset_key: Sequence[str]) -> tuple[Dataset, CandleSeries] | None:
    """Return the dataset and the series of an asset; None for an asset without a series."""
    *series, name = asset_key
    if len(series) != 2 or name not in _WITH_SERIES:
        return None
    return _WITH_SERIES[name], parse_candle_series(":".join(series))


def is_key(dataset: Dataset, key: str) -> bool:
    """Return whether a partition of the dataset can have this key."""
    match dataset.partition:
        case "month":
            return _MONTH.fullmatch(key) is not None
        case "product":
            return is_product(key)
        case "date":
            try:
                return f"{date.fromisoformat(key):%F}" == key
            except ValueError:
                return False
    return not key
