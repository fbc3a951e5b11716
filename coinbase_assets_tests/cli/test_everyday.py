"""A day with the commands: find products, collect some, see what is there, take it elsewhere."""

import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from coinbase_assets import Lake
from coinbase_assets.candles.catalogue import LISTING_SCHEMA, PRODUCT_SCHEMA
from coinbase_assets.candles.datasets import LISTINGS, PRODUCTS
from coinbase_assets.table_metadata import with_fields
from coinbase_assets_tests.cli.users import NewUser, Result, RunHere, User
from coinbase_assets_tests.stand_in.exchange import StandInExchange

DAYS = ("--from", "2024-01-01", "--to", "2024-01-03")
CLOSED = "http://127.0.0.1:1"


@pytest.fixture(scope="module")
def quant(new_user: NewUser) -> User:
    """A user who has collected hours of ETH, without 2024-01-02 of ETH-USD, and BTC-USD:15m."""
    user = new_user(COINBASE_SERIES="BTC-USD:15m")
    with pytest.MonkeyPatch.context() as patch:
        for arguments in (
            ("eth-*:1h", "btc-usd:15m", "--exclude", "*-usd:1h", *DAYS),
            ("ETH-USD:1h", "--from", "2024-01-01", "--to", "2024-01-01"),
            ("ETH-USD:1h", "--from", "2024-01-03", "--to", "2024-01-03"),
        ):
            assert user.run_in_process(patch, "collect", *arguments) == 0
    return user


def rows(result: Result) -> dict[str, list[str]]:
    """Return the cells of each line of a table, by the first of them."""
    assert (result.returncode, result.stderr) == (0, "")
    return {line.split()[0]: line.split() for line in result.stdout.splitlines()}


# What there is


def test_products_are_those_of_the_exchange(new_user: NewUser, run_here: RunHere) -> None:
    found = run_here(new_user(), "products", "eth", "--quote", "eur")
    assert rows(found)["ETH-EUR"] == ["ETH-EUR", "EUR", "online", "-"]
    assert found.stdout.splitlines()[-1].startswith("1 of 8 products, from http://127.0.0.1:")
    everything = json.loads(run_here(new_user(), "products", "--json").stdout)
    assert {"BTC-USD", "ETH-EUR"} < {each["id"] for each in everything}


def test_products_come_from_the_lake_when_offline(new_user: NewUser, run_here: RunHere) -> None:
    user = new_user(COINBASE_API_URL=CLOSED, COINBASE_GIVE_UP_AFTER="1")
    products = [
        {"id": "ETH-EUR", "quote_currency": "EUR", "status": "online", "trading_disabled": False},
        {"id": "OLD-EUR", "quote_currency": "EUR", "status": "delisted", "trading_disabled": True},
    ]
    table = pa.Table.from_pylist(products, PRODUCT_SCHEMA)
    listing = pa.Table.from_pylist([{"first_day": datetime(2017, 5, 23)}], LISTING_SCHEMA)
    with user.lake() as lake:
        lake.put(PRODUCTS.path(), with_fields(table, {"fetched_at": "2024-01-05T03:00:00Z"}), None)
        lake.put(LISTINGS.path().format(partition="ETH-EUR"), listing, None)
    found = run_here(user, "products", "--online")
    assert "ETH-EUR  EUR    online  2017-05-23" in found.stdout.splitlines()
    assert "OLD-EUR" not in found.stdout
    assert "from the lake, as of 2024-01-05T03:00:00Z" in found.stdout
    assert "The exchange does not answer: list of products, attempt" in found.stderr
    planned = run_here(user, "collect", "*:1h", "--days", "1", "--dry-run")
    assert "ETH-EUR:1h" in planned.stdout
    assert "OLD-EUR" not in planned.stdout


