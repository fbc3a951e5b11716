"""Reading candles: ranges, columns, rollups, accounts, and the dataset for other tools."""

import gc
import subprocess
import sys
import traceback
from collections.abc import Callable
from datetime import UTC, date, datetime, timezone
from typing import Any
from urllib.parse import unquote

import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pytest
from azure.storage.blob import AccountSasPermissions, ResourceTypes, generate_account_sas

from coinbase_assets import Lake, read_candles, read_candles_arrow
from coinbase_assets.candles.calendar import DAY
from coinbase_assets.candles.catalogue import LISTING_SCHEMA
from coinbase_assets.candles.datasets import CANDLE_HISTORY, CANDLE_ROLLUP, LISTINGS
from coinbase_assets.candles.months import with_raw_days
from coinbase_assets.candles.series import Series, parse_candle_series
from coinbase_assets.candles.table import SCHEMA
from coinbase_assets.lake.candle_stream import stream_months
from coinbase_assets.lake.errors import CandlesMissing, InvalidRequest, SeriesNotFound
from coinbase_assets.lake.time_ranges import parse_range
from coinbase_assets.storage.errors import StorageError
from coinbase_assets.storage.parquet_store import ParquetStore
from coinbase_assets_tests.lake.hourly_candles import (
    ETH,
    HOUR,
    WHOLE,
    candles,
    january,
    store_history,
    store_january,
)
from coinbase_assets_tests.stand_in.azurite import AZURITE_KEY

BTC = Series.parse("BTC-USD:1d")
# The last month is only half stored.
FIRST, END = datetime(2023, 11, 30, tzinfo=UTC), datetime(2024, 3, 15, tzinfo=UTC)


EVERYTHING = candles(FIRST, END)
READ = AccountSasPermissions(read=True, list=True)
EVERYTHING = candles(FIRST, END)


@pytest.fixture
def history(lake: ParquetStore) -> ParquetStore:
    store_history(lake, ETH, EVERYTHING)
    return lake


@pytest.mark.both_addresses
@pytest.mark.usefixtures("history")
@pytest.mark.parametrize(
    ("start", "end", "first", "last"),
    [
        ("2024-01-01", "2024-02-01", datetime(2024, 1, 1), datetime(2024, 2, 1)),
        (date(2024, 1, 31), date(2024, 2, 2), datetime(2024, 1, 31), datetime(2024, 2, 2)),
        ("2023-12-31T23:30", "2024-01-01T01:00", datetime(2024, 1, 1), datetime(2024, 1, 1, 1)),
        ("2000-01-01", "2100-01-01", FIRST, END),
        (
            datetime(2024, 1, 1, 2, tzinfo=timezone(2 * HOUR)),
            "2024-01-01T02:00Z",
            datetime(2024, 1, 1),
            datetime(2024, 1, 1, 2),
        ),
    ],
)
def test_read_range_is_half_open_in_utc(
    start: Any, end: Any, first: datetime, last: datetime
) -> None:
    found = read_candles_arrow("ETH-EUR", "1h", start, end, allow_gaps=True)
    assert found.equals(candles(first.replace(tzinfo=UTC), last.replace(tzinfo=UTC)))


@pytest.mark.both_addresses
@pytest.mark.usefixtures("history")
def test_read_candles_returns_same_as_arrow(history: ParquetStore) -> None:
    found = read_candles("ETH-EUR", "1h", "2023-11-30", "2024-03-15")
    pd.testing.assert_frame_equal(found, EVERYTHING.to_pandas())
    assert str(found["time"].dtype) == "datetime64[us, UTC]"


@pytest.mark.both_addresses
@pytest.mark.usefixtures("history")
@pytest.mark.parametrize("columns", [["volume"], ["close", "time"], ["time"]])
def test_read_selects_columns_in_order(columns: list[str]) -> None:
    found = read_candles_arrow("ETH-EUR", "1h", "2024-01-15", "2024-02-15", columns)
    expected = candles(datetime(2024, 1, 15, tzinfo=UTC), datetime(2024, 2, 15, tzinfo=UTC))
    assert found.equals(expected.select(columns))


@pytest.mark.usefixtures("history")
@pytest.mark.parametrize(
    ("start", "end"), [("2020-01-01", "2021-01-01"), ("2024-01-01", "2024-01-01")]
)
def test_read_range_without_candles_is_empty(start: str, end: str) -> None:
    found = read_candles_arrow("ETH-EUR", "1h", start, end, allow_gaps=True)
    assert found.equals(SCHEMA.empty_table())


