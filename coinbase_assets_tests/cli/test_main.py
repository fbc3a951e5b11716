"""The command line as users run it, with the stand-in exchange and Azurite."""

import json
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from coinbase_assets.monitoring.alert_state import AlertState, save_state
from coinbase_assets.monitoring.incidents import Incident, Problem
from coinbase_assets.monitoring.kinds import RECOVERY, TROUBLE, Kind
from coinbase_assets.storage import client as service
from coinbase_assets.storage.parquet_store import ParquetStore
from coinbase_assets_tests.cli.users import NEVER_STALE, NOON, NewUser, Result, RunHere, User
from coinbase_assets_tests.conftest import free_port
from coinbase_assets_tests.hostile_strings import assert_plain
from coinbase_assets_tests.processes import (
    Process,
    finish,
    instance_at,
)
from coinbase_assets_tests.stand_in.answers import HttpAnswer, error_answer
from coinbase_assets_tests.stand_in.exchange import StandInExchange
from coinbase_assets_tests.stand_in.receivers import TOKEN, Webhook, mail_server

DAYS = ("--from", "2024-01-01", "--to", "2024-01-05")
ETH = ("--series", "ETH-EUR:15m")
FUTURE = str(datetime.now(UTC).date() + timedelta(days=2))
LOOPBACK = ("127.0.0.1", 0)
WRONG_KEY = "bm90IHRoZSBrZXkgb2YgdGhlIGFjY291bnQ="
UNFINISHED = {"QUEUED", "NOT_STARTED", "STARTING", "STARTED", "CANCELING"}


@dataclass(frozen=True)
class Background:
    """Collections that begin together, to save time, and are checked one by one."""

    unknown_product: Process
    silent: socket.socket
    at_silent_storage: Process
    sharing: User
    sharing_exchange: StandInExchange
    sharing_processes: Sequence[Process]


@pytest.fixture(scope="module")
def background(
    new_user: NewUser, azurite: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Background]:
    home = tmp_path_factory.mktemp("new") / "not" / "there" / "yet"
    with StandInExchange(rate=10, burst=15) as limited, socket.create_server(LOOPBACK) as silent:
        sharing = new_user(
            COINBASE_API_URL=limited.url,
            COINBASE_REQUESTS_PER_SECOND="10",
            DAGSTER_HOME=str(home),
        )
        products = ("--series", "NOPE-EUR:15m", "--series", "LTC-USD:15m")
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}/a"
        yield Background(
            new_user().start("collect", *products, *DAYS),
            silent,
            new_user(**storage_setting(azurite, BlobEndpoint=endpoint)).start("collect", *DAYS),
            sharing,
            limited,
            [
                sharing.start("collect", "--series", f"{product}:1m", *DAYS[:3], "2024-01-03")
                for product in ("BTC-USD", "ETH-EUR", "SOL-USD")
            ],
        )


def storage_setting(connection_string: str, **changes: str) -> dict[str, str]:
    for name, value in changes.items():
        connection_string = re.sub(f"{name}=[^;]+", f"{name}={value}", connection_string)
    return {"AZURE_STORAGE_CONNECTION_STRING": connection_string}


def wait_until(condition: Callable[[], bool], process: Process) -> None:
    give_up = time.monotonic() + 60
    while not condition():
        assert process.poll() is None, finish(process)
        assert time.monotonic() < give_up
        time.sleep(0.1)


def error_lines(result: Result, status: int) -> list[str]:
    """Return the one or two lines of error of a command that ended with `status`."""
    lines = result.stderr.splitlines()
    assert result.returncode == status, result
    assert 1 <= len(lines) <= 2, result.stderr
    assert lines[-1].startswith("Error: ")
    return lines


def stored_days(lake: ParquetStore) -> set[str]:
    return {path.split("date=")[1][:10] for path in lake.list("raw_candles/")}


# Help


