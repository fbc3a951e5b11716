"""The inventory of a series: what the lake holds of it, beside what it should hold.

It is made of listings. A file is read only if its blob's metadata does not belong to it.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING

from coinbase_assets.candles.calendar import month_of
from coinbase_assets.candles.datasets import (
    CANDLE_COVERAGE,
    CANDLE_HISTORY,
    CANDLE_REVISIONS,
    CANDLE_ROLLUP,
    LISTINGS,
    PROOFS,
    RAW_CANDLES,
    Dataset,
    place_of,
)
from coinbase_assets.candles.days import parse_numbers, refreshed_at
from coinbase_assets.candles.evidence import RULE
from coinbase_assets.candles.months import DAYS_HELD, MADE_OF, days_digest, months_digest
from coinbase_assets.candles.rollups import source_months
from coinbase_assets.candles.series import CandleSeries, Series
from coinbase_assets.completeness.ledger import State
from coinbase_assets.lake.stock import Blobs, Stock, take_stock
from coinbase_assets.storage.concurrency import map_concurrently
from coinbase_assets.storage.stored_blob import StoredBlob

if TYPE_CHECKING:
    from coinbase_assets.storage.parquet_store import ParquetStore

Digests = Mapping[str, str]
"""What months are made of, by month."""

_OF_SERIES = (RAW_CANDLES, CANDLE_HISTORY, CANDLE_COVERAGE, CANDLE_REVISIONS, PROOFS)
_BY_LISTING = (State.BEFORE_LISTING, State.AFTER_DELISTING)
_MOST_NAMED = 3
# A sensor builds the months of new days within a minute or two.
_TO_BUILD = timedelta(minutes=15)
_COLLECT = "`coinbase-assets collect`"
_REHYDRATE = "az storage blob set-tier --tier Hot --container-name CONTAINER --name PATH"


@dataclass(frozen=True)
class Inventory:
    """What the lake holds of a series, with its rollups.

    `lacks_listing` is true if ledgers name the product's first or last day, but the lake does not
    hold it any more.
    """

    series: Series
    stocks: Mapping[Dataset, Stock]
    rollups: Mapping[CandleSeries, Stock]
    lacks_listing: bool

    @property
    def days(self) -> Blobs:
        return self.stocks[RAW_CANDLES].by_key

    @property
    def history(self) -> Blobs:
        return self.stocks[CANDLE_HISTORY].by_key

    @cached_property
    def lost_days(self) -> Sequence[str]:
        """The days that were stored once: the history names them, or their files are damaged."""
        damaged = {place_of(path) for path in self.stocks[RAW_CANDLES].damaged}
        held = {
            f"{month}-{number:02}"
            for month, blob in self.history.items()
            for number in parse_numbers(blob.fields.get(DAYS_HELD, ""))
        }
        return sorted({place.key for place in damaged if place} | held - self.days.keys())

    @cached_property
    def stale_months(self) -> Sequence[str]:
        """The months whose history or ledger is missing, or made of other days or months."""
        digests = self._digests_of_days
        ledgers = self.stocks[CANDLE_COVERAGE].by_key
        return [
            month
            for month, digest in digests.items()
            if _made_of(self.history.get(month)) != digest
            or _made_of(ledgers.get(month)) != digest
            or ledgers[month].fields.get("rule") != str(RULE)
        ]

    @cached_property
    def _digests_of_days(self) -> Digests:
        months = defaultdict[str, dict[str, Mapping[str, str]]](dict)
        for day, blob in self.days.items():
            months[month_of(day)][day] = blob.fields
        return {month: days_digest(days) for month, days in months.items()}

    def stale_rollup_months(self, rollup: CandleSeries) -> Sequence[str]:
        """Return the months of a rollup that are missing, or made of another history."""
        stored, digests = self.rollups[rollup].by_key, self._digests_of_history(rollup)
        return [month for month in digests if _made_of(stored.get(month)) != digests[month]]

    def _digests_of_history(self, rollup: CandleSeries) -> Digests:
        """Return what each month of the rollup should be made of."""
        made_of = {month: _made_of(blob) for month, blob in self.history.items()}
        sources = {month: source_months(rollup.granularity, month) for month in made_of}
        return {
            month: months_digest([made_of[key] for key in sources[month] if key in made_of])
            for month in made_of
        }

    @cached_property
    def lost_revisions(self) -> Mapping[str, int]:
        """How many files with revisions are gone, by day."""
        stored = self.stocks[CANDLE_REVISIONS].intact
        counts = {
            day: int(blob.fields.get("revisions", 0)) - len(stored.get(day, ()))
            for day, blob in self.days.items()
        }
        return {day: count for day, count in counts.items() if count > 0}

    @property
    def blobs(self) -> Sequence[StoredBlob]:
        """All intact blobs."""
        return [blob for stock in self._all_stocks for blob in stock.blobs]

    @property
    def _all_stocks(self) -> Sequence[Stock]:
        return [*self.stocks.values(), *self.rollups.values()]

    @property
    def outdated(self) -> Sequence[StoredBlob]:
        """The blobs whose metadata does not belong to their files."""
        return [blob for blob in self.blobs if blob.is_outdated]

    @property
    def damaged(self) -> int:
        """The number of damaged files."""
        return sum(len(stock.damaged) for stock in self._all_stocks)

    @property
    def foreign(self) -> Sequence[str]:
        return [path for stock in self._all_stocks for path in stock.foreign]

    def problems(self, now: datetime) -> Iterator[str]:
        """Yield what is wrong, in lines with the remedy.

        Months of days that were answered a moment ago are not: they are being built.
        """
        for stock in self._all_stocks:
            for path, blob in stock.damaged.items():
                yield f"{path} is damaged ({blob.damage}); {_COLLECT} replaces it"
            for path in stock.doubled:
                yield f"{path} is counted by readers of the folder, too; remove it"
        lines = {
            f"cannot be read, because archived; {_REHYDRATE}": self._archived,
            f"missing, though collected once; {_COLLECT} asks for it again": self.lost_days,
            f"older than what it is made of, or missing; {_COLLECT} builds it": self._overdue(now),
            f"its metadata is that of another file; {_COLLECT} stores it again": self._outdated,
            f"its revisions are missing, and gone for good; {_COLLECT} records that": list(
                self.lost_revisions
            ),
        }
        for what, names in lines.items():
            if names:
                yield f"{self.series}: {_some(names)}: {what}"
        if self.lacks_listing:
            yield f"{self.series}: the first or last day is missing; {_COLLECT} asks for it again"

    @property
    def _archived(self) -> Sequence[str]:
        return [blob.path for blob in self.blobs if blob.archived]

    @property
    def _outdated(self) -> Sequence[str]:
        return [blob.path for blob in self.outdated]

    def overdue(self, now: datetime) -> Mapping[tuple[Dataset, CandleSeries], Digests]:
        """Return the months that should have been built by now, with what they are to be made of.

        Those that an earlier version built, without a digest, may be all right.
        """
        stocks = {
            (dataset, self.series): (self.stocks[dataset].by_key, self._digests_of_days)
            for dataset in (CANDLE_HISTORY, CANDLE_COVERAGE)
        } | {
            (CANDLE_ROLLUP, rollup): (stock.by_key, self._digests_of_history(rollup))
            for rollup, stock in self.rollups.items()
        }
        answered = {month_of(day): _refreshed_at(blob, now) for day, blob in self.days.items()}
        return {
            built: {
                month: digest
                for month, digest in digests.items()
                if answered.get(month, now) < now - _TO_BUILD and _is_old(stored.get(month), digest)
            }
            for built, (stored, digests) in stocks.items()
        }

    def _overdue(self, now: datetime) -> Sequence[str]:
        return [
            f"{dataset.name}{'' if each == self.series else f' {each.granularity}'} {month}"
            for (dataset, each), months in self.overdue(now).items()
            for month in months
        ]


def _made_of(blob: StoredBlob | None) -> str | None:
    return blob.fields.get(MADE_OF) if blob else None


def _is_old(blob: StoredBlob | None, digest: str) -> bool:
    return blob is None or blob.fields.get(MADE_OF, digest) != digest


def _refreshed_at(blob: StoredBlob, default: datetime) -> datetime:
    is_known = "fetched_at" in blob.fields
    return refreshed_at(blob.fields) if is_known else default


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more


def inspect(
    store: "ParquetStore", series: Series, rollups: Sequence[CandleSeries] = ()
) -> Inventory:
    """Take the inventory of a series and of its rollups. Raises StorageError."""
    wanted = [
        *((dataset, series) for dataset in _OF_SERIES),
        *((CANDLE_ROLLUP, r) for r in rollups),
    ]
    # Each waits for the storage, by far the longest.
    found = map_concurrently(lambda of: take_stock(store, *of), wanted)
    by_series = dict(zip(wanted, found, strict=True))
    stocks = {dataset: by_series[dataset, series] for dataset in _OF_SERIES}
    listing = LISTINGS.path().format(partition=series.product)
    ledgers = stocks[CANDLE_COVERAGE].by_key.values()
    names_listing = any(
        int(ledger.fields.get(f"buckets_{state}", 0)) for ledger in ledgers for state in _BY_LISTING
    )
    return Inventory(
        series,
        stocks,
        {rollup: by_series[CANDLE_ROLLUP, rollup] for rollup in rollups},
        names_listing and listing not in store.find([listing]),
    )