@pytest.mark.both_addresses
def test_read_skips_missing_month(lake: ParquetStore) -> None:
    before, after = datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 3, 1, tzinfo=UTC)
    both = pa.concat_tables([candles(before, before + HOUR), candles(after, after + HOUR)])
    store_history(lake, ETH, both)
    for end in ("2024-04-01", "2034-04-01"):
        found = read_candles_arrow("ETH-EUR", "1h", "2023-12-01", end, allow_gaps=True)
        assert found.equals(both)


@pytest.mark.both_addresses
@pytest.mark.usefixtures("history")
def test_read_unknown_series_lists_stored_series() -> None:
    with pytest.raises(SeriesNotFound, match=r"^ETH-EUR:1m: not in the lake; it holds ETH-EUR:1h$"):
        read_candles("ETH-EUR", "1m", "2024-01-01", "2024-02-01")


@pytest.mark.both_addresses
@pytest.mark.usefixtures("lake")
def test_read_empty_lake_says_so() -> None:
    with pytest.raises(SeriesNotFound, match="it holds no history; collect some first"):
        read_candles("ETH-EUR", "1d", "2024-01-01", "2024-02-01")


@pytest.mark.usefixtures("history")
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"product": "eth-eur"}, "'eth-eur' is not a product"),
        ({"granularity": "3h"}, "unknown granularity '3h'; allowed are 1m 5m "),
        ({"start": "01/02/2024"}, "start='01/02/2024': not a time; write 2024-01-31 or"),
        ({"end": "2023-01-01"}, "start 2024-01-01 .* is after end 2023-01-01"),
        ({"columns": ["price"]}, "no column price; there are time, open, high, low, close, volume"),
    ],
)
def test_read_refuses_invalid_argument(changes: dict[str, Any], message: str) -> None:
    usual = {"product": "ETH-EUR", "granularity": "1h", "start": "2024-01-01", "end": "2024-02-01"}
    with pytest.raises(InvalidRequest, match=message):
        read_candles(**{**usual, **changes})


@pytest.fixture
def rollups(history: ParquetStore) -> ParquetStore:
    """Rollups of 4h and of 1h; 1h was also collected."""
    for granularity in ("4h", "1h"):
        series = parse_candle_series(f"ETH-EUR:{granularity}")
        path = CANDLE_ROLLUP.path(series).format(partition="2024-01")
        history.put(path, EVERYTHING.slice(32 * 24, 1), None)
    return history


@pytest.mark.both_addresses
@pytest.mark.usefixtures("rollups")
def test_read_uses_rollup_if_not_collected() -> None:
    found = read_candles_arrow("ETH-EUR:4h", None, "2024-01-01", "2024-01-02")
    assert found.equals(EVERYTHING.slice(32 * 24, 1))
    with Lake() as lake:
        assert list(map(str, lake.series())) == ["ETH-EUR:1h", "ETH-EUR:4h"]


@pytest.mark.usefixtures("rollups")
def test_read_prefers_history_to_rollup() -> None:
    assert read_candles_arrow("ETH-EUR", "1h", "2024-01-01", "2024-02-01").num_rows == 31 * 24


# Two sources, and days that neither has


def read_january(lake: ParquetStore) -> pa.Table:
    return pa.concat_tables(
        stream_months(lake, ETH, *parse_range("2024-01-01", "2024-02-01"), SCHEMA.names)
    )


@pytest.mark.parametrize(
    ("history_days", "rollup_days"), [((1, 10), (1, 31)), ((1, 31), (5, 8)), ((10, 31), (1, 15))]
)
def test_read_joins_history_and_rollup(
    lake: ParquetStore,
    caplog: pytest.LogCaptureFixture,
    history_days: tuple[int, int],
    rollup_days: tuple[int, int],
) -> None:
    store_january(lake, CANDLE_HISTORY, january(*history_days))
    store_january(lake, CANDLE_ROLLUP, january(*rollup_days))
    assert read_january(lake).equals(WHOLE)
    assert caplog.messages == []


