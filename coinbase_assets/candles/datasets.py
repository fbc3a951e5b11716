"""What the lake holds: each dataset's name, and where it lies. Pure: no Dagster, no I/O.

An asset's key and its blobs' paths both derive from its dataset, so that no module needs another
asset's module to find its data.
"""

from dataclasses import dataclass

from coinbase_assets.candles.series import CandleSeries


@dataclass(frozen=True)
class Dataset:
    """A kind of table: its name, what partitions it (`date`, `month` or nothing), its file's name.

    A dataset that each series has lies below the series' folder; one that all series share is
    found without a series.
    """

    name: str
    partition: str
    file: str

    def asset_key(self, series: CandleSeries | None = None) -> list[str]:
        """The path of the asset's key, such as `ETH-EUR/15m/raw_candles`."""
        return [series.product, series.granularity.value, self.name] if series else [self.name]

    def folder(self, series: CandleSeries | None = None) -> str:
        """The folder of the dataset, or of one series in it; Hive-style, with a slash at its end.

        A file that nothing partitions and all series share needs none.
        """
        if series:
            return f"{self.name}/product={series.product}/granularity={series.granularity}/"
        return f"{self.name}/" if self.partition else ""

    def path(self, series: CandleSeries | None = None) -> str:
        """The template of the blobs' paths, with `{partition}` where the partition key stands."""
        partition = f"{self.partition}={{partition}}/" if self.partition else ""
        return f"{self.folder(series)}{partition}{self.file}"


RAW_CANDLES = Dataset("raw_candles", "date", "candles.parquet")
CANDLE_HISTORY = Dataset("candle_history", "month", "candles.parquet")
CANDLE_COVERAGE = Dataset("candle_coverage", "month", "coverage.parquet")
CANDLE_ROLLUP = Dataset("candle_rollup", "month", "candles.parquet")
CANDLE_CHART = Dataset("candle_chart", "", "chart.png")
# Its files are named after the time of the answer that brought the revisions.
CANDLE_REVISIONS = Dataset("candle_revisions", "date", "{answered}.parquet")
MARKET_HALTS = Dataset("market_halts", "month", "halts.parquet")
PRODUCTS = Dataset("products", "", "products.parquet")
LISTINGS = Dataset("listings", "product", "listing.parquet")
