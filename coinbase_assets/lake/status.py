"""What is in the lake, and what is not explained: told by its blobs alone, nobody is asked."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING

from coinbase_assets.candles.calendar import DAY, day_start, month_of, month_range
from coinbase_assets.candles.datasets import CANDLE_COVERAGE, CANDLE_HISTORY, RAW_CANDLES, Dataset
from coinbase_assets.candles.days import is_settled
from coinbase_assets.candles.series import Series
from coinbase_assets.completeness.ledger import State
from coinbase_assets.storage.stored_blob import StoredBlob

if TYPE_CHECKING:
    from coinbase_assets.storage.parquet_store import ParquetStore

Blobs = Mapping[str, StoredBlob]


@dataclass(frozen=True)
class UnexplainedInterval:
    """An interval from `start` to before `end` that is not explained, and why."""

    start: datetime
    end: datetime
    state: State
    evidence: str

    @property
    def days(self) -> list[str]:
        """The keys of the days it lies in."""
        first, last = self.start.date(), (self.end - timedelta(microseconds=1)).date()
        return [str(first + n * DAY) for n in range((last - first).days + 1)]


@dataclass(frozen=True)
class SeriesStatus:
    """What is known of a series from its first day collected to its last, `today` (UTC) excluded.

    `first_candle` and `last_candle` are bucket starts; the exchange has answered up to
    `answered_through`; `settled_through` is the last day up to
    which all are settled; `disagreements` are days whose coarser candles differ, and how.
    """

    series: Series
    today: date
    candles: int
    first_candle: datetime | None
    last_candle: datetime | None
    days: Sequence[str]
    months: int
    settled_through: date | None
    answered_through: datetime | None
    unexplained: Sequence[UnexplainedInterval]
    disagreements: Mapping[str, str]

    @property
    def complete(self) -> bool:
        """Whether there is something, and every bucket of it is explained."""
        return bool(self.days) and not self.unexplained

    @property
    def explained(self) -> float:
        """The share of buckets that are traded, or whose hole is confirmed; 0 without any."""
        if not self.unexplained:
            return float(self.complete)
        end = min(_midnight(self.today), day_start(self.days[-1]) + DAY)
        total = end - day_start(self.days[0])
        return 1 - sum((one.end - one.start for one in self.unexplained), timedelta(0)) / total

    def age(self, now: datetime) -> timedelta | None:
        """Time since the newest candle's bucket ended; None where there is no candle."""
        if self.last_candle is None:
            return None
        return now - self.last_candle - self.series.granularity.delta


def series_status(store: "ParquetStore", series: Series, today: date) -> SeriesStatus:
    """Raises StorageError."""
    months = _blobs(store, series, CANDLE_HISTORY)
    days = _blobs(store, series, RAW_CANDLES)
    unexplained = list(_unexplained(store, series, list(days), today)) if days else []
    return SeriesStatus(
        series,
        today,
        sum(int(blob.fields["rows"]) for blob in months.values()),
        min(_times(months, "first_candle"), default=None),
        max(_times(months, "last_candle"), default=None),
        list(days),
        len(months),
        _settled_through(days, unexplained, today),
        max(_times(days, "answered_through"), default=None),
        unexplained,
        {
            key: blob.fields["disagreement"]
            for key, blob in days.items()
            if "disagreement" in blob.fields
        },
    )


def _unexplained(
    store: "ParquetStore", series: Series, days: Sequence[str], today: date
) -> Iterator[UnexplainedInterval]:
    """What is not explained from the first day collected to the last one over, in order."""
    first, last = (day_start(days[n]) for n in (0, -1))
    end = min(_midnight(today), last + DAY)
    ledgers = _blobs(store, series, CANDLE_COVERAGE)
    for month in _months(first, end):
        if month in ledgers:
            found = list(_open_rows(store, ledgers[month], _midnight(today)))
        else:
            found = [
                UnexplainedInterval(*month_range(month), State.NOT_COLLECTED, "no ledger is stored")
            ]
        for one in found:
            start, stop = max(one.start, first), min(one.end, end)
            if start < stop:
                yield UnexplainedInterval(start, stop, one.state, one.evidence)


def _open_rows(
    store: "ParquetStore", ledger: StoredBlob, now: datetime
) -> Iterator[UnexplainedInterval]:
    """The ledger's intervals that need an explanation; what is open still, a day after its day."""
    unexplained = (State.UNCONFIRMED, State.NOT_COLLECTED, State.OPEN)
    if not any(int(ledger.fields[f"buckets_{state}"]) for state in unexplained):
        return
    for row in store.get(ledger.path).to_pylist():
        state = State(row["state"])
        until = now - DAY if state == State.OPEN else now
        if state in unexplained and row["start"] < until:
            yield UnexplainedInterval(row["start"], min(row["end"], until), state, row["evidence"])


def _settled_through(
    days: Blobs, unexplained: Sequence[UnexplainedInterval], today: date
) -> date | None:
    """Days not collected count as settled if no question is about them."""
    asked, settled = {day for one in unexplained for day in one.days}, None
    if not days:
        return None
    first, last = (date.fromisoformat(key) for key in (min(days), max(days)))
    for day in (first + n * DAY for n in range((min(today, last + DAY) - first).days)):
        blob = days.get(str(day))
        if str(day) in asked if blob is None else not is_settled(blob.fields):
            break
        settled = day
    return settled


def _months(start: datetime, end: datetime) -> Iterator[str]:
    while start < end:
        month = month_of(f"{start:%F}")
        yield month
        start = month_range(month)[1]


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def _blobs(store: "ParquetStore", series: Series, dataset: Dataset) -> Blobs:
    return store.list_partitions(dataset.folder(series))


def _times(blobs: Blobs, field: str) -> list[datetime]:
    found = (blob.fields.get(field) for blob in blobs.values())
    return [datetime.fromisoformat(text) for text in found if text]