def test_list_shows_series_that_are_not_configured(quant: User, run_here: RunHere) -> None:
    found = run_here(quant, "list")
    table = rows(found)
    assert [name for name in table if ":" in name] == ["BTC-USD:15m", "ETH-EUR:1h", "ETH-USD:1h"]
    assert table["ETH-USD:1h"][1:6] == ["2024-01-01", "00:00", "2024-01-03", "23:00", "48"]
    assert table["ETH-USD:1h"][-1] == "2024-01-02"
    assert table["ETH-EUR:1h"][-1] == "-"
    assert "ETH-EUR" not in run_here(quant, "list", "usd").stdout


def test_list_as_json(quant: User, run_here: RunHere) -> None:
    result = run_here(quant, "-q", "list", "eth-usd", "--json")
    (holding,) = json.loads(result.stdout)
    assert holding["missing_days"] == ["2024-01-02"]
    assert (holding["candles"], holding["last_candle"]) == (48, "2024-01-03T23:00:00Z")
    assert holding["bytes"] > 1_000


def test_holdings_show_their_sizes(quant: User, run_here: RunHere) -> None:
    run_here(quant, "--version")  # sets the user's environment
    with Lake() as lake:
        *_, last = lake.holdings()
    held = "<ETH-USD:1h: 48 candles, 2024-01-01 to 2024-01-03, 1 day missing, 0.0 MB>"
    assert repr(last) == held


@pytest.mark.parametrize(
    ("chosen", "shown"),
    [
        ([], {"BTC-USD:15m"}),
        (["eth-usd:1h"], {"ETH-USD:1h"}),
        (["ETH-*:1h"], {"ETH-EUR:1h", "ETH-USD:1h"}),
        (["*:1h,15m", "--exclude", "ETH-EUR"], {"BTC-USD:15m", "ETH-USD:1h"}),
    ],
)
def test_status_of_chosen_series(
    quant: User, run_here: RunHere, chosen: list[str], shown: set[str]
) -> None:
    lines = run_here(quant, "status", *chosen).stdout.splitlines()
    names = {line.split()[0] for line in lines[1:] if line.split()[0].endswith(("h", "m"))}
    assert names == shown


def test_dry_run_asks_for_no_candles(
    quant: User, exchange: StandInExchange, run_here: RunHere
) -> None:
    before = len(exchange.requests)
    days = ("--from", "2024", "--to", "2024-01-02")
    planned = run_here(quant, "collect", "ETH-USD:1h,6h", *days, "--dry-run")
    assert planned.stdout.splitlines()[1:] == [
        "Collecting ETH-USD:1h, ETH-USD:6h, 2024-01-01 to 2024-01-02: 4 requests",
        "ETH-USD:1h: 1 day, 2 requests: 2024-01-02",
        "ETH-USD:6h: 2 days, 2 requests: 2024-01-01..2024-01-02",
    ]
    assert len(exchange.requests) == before


def test_plan_says_how_long_the_limit_takes(new_user: NewUser, run_here: RunHere) -> None:
    user = new_user(COINBASE_REQUESTS_PER_SECOND="10")
    december = ("--from", "2023-12", "--to", "2023-12")
    planned = run_here(user, "collect", "BTC-USD:1m", *december, "--dry-run")
    assert "150 requests, 0:00:14 at 10 a second" in planned.stdout


def test_version_and_quiet(quant: User, run_here: RunHere) -> None:
    assert run_here(quant, "--version").stdout == f"coinbase-assets {version('coinbase-assets')}\n"
    quiet = run_here(quant, "--quiet", "status", "ETH-USD:1h")
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (1, "", "")


@pytest.mark.soak
def test_verbose_logs_each_answer(quant: User) -> None:
    verbose = quant.run("--verbose", "collect", "ETH-EUR:1h", "--again", *DAYS)
    assert ".exchange.client: ETH-EUR:1h 2024-01-01T00:00:00Z until" in verbose.stderr


# Taking it elsewhere


