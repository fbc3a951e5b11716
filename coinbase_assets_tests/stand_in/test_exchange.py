"""The stand-in exchange behaves like the real exchange, as documented and recorded."""

import io
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import csv

from coinbase_assets_tests.stand_in.exchange import StandInExchange
from coinbase_assets_tests.stand_in.faults import random_faults
from coinbase_assets_tests.stand_in.markets import (
    FileMarket,
    ListMarket,
    SyntheticMarket,
    file_markets,
    synthetic_markets,
)

DAY = 86400
START = 1_704_067_200  # 2024-01-01T00:00Z
NOW = START + 30 * DAY + 100.25
PRICES = ("low", "high", "open", "close")
TYPES = {"time": pa.int64()} | dict.fromkeys((*PRICES, "volume"), pa.float64())
PRODUCT_FIELDS = {
    *("id", "base_currency", "quote_currency", "quote_increment", "base_increment"),
    *("display_name", "min_market_funds", "margin_enabled", "post_only", "limit_only"),
    *("cancel_only", "status", "status_message", "trading_disabled", "fx_stablecoin"),
    *("max_slippage_percentage", "auction_mode"),
}
FULL = ListMarket({60: [[START + 60 * n, 1.0, 4.5, 2.0, 3.25, 1e-08] for n in range(1000)]})


class Clock:
    def __init__(self, now: float = NOW) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    with httpx.Client(trust_env=False, verify=False) as client:
        yield client


@pytest.fixture(scope="module")
def exchange() -> Iterator[StandInExchange]:
    markets = synthetic_markets() | {"FULL-USD": FULL}
    with StandInExchange(rate=None, clock=Clock(), markets=markets, delisted=["LTC-USD"]) as it:
        yield it


def candles(
    client: httpx.Client, exchange: StandInExchange, product: str = "FULL-USD", **params: Any
) -> httpx.Response:
    window = {"granularity": 60, "start": START, "end": START + 299 * 60}
    return client.get(f"{exchange.url}/products/{product}/candles", params=window | params)


def iso(epoch: int) -> str:
    return datetime.fromtimestamp(epoch, UTC).isoformat()


# Windows and rows


def test_stand_in_rows_newest_first_whole_numbers_as_integers(
    client: httpx.Client, exchange: StandInExchange
) -> None:
    answer = candles(client, exchange, end=START + 60)
    assert answer.text == f"[[{START + 60},1,4.5,2,3.25,1e-08],[{START},1,4.5,2,3.25,1e-08]]"


def test_stand_in_start_and_end_inclusive(client: httpx.Client, exchange: StandInExchange) -> None:
    times = [row[0] for row in candles(client, exchange, end=START + 300 * 60).json()]
    assert times == [START + 60 * n for n in range(300, -1, -1)]


@pytest.mark.parametrize(
    ("start", "end"),
    [
        (START + 1, START + 179),
        (START + 0.5, START + 179.9),
        ("2024-01-01T00:00:01Z", "2024-01-01T00:02:59.999Z"),
        ("2024-01-01T01:00:01+01:00", "2023-12-31T19:02:59-05:00"),
        ("2024-01-01T00:00:30", "2024-01-01 00:02:01"),
        (str(START + 60), iso(START + 120)),
    ],
)
def test_stand_in_rounds_start_up_and_end_down(
    client: httpx.Client, exchange: StandInExchange, start: Any, end: Any
) -> None:
    rows = candles(client, exchange, start=start, end=end).json()
    assert [row[0] for row in rows] == [START + 120, START + 60]


