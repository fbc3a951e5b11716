"""`coinbase-assets metrics`, and `GET /metrics` of the web server."""

import json
from pathlib import Path

import httpx
import pytest
import tenacity
from prometheus_client.parser import text_string_to_metric_families

from coinbase_assets.monitoring.kinds import Kind
from coinbase_assets_tests.cli.users import NewUser, RunHere, User
from coinbase_assets_tests.conftest import free_port
from coinbase_assets_tests.processes import PROJECT, Start
from coinbase_assets_tests.stand_in.azurite import AZURITE_KEY

Samples = dict[tuple[str, ...], float]
ETH = "ETH-EUR:15m"
SECRET = "correct-horse-battery"


@pytest.fixture(scope="module")
def operator(new_user: NewUser) -> User:
    """Somebody who follows two series, and has collected two days of one, and a day between not."""
    user = new_user(
        COINBASE_SERIES=f"{ETH},BTC-USD:1h", COINBASE_ALERT_URLS=f"json://me:{SECRET}@127.0.0.1"
    )
    with pytest.MonkeyPatch.context() as patch:
        for day in ("2024-01-01", "2024-01-03"):
            assert user.run_in_process(patch, "collect", ETH, "--from", day, "--to", day) == 0
    return user


def samples(text: str) -> Samples:
    """Return the values by the metric's name and its labels."""
    return {
        (sample.name.removeprefix("coinbase_"), *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_metrics_say_what_is_open(operator: User, run_here: RunHere) -> None:
    done = run_here(operator, "metrics")
    assert (done.returncode, done.stderr) == (0, "")
    found = samples(done.stdout)
    assert found["explained_ratio", ETH] == pytest.approx(2 / 3)
    assert found["open_buckets", ETH, "not_collected"] == 96
    assert found["open_buckets", ETH, "unconfirmed"] == 0
    assert found["days_due", ETH] == 1
    assert found["candle_age_seconds", ETH] == pytest.approx(found["answer_age_seconds", ETH])
    assert found["candle_age_seconds", ETH] > 86_400
    assert found["damaged_blobs", ETH] == found["damage_findings", ETH] == 0
    assert found["budget_wait_seconds", "urgent"] == found["budget_wait_seconds", "ordinary"] == 0
    assert all(found["incidents", kind.value] == 0 for kind in Kind)
    assert 0 <= found["lake_read_age_seconds",] < 60
    assert found["requests_total", "200"] >= 2


def test_metrics_have_no_sample_for_what_is_not_known(operator: User, run_here: RunHere) -> None:
    found = samples(run_here(operator, "metrics").stdout)
    assert ("answer_age_seconds", "BTC-USD:1h") not in found
    assert ("verification_age_seconds",) not in found
    assert found["explained_ratio", "BTC-USD:1h"] == 0


def test_metrics_hold_no_secret(operator: User, run_here: RunHere) -> None:
    text = run_here(operator, "metrics").stdout
    assert SECRET not in text
    assert AZURITE_KEY not in text


def test_metrics_count_damaged_files(new_user: NewUser, run_here: RunHere) -> None:
    user = new_user()
    days = ("--from", "2024-01-01", "--to", "2024-01-02")
    assert run_here(user, "collect", *days).returncode == 0
    with user.lake() as lake:
        (path, _) = lake.list("raw_candles/")
        lake.put_bytes(path, b"no table", "text/plain")
    found = samples(run_here(user, "metrics").stdout)
    assert found["damaged_blobs", ETH] == 1
    assert found["damage_findings", ETH] > 1


def test_dashboard_shows_metrics_that_exist(operator: User, run_here: RunHere) -> None:
    text = run_here(operator, "metrics").stdout
    names = {family.name for family in text_string_to_metric_families(text)}
    dashboard = json.loads((PROJECT / "deploy" / "grafana-dashboard.json").read_text())
    queries = " ".join(
        target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())
    )
    assert {name for name in names if name not in queries} == set()


@pytest.mark.soak
def test_web_server_answers_metrics(operator: User, start: Start, tmp_path: Path) -> None:
    workspace, port = tmp_path / "workspace.yaml", free_port()
    workspace.write_text("load_from: []\n")
    command = ("-m", "coinbase_assets.web.server", "--workspace", str(workspace))
    start("python", *command, "--port", str(port), environment=operator.environment)
    answer = ask(port)
    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    assert samples(answer.text)["open_buckets", ETH, "not_collected"] == 96
    # The lake is not read again, but the ages go on.
    assert samples(ask(port).text)["lake_read_age_seconds",] > 0
    assert ask(port, Host="evil.example").status_code == 403


@tenacity.retry(
    retry=tenacity.retry_if_exception_type(httpx.TransportError),
    wait=tenacity.wait_fixed(0.2),
    stop=tenacity.stop_after_delay(60),
    reraise=True,
)
def ask(port: int, **headers: str) -> httpx.Response:
    with httpx.Client(trust_env=False, timeout=30) as client:
        return client.get(f"http://127.0.0.1:{port}/metrics", headers=headers)