def test_help_loads_no_dagster(new_user: NewUser) -> None:
    result = new_user().run("--help", PYTHONPROFILEIMPORTTIME="1")
    assert result.returncode == 0
    assert "Complete Coinbase candle history in your own Azure storage." in result.stdout
    loaded = {line.rpartition("|")[2].strip() for line in result.stderr.splitlines()}
    assert "coinbase_assets.cli.main" in loaded
    assert loaded.isdisjoint({"dagster", "azure", "pandas", "matplotlib"})


def test_help_shown_without_command(new_user: NewUser, run_here: RunHere) -> None:
    result = run_here(new_user())
    assert result.returncode == 2
    assert (result.stdout + result.stderr).startswith("Usage: ")


# Wrong usage


def test_usage_error_for_wrong_setting(new_user: NewUser) -> None:
    (line,) = error_lines(new_user(COINBASE_SERIES="ETH-EUR:2m").run("status"), 2)
    assert line.startswith("Error: COINBASE_SERIES")
    assert "allowed are 1m 5m 15m 1h 6h 1d" in line


# Odd environments. `python -m benchmarks environments` tries fifty.


def in_shell(user: User, command: str, **settings: str) -> Result:
    program = Path(sys.executable).with_name("coinbase-assets")
    return subprocess.run(
        ["sh", "-c", f"'{program}' {command}"],
        env={**user.environment, **settings},
        capture_output=True,
        text=True,
        check=False,
    )


def test_full_output_is_one_line(new_user: NewUser) -> None:
    (line,) = error_lines(in_shell(new_user(), "--help >/dev/full"), 1)
    assert line == "Error: [Errno 28] No space left on device"


def test_closed_output_is_no_error(new_user: NewUser) -> None:
    for closed in (">&-", "<&-", "| true"):
        assert in_shell(new_user(), f"--help {closed}").stderr == ""


@pytest.mark.soak
def test_closed_streams_take_no_file(new_user: NewUser) -> None:
    """Dagster's databases would get the numbers of the streams, and what is printed."""
    user = new_user()
    result = in_shell(user, "status <&- >&-")
    assert (result.returncode, result.stderr) == (1, "")


@pytest.mark.soak
def test_warnings_as_errors_collects(new_user: NewUser) -> None:
    user = new_user(PYTHONWARNINGS="error")
    result = user.run("collect", "--from", "2024-01-01", "--to", "2024-01-01")
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr


def test_wrong_proxy_is_usage_error(new_user: NewUser) -> None:
    user = new_user(HTTPS_PROXY="quux://me:geheim@proxy:3128")
    for command in (["status"], ["collect", *DAYS]):
        (line,) = error_lines(user.run(*command), 2)
        assert line.startswith("Error: HTTPS_PROXY: no such kind of proxy; write http://HOST:PORT")


# Alerts


@pytest.mark.soak
def test_alerts_test_prints_result_per_destination(new_user: NewUser, run_here: RunHere) -> None:
    with Webhook() as webhook, mail_server() as mailbox:
        user = new_user(COINBASE_ALERT_URLS=f"{webhook.url},{mailbox.url}")
        result = run_here(user, "alerts", "test")
        assert (result.returncode, result.stderr) == (0, "")
        assert result.stdout == "".join(
            f"{scheme}://127.0.0.1: 8 messages delivered\n" for scheme in ("json", "mailto")
        )
        webhook.status = 500
        result = run_here(user, "alerts", "test")
    assert (result.returncode, result.stderr) == (1, "")
    assert result.stdout.splitlines() == [
        "json://127.0.0.1: not delivered (refused with status 500)",
        "mailto://127.0.0.1: 8 messages delivered",
    ]
    assert [title.removeprefix("TEST-USD:1m: ") for title in webhook.titles] == [
        *TROUBLE.values(),
        RECOVERY[[*Kind][-1]],
    ]
    assert webhook.kinds == ["warning"] * 6 + ["info", "success"]
    # Each of the two recipients, each of the two times.
    assert sorted(mailbox.titles) == sorted(webhook.titles * 2 * 2)


