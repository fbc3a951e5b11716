"""`<product>/<granularity>/candle_coverage`: the state of each bucket of a month, with evidence."""

from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta
from functools import partial
from typing import TYPE_CHECKING

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc

from coinbase_assets.assets.partitions import MONTHS_PER_RUN, monthly_partitions
from coinbase_assets.assets.table_schema import column_metadata
from coinbase_assets.candles.calendar import DAY, format_time, month_range
from coinbase_assets.candles.datasets import CANDLE_COVERAGE, CANDLE_HISTORY, RAW_CANDLES
from coinbase_assets.candles.days import format_numbers
from coinbase_assets.candles.evidence import RULE, Lifetime, with_trade
from coinbase_assets.candles.metadata_keys import NOT_COLLECTED_DAYS, OPEN_FROM, USUAL_PAUSE
from coinbase_assets.candles.months import MADE_OF, raw_days
from coinbase_assets.candles.proofs import Proof
from coinbase_assets.candles.series import Series
from coinbase_assets.candles.table import InvalidCandles, epoch_seconds
from coinbase_assets.collection.listing_dates import Lifetimes
from coinbase_assets.collection.stored_proofs import find_proofs
from coinbase_assets.completeness.ledger import (
    COVERAGE_SCHEMA,
    DayFacts,
    MonthFacts,
    State,
    build_ledger,
    count_buckets,
    usual_pause,
)
from coinbase_assets.dagster_instance.deployment import OWN, Deployment
from coinbase_assets.lake.stock import stored_partitions
from coinbase_assets.storage.io_manager import AzureParquetIOManager
from coinbase_assets.storage.partition_tables import PartitionTables
from coinbase_assets.storage.paths import PATH_METADATA
from coinbase_assets.table_metadata import table_fields, with_fields

if TYPE_CHECKING:
    from coinbase_assets.storage.parquet_store import ParquetStore

_DESCRIPTIONS = {
    "start": "Start of the interval, UTC",
    "end": "End of the interval, exclusive, UTC",
    "buckets": "Number of buckets in the interval",
    "state": (
        "traded: has a candle; no_trades: a witness proves that nothing was traded; unconfirmed: in"
        " doubt; unprovable: in doubt, and the exchange has no witness left; pending: compared by"
        " an earlier rule; before_listing, after_delisting: the product was not traded;"
        " not_collected: no answer is stored; open: the day is not over, or not compared yet"
    ),
    "evidence": "What shows the state: the witness, and when it was asked, by the exchange's clock",
}
_COLUMNS = column_metadata(COVERAGE_SCHEMA, _DESCRIPTIONS, unique="start")


def build_candle_coverage(
    series: Series, start: date, deployment: Deployment = OWN
) -> dg.AssetsDefinition:
    """Return the asset that records the state of each bucket, from the month of `start` on."""

    @dg.asset(
        key=deployment.key(CANDLE_COVERAGE, series),
        partitions_def=monthly_partitions(start),
        backfill_policy=dg.BackfillPolicy.multi_run(MONTHS_PER_RUN),
        ins={
            "history": dg.AssetIn(
                key=deployment.key(CANDLE_HISTORY, series), metadata={"columns": ["time"]}
            )
        },
        io_manager_key=deployment.lake,
        required_resource_keys={deployment.lake},
        group_name=series.group,
        kinds={"azure", "parquet"},
        metadata={
            PATH_METADATA: CANDLE_COVERAGE.path(series),
            **_COLUMNS,
        },
        description=(
            f"The state of each {series.granularity} bucket of {series.product}: traded, or the"
            " reason why it has no candle. Each row is an interval of buckets in the same state,"
            " and the rows cover the month without gaps."
        ),
    )
    def candle_coverage(context: dg.AssetExecutionContext, history: PartitionTables) -> dg.Output:
        lake: AzureParquetIOManager = deployment.lake_of(context)
        lifetimes = _lifetimes_with_candles(lake.store, series)
        proofs = partial(find_proofs, lake.store, series)
        ledgers = (
            (key, ledger_of(series, key, candles, lifetimes, proofs))
            for key, candles in history.items()
        )
        return dg.Output(ledgers)

    return candle_coverage


def _lifetimes_with_candles(store: "ParquetStore", series: Series) -> Sequence[Lifetime]:
    """Return the product's lifetimes, with the series' first and last day that have a candle.

    So what was learned once never explains what lies between candles of the lake.
    """
    known = Lifetimes(store).get(series.product)
    blobs = stored_partitions(store, RAW_CANDLES, series)
    traded = sorted(key for key, blob in blobs.items() if blob.fields.get("rows", "0") != "0")
    for key in {*traded[:1], *traded[-1:]}:
        known = with_trade(known, date.fromisoformat(key))
    return known


def ledger_of(
    series: Series,
    month: str,
    candles: pa.Table,
    lifetimes: Sequence[Lifetime],
    proofs_of: Callable[[str, str], Sequence[Proof] | None],
) -> pa.Table:
    """Return the ledger of a month. Of the month's candles, only the column `time` is needed.

    `proofs_of` returns the stored proofs of a day with a digest, None if there are none.
    """
    (start, end), known = month_range(month), raw_days(candles)
    days = []
    for key in (f"{start + number * DAY:%F}" for number in range((end - start) // DAY)):
        fields = known.get(key)
        proofs = proofs_of(key, fields["proofs"]) if fields and fields.get("proofs") else ()
        days.append(DayFacts.of(fields, proofs) if fields else None)
    starts = epoch_seconds(candles["time"])
    ledger = build_ledger(MonthFacts(series, start, days, starts, lifetimes))
    counts = {f"buckets_{state}": str(count) for state, count in count_buckets(ledger).items()}
    of_history = table_fields(candles, InvalidCandles)
    pause = usual_pause(ledger) * series.granularity.seconds
    fields = {
        "series": str(series),
        "version": of_history["version"],
        "rule": str(RULE),
        MADE_OF: of_history.get(MADE_OF, ""),
        USUAL_PAUSE: str(pause),
        NOT_COLLECTED_DAYS: format_numbers(_not_collected(ledger)),
        **_open_from(ledger),
        **counts,
    }
    return with_fields(ledger, fields)


def _not_collected(ledger: pa.Table) -> set[int]:
    rows = ledger.filter(pc.equal(ledger["state"], State.NOT_COLLECTED.value)).to_pylist()
    spans = ((row["start"].day, (row["end"] - timedelta(seconds=1)).day) for row in rows)
    return {day for first, last in spans for day in range(first, last + 1)}


def _open_from(ledger: pa.Table) -> Mapping[str, str]:
    is_open = pc.equal(ledger["state"], State.OPEN.value)
    first = pc.min(ledger["start"].filter(is_open)).as_py()
    return {OPEN_FROM: format_time(first)} if first else {}
