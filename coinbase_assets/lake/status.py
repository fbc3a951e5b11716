"""The status of a series: what the lake holds of it, and which intervals are unexplained.

Computed from the lake alone; the exchange is not asked.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from itertools import groupby
from typing import TYPE_CHECKING, Any

from coinbase_assets.candles.calendar import DAY, day_start, month_range, months_between
from coinbase_assets.candles.datasets import CANDLE_COVERAGE
from coinbase_assets.candles.days import is_settled, parse_numbers
from coinbase_assets.candles.evidence import RULE, is_due_again
from coinbase_assets.candles.metadata_keys import NOT_COLLECTED_DAYS, OPEN_FROM
from coinbase_assets.candles.series import CandleSeries, Series
from coinbase_assets.completeness.agreement import Agreement, newest_agreement
from coinbase_assets.completeness.ledger import COVERAGE_SCHEMA, State
from coinbase_assets.lake.inventory import inspect
from coinbase_assets.lake.recency import Recency, recency_of
from coinbase_assets.storage.errors import BlobDamaged
from coinbase_assets.storage.stored_blob import StoredBlob

if TYPE_CHECKING:
    from coinbase_assets.storage.parquet_store import ParquetStore

Blobs = Mapping[str, StoredBlob]

NOT_COLLECTED = "no answer is stored"
NOT_JOINED = "stored, not joined yet"
"""Of days that are in the lake, but not in its history and ledger."""

_UNEXPLAINED = (State.UNCONFIRMED, State.NOT_COLLECTED, State.OPEN)


@dataclass(frozen=True)
class UnexplainedInterval:
    """An interval from `start` until `end` that the ledger does not explain, and why not."""

    start: datetime
    end: datetime
    state: State
    evidence: str

    @property
    def days(self) -> list[str]:
        """The keys of the days that the interval overlaps."""
        first, last = self.start.date(), (self.end - timedelta(microseconds=1)).date()
        return [str(first + n * DAY) for n in range((last - first).days + 1)]


@dataclass(frozen=True)
class SeriesStatus:
    """The status of a series from its first collected day to its last, before `today` (UTC).

    `candles`, `first_candle`, `last_candle` (starts of buckets) and `months` describe the history.
    `days` are the keys of the collected days. All days up to `settled_through` are settled. The
    exchange has answered for the time up to `answered_through`. `disagreements` says, by day,
    how its candles differ from the exchange's coarser candles. `buckets` counts the buckets of
    the ledger by state. `from_trades` is the number of candles made of trades. `agreement` says
    of each granularity how its candles compared with those of the newest days. `due` are the
    days that healing would ask for again now; `recency` says how old the newest are. `damage`
    says in lines what is damaged, missing or outdated, `damaged` counts the files, `foreign`
    are paths that do not belong to the lake.
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
    buckets: Mapping[State, int]
    from_trades: int
    agreement: Agreement
    recency: Recency
    due: Sequence[str] = ()
    damage: Sequence[str] = ()
    damaged: int = 0
    foreign: Sequence[str] = ()

    @property
    def complete(self) -> bool:
        """Whether days are collected, each of their buckets is explained, and all is sound."""
        return bool(self.days) and not self.unexplained and not self.damage

    @property
    def explained(self) -> float:
        """The share of the time that is explained, from 0 to 1; 0 if no day is collected."""
        if not self.unexplained:
            return float(bool(self.days))
        end = min(_midnight(self.today), day_start(self.days[-1]) + DAY)
        unexplained = sum(
            (interval.end - interval.start for interval in self.unexplained), timedelta(0)
        )
        return 1 - unexplained / (end - day_start(self.days[0]))

    def age(self, now: datetime) -> timedelta | None:
        """Return the time since the newest candle's bucket ended; None without candles."""
        if self.last_candle is None:
            return None
        return now - self.last_candle - self.series.granularity.delta


def series_status(
    store: "ParquetStore", series: Series, today: date, rollups: Sequence[CandleSeries] = ()
) -> SeriesStatus:
    """Compute the status of a series, and of its rollups. Raises StorageError."""
    inventory = inspect(store, series, rollups)
    months, days = inventory.history, inventory.days
    ledgers = inventory.stocks[CANDLE_COVERAGE].by_key
    unexplained = list(_unexplained(store, ledgers, list(days), today)) if days else []
    now = datetime.now(UTC)
    return SeriesStatus(
        series=series,
        today=today,
        candles=sum(int(blob.fields["rows"]) for blob in months.values()),
        first_candle=min(_times(months, "first_candle"), default=None),
        last_candle=max(_times(months, "last_candle"), default=None),
        days=list(days),
        months=len(months),
        settled_through=_settled_through(days, unexplained, today),
        answered_through=max(_times(days, "answered_through"), default=None),
        unexplained=unexplained,
        disagreements=_disagreements(days),
        buckets=_buckets(ledgers),
        from_trades=sum(
            len(parse_numbers(blob.fields.get("from_trades", ""))) for blob in days.values()
        ),
        agreement=newest_agreement(blob.fields for blob in days.values()),
        due=_due(days, unexplained, now),
        recency=recency_of(series, days, ledgers, now),
        damage=list(inventory.problems(now)),
        damaged=inventory.damaged,
        foreign=inventory.foreign,
    )


