"""What the ledger says of days and of single buckets, in the ledger's own words."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING

import pyarrow as pa

from coinbase_assets.candles.calendar import DAY, day_start, format_time, month_of
from coinbase_assets.candles.datasets import CANDLE_COVERAGE, RAW_CANDLES
from coinbase_assets.candles.series import Series
from coinbase_assets.completeness.ledger import State
from coinbase_assets.lake.status import NOT_COLLECTED, NOT_JOINED, ledger_rows
from coinbase_assets.lake.stock import stored_partitions

if TYPE_CHECKING:
    from coinbase_assets.storage.parquet_store import ParquetStore

DAYS_SCHEMA = pa.schema(
    [pa.field("day", pa.date32(), nullable=False)]
    + [pa.field(state.value, pa.int64(), nullable=False) for state in State]
)

_REMEDIES = {
    State.TRADED: "there is a candle",
    State.NO_TRADES: "that is a proof; nothing is left to do",
    State.UNCONFIRMED: "`coinbase-assets heal` asks again",
    State.UNPROVABLE: "the exchange has no witness left; `coinbase-assets heal` asks now and then",
    State.PENDING: "`coinbase-assets heal` joins the day, or compares it by the present rule",
    State.BEFORE_LISTING: "nothing is left to do",
    State.AFTER_DELISTING: "nothing is left to do",
    State.NOT_COLLECTED: "`coinbase-assets collect` with --from and --to asks for the day",
    State.OPEN: "the comparison comes in the night after the day",
}


@dataclass(frozen=True)
class Explanation:
    """Why the bucket that begins at `time` has a candle or none, and what would settle it.

    The bucket is in an interval of one state, from `start` until `end`.
    """

    series: Series
    time: datetime
    state: State
    start: datetime
    end: datetime
    evidence: str

    def __str__(self) -> str:
        span = f"from {format_time(self.start)} until {format_time(self.end)}"
        return (
            f"{self.series} {format_time(self.time)}: {self.state.value} {span},"
            f" {self.evidence}; {_REMEDIES[self.state]}"
        )


def explain_bucket(store: "ParquetStore", series: Series, time: datetime) -> Explanation:
    """Return what the ledger says of the bucket that holds `time`. Raises StorageError."""
    step = series.granularity.delta
    midnight = day_start(f"{time:%F}")
    bucket = midnight + (time - midnight) // step * step
    path = CANDLE_COVERAGE.path(series).format(partition=month_of(f"{time:%F}"))
    is_stored = bool(store.find_partitions(RAW_CANDLES.path(series), [f"{time:%F}"]))
    for row in ledger_rows(store, path) if path in store.find([path]) else ():
        state = State(row["state"])
        if row["start"] <= bucket < row["end"] and not (is_stored and state == State.NOT_COLLECTED):
            return Explanation(series, bucket, state, row["start"], row["end"], row["evidence"])
    state = State.PENDING if is_stored else State.NOT_COLLECTED
    evidence = NOT_JOINED if is_stored else NOT_COLLECTED
    return Explanation(series, bucket, state, bucket, bucket + step, evidence)


def days_table(store: "ParquetStore", series: Series) -> pa.Table:
    """Return how many buckets of each day are in each state: a row a day, ascending.

    Columns: `day`, then a column for each state. Raises StorageError.
    """
    counts: dict[date, dict[str, int]] = {}
    for blob in stored_partitions(store, CANDLE_COVERAGE, series).values():
        for row in ledger_rows(store, blob.path):
            for day, buckets in _buckets_by_day(row["start"], row["end"], series):
                of_day = counts.setdefault(day, dict.fromkeys(State, 0))
                of_day[State(row["state"])] += buckets
    rows = [{"day": day, **counts[day]} for day in sorted(counts)]
    return pa.Table.from_pylist(rows, DAYS_SCHEMA)


def _buckets_by_day(start: datetime, end: datetime, series: Series) -> list[tuple[date, int]]:
    days = []
    while start < end:
        stop = min(end, day_start(f"{start:%F}") + DAY)
        days.append((start.date(), (stop - start) // series.granularity.delta))
        start = stop
    return days