def test_read_takes_candle_of_history_before_that_of_rollup(lake: ParquetStore) -> None:
    store_january(lake, CANDLE_HISTORY, january(1, 2))
    rolled = january(1, 31)
    zeros = pa.array([0.0] * rolled.num_rows)
    store_january(lake, CANDLE_ROLLUP, rolled.set_column(5, SCHEMA.field("volume"), zeros))
    volumes = read_january(lake)["volume"].to_pylist()
    assert volumes == WHOLE["volume"].to_pylist()[:48] + [0.0] * (29 * 24)


def test_read_joins_months_of_either_source(lake: ParquetStore) -> None:
    store_january(lake, CANDLE_ROLLUP, january(1, 31))
    february = candles(datetime(2024, 2, 1, tzinfo=UTC), datetime(2024, 3, 1, tzinfo=UTC))
    store_history(lake, ETH, february)
    for start in ("2024-01-01", "2004-01-01"):
        found = read_candles_arrow("ETH-EUR", "1h", start, "2024-03-01", allow_gaps=True)
        assert found.equals(pa.concat_tables([WHOLE, february]))


def test_read_names_days_that_were_not_collected(lake: ParquetStore) -> None:
    store_january(lake, CANDLE_HISTORY, january(3, 10))
    store_january(lake, CANDLE_ROLLUP, january(12, 12))
    with pytest.raises(CandlesMissing) as raised:
        read_january(lake)
    assert str(raised.value) == (
        "ETH-EUR:1h: not collected: 2024-01-01..2024-01-02, 2024-01-11, 2024-01-13..2024-01-31;"
        " collect them, for example with `coinbase-assets collect ETH-EUR:1h --from 2024-01-01"
        " --to 2024-01-31`, or read what there is: --allow-gaps, in Python allow_gaps=True"
    )
    assert raised.value.days[:3] == ["2024-01-01", "2024-01-02", "2024-01-11"]
    found = read_candles_arrow("ETH-EUR:1h", None, "2024-01-01", "2024-02-01", allow_gaps=True)
    assert found.num_rows == 9 * 24


def test_read_misses_no_day_outside_lifetime_or_ahead(lake: ParquetStore) -> None:
    store_january(lake, CANDLE_HISTORY, january(3, 10, collected=20))
    closed = datetime(2024, 3, 1, tzinfo=UTC)
    row = {"first_day": date(2024, 1, 3), "last_day": date(2024, 1, 20), "closed_at": closed}
    listing = pa.Table.from_pylist([row], LISTING_SCHEMA)
    lake.put(LISTINGS.path().format(partition="ETH-EUR"), listing, None)
    assert read_january(lake).num_rows == 8 * 24
    tomorrow = datetime.now(UTC) + DAY
    list(stream_months(lake, ETH, tomorrow, tomorrow + DAY, SCHEMA.names))


def test_read_by_default_begins_with_first_candle_and_ends_now(lake: ParquetStore) -> None:
    store_january(lake, CANDLE_HISTORY, january(3, 10))
    found = read_candles_arrow("ETH-EUR:1h", allow_gaps=True)
    assert found.equals(
        candles(datetime(2024, 1, 3, tzinfo=UTC), datetime(2024, 1, 11, tzinfo=UTC))
    )
    with pytest.raises(CandlesMissing) as raised:
        read_candles("ETH-EUR:1h")
    assert raised.value.days[0] == "2024-01-11"


def test_read_of_part_of_a_day_needs_no_more_of_it(lake: ParquetStore) -> None:
    noon = datetime(2024, 1, 3, 12, tzinfo=UTC)
    part = with_raw_days(
        candles(noon - 12 * HOUR, noon), {"2024-01-03": {"answered_through": noon.isoformat()}}
    )
    store_january(lake, CANDLE_HISTORY, part)
    assert read_candles_arrow("ETH-EUR:1h", None, "2024-01-03", noon).num_rows == 12
    with pytest.raises(CandlesMissing):
        read_candles_arrow("ETH-EUR:1h", None, "2024-01-03", noon + HOUR)


