"""Markets for the stand-in exchange: synthetic ones, Parquet files, rows given by a test.

Data only; HTTP, rate limits and faults belong in `exchange.py`. Times are epoch seconds, UTC.
"""

import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

Row = Sequence[Any]
"""`[time, low, high, open, close, volume]`, in the exchange's order of columns."""
Column = NDArray[Any]


class Market(Protocol):
    """The candles of a product."""

    @property
    def listing(self) -> int:
        """The time of the first trade, in epoch seconds."""

    def candles(self, granularity: int, first: int, last: int, now: float) -> Sequence[Row]:
        """Return the rows of the buckets from `first` to `last`, both inclusive, oldest first.

        `granularity` is in seconds, `first` and `last` are bucket starts in epoch seconds. Buckets
        without a trade have no row. The bucket that holds `now` is made of the trades before `now`.
        """


class Candles(NamedTuple):
    """Columns of candles, ascending in time, in the order of the exchange's rows."""

    time: Column
    low: Column
    high: Column
    open: Column
    close: Column
    volume: Column

    def rows(self) -> list[list[Any]]:
        """Return the candles as rows of plain numbers."""
        return [list(row) for row in zip(*(column.tolist() for column in self), strict=True)]

    def select(self, index: Any) -> "Candles":
        """Return the candles that a mask, a slice or an array of indexes selects."""
        return Candles(*(column[index] for column in self))

    def aggregate(self, granularity: int) -> "Candles":
        """Return the candles of a coarser granularity, in seconds, made of these candles."""
        if not self.time.size:
            return self
        bucket = self.time // granularity * granularity
        starts = np.flatnonzero(np.diff(bucket, prepend=-1))
        ends = np.append(starts[1:], bucket.size) - 1
        return Candles(
            time=bucket[starts],
            low=np.minimum.reduceat(self.low, starts),
            high=np.maximum.reduceat(self.high, starts),
            open=self.open[starts],
            close=self.close[ends],
            volume=np.round(np.add.reduceat(self.volume, starts), 8),
        )

    def forming(self, share: float, decimals: int) -> "Candles":
        """Return the candles, the last of them as it is after a share of its bucket's time."""
        part = Candles(*(column.copy() for column in self))
        start = self.open[-1]
        for column in (part.low, part.high, part.close):
            column[-1] = np.round(start + (column[-1] - start) * share, decimals)
        part.volume[-1] = max(1e-8, np.round(self.volume[-1] * share, 8))
        return part


FOREVER = datetime.max.replace(tzinfo=UTC)
# Real halts: the exchange traded no product between these times.
HALTS = (
    (datetime(2023, 3, 4, 17, 0, tzinfo=UTC), datetime(2023, 3, 4, 21, 36, tzinfo=UTC)),
    (datetime(2025, 10, 25, 15, 15, tzinfo=UTC), datetime(2025, 10, 25, 20, 55, tzinfo=UTC)),
)
WAVES = [(0.5, 1_100_003), (0.08, 43_201), (0.02, 1_447), (0.003, 61)]
"""Slow movements of the logarithm of a price: amplitude, and period in minutes."""
NOISE = 4e-4
DAY = 86400