def _buckets(ledgers: Blobs) -> dict[State, int]:
    """Return the buckets of all ledgers by state; those of an earlier rule prove nothing."""
    counts = dict.fromkeys(State, 0)
    for ledger in ledgers.values():
        is_current = ledger.fields.get("rule") == str(RULE)
        for state in State:
            buckets = int(ledger.fields.get(f"buckets_{state}", 0))
            is_proof = state == State.NO_TRADES and not is_current
            counts[State.PENDING if is_proof else state] += buckets
    return counts


def _disagreements(days: Blobs) -> dict[str, str]:
    return {
        day: blob.fields["disagreement"]
        for day, blob in days.items()
        if "disagreement" in blob.fields
    }


def _unexplained(
    store: "ParquetStore", ledgers: Blobs, days: Sequence[str], today: date
) -> Iterator[UnexplainedInterval]:
    """Yield what is unexplained from the first collected day to the last before today, in order."""
    first, last = day_start(days[0]), day_start(days[-1])
    end = min(_midnight(today), last + DAY)
    for month in months_between(first, max(first, end)):
        span = (first, end)
        for interval in _unexplained_in_month(store, month, ledgers.get(month), span, today):
            start, stop = max(interval.start, first), min(interval.end, end)
            if start < stop:
                yield from _by_storage(replace(interval, start=start, end=stop), set(days))


def _by_storage(
    interval: UnexplainedInterval, stored: Collection[str]
) -> Iterator[UnexplainedInterval]:
    """Yield the parts of an interval that the ledger lacks: days stored, and days not collected."""
    if interval.state != State.NOT_COLLECTED:
        yield interval
        return
    for is_stored, group in groupby(interval.days, key=stored.__contains__):
        days = list(group)
        start, end = day_start(days[0]), day_start(days[-1]) + DAY
        part = replace(interval, start=max(interval.start, start), end=min(interval.end, end))
        yield replace(part, state=State.PENDING, evidence=NOT_JOINED) if is_stored else part


def _unexplained_in_month(
    store: "ParquetStore",
    month: str,
    ledger: StoredBlob | None,
    span: tuple[datetime, datetime],
    today: date,
) -> Iterator[UnexplainedInterval]:
    if ledger is None:
        yield UnexplainedInterval(*month_range(month), State.NOT_COLLECTED, NOT_COLLECTED)
    elif _may_leave_open(ledger, month, span, _midnight(today)):
        yield from _unexplained_rows(store, ledger, _midnight(today))


def _may_leave_open(
    ledger: StoredBlob, month: str, span: tuple[datetime, datetime], now: datetime
) -> bool:
    """Whether a month's ledger may have an unexplained row in the span.

    An open row counts if it begins a day before `now`. By the ledger's fields alone.
    """
    fields = ledger.fields
    is_doubted, is_lacking, is_open = (int(fields[f"buckets_{each}"]) > 0 for each in _UNEXPLAINED)
    first = fields.get(OPEN_FROM)
    days = {day_start(f"{month}-{n:02}") for n in parse_numbers(fields.get(NOT_COLLECTED_DAYS, ""))}
    return (
        is_doubted
        or (is_lacking and (not days or any(span[0] <= day < span[1] for day in days)))
        or (is_open and (first is None or datetime.fromisoformat(first) < now - DAY))
    )


def _unexplained_rows(
    store: "ParquetStore", ledger: StoredBlob, now: datetime
) -> Iterator[UnexplainedInterval]:
    """Yield the ledger's unexplained rows before `now`; open ones only until a day before it."""
    for row in ledger_rows(store, ledger.path):
        state = State(row["state"])
        until = now - DAY if state == State.OPEN else now
        if state in _UNEXPLAINED and row["start"] < until:
            yield UnexplainedInterval(row["start"], min(row["end"], until), state, row["evidence"])


def ledger_rows(store: "ParquetStore", path: str) -> list[dict[str, Any]]:
    """Return the rows of a ledger. Raises BlobDamaged if they are not those of a ledger."""
    table = store.get(path)
    named = dict(zip(table.column_names, table.columns, strict=True))
    has_columns = all(
        field.name in named
        and named[field.name].type == field.type
        and not named[field.name].null_count
        for field in COVERAGE_SCHEMA
    )
    if not has_columns or {*table["state"].unique().to_pylist()} - {*State}:
        raise BlobDamaged(f"{store.uri(path)}: not a ledger; materialise the partition again")
    return table.to_pylist()


def _due(days: Blobs, unexplained: Sequence[UnexplainedInterval], now: datetime) -> list[str]:
    """Return the unexplained days, and those with a hole in doubt whose time has come again."""
    asked = (each for each in unexplained if each.state != State.PENDING)
    holes = (day for day, blob in days.items() if is_due_again(blob.fields, now))
    return sorted({*holes, *(day for interval in asked for day in interval.days)})


def _settled_through(
    days: Blobs, unexplained: Sequence[UnexplainedInterval], today: date
) -> date | None:
    """Return the last day before the first unsettled one; None if the first day is unsettled.

    A day that was not collected counts as settled if all of it is explained.
    """
    unexplained_days = {day for interval in unexplained for day in interval.days}
    settled = None
    if not days:
        return None
    first, last = (date.fromisoformat(key) for key in (min(days), max(days)))
    for day in (first + n * DAY for n in range((min(today, last + DAY) - first).days)):
        blob = days.get(str(day))
        if str(day) in unexplained_days if blob is None else not is_settled(blob.fields):
            break
        settled = day
    return settled


def _midnight(day: date) -> datetime:
    return day_start(str(day))


def _times(blobs: Blobs, field: str) -> list[datetime]:
    texts = (blob.fields.get(field) for blob in blobs.values())
    return [datetime.fromisoformat(text) for text in texts if text]