def test_alerts_list_prints_open_incidents(new_user: NewUser, run_here: RunHere) -> None:
    user = new_user()
    result = run_here(user, "alerts", "list")
    assert (result.returncode, result.stdout) == (0, "No open incidents.\n")
    began = datetime.now(UTC) - timedelta(hours=3)
    problem = Problem("ETH-EUR:15m", Kind.STALE, "the exchange last answered 3 hours ago")
    incident = Incident(f"{began:%FT%TZ}", problem.kind, [problem.subject], [problem])
    with instance_at(user.environment["DAGSTER_HOME"]) as instance:
        save_state(instance, AlertState([incident]))
    result = run_here(user, "alerts", "list")
    assert result.returncode == 1
    assert result.stdout == f"ETH-EUR:15m: no recent candles for 3 hours: {problem.text}\n"


@pytest.mark.parametrize(
    ("urls", "rule"),
    [
        (
            "",
            "COINBASE_ALERT_URLS is not set; set it to a URL, for example mailto://USER:PASSWORD@HOST",
        ),
        (f"json://a,slack://{TOKEN}", "COINBASE_ALERT_URLS: URL 2 (slack://...) is not a"),
    ],
)
def test_alerts_test_without_destination_names_setting(
    new_user: NewUser, run_here: RunHere, urls: str, rule: str
) -> None:
    (line,) = error_lines(run_here(new_user(COINBASE_ALERT_URLS=urls), "alerts", "test"), 2)
    assert line.startswith(f"Error: {rule}")
    assert TOKEN not in line


# Collect, status, heal, plot


@pytest.fixture(scope="module")
def collector(new_user: NewUser) -> User:
    return new_user(COINBASE_SERIES="ETH-EUR:15m", **NEVER_STALE)


@pytest.fixture(scope="module")
def collected(collector: User, background: Background) -> Result:
    """The result of collecting, while the collections of `background` run, too."""
    return collector.run("collect", "--series", "ETH-EUR:15m", "--series", "BTC-USD:15m", *DAYS)


def test_collect_prints_lake_and_container(
    collected: Result, collector: User, exchange: StandInExchange
) -> None:
    start, now = datetime(2024, 1, 1, tzinfo=UTC), NOON.timestamp()
    rows = exchange.markets["ETH-EUR"].candles(900, int(start.timestamp()), int(now) - 1, now)
    assert rows[-1][0] == int(now) - 900
    assert (collected.returncode, collected.stderr) == (0, "")
    assert re.search(
        rf"ETH-EUR:15m +{len(rows)} +2024-01-01 00:00 +2024-01-05 11:45 +5 +1 ", collected.stdout
    )
    assert f"/{collector.environment['COINBASE_CONTAINER']};" in collected.stdout
    with collector.lake() as lake:
        assert stored_days(lake) == {f"2024-01-0{day}" for day in range(1, 6)}
        assert len(lake.list("candle_history/")) == 2


def test_collect_names_unconfigured_series(collected: Result) -> None:
    lines = [line for line in collected.stdout.splitlines() if "COINBASE_SERIES" in line]
    assert len(lines) == 1
    assert "BTC-USD:15m is not in COINBASE_SERIES" in lines[0]


@pytest.mark.usefixtures("collected")
def test_collect_remembers_unconfigured_series(collector: User) -> None:
    home = Path(collector.environment["DAGSTER_HOME"])
    assert "BTC-USD:15m" in (home / "collected_series").read_text().splitlines()


