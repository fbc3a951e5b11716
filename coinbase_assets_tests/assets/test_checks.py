"""Asset checks, run by Dagster on good months and on broken months in Azurite."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from dagster._core.storage.tags import PARTITION_NAME_TAG

from coinbase_assets.assets.candle_coverage import ledger_of
from coinbase_assets.assets.checks import COVERAGE_CHECKS, HISTORY_CHECKS
from coinbase_assets.assets.month_checks import _result
from coinbase_assets.candles.calendar import DAY, day_start, month_of
from coinbase_assets.candles.datasets import CANDLE_COVERAGE, CANDLE_HISTORY, RAW_CANDLES
from coinbase_assets.candles.days import Day
from coinbase_assets.candles.evidence import Evidence, Lifetime
from coinbase_assets.candles.months import join_days
from coinbase_assets.candles.series import Series
from coinbase_assets.completeness.findings import intervals_in
from coinbase_assets.completeness.ledger import State
from coinbase_assets.dagster_instance.deployment import SILENT
from coinbase_assets.dagster_instance.run_tags import range_tags
from coinbase_assets.lake.stock import stored_partitions
from coinbase_assets.storage.parquet_store import ParquetStore
from coinbase_assets.table_metadata import with_fields
from coinbase_assets_tests.running import asset_job, collect_raw, settings_for
from coinbase_assets_tests.stand_in.exchange import StandInExchange
from coinbase_assets_tests.stand_in.tables import candle_table

SERIES = Series.parse("ETH-EUR:1h")
DAYS = ("2024-01-30", "2024-01-31", "2024-02-01", "2024-02-02")
FETCHED = datetime(2024, 3, 10, tzinfo=UTC)
HISTORY = CANDLE_HISTORY.path(SERIES)
LEDGER = CANDLE_COVERAGE.path(SERIES)
RAW = RAW_CANDLES.path(SERIES)
MONTHLY = [dg.AssetKey(each.asset_key(SERIES)) for each in (CANDLE_HISTORY, CANDLE_COVERAGE)]
CHECKS = {
    dg.AssetCheckKey(key, check.name)
    for key, checks in zip(MONTHLY, (HISTORY_CHECKS, COVERAGE_CHECKS), strict=True)
    for check in checks
}
HOLES = [f"{day}T05:00Z to {day}T07:00Z, 2 buckets: " for day in DAYS[2:]]
CONFIRMED = "the 1d candles agree, as of 2024-03-10T00:00:00Z"
WARN, ERROR = dg.AssetCheckSeverity.WARN, dg.AssetCheckSeverity.ERROR

Evaluations = Mapping[str, dg.AssetCheckEvaluation]
Change = Callable[[pa.Table], pa.Table]


def raw_day(key: str) -> pa.Table:
    """Return a day without trades at 05:00 and 06:00, confirmed by the daily candle."""
    start = day_start(key)
    times = [start + timedelta(hours=hour) for hour in range(24) if hour not in (5, 6)]
    candles = candle_table(times, open=1.5, high=2.0, low=1.0, close=1.75, volume=10.0)
    evidence = Evidence(FETCHED, "the 1d candles agree")
    day = Day(SERIES, start, candles, FETCHED, FETCHED, start, start + DAY, 1, evidence)
    return day.to_table("")


@pytest.fixture
def months(lake: ParquetStore) -> ParquetStore:
    """Store days of two months, with their history and their ledgers."""
    for key in DAYS:
        lake.put(RAW.format(partition=key), raw_day(key), None)
    for month in ("2024-01", "2024-02"):
        days = {key: raw_day(key) for key in DAYS if month_of(key) == month}
        history = join_days(SERIES, month, days, 30, "")
        lake.put(HISTORY.format(partition=month), history, None)
        store_ledger(lake, month, history)
    return lake


def no_proofs(day: str, digest: str) -> None:
    """Every day of these tests has a single witness, and no proofs."""


def store_ledger(lake: ParquetStore, month: str, history: pa.Table) -> None:
    ledger = ledger_of(SERIES, month, history, [Lifetime()], no_proofs)
    lake.put(LEDGER.format(partition=month), ledger, None)


def alter(lake: ParquetStore, template: str, key: str, change: Change) -> None:
    """Break a stored blob on purpose."""
    path = template.format(partition=key)
    lake.put(path, change(lake.get(path)), lake.find([path])[path])


def check(
    instance: dg.DagsterInstance, tags: Mapping[str, str] = range_tags("2024-01", "2024-02")
) -> Evaluations:
    """Run only the checks."""
    job = asset_job(settings_for("http://127.0.0.1:1", str(SERIES)))
    only_checks = job.get_subset(asset_selection=set(), asset_check_selection=CHECKS)
    return evaluations(
        only_checks.execute_in_process(
            instance=instance, tags=dict(tags), run_config=SILENT, raise_on_error=False
        )
    )


def build(
    instance: dg.DagsterInstance, url: str = "http://127.0.0.1:1"
) -> dg.ExecuteInProcessResult:
    """Build both months' history and coverage, as the sensor's runs do."""
    return asset_job(settings_for(url, str(SERIES))).execute_in_process(
        instance=instance,
        asset_selection=MONTHLY,
        tags=range_tags("2024-01", "2024-02"),
        run_config=SILENT,
        raise_on_error=False,
    )


def evaluations(result: dg.ExecuteInProcessResult) -> Evaluations:
    return {
        evaluation.check_name: evaluation for evaluation in result.get_asset_check_evaluations()
    }


def failed(found: Evaluations) -> set[str]:
    return {name for name, evaluation in found.items() if not evaluation.passed}


def metadata(evaluation: dg.AssetCheckEvaluation) -> dict[str, object]:
    return {name: value.value for name, value in evaluation.metadata.items()}


def first_found(evaluation: dg.AssetCheckEvaluation) -> list[object]:
    table = evaluation.metadata["first_found"]
    assert isinstance(table, dg.TableMetadataValue)
    return [record.data["found"] for record in table.records]


# Ways to break a stored table


def at_rows(column: str, *rows: int, value: float) -> Change:
    def change(table: pa.Table) -> pa.Table:
        values = table[column].to_pylist()
        for row in rows:
            values[row] = value
        return table.set_column(table.schema.get_field_index(column), table.field(column), [values])

    return change


def with_row_twice(history: pa.Table) -> pa.Table:
    return history.take([0, 1, 2, 2, *range(3, history.num_rows)])


def with_rows_swapped(history: pa.Table) -> pa.Table:
    return history.take([1, 0, *range(2, history.num_rows)])


def fields(**changes: str) -> Change:
    return lambda table: with_fields(table, changes)


def with_holes_in_state(state: State) -> Change:
    """Return a change that gives the holes of collected days this state."""

    def change(ledger: pa.Table) -> pa.Table:
        holes = pc.equal(ledger["state"], State.NO_TRADES.value)
        states = pc.if_else(holes, state.value, ledger["state"])
        return ledger.set_column(3, ledger.field("state"), states)

    return change


def without_second_row(ledger: pa.Table) -> pa.Table:
    return ledger.take([0, *range(2, ledger.num_rows)])


# Good months


def test_checks_pass_for_good_months(lake: ParquetStore, instance: dg.DagsterInstance) -> None:
    with StandInExchange(rate=None) as exchange:
        settings = settings_for(exchange.url, str(SERIES))
        collect_raw(settings, instance, DAYS[0], DAYS[-1])
        result = build(instance, exchange.url)
    assert result.success
    assert sorted(evaluations(result)) == sorted(key.name for key in CHECKS)
    assert failed(evaluations(result)) == set()
    for evaluation in evaluations(result).values():
        assert evaluation.description is None
        assert metadata(evaluation) == {
            "months_checked": 2,
            "found": 0,
        }


def test_description_is_no_markdown() -> None:
    """The web UI renders the description of a result as Markdown."""
    findings = [("2024-01", "<img src=x> ![x](http://evil/x.png) **b** _i_ `c` @all")]
    description = _result(dg.AssetKey("a"), "check", findings, [], 1).description
    assert description
    assert not set("<>[]*`@") & set(description)
    assert "_i_" not in description


def test_checks_have_descriptions_and_blocking_flags(lake: ParquetStore) -> None:
    job = asset_job(settings_for("http://127.0.0.1:1", str(SERIES)))
    specs = {key: job.asset_layer.asset_graph.get_check_spec(key) for key in CHECKS}
    assert all(spec.description for spec in specs.values())
    doubtful = {key.name for key, spec in specs.items() if not spec.blocking}
    assert doubtful == {"closed_candles_do_not_change", "every_hole_is_explained"}


# Broken months


def test_checks_name_broken_months(months: ParquetStore, instance: dg.DagsterInstance) -> None:
    alter(months, HISTORY, "2024-01", with_row_twice)
    alter(months, HISTORY, "2024-02", with_rows_swapped)
    alter(months, HISTORY, "2024-02", at_rows("volume", 22, 23, value=10.5))
    alter(months, LEDGER, "2024-01", without_second_row)
    found = check(instance)
    assert {evaluation.severity for evaluation in found.values() if not evaluation.passed} == {
        ERROR
    }
    lines = {name: first_found(found[name]) for name in failed(found)}
    assert str(lines.pop("coverage_tiles_the_month")).startswith("['2024-01-30T05:00:00Z: ")
    assert lines == {
        "candles_are_unique": ["2024-01-30T02:00:00Z"],
        "candles_are_ascending": ["2024-02-01T00:00:00Z"],
        "history_equals_raw": [
            f"{day}: differs from the raw day" for day in ("2024-01-30", "2024-02-01", "2024-02-02")
        ],
    }
    assert metadata(found["history_equals_raw"])["failed_months"] == "2024-01, 2024-02"
    assert metadata(found["candles_are_unique"])["failed_months"] == "2024-01"


def test_checks_warn_of_doubtful_months(months: ParquetStore, instance: dg.DagsterInstance) -> None:
    alter(months, RAW, "2024-01-31", fields(candles_added="7"))
    alter(months, RAW, "2024-02-01", fields(candles_changed="2", candles_vanished="1"))
    alter(months, RAW, "2024-02-02", fields(candles_unanswered="3"))
    alter(months, LEDGER, "2024-02", with_holes_in_state(State.UNCONFIRMED))
    expected = {
        "closed_candles_do_not_change": [
            "2024-02-01: 2 changed, 1 vanished",
            "2024-02-02: 3 unanswered",
        ],
        "every_hole_is_explained": [f"{hole}{CONFIRMED}" for hole in HOLES],
    }
    found = check(instance)
    assert failed(found) == set(expected)
    for name, lines in expected.items():
        assert found[name].severity == WARN
        assert found[name].description == "; ".join(lines)
        shown = metadata(found[name])
        assert (shown["months_checked"], shown["found"]) == (2, 2)
        assert shown["failed_months"] == "2024-02"
        assert first_found(found[name]) == lines


def test_checks_show_first_ten_impossible_prices(
    months: ParquetStore, instance: dg.DagsterInstance
) -> None:
    alter(months, HISTORY, "2024-01", at_rows("low", 0, value=3.0))
    alter(months, HISTORY, "2024-01", at_rows("open", 1, value=2.5))
    alter(months, HISTORY, "2024-01", at_rows("close", 2, value=0.5))
    alter(months, HISTORY, "2024-02", at_rows("high", *range(9), value=0.25))
    evaluation = check(instance)["low_never_exceeds_high"]
    shown = metadata(evaluation)
    assert evaluation.severity == ERROR
    assert (shown["found"], shown["failed_months"]) == (12, "2024-01, 2024-02")
    lines = list(map(str, first_found(evaluation)))
    assert len(lines) == 10
    for hour, value in enumerate(("'low': 3.0", "'open': 2.5", "'close': 0.5")):
        assert lines[hour].startswith(f"2024-01-30T{hour:02}:00:00Z")
        assert value in lines[hour]


@pytest.mark.soak
@pytest.mark.parametrize(
    ("tags", "checked", "failing"),
    [
        ({}, 2, "2024-02"),
        ({PARTITION_NAME_TAG: "2024-01"}, 1, ""),
        (range_tags("2023-12", "2024-01"), 1, ""),
        (range_tags("2024-02", "2024-03"), 1, "2024-02"),
    ],
    ids=["no partition", "one month", "months before", "months from it on"],
)
def test_checks_cover_months_of_run(
    months: ParquetStore,
    instance: dg.DagsterInstance,
    tags: Mapping[str, str],
    checked: int,
    failing: str,
) -> None:
    alter(months, HISTORY, "2024-02", at_rows("volume", 0, value=10.5))
    alter(months, LEDGER, "2024-02", without_second_row)
    found = check(instance, tags)
    broken = {"history_equals_raw", "coverage_tiles_the_month"}
    assert failed(found) == (broken if failing else set())
    for name in broken:
        assert metadata(found[name])["months_checked"] == checked
        assert metadata(found[name]).get("failed_months", "") == failing


@pytest.mark.soak
def test_checks_repeat_failed_month_until_it_passes(
    months: ParquetStore, instance: dg.DagsterInstance
) -> None:
    alter(months, HISTORY, "2024-01", at_rows("low", 0, value=3.0))
    january, february = (range_tags(month, month) for month in ("2024-01", "2024-02"))
    assert "low_never_exceeds_high" in failed(check(instance, january))
    assert "low_never_exceeds_high" in failed(check(instance, february))
    alter(months, HISTORY, "2024-01", at_rows("low", 0, value=1.0))
    found = check(instance, february)["low_never_exceeds_high"]
    assert (found.passed, metadata(found)["months_checked"]) == (True, 2)
    assert metadata(check(instance, february)["low_never_exceeds_high"])["months_checked"] == 1


# What is compared


def test_checks_compare_history_with_each_raw_day(
    months: ParquetStore, instance: dg.DagsterInstance
) -> None:
    now, before = (datetime.now(UTC) - timedelta(minutes=minutes) for minutes in (5, 15))
    for key, landed in (("2024-02-03", before), ("2024-02-04", now)):
        months.put(RAW.format(partition=key), raw_day(key), None)
        alter(months, RAW, key, fields(version=str(int(landed.timestamp()))))
    days = {key: raw_day(key) for key in ("2024-01-29", "2024-01-30", "2024-01-31")}
    alter(months, HISTORY, "2024-01", lambda table: join_days(SERIES, "2024-01", days, 31, ""))
    for key in ("2024-02-01", "2024-02-02"):
        alter(months, RAW, key, fields(digest=""))
    alter(months, RAW, "2024-02-02", at_rows("close", 0, value=1.0))
    assert first_found(check(instance)["history_equals_raw"]) == [
        "2024-01-29: in the history only",
        "2024-02-02: differs from the raw day",
        "2024-02-03: in the raw days only",
    ]


def test_checks_ignore_days_that_were_not_collected(
    months: ParquetStore, instance: dg.DagsterInstance
) -> None:
    last = "2024-02-04"
    months.put(RAW.format(partition=last), raw_day(last), None)
    days = {key: raw_day(key) for key in (*DAYS[2:], last)}
    history = join_days(SERIES, "2024-02", days, 29, "")
    ledger = ledger_of(SERIES, "2024-02", history, [Lifetime()], no_proofs)
    alter(months, LEDGER, "2024-02", lambda before: ledger)
    assert intervals_in(ledger, State.NOT_COLLECTED)
    assert check(instance)["every_hole_is_explained"].passed


def test_checks_pass_for_month_never_collected(
    lake: ParquetStore, instance: dg.DagsterInstance
) -> None:
    nothing = join_days(SERIES, "2024-01", {}, 31, "")
    lake.put(HISTORY.format(partition="2024-01"), nothing, None)
    store_ledger(lake, "2024-01", nothing)
    found = check(instance)
    assert set(found) == {key.name for key in CHECKS}
    assert failed(found) == set()


# Blocking


@pytest.mark.parametrize(
    ("changes", "failing", "built"),
    [
        ({"digest": "another"}, "history_equals_raw", []),
        ({"candles_changed": "1"}, "closed_candles_do_not_change", ["2024-01", "2024-02"]),
    ],
)
def test_checks_block_coverage_of_broken_history_only(
    lake: ParquetStore,
    instance: dg.DagsterInstance,
    changes: dict[str, str],
    failing: str,
    built: list[str],
) -> None:
    for key in DAYS:
        lake.put(RAW.format(partition=key), raw_day(key), None)
    alter(lake, RAW, DAYS[-1], fields(**changes))
    result = build(instance)
    assert result.success is bool(built)
    assert failed(evaluations(result)) == {failing}
    assert metadata(evaluations(result)[failing])["failed_months"] == "2024-02"
    assert list(stored_partitions(lake, CANDLE_HISTORY, SERIES)) == ["2024-01", "2024-02"]
    assert list(stored_partitions(lake, CANDLE_COVERAGE, SERIES)) == built