def test_export_to_standard_output(quant: User) -> None:
    result = quant.run("export", "ETH-EUR:4h", *DAYS)
    assert result.stderr == "-: 18 candles\n"
    header, first, *_ = csv.reader(result.stdout.splitlines())
    assert header == ["time", "open", "high", "low", "close", "volume"]
    assert first[0] == "2024-01-01T00:00:00Z"


def test_export_names_missing_days_and_writes_nothing(
    quant: User, run_here: RunHere, tmp_path: Path
) -> None:
    file = tmp_path / "eth.csv"
    refused = run_here(quant, "export", "ETH-USD:1h", *DAYS, "--out", str(file))
    assert (refused.returncode, os.listdir(tmp_path)) == (1, [])
    assert refused.stderr.startswith("Error: ETH-USD:1h: not collected: 2024-01-02; collect them")
    allowed = run_here(quant, "export", "ETH-USD:1h", *DAYS, "--out", str(file), "--allow-gaps")
    assert (allowed.returncode, len(pd.read_csv(file))) == (0, 48)


def test_export_for_freqtrade(quant: User, run_here: RunHere, tmp_path: Path) -> None:
    file = tmp_path / "ETH_EUR-1h.feather"
    run_here(quant, "export", "ETH-EUR:1h", *DAYS, "--out", str(file), "--layout", "freqtrade")
    found = pd.read_feather(file)
    assert list(found) == ["date", "open", "high", "low", "close", "volume"]
    assert (str(found["date"].dtype), len(found)) == ("datetime64[ms, UTC]", 72)


@pytest.mark.parametrize("suffix", [".csv.gz", ".json", ".parquet"])
def test_export_of_epoch_seconds(
    quant: User, run_here: RunHere, tmp_path: Path, suffix: str
) -> None:
    file = tmp_path / f"eth{suffix}"
    run_here(quant, "export", "ETH-EUR:1h", *DAYS, "--out", str(file), "--time", "epoch")
    readers: dict[str, Callable[[Path], pd.DataFrame]] = {
        ".csv.gz": pd.read_csv,
        ".json": pd.read_json,
        ".parquet": pd.read_parquet,
    }
    times = readers[suffix](file)["time"]
    assert times.astype("int64").iloc[0] == datetime(2024, 1, 1, tzinfo=UTC).timestamp()


def test_export_fills_empty_buckets(quant: User, run_here: RunHere, tmp_path: Path) -> None:
    counts = {}
    for fill in ([], ["--fill", "nan"], ["--fill", "previous"]):
        file = tmp_path / "btc.csv"
        run_here(quant, "export", "BTC-USD:15m", *DAYS, "--out", str(file), *fill)
        counts[tuple(fill)] = pd.read_csv(file)["close"].count(), len(pd.read_csv(file))
    assert counts["--fill", "nan"] == (counts[()][0], 3 * 96)
    assert counts["--fill", "previous"] == (3 * 96, 3 * 96)


@pytest.mark.soak
def test_export_into_a_closed_pipe_is_quiet(quant: User) -> None:
    program = Path(sys.executable).with_name("coinbase-assets")
    command = f"'{program}' export BTC-USD:15m {' '.join(DAYS)} | head -1"
    result = subprocess.run(
        ["sh", "-c", command], env=quant.environment, capture_output=True, text=True, check=True
    )
    assert "Error" not in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.soak
def test_plot_of_several_series_says_where(
    quant: User, run_here: RunHere, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    opened = list[str]()
    monkeypatch.setattr("click.launch", opened.append)
    drawn = run_here(quant, "plot", "ETH-EUR:4h", "btc-usd:15m", "--open")
    files = [tmp_path / name for name in ("ETH-EUR_4h.png", "BTC-USD_15m.png")]
    assert drawn.stdout.splitlines() == [
        f"ETH-EUR:4h: drawn to {files[0]}",
        f"BTC-USD:15m: drawn to {files[1]}",
    ]
    assert opened == [str(file) for file in files]
    assert all(file.read_bytes()[:4] == b"\x89PNG" for file in files)