@pytest.mark.usefixtures("collected")
def test_collect_requests_only_unsettled_days(
    collector: User, exchange: StandInExchange, run_here: RunHere
) -> None:
    before = len(exchange.requests)
    result = run_here(collector, "collect", *DAYS)
    assert (result.returncode, result.stderr) == (0, "")
    asked = [request for request in exchange.requests[before:] if request.product == "ETH-EUR"]
    candles = [request for request in asked if request.params["granularity"] == "900"]
    assert min(request.params["end"] for request in candles) >= "2024-01-04"
    # Starts are some seconds early, so that no cache has an answer.
    assert min(request.params["start"] for request in candles) >= "2024-01-03T23:55"
    (daily,) = [request for request in asked if request.params["granularity"] == "86400"]
    assert daily.params["start"] >= "2024-01-02T23:55"


@pytest.mark.soak
@pytest.mark.usefixtures("collected")
def test_collect_again_requests_all_days(
    collector: User, exchange: StandInExchange, run_here: RunHere
) -> None:
    before = len(exchange.requests)
    result = run_here(collector, "collect", "--again", *DAYS)
    assert (result.returncode, result.stderr) == (0, "")
    asked = [request for request in exchange.requests[before:] if request.product == "ETH-EUR"]
    assert min(request.params["start"] for request in asked) <= "2024-01-01"
    assert max(request.params["end"] for request in asked) >= "2024-01-05"


def test_status_agrees_with_collect(collected: Result, collector: User, run_here: RunHere) -> None:
    def figures(result: Result) -> list[list[str]]:
        """Series, candles, first, last, days and months, but not the age, which has changed."""
        return [
            line.split()[:8]
            for line in result.stdout.splitlines()
            if line.startswith("ETH-EUR:15m  ")
        ]

    status = run_here(collector, "status")
    assert (status.returncode, status.stderr) == (1, "")
    assert figures(status) == figures(collected)
    for result in (status, collected):
        assert "ETH-EUR:15m: 2024-01-05 12:00 to 2024-01-06 00:00 open: " in result.stdout
    assert "BTC-USD" not in status.stdout
    assert status.stdout.splitlines()[-1] == collected.stdout.splitlines()[-1]


@pytest.mark.usefixtures("collected")
@pytest.mark.usefixtures("collected")
def test_why_says_state_and_witness(collector: User, run_here: RunHere) -> None:
    found = run_here(collector, "why", "ETH-EUR:15m", "2024-01-02T10:05")
    assert (found.returncode, found.stderr) == (0, "")
    assert found.stdout.startswith("ETH-EUR:15m 2024-01-02T10:00:00Z: traded from 2024-01-0")
    later = run_here(collector, "why", "ETH-EUR:15m", "2023-06-01")
    assert "not_collected" in later.stdout
    assert "`coinbase-assets collect`" in later.stdout


def test_status_json(collector: User, run_here: RunHere) -> None:
    result = run_here(collector, "status", "--json")
    assert (result.returncode, result.stderr) == (1, "")
    (status,) = json.loads(result.stdout)
    assert (status["series"], status["complete"], status["days"]) == ("ETH-EUR:15m", False, 5)
    assert (status["last_candle"], status["explained"]) == ("2024-01-05T11:45:00Z", 0.9)
    assert status["settled_through"] == "2024-01-03"
    assert [(interval["start"], interval["state"]) for interval in status["open_questions"]] == [
        ("2024-01-05T12:00:00Z", "open")
    ]


def test_heal_requests_unexplained_days(new_user: NewUser, run_here: RunHere) -> None:
    now = [NOON.timestamp()]
    with StandInExchange(rate=None, clock=lambda: now[0]) as exchange:
        user = new_user(COINBASE_API_URL=exchange.url, **NEVER_STALE)
        run_here(user, "collect", *DAYS)
        now[0] += 3 * 86_400
        before = len(exchange.requests)
        planned = run_here(user, "heal", "--dry-run")
        assert (planned.returncode, planned.stderr) == (0, "")
        assert planned.stdout.splitlines() == [
            "Healing: 2 requests",
            "ETH-EUR:15m: 1 day, 2 requests: 2024-01-05",
        ]
        assert len(exchange.requests) == before
        bounded = run_here(user, "heal", "--from", "2024-01-06", "--series", "ETH-EUR:15m")
        assert (bounded.returncode, len(exchange.requests)) == (0, before)
        healed = run_here(user, "heal", "--from", "2024-01-05", "--to", "2024-01-05")
        assert (healed.returncode, healed.stderr) == (0, "")
        assert re.search(r"ETH-EUR:15m .* complete$", healed.stdout, re.M)
        assert {request.params["granularity"] for request in exchange.requests[before:]} == {
            "900",
            "86400",
        }
        assert len(exchange.requests) == before + 2
        assert "Healing: 0 requests" in run_here(user, "heal").stdout
        assert len(exchange.requests) == before + 2
    assert run_here(user, "status").returncode == 0