@pytest.fixture
def elsewhere(history: ParquetStore, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The arguments that open the lake while the environment names another account."""
    url, _, container = history.container_uri.rpartition("/")
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", "UseDevelopmentStorage=true")
    monkeypatch.setenv("COINBASE_CONTAINER", "another")
    return {"container": container, "account_url": url, "account_key": AZURITE_KEY}


@pytest.mark.both_addresses
def test_lake_opens_another_account(elsewhere: dict[str, str]) -> None:
    with Lake(**elsewhere) as lake:
        assert lake.series() == [ETH]
        assert len(lake.read_candles("ETH-EUR", "1h", "2024-01-01", "2024-01-02")) == 24
        assert AZURITE_KEY not in repr(lake)
        assert elsewhere["container"] in repr(lake)


@pytest.mark.both_addresses
@pytest.mark.parametrize("credential", ["connection string", "key", "sas"])
def test_dataset_skips_blobs_by_path(
    credential: str, history: ParquetStore, elsewhere: dict[str, str], connection_string: str
) -> None:
    store_history(history, BTC, candles(FIRST, FIRST + 48 * HOUR))
    accounts = {
        "connection string": {"connection_string": connection_string},
        "key": {name: elsewhere[name] for name in ("account_url", "account_key")},
        "sas": {"account_url": elsewhere["account_url"], "sas_token": account_sas()},
    }
    with Lake(elsewhere["container"], **accounts[credential]) as lake:
        dataset = lake.dataset()
        assert dataset.count_rows() == EVERYTHING.num_rows + 48
        of_btc = (ds.field("product") == "BTC-USD") & (ds.field("month") == "2023-11")
        assert (
            dataset.to_table(filter=of_btc)
            .select(SCHEMA.names)
            .equals(candles(FIRST, datetime(2023, 12, 1, tzinfo=UTC)))
        )
        assert len(list(dataset.get_fragments(of_btc))) == 1


@pytest.mark.both_addresses
def test_dataset_error_hides_sas(
    elsewhere: dict[str, str],
) -> None:
    sas = account_sas(AccountSasPermissions(list=True))
    with (
        Lake(elsewhere["container"], account_url=elsewhere["account_url"], sas_token=sas) as lake,
        pytest.raises(StorageError) as raised,
    ):
        lake.dataset().to_table()
    signature = sas.partition("sig=")[2]
    message = "".join(traceback.format_exception(raised.value))
    assert "the storage account refused the credential" in message
    assert signature not in message
    assert unquote(signature) not in message


@pytest.mark.usefixtures("history")
def test_lake_after_close_says_so() -> None:
    with Lake() as lake:
        dataset = lake.dataset()
        stream = lake.stream_candles("ETH-EUR", "1h", "2023-12-01", "2024-03-01")
    reads: list[Callable[[], object]] = [
        dataset.to_table,
        dataset.count_rows,
        lambda: next(stream),
        lake.dataset,
        lake.series,
        lambda: lake.read_candles("ETH-EUR", "1h", "2024-01-01", "2024-01-02"),
    ]
    for read in reads:
        with pytest.raises(StorageError, match="the lake is closed; open it again"):
            read()
    lake.close()


@pytest.mark.usefixtures("lake")
def test_dataset_of_unknown_kind_names_tables() -> None:
    with Lake() as lake, pytest.raises(ValueError, match="'candles' is not a table of the lake"):
        lake.dataset("candles")


def test_dataset_has_columns_that_first_blob_lacks(history: ParquetStore) -> None:
    """Without a schema, a dataset has the columns of its first blob alone."""
    old = EVERYTHING.slice(0, 1).drop_columns(["volume"])
    history.put(CANDLE_HISTORY.path(BTC).format(partition="2000-01"), old, None)
    with Lake() as lake:
        table = lake.dataset().to_table()
    assert table.column_names == [*SCHEMA.names, "product", "granularity", "month"]
    assert table["volume"].null_count == 1


@pytest.mark.usefixtures("history")
def test_dataset_and_stream_keep_lake_open() -> None:
    dataset = Lake().dataset()
    stream = Lake().stream_candles("ETH-EUR", "1h", "2024-01-01", "2024-01-02")
    gc.collect()
    assert dataset.to_table().num_rows == EVERYTHING.num_rows
    assert sum(table.num_rows for table in stream) == 24


def account_sas(allowed: AccountSasPermissions = READ) -> str:
    return generate_account_sas(
        "devstoreaccount1",
        AZURITE_KEY,
        ResourceTypes(container=True, object=True),
        allowed,
        expiry=datetime.now(UTC) + HOUR,
    )


@pytest.mark.usefixtures("history")
def test_read_imports_no_dagster_matplotlib_httpx() -> None:
    code = (
        "import sys; from coinbase_assets import read_candles_arrow as read;"
        "assert read('ETH-EUR', '1h', '2024-01-01', '2024-01-02').num_rows == 24;"
        "assert not {'dagster', 'matplotlib', 'httpx'} & {*sys.modules}"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