@pytest.fixture
def new_york() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "America/New_York")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("new_york")
def test_stand_in_time_without_offset_is_utc(
    client: httpx.Client, exchange: StandInExchange
) -> None:
    rows = candles(client, exchange, start="2024-01-01T00:00:30", end="2024-01-01T00:01:00").json()
    assert [row[0] for row in rows] == [START + 60]


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"granularity": 120}, "Unsupported granularity"),
        ({"granularity": "ONE_MINUTE"}, "Unsupported granularity"),
        (
            {"end": START + 300 * 60 + 1},
            "granularity too small for the requested time range. "
            "Count of aggregations requested exceeds 300",
        ),
        ({"start": START + 1, "end": START}, "start must be before end"),
        ({"start": "yesterday"}, "Invalid start"),
        ({"end": "nan"}, "Invalid end"),
    ],
)
def test_stand_in_refuses_bad_parameters(
    client: httpx.Client, exchange: StandInExchange, params: dict[str, Any], message: str
) -> None:
    answer = candles(client, exchange, **params)
    assert (answer.status_code, answer.json()) == (400, {"message": message})
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("path", ["/products/NO-SUCH/candles", "/products/NO-SUCH", "/nothing"])
def test_stand_in_unknown_path_is_not_found(
    client: httpx.Client, exchange: StandInExchange, path: str
) -> None:
    answer = client.get(exchange.url + path)
    assert (answer.status_code, answer.text) == (404, '{"message":"NotFound"}')


@pytest.mark.parametrize("given", [{}, {"start": iso(START)}, {"end": iso(START)}])
def test_stand_in_newest_350_rows_without_start_or_end(
    client: httpx.Client, exchange: StandInExchange, given: dict[str, str]
) -> None:
    url = f"{exchange.url}/products/BTC-USD/candles"
    rows = client.get(url, params={"granularity": 3600, **given}).json()
    assert [row[0] for row in rows] == [START + 30 * DAY - 3600 * n for n in range(350)]


def test_stand_in_early_rows_precede_start(client: httpx.Client) -> None:
    with StandInExchange(clock=Clock(), markets={"FULL-USD": FULL}, early_rows=2) as exchange:
        rows = candles(client, exchange, start=START + 600, end=START + 600).json()
    assert [row[0] for row in rows] == [START + 600, START + 540, START + 480]


# Synthetic markets


def test_market_nothing_before_listing(client: httpx.Client, exchange: StandInExchange) -> None:
    listing = SyntheticMarket("ETH-USD", listing=1_463_530_440)
    days = listing.candles(DAY, START - 3000 * DAY, START - 2700 * DAY, NOW)
    assert days[0][0] == 1_463_529_600
    assert listing.candles(60, listing.listing - 600, listing.listing, NOW)[0][0] == 1_463_530_440
    before = candles(client, exchange, "SOL-USD", start="2018-01-01", end="2018-01-01T04:00")
    assert (before.status_code, before.json()) == (200, [])
    assert before.headers["cache-control"] == "public, max-age=300"


@pytest.mark.parametrize("product", ["ETH-EUR", "BTC-USD", "XRP-USD", "ANY-GBP"])
def test_market_synthetic_candles_are_sane(product: str) -> None:
    market = synthetic_markets([product])[product]
    rows = market.candles(60, START, START + 5 * DAY, NOW)
    assert rows == synthetic_markets([product])[product].candles(60, START, START + 5 * DAY, NOW)
    assert all(low <= min(o, c) <= max(o, c) <= high for _, low, high, o, c, _ in rows)
    assert min(row[5] for row in rows) == 1e-08
    assert len(str(rows[0][1]).partition(".")[2]) <= 5
    assert rows != synthetic_markets()["LTC-USD"].candles(60, START, START + 5 * DAY, NOW)


def test_market_untraded_minutes_have_no_row() -> None:
    minutes = 20 * 1440
    for product, share in [("BTC-EUR", 0.10), ("BTC-USDT", 0.19), ("BTC-USD", 0.004)]:
        rows = synthetic_markets()[product].candles(60, START, START + (minutes - 1) * 60, NOW)
        assert 1 - len(rows) / minutes == pytest.approx(share, rel=0.3)