@pytest.mark.usefixtures("collected")
@pytest.mark.parametrize(
    ("arguments", "span"),
    [
        ([], "2024-01-01 to 2024-01-05"),
        pytest.param(["--to", "2024-01-03"], "2024-01-01 to 2024-01-03", marks=pytest.mark.soak),
        pytest.param(["--from", "2024-01-04"], "2024-01-04 to 2024-01-05", marks=pytest.mark.soak),
        (["--from", "2024-01-02", "--to", "2024-01-02"], "2024-01-02"),
    ],
)
def test_plot_draws_wanted_or_newest_days(
    collector: User, run_here: RunHere, tmp_path: Path, arguments: Sequence[str], span: str
) -> None:
    file = tmp_path / "candles.svg"
    result = run_here(collector, "plot", *ETH, "--out", str(file), *arguments)
    drawn = f"ETH-EUR:15m: drawn to {file}\n"
    assert (result.returncode, result.stdout, result.stderr) == (0, drawn, "")
    assert f"<!-- {span}, UTC -->" in file.read_text()


@pytest.mark.soak
@pytest.mark.usefixtures("collected")
def test_plot_default_file_name(
    collector: User, run_here: RunHere, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run_here(collector, "plot", *ETH)
    drawn = f"ETH-EUR:15m: drawn to {tmp_path / 'ETH-EUR_15m.png'}\n"
    assert (result.returncode, result.stdout) == (0, drawn)
    assert Path("ETH-EUR_15m.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.usefixtures("collected")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["ETH-EUR:1m"], "ETH-EUR:1m: not in the lake; it holds BTC-USD:15m, ETH-EUR:15m"),
        (
            ["BTC-USD:15m", "--from", "2023-12-01", "--to", "2023-12-31"],
            "BTC-USD:15m: no candles from 2023-12-01 to 2023-12-31; the newest is from 2024-01-05",
        ),
    ],
)
def test_plot_without_candles_names_what_lake_holds(
    collector: User, run_here: RunHere, tmp_path: Path, arguments: Sequence[str], said: str
) -> None:
    file = tmp_path / "candles.png"
    result = run_here(collector, "plot", "--out", str(file), "--series", *arguments)
    assert error_lines(result, 1) == [f"Error: {said}"]
    assert not file.exists()


def test_plot_of_empty_lake(new_user: NewUser, run_here: RunHere) -> None:
    (line,) = error_lines(run_here(new_user(), "plot", *ETH), 1)
    assert line == "Error: ETH-EUR:15m: not in the lake; it holds no history yet; run collect first"


# Interrupted and killed


