"""Known pairs of a trade's id and time, by which the trades of any time are found sooner.

They are kept in the lake. Anchors only say where to ask: a wrong one costs requests, and is dropped
when an answer contradicts it.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa

from coinbase_assets.candles.datasets import TRADE_ANCHORS
from coinbase_assets.candles.table import TIME_TYPE, epoch_microseconds
from coinbase_assets.candles.trades import LARGEST_ID
from coinbase_assets.storage.errors import BlobChanged, BlobDamaged
from coinbase_assets.table_metadata import with_fields

if TYPE_CHECKING:
    from coinbase_assets.storage.parquet_store import ParquetStore

ANCHOR_SCHEMA = pa.schema(
    [pa.field("id", pa.int64(), nullable=False), pa.field("time", TIME_TYPE, nullable=False)]
)
MOST_ANCHORS = 500


class Anchor(NamedTuple):
    """The id of a trade, and its time in microseconds since 1970."""

    id: int
    time: int


class TradeAnchors:
    """The anchors of a product: those in the lake at `store`, and those of answers."""

    def __init__(self, store: "ParquetStore", product: str) -> None:
        self._store = store
        self._product = product
        self._stored = self._read()
        self._answered: dict[int, int] = {}
        self._saved = 0

    def add(self, trades: pa.Table) -> None:
        """Add the first and the last trade of an answer."""
        ids, times = trades["id"], epoch_microseconds(trades["time"])
        for place in {0, trades.num_rows - 1} if trades.num_rows else ():
            self._answered[ids[place].as_py()] = int(times[place])

    def all(self) -> Sequence[Anchor]:
        """Return the anchors, ascending by id, without stored ones that answers contradict."""
        believed = {
            **_consistent(self._stored, self._answered),
            **self._answered,
        }
        return [Anchor(*pair) for pair in sorted(believed.items())]

    def around(self, start: int, end: int) -> tuple[Anchor | None, Anchor | None]:
        """Return the nearest anchors before `start`, and not before `end`, both in microseconds.

        Where ids restart, these are the newest such pair. Without an anchor after, there is none
        before.
        """
        after = None
        for anchor in reversed(self.all()):
            if anchor.time >= end:
                after = anchor
            elif anchor.time < start and after:
                return anchor, after
        return None, after

    def save(self) -> None:
        """Store the anchors if there are new ones. Another run that stores at once may win."""
        if len(self._answered) == self._saved:
            return
        self._saved = len(self._answered)
        kept = thin_anchors(self.all())
        columns = [[anchor.id for anchor in kept], [anchor.time for anchor in kept]]
        table = pa.table(
            [pa.array(columns[0], pa.int64()), pa.array(columns[1], pa.int64()).cast(TIME_TYPE)],
            ANCHOR_SCHEMA,
        )
        found = self._store.find([self._path]).get(self._path)
        with suppress(BlobChanged):
            self._store.put(self._path, with_fields(table, {"product": self._product}), found)

    @property
    def _path(self) -> str:
        return TRADE_ANCHORS.path().format(partition=self._product)

    def _read(self) -> Mapping[int, int]:
        """Return the stored anchors, none if the blob is missing or damaged."""
        if not self._store.find([self._path]):
            return {}
        with suppress(BlobDamaged, BlobChanged):
            table = self._store.get(self._path)
            if [table.schema.field(name) for name in table.column_names] == list(ANCHOR_SCHEMA):
                pairs = zip(table["id"].to_pylist(), epoch_microseconds(table["time"]), strict=True)
                return {number: int(time) for number, time in pairs if 0 < number <= LARGEST_ID}
        return {}


def _consistent(stored: Mapping[int, int], answered: Mapping[int, int]) -> Mapping[int, int]:
    """Return the stored anchors whose times lie between those of the answered anchors around."""
    ids = sorted(answered)
    times = [-(2**62), *(answered[number] for number in ids), 2**62]
    places = np.searchsorted(ids, list(stored))
    return {
        number: time
        for (number, time), place in zip(stored.items(), places.tolist(), strict=True)
        if times[place] <= time <= times[place + 1]
    }


def thin_anchors(anchors: Sequence[Anchor]) -> Sequence[Anchor]:
    """Return at most MOST_ANCHORS of the anchors, spread evenly over time."""
    if len(anchors) <= MOST_ANCHORS:
        return anchors
    times = [anchor.time for anchor in anchors]
    bins = MOST_ANCHORS // 2
    width = (max(times) - min(times)) // bins + 1
    kept = {**_first_of_bins(anchors, width), **_first_of_bins(reversed(anchors), width)}
    return sorted(kept)


def _first_of_bins(anchors: Iterable[Anchor], width: int) -> dict[Anchor, None]:
    firsts: dict[int, Anchor] = {}
    for anchor in anchors:
        firsts.setdefault(anchor.time // width, anchor)
    return dict.fromkeys(firsts.values())