@pytest.mark.parametrize("granularity", [300, 900, 3600, 21600, 86400])
def test_market_granularities_agree(granularity: int) -> None:
    market = synthetic_markets()["BTC-USDT"]
    now = START + DAY + 5 * 3600 + 1234.5
    minutes = market.candles(60, START, int(now), now)
    for time_, low, high, open_, close, volume in market.candles(
        granularity, START, START + DAY, now
    ):
        part = [row for row in minutes if time_ <= row[0] < time_ + granularity]
        assert (low, high) == (min(row[1] for row in part), max(row[2] for row in part))
        assert (open_, close) == (part[0][3], part[-1][4])
        assert volume == pytest.approx(sum(row[5] for row in part))


def test_market_halt_is_a_hole_in_every_product() -> None:
    halt = int(datetime(2023, 3, 4, 17, tzinfo=UTC).timestamp())
    for market in synthetic_markets().values():
        assert market.candles(60, halt, halt + 275 * 60, NOW) == []
        assert len(market.candles(60, halt - 900, halt + 290 * 60, NOW)) >= 15


def test_market_usdc_book_is_the_usd_book() -> None:
    usdc = synthetic_markets(["BTC-USDC"])["BTC-USDC"]
    usd = synthetic_markets()["BTC-USD"]
    assert usdc.candles(60, START, START + DAY, NOW) == usd.candles(60, START, START + DAY, NOW)


def test_market_revised_volumes_grow_a_day_later() -> None:
    market = SyntheticMarket("BTC-USD", revised=0.1)
    early = market.candles(60, START, START + 299 * 60, START + 300 * 60)
    late = market.candles(60, START, START + 299 * 60, NOW)
    grown = [new[5] > old[5] for old, new in zip(early, late, strict=True)]
    assert 0 < sum(grown) < 60
    assert [row[:5] for row in early] == [row[:5] for row in late]


def test_stand_in_long_daily_answer_is_whole(
    client: httpx.Client, exchange: StandInExchange
) -> None:
    window = {"granularity": DAY, "start": START - 300 * DAY, "end": START - DAY}
    candles(client, exchange, "BTC-USD")
    assert len(candles(client, exchange, "BTC-USD", **window).json()) == 300


@pytest.mark.parametrize("granularity", [60, 3600])
def test_stand_in_forming_bucket_changes(client: httpx.Client, granularity: int) -> None:
    clock, answers = Clock(), []
    with StandInExchange(clock=clock) as exchange:
        for second in (-1, 10, 20, granularity - 1, granularity):
            clock.now = START + second
            window = {"start": START, "end": START + 9 * granularity, "granularity": granularity}
            answers.append(candles(client, exchange, "ETH-USD", **window).json())
    (past, first, second, almost, closed) = answers
    assert past == []
    assert [len(rows) for rows in (first, second, almost)] == [1, 1, 1]
    assert closed[-1][0] == first[0][0] == START
    for earlier, later in zip((first, second, almost), (second, almost, closed), strict=False):
        assert earlier[-1][3] == later[-1][3]
        assert earlier[-1][1] >= later[-1][1]
        assert earlier[-1][2] <= later[-1][2]
        assert earlier[-1][5] < later[-1][5]


def test_market_forming_bucket_absent_for_six_seconds() -> None:
    market = SyntheticMarket("BTC-USD", untraded=0.0)
    starts = range(START, START + 100 * 60, 60)
    seen = {s: sum(len(market.candles(60, at, at, at + s)) for at in starts) for s in (0, 3, 6)}
    assert seen[0] == 0
    assert 20 < seen[3] < 80
    assert seen[6] == 100


# Headers, cache, limit


def test_stand_in_headers_of_success(client: httpx.Client, exchange: StandInExchange) -> None:
    headers = candles(client, exchange).headers
    assert headers["date"] == "Wed, 31 Jan 2024 00:01:40 GMT"
    assert headers["cache-control"] == "public, max-age=300"
    assert "age" not in headers