@pytest.mark.soak
def test_collect_interrupted_keeps_days(new_user: NewUser) -> None:
    days = ("--from", "2024-01-01", "--to", "2024-01-20")
    with StandInExchange(rate=None, latency=0.2) as slow:
        users = {
            number: new_user(COINBASE_API_URL=slow.url, COINBASE_REQUESTS_PER_SECOND="10")
            for number in (signal.SIGINT, signal.SIGTERM)
        }
        collections = {
            number: user.start("collect", "--series", "BTC-USD:1m", *days)
            for number, user in users.items()
        }
        for number, process in collections.items():
            with users[number].lake() as lake:
                wait_until(lambda: bool(stored_days(lake)), process)
                process.send_signal(number)
                sent = time.monotonic()
                result = finish(process)
                assert time.monotonic() - sent < 30
                kept = len(stored_days(lake))
            assert (result.returncode, result.stderr.strip()) == (130, "")
            (months,) = re.findall(rf"BTC-USD:1m .* {kept} +([01]) ", result.stdout)
            advised = "stored, not joined yet: run coinbase-assets collect" in result.stdout
            assert advised == (months == "0")
            assert "Interrupted" in result.stdout
            assert "the same command collects the rest" in result.stdout
            assert UNFINISHED.isdisjoint(users[number].runs().values())


def test_collect_terminated_while_storage_is_silent(
    background: Background,
) -> None:
    process = background.at_silent_storage
    background.silent.settimeout(60)
    with background.silent.accept()[0]:
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=10)
    assert (process.returncode, errors.strip()) == (130, "")


@pytest.mark.soak
def test_collect_resumes_after_kill(new_user: NewUser) -> None:
    first, last = datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 1, 10, 23, 59, tzinfo=UTC)
    command = ("collect", "--from", f"{first:%F}", "--to", f"{last:%F}")
    with StandInExchange(rate=None) as exchange:
        user = new_user(COINBASE_API_URL=exchange.url, COINBASE_SERIES="BTC-USD:1m")
        with user.lake() as lake:
            process = user.start(*command, COINBASE_REQUESTS_PER_SECOND="8")
            wait_until(lambda: len(stored_days(lake)) >= 2, process)
            process.kill()
            process.wait()
            kept = stored_days(lake)
            before = len(exchange.requests)
            result = user.run(*command)
            history = lake.get(
                "candle_history/product=BTC-USD/granularity=1m/month=2024-01/candles.parquet"
            )
        asked = {request.params["end"][:10] for request in exchange.requests[before:]}
        expected = exchange.markets["BTC-USD"].candles(
            60, int(first.timestamp()), int(last.timestamp()), time.time()
        )

    assert (result.returncode, result.stderr) == (0, "")
    assert 2 <= len(kept) < 10
    assert asked
    assert asked.isdisjoint(kept)
    columns = [history[name].to_pylist() for name in ("low", "high", "open", "close", "volume")]
    times = [int(value.timestamp()) for value in history["time"].to_pylist()]
    assert [list(row) for row in zip(times, *columns, strict=True)] == expected
    (killed,) = re.findall(r"The process of run (\S+) was killed", result.stdout)
    assert user.runs().pop(killed) == "FAILURE"
    assert [status for run, status in user.runs().items() if run != killed] == ["SUCCESS"] * 2


def test_collect_processes_share_budget(background: Background) -> None:
    results = [finish(process) for process in background.sharing_processes]
    assert [result.returncode for result in results] == [0, 0, 0], results
    assert background.sharing_exchange.stats()["status"] == {"200": 45 + 3}  # and daily candles
    with background.sharing.lake() as lake:
        assert len(lake.list("raw_candles/")) == 9
        assert len(lake.list("candle_history/")) == 3
    assert [result.stderr for result in results] == ["", "", ""]


# Failures


def test_collect_names_unknown_product(
    background: Background,
) -> None:
    result = finish(background.unknown_product)
    missing, error = error_lines(result, 1)
    assert "the exchange does not know the product NOPE-EUR" in error
    days, months = "raw_candles 2024-01-01..2024-01-05", "candle_history 2024-01"
    assert missing == f"NOPE-EUR:15m: not collected: {days}; {months}; candle_coverage 2024-01"
    assert re.search(r"LTC-USD:15m +\d+ +2024-01-01 00:00 .* 5 +1 ", result.stdout)