def _epoch(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


@dataclass(frozen=True)
class SyntheticMarket:
    """A market whose candles are computed from the product's name and the minute.

    Coarser candles are made of the minutes, so all granularities agree. `listing` is the minute
    of the first trade, `untraded` the share of minutes without a trade, `price` the middle of the
    prices. `revised` is the share of minutes whose volume is 5 % too low until a day after their
    end. Nothing is traded in `halts`, from their start to before their end, and from `delisted` on.
    """

    product: str
    listing: int = _epoch("2018-01-01T00:07")
    untraded: float = 0.03
    price: float = 100.0
    revised: float = 0.0
    halts: Sequence[tuple[datetime, datetime]] = HALTS
    delisted: datetime = FOREVER

    @property
    def decimals(self) -> int:
        """The number of decimals of a price."""
        return 2 if self.price >= 10 else 5

    def candles(self, granularity: int, first: int, last: int, now: float) -> list[list[Any]]:
        """Return rows, see `Market.candles`."""
        begin = max(first, self.listing) // 60
        end = min(last + granularity, int(now) // 60 * 60 + 60) // 60
        return self._minutes(begin, end, now).aggregate(granularity).rows() if begin < end else []

    def _minutes(self, begin: int, end: int, now: float) -> Candles:
        minute, edges = np.arange(begin, end), self._prices(np.arange(begin, end + 1))
        start, stop = edges[:-1], edges[1:]
        skip, up, down, amount = self._random("trades", minute)
        minutes = Candles(
            time=minute * 60,
            low=np.round(np.minimum(start, stop) * (1 - NOISE * down), self.decimals),
            high=np.round(np.maximum(start, stop) * (1 + NOISE * up), self.decimals),
            open=start,
            close=stop,
            volume=self._volumes(minute, amount, now),
        )
        return self._traded(minutes, skip, now)

    def _prices(self, minute: Column) -> Column:
        """Return the prices at the starts of minutes; a minute closes at the next minute's open."""
        shift, phase = self._random("prices", minute)[0], self._seed("waves")
        log = np.log(self.price) + NOISE * shift
        for amplitude, period in WAVES:
            log += amplitude * np.sin(2 * np.pi / period * (minute + phase % period))
        return np.round(np.exp(log), self.decimals)

    def _volumes(self, minute: Column, amount: Column, now: float) -> Column:
        volume = np.maximum(1e-8, np.round(60_000 / self.price * amount**4, 8))
        if self.revised:
            young = minute * 60 + 60 + DAY > now
            low = young & (self._random("revisions", minute)[0] < self.revised)
            volume = np.where(low, np.maximum(1e-8, np.round(volume * 0.95, 8)), volume)
        return volume

    def _traded(self, minutes: Candles, skip: Column, now: float) -> Candles:
        """Drop minutes without trades; a forming minute appears up to 6 s late (observed)."""
        traded = (skip >= self.untraded) | (minutes.time == self.listing // 60 * 60)
        for begin, end in (*self.halts, (self.delisted, FOREVER)):
            traded &= (minutes.time < begin.timestamp()) | (minutes.time >= end.timestamp())
        minutes, delay = minutes.select(traded), 6 * skip[traded][-1:]
        if not minutes.time.size or minutes.time[-1] + 60 <= now:
            return minutes
        share = float((now - minutes.time[-1] - delay[0]) / (60 - delay[0]))
        return minutes.forming(share, self.decimals) if share > 0 else minutes.select(slice(-1))

    def _seed(self, purpose: str) -> int:
        return zlib.crc32(f"{self.product}/{purpose}".encode())

    def _random(self, purpose: str, minute: Column) -> Column:
        """Return 4 rows of uniform numbers in [0, 1), a column for each minute (splitmix64)."""
        z = minute.astype(np.uint64) + np.uint64(self._seed(purpose) << 31)
        z *= np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return (z ^ (z >> np.uint64(31))).view(np.uint16).reshape(-1, 4).T / 65536


# The listing day of ETH-USD is real, the other listings are made up. The untraded shares of the
# BTC books and of ETH-EUR were measured in March 2023, without the halt.
SYNTHETIC = [
    SyntheticMarket("ETH-EUR", _epoch("2017-05-23T09:31"), 0.07, 1_900.0),
    SyntheticMarket("BTC-USD", _epoch("2015-01-08T17:02"), 0.004, 30_000.0),
    SyntheticMarket("BTC-EUR", _epoch("2015-04-23T12:44"), 0.10, 28_000.0),
    SyntheticMarket("BTC-USDT", _epoch("2021-05-04T16:05"), 0.19, 30_000.0),
    SyntheticMarket("LTC-USD", _epoch("2016-08-17T20:13"), 0.03, 80.0),
    SyntheticMarket("ETH-USD", _epoch("2016-05-18T00:14"), 0.01, 2_000.0),
    SyntheticMarket("SOL-USD", _epoch("2021-06-17T15:58"), 0.02, 60.0),
    SyntheticMarket("XRP-USD", _epoch("2019-02-26T18:00"), 0.03, 0.6),
]


def synthetic_markets(products: Iterable[str] | None = None) -> dict[str, Market]:
    """Return the synthetic market of each product; without products, the markets of `SYNTHETIC`.

    A USDC book is the USD book under another name, like at the exchange.
    """
    known = {market.product: market for market in SYNTHETIC}
    books = {name: name.replace("-USDC", "-USD") for name in products or known}
    return {name: known.get(book) or SyntheticMarket(book) for name, book in books.items()}


@dataclass
class ListMarket:
    """Rows given by a test for each granularity (seconds), oldest first; served unchanged."""

    rows: Mapping[int, Sequence[Row]]

    @property
    def listing(self) -> int:
        """The time of the oldest row, 0 without rows."""
        return min((row[0] for rows in self.rows.values() for row in rows), default=0)

    def candles(self, granularity: int, first: int, last: int, now: float) -> list[Row]:
        """Return the rows from `first` to `last` whose bucket has begun, whatever their values."""
        rows = self.rows.get(granularity, ())
        return [row for row in rows if first <= row[0] <= min(last, now)]


def consistent_market(granularity: int, rows: Sequence[Row]) -> ListMarket:
    """Return a market with these rows, oldest first, and all coarser candles made of them."""
    columns = [np.array(column) for column in zip(*rows, strict=True)] or [np.array([])] * 6
    candles = Candles(*columns)
    coarser = [seconds for seconds in (300, 900, 3_600, 21_600, DAY) if seconds > granularity]
    made = {seconds: candles.aggregate(seconds).rows() for seconds in coarser}
    return ListMarket({granularity: rows, **made})


@dataclass
class FileMarket:
    """The candles in Parquet files named PRODUCT_GRANULARITYSECONDS_SPAN.parquet.

    Columns: time (int64, epoch seconds), low, high, open, close, volume; rows in any order. Of two
    rows with the same time, that of the first file counts. Granularities without a file have no
    rows.
    """

    files: Iterable[Path]
    series: dict[int, Candles] = field(init=False)

    def __post_init__(self) -> None:
        tables: dict[int, list[pa.Table]] = {}
        for file in sorted(self.files):
            granularity = int(file.stem.split("_")[1])
            with pq.ParquetFile(file) as source:
                tables.setdefault(granularity, []).append(source.read())
        self.series = {seconds: _combine(parts) for seconds, parts in tables.items()}

    @property
    def listing(self) -> int:
        """The time of the oldest candle of any granularity."""
        return min(int(candles.time[0]) for candles in self.series.values())

    def candles(self, granularity: int, first: int, last: int, now: float) -> list[list[Any]]:
        """Return rows, see `Market.candles`; the forming row is its elapsed share."""
        if granularity not in self.series:
            return []
        series = self.series[granularity]
        begin, end = np.searchsorted(series.time, [first, min(last, int(now)) + 1])
        candles = series.select(slice(begin, end))
        if candles.time.size and candles.time[-1] + granularity > now:
            candles = candles.forming((now - int(candles.time[-1])) / granularity, decimals=8)
        return candles.rows()


def _combine(tables: list[pa.Table]) -> Candles:
    # DLPack instead of `to_numpy()`, which imports pandas: that takes longer than all the rest.
    columns = (
        [part for table in tables for part in table[name].chunks] for name in Candles._fields
    )
    candles = Candles(*(np.concatenate([*map(np.from_dlpack, parts)]) for parts in columns))
    return candles.select(np.unique(candles.time, return_index=True)[1])


def file_markets(folder: Path) -> dict[str, Market]:
    """Return the market of each product that has candle files in a folder."""
    files: dict[str, list[Path]] = {}
    for file in folder.glob("*_*_*.parquet"):
        files.setdefault(file.stem.split("_")[0], []).append(file)
    return {product: FileMarket(paths) for product, paths in sorted(files.items())}