@pytest.mark.parametrize(("cdn_date", "seconds"), [("now", 20), ("origin", 0)])
def test_stand_in_cdn_answers_from_memory(
    client: httpx.Client, cdn_date: Any, seconds: int
) -> None:
    clock = Clock(START + 100 * 60)
    with StandInExchange(clock=clock, cache_seconds=300, cdn_date=cdn_date) as exchange:
        fresh = candles(client, exchange, "ETH-USD")
        clock.now += 20
        cached, other = candles(client, exchange, "ETH-USD"), candles(client, exchange, "BTC-USD")
        clock.now += 280
        expired = candles(client, exchange, "ETH-USD")
    assert (cached.content, cached.headers["age"]) == (fresh.content, "20")
    assert cached.headers["date"] == f"Mon, 01 Jan 2024 01:40:{seconds:02} GMT"
    assert "age" not in other.headers
    assert "age" not in expired.headers
    assert expired.content != fresh.content


def test_stand_in_cdn_caches_no_errors(client: httpx.Client) -> None:
    with StandInExchange(cache_seconds=300, faults=lambda n, *_: "500" if n == 0 else None) as it:
        statuses = [candles(client, it, "ETH-USD").status_code for _ in range(2)]
        missing = [candles(client, it, "NO-SUCH") for _ in range(2)]
    assert statuses == [500, 200]
    assert "age" not in missing[1].headers


def test_stand_in_token_bucket_starts_full_and_refills(client: httpx.Client) -> None:
    with StandInExchange(rate=0.5, burst=3) as exchange:
        answers = [candles(client, exchange, "ETH-USD") for _ in range(4)]
        time.sleep(2.1)
        answers += [client.get(f"{exchange.url}/products") for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 200, 429]
    assert answers[3].text == '{"message":"Public rate limit exceeded"}'
    assert "retry-after" not in answers[3].headers


def test_stand_in_retry_after_only_if_set(client: httpx.Client) -> None:
    with StandInExchange(rate=1, burst=1, retry_after=2) as exchange:
        first, second = (candles(client, exchange, "ETH-USD") for _ in range(2))
    assert "retry-after" not in first.headers
    assert (second.status_code, second.headers["retry-after"]) == (429, "2")


def test_stand_in_limit_for_many_connections(client: httpx.Client) -> None:
    with StandInExchange(rate=1, burst=15) as exchange, ThreadPoolExecutor(16) as pool:
        url = f"{exchange.url}/products/BTC-USD"
        statuses = list(pool.map(lambda _: client.get(url).status_code, range(60)))
        assert 15 <= statuses.count(200) <= 16
        assert client.get(f"{exchange.url}/stats").json()["status"]["429"] >= 44


def test_stand_in_latency_of_parallel_answers(client: httpx.Client) -> None:
    with StandInExchange(latency=0.1) as exchange, ThreadPoolExecutor(8) as pool:
        began = time.perf_counter()
        list(pool.map(lambda _: candles(client, exchange, "ETH-USD"), range(8)))
        assert time.perf_counter() - began >= 0.1


# Products


def test_stand_in_products(client: httpx.Client, exchange: StandInExchange) -> None:
    answer = client.get(f"{exchange.url}/products")
    products = {product["id"]: product for product in answer.json()}
    assert answer.headers["cache-control"] == "public, max-age=5"
    assert {"ETH-EUR", "BTC-USD", "FULL-USD"} <= products.keys()
    assert products["LTC-USD"]["status"] == "delisted"
    assert products["ETH-EUR"] == client.get(f"{exchange.url}/products/ETH-EUR").json()
    assert products["ETH-EUR"]["status"] == "online"
    assert products["ETH-EUR"].keys() == PRODUCT_FIELDS


# Markets from files


def write(folder: Path, name: str, rows: list[list[float]]) -> None:
    text = "\n".join(",".join(map(str, row)) for row in rows)
    table = csv.read_csv(
        io.BytesIO(text.encode()),
        read_options=csv.ReadOptions(column_names=list(TYPES)),
        convert_options=csv.ConvertOptions(column_types=TYPES),
    )
    pq.write_table(table, folder / f"{name}.parquet")