def test_collect_unreachable_exchange_names_missing_partitions(
    new_user: NewUser, run_here: RunHere
) -> None:
    # A free port could become another test's before it is asked.
    url = "http://127.0.0.1:1"
    user = new_user(COINBASE_API_URL=url, COINBASE_GIVE_UP_AFTER="2")
    missing, error = error_lines(run_here(user, "collect", *DAYS), 1)
    assert f"no answer from {url}" in error
    assert error.endswith("HTTPS_PROXY and COINBASE_API_URL, or try it offline: make demo")
    days, months = "raw_candles 2024-01-01..2024-01-05", "candle_history 2024-01"
    assert missing == f"ETH-EUR:15m: not collected: {days}; {months}; candle_coverage 2024-01"


@dataclass(kw_only=True)
class RefusingExchange(StandInExchange):
    """A stand-in exchange that answers everything with an error."""

    error: HttpAnswer

    def answer(self, target: str, address: str = "") -> tuple[HttpAnswer, float]:
        return self.error, 0.0


@pytest.mark.soak
@pytest.mark.parametrize("status", [pytest.param(400, marks=pytest.mark.soak), 500])
def test_collect_prints_hostile_answer_as_text(
    new_user: NewUser, run_here: RunHere, status: int
) -> None:
    error = error_answer(status, "[/nope] \x1b[2J \u202e")
    with RefusingExchange(
        error=replace(error, body=error.body.replace(b"\\u001b", b"\x1b"))
    ) as odd:
        user = new_user(COINBASE_API_URL=odd.url, COINBASE_GIVE_UP_AFTER="4")
        result = run_here(user, "collect", *DAYS)
    _, error_line = error_lines(result, 1)
    assert f"answered {status} " in error_line
    for line in (result.stdout if status == 500 else error_line, error_line):
        assert r"[/nope] \x1b[2J" in line
        assert_plain(line)
    assert ("trying again" in result.stdout) == (status == 500)


@pytest.mark.soak
def test_collect_offline_keeps_settled_days(new_user: NewUser, run_here: RunHere) -> None:
    user = new_user()
    days = ("--from", "2024-01-01", "--to", "2024-01-03")
    assert run_here(user, "collect", *days).returncode == 0
    offline = User(user.start_process, {**user.environment, "COINBASE_API_URL": "http://a.invalid"})
    assert run_here(offline, "collect", *days).returncode == 0
    result = run_here(offline, "collect", *DAYS)
    missing, error = error_lines(result, 1)
    assert missing.endswith("raw_candles 2024-01-04..2024-01-05")
    assert "the name a.invalid does not resolve" in error
    assert error.endswith("or try it offline: make demo")
    assert "trying again" not in result.stdout


def test_collect_refused_account_key_names_setting(
    new_user: NewUser, run_here: RunHere, azurite: str
) -> None:
    user = new_user(**storage_setting(azurite, AccountKey=WRONG_KEY))
    for command in (["status"], ["collect", *DAYS]):
        result = run_here(user, *command)
        (line,) = error_lines(result, 1)
        assert "AZURE_STORAGE_" in line
        assert WRONG_KEY not in result.stdout + result.stderr


def test_collect_wrong_dagster_home_names_setting(
    new_user: NewUser, run_here: RunHere, tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.touch()
    for home in (file, file / "folder"):
        user = new_user(DAGSTER_HOME=str(home))
        (line,) = error_lines(run_here(user, "collect", *DAYS), 1)
        assert "DAGSTER_HOME" in line
        assert str(home) in line


def test_collect_unreachable_storage_names_endpoint(
    new_user: NewUser, run_here: RunHere, azurite: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(service._OPTIONS, "retry_total", 0)
    endpoint = f"http://127.0.0.1:{free_port()}/a"
    user = new_user(**storage_setting(azurite, BlobEndpoint=endpoint))
    for command in (["status"], ["collect", *DAYS]):
        (line,) = error_lines(run_here(user, *command), 1)
        assert line.startswith(f"Error: {endpoint}/{user.environment['COINBASE_CONTAINER']}")
        assert "the storage account cannot be reached" in line