def test_stand_in_tells_its_time(client: httpx.Client) -> None:
    with StandInExchange(clock=Clock(), rate=0.001, burst=1) as exchange:
        answer, refused = (client.get(f"{exchange.url}/time") for _ in range(2))
    assert answer.json() == {"iso": "2024-01-31T00:01:40.250Z", "epoch": NOW}
    assert [request.status for request in exchange.time_requests] == [200, 429]
    assert refused.status_code == 429
    assert exchange.requests == []


def test_market_files_served_as_they_are(client: httpx.Client, tmp_path: Path) -> None:
    rows = [[START + 60 * n, 1.5, 3.5, 2.5, 2.75, 0.125] for n in (0, 1, 5, 6)]
    write(tmp_path, "BTC-USD_60_20240101_20240101", rows[1::-1])
    write(tmp_path, "BTC-USD_60_20240102_20240102", rows[1:])
    write(tmp_path, "BTC-USD_900_20240101_20240101", [[START, 1.5, 3.5, 2.5, 2.75, 5.5]])
    markets = synthetic_markets(["BTC-USD", "ETH-EUR"]) | file_markets(tmp_path)
    with StandInExchange(clock=Clock(), markets=markets) as exchange:
        assert candles(client, exchange, "BTC-USD").json() == rows[::-1]
        assert len(candles(client, exchange, "BTC-USD", granularity=900).json()) == 1
        assert candles(client, exchange, "BTC-USD", granularity=3600).json() == []
        assert candles(client, exchange, "BTC-USD", start=START - 600, end=START - 60).json() == []
        assert len(candles(client, exchange, "ETH-EUR").json()) > 200
    assert markets["BTC-USD"].listing == START


def test_market_forming_row_of_file(tmp_path: Path) -> None:
    write(tmp_path, "A-B_60_x", [[START + 60 * n, 1.0, 4.0, 2.0, 3.0, 8.0] for n in range(3)])
    market = FileMarket(tmp_path.iterdir())
    rows = market.candles(60, START, START + 600, START + 75.0)
    assert rows == [[START, 1, 4, 2, 3, 8], [START + 60, 1.75, 2.5, 2, 2.25, 2]]


# Faults


def test_faults_error_statuses(client: httpx.Client) -> None:
    kinds = ["500", "503", "429", "404", "400"]
    with StandInExchange(faults=lambda number, *_: kinds[number], rate=None) as exchange:
        answers = [candles(client, exchange, "ETH-EUR") for _ in kinds]
    assert [str(answer.status_code) for answer in answers] == kinds
    assert all(answer.json()["message"] for answer in answers)
    assert all(answer.headers["cache-control"] == "no-store" for answer in answers)
    assert [request.fault for request in exchange.requests] == kinds


@pytest.mark.parametrize(("kind", "status"), [("cut", 0), ("cut-body", 200)])
def test_faults_cut_connection(client: httpx.Client, kind: str, status: int) -> None:
    with StandInExchange(faults=lambda n, *_: kind if n == 0 else None) as exchange:
        with pytest.raises(httpx.RemoteProtocolError):
            candles(client, exchange, "ETH-EUR")
        assert candles(client, exchange, "ETH-EUR").status_code == 200
    assert exchange.requests[0].status == status


def test_faults_that_look_like_success(client: httpx.Client) -> None:
    kinds = ["truncated", "html", "empty"]
    with StandInExchange(faults=lambda number, *_: kinds[number]) as exchange:
        truncated, html, empty = (candles(client, exchange, "ETH-EUR") for _ in kinds)
    assert {truncated.status_code, html.status_code, empty.status_code} == {200}
    for broken in (truncated, html):
        with pytest.raises(json.JSONDecodeError):
            broken.json()
    assert html.headers["content-type"] == "text/html"
    assert empty.json() == []


def test_faults_slow_answer(client: httpx.Client) -> None:
    seen: list[Any] = []

    def faults(number: int, product: str, params: Any) -> str:
        seen.append((number, product, params["granularity"]))
        return "slow"

    with StandInExchange(faults=faults, slow_seconds=0.1) as exchange:
        began = time.perf_counter()
        assert candles(client, exchange, "ETH-EUR").json()
        assert time.perf_counter() - began >= 0.1
    assert seen == [(0, "ETH-EUR", "60")]


def test_faults_random_by_seed() -> None:
    def chosen(share: float, seed: int) -> list[str | None]:
        faults = random_faults(share, seed)
        return [faults(number, "BTC-USD", {}) for number in range(1000)]

    assert chosen(0.1, 1) == chosen(0.1, 1) != chosen(0.1, 2)
    assert 60 < 1000 - chosen(0.1, 1).count(None) < 140
    assert {*chosen(1, 0)} == {"500", "503", "cut", "cut-body", "truncated", "html"}
    assert {*chosen(0, 0)} == {None}


# Recorded requests, start and end of the server


def test_stand_in_records_and_counts_requests(client: httpx.Client) -> None:
    before = time.monotonic()
    with StandInExchange(rate=0.001, burst=2) as exchange:
        for product in ("BTC-USD", "ETH-EUR", "ETH-EUR"):
            candles(client, exchange, product)
        stats = client.get(f"{exchange.url}/stats").json()
    first, _, last = exchange.requests
    assert (first.path, first.status, first.fault) == ("/products/BTC-USD/candles", 200, "")
    assert first.params == {"granularity": "60", "start": f"{START}", "end": f"{START + 17940}"}
    assert before <= first.arrived <= last.arrived <= time.monotonic()
    assert stats["requests"] == 3
    assert stats["status"] == {"200": 2, "429": 1}
    assert stats["products"]["ETH-EUR"]["status"] == {"200": 1, "429": 1}
    assert stats["products"]["BTC-USD"]["first"] == first.arrived
    assert stats["last"] == stats["products"]["ETH-EUR"]["last"] == last.arrived


def test_stand_in_stops_with_open_connections(
    client: httpx.Client,
) -> None:
    threads = threading.active_count()
    for _ in range(5):
        with ThreadPoolExecutor() as pool:
            with StandInExchange(faults=lambda n, *_: "slow" if n else None) as exchange:
                client.get(f"{exchange.url}/products")
                slow = pool.submit(client.get, f"{exchange.url}/products")
                while exchange.stats()["requests"] < 2:
                    time.sleep(0.001)
            assert isinstance(slow.exception(), httpx.TransportError | None)
    assert threading.active_count() == threads


def test_stand_in_silent_about_clients_that_leave(
    client: httpx.Client, capfd: pytest.CaptureFixture[str]
) -> None:
    with StandInExchange(latency=0.1) as exchange:
        for _ in range(3):
            with pytest.raises(httpx.ReadTimeout):
                client.get(f"{exchange.url}/products", timeout=httpx.Timeout(5, read=0.03))
        time.sleep(0.1)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT])
def test_stand_in_command(client: httpx.Client, tmp_path: Path, end: signal.Signals) -> None:
    write(tmp_path, "LTC-USD_60_x", [[START, 1.0, 4.0, 2.0, 3.0, 8.0]])
    command = [sys.executable, "-m", "coinbase_assets_tests.stand_in.exchange", "--port", "0"]
    options = ["--products", "BTC-USD,NEW-GBP", "--files", str(tmp_path), "--burst", "2"]
    with subprocess.Popen(command + options, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        url = process.stdout.readline().strip()
        products = client.get(f"{url}/products").json()
        client.get(f"{url}/products/LTC-USD/candles", params={"start": START, "end": START})
        client.get(f"{url}/products/LTC-USD")
        process.send_signal(end)
        lines = process.stdout.read().splitlines()
    assert [product["id"] for product in products] == ["BTC-USD", "NEW-GBP", "LTC-USD"]
    assert process.returncode == 0
    assert len(lines) == 1
    assert json.loads(lines[0])["status"] == {"200": 2, "429": 1}
    assert json.loads(lines[0])["products"]["LTC-USD"]["requests"] == 2
