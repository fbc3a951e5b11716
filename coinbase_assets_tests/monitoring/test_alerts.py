"""Problems that Dagster recorded become messages at real receivers, once each."""

import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import dagster as dg
import pytest
import yaml

from coinbase_assets.definitions import build_definitions
from coinbase_assets.monitoring.alert_state import load_state
from coinbase_assets.settings import Settings, project_folder
from coinbase_assets_tests.running import collect_raw, settings_for
from coinbase_assets_tests.stand_in.receivers import TOKEN, Webhook

NAMES = [f"COIN{number}-USD:15m" for number in range(6)]
NO_EXCHANGE = "http://127.0.0.1:1"

pytestmark = pytest.mark.usefixtures("lake")


class Alerts:
    """Evaluations of the sensor, each with new definitions."""

    def __init__(self, instance: dg.DagsterInstance, *names: str) -> None:
        self.instance = instance
        self.settings = settings_for(NO_EXCHANGE, *names)

    def tick(self, *urls: str, **more: str) -> str:
        changes = {"COINBASE_ALERT_URLS": ",".join(urls) or None, **more}
        settings = Settings.model_validate(self.settings.model_dump(by_alias=True) | changes)
        repository = build_definitions(settings).get_repository_def()
        context = dg.build_sensor_context(instance=self.instance, repository_def=repository)
        result = repository.get_sensor_def("alerts_sensor").evaluate_tick(context)
        return result.skip_message or ""

    def find(self, passed: bool, *names: str) -> None:
        for name in names:
            product, granularity = name.split(":")
            evaluation = dg.AssetCheckEvaluation(
                asset_key=dg.AssetKey([product, granularity, "raw_candles"]),
                check_name="answers_are_recent",
                passed=passed,
                severity=dg.AssetCheckSeverity.ERROR,
                metadata={},
                description="the exchange last answered 3:00:00 ago",
            )
            self.instance.report_runless_asset_event(evaluation)


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    with Webhook() as webhook:
        yield webhook


def test_alerts_report_begin_and_end(instance: dg.DagsterInstance, webhook: Webhook) -> None:
    alerts = Alerts(instance, *NAMES[:2])
    summaries = [alerts.tick(webhook.url)]
    alerts.find(False, *NAMES[:2])
    summaries += [alerts.tick(webhook.url) for _ in range(4)]
    assert webhook.titles == [f"{name}: trouble" for name in NAMES[:2]]
    assert "answers_are_recent: the exchange last answered 3:00:00 ago" in webhook.bodies[0]
    alerts.find(True, *NAMES[:2])
    summaries += [alerts.tick(webhook.url) for _ in range(2)]
    assert webhook.titles[2:] == [f"{name}: recovered" for name in NAMES[:2]]
    assert [summaries[0], summaries[-1]] == ["All is well"] * 2
    assert summaries[3] == f"Trouble with {NAMES[0]}, {NAMES[1]}"


def test_alerts_report_storm_once(instance: dg.DagsterInstance, webhook: Webhook) -> None:
    alerts = Alerts(instance, *NAMES)
    alerts.find(False, *NAMES)
    for _ in range(3):
        alerts.tick(webhook.url)
    assert webhook.titles == ["6 series: trouble"]
    assert all(name in webhook.bodies[0] for name in NAMES)
    alerts.find(True, *NAMES[:4])
    alerts.tick(webhook.url)
    alerts.find(True, *NAMES)
    for _ in range(2):
        alerts.tick(webhook.url)
    assert webhook.titles == ["6 series: trouble", "6 series: recovered"]


def test_alerts_retry_failed_destination(
    instance: dg.DagsterInstance, webhook: Webhook, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    alerts, broken = Alerts(instance, NAMES[0]), Webhook(status=500)
    alerts.find(False, NAMES[0])
    with broken:
        for _ in range(3):
            alerts.tick(webhook.url, broken.url)
        assert (webhook.titles, broken.titles) == ([f"{NAMES[0]}: trouble"], [])
        broken.status = 200
        for _ in range(2):
            alerts.tick(webhook.url, broken.url)
    assert webhook.titles == broken.titles == [f"{NAMES[0]}: trouble"]
    assert "alert not delivered, trying again" in caplog.text
    assert TOKEN not in caplog.text
    assert TOKEN not in str(load_state(instance))


def test_alerts_without_destination_are_logged(
    instance: dg.DagsterInstance, caplog: pytest.LogCaptureFixture
) -> None:
    alerts = Alerts(instance, NAMES[0])
    alerts.find(False, NAMES[0])
    for _ in range(2):
        alerts.tick()
    assert f"{NAMES[0]}: trouble" in caplog.text
    assert [incident.subjects for incident in load_state(instance).incidents] == [[NAMES[0]]]


def test_alerts_report_failed_run_until_materialised(
    instance: dg.DagsterInstance, webhook: Webhook
) -> None:
    alerts = Alerts(instance, "ETH-EUR:15m")
    alerts.tick(webhook.url)
    settings = alerts.settings.model_copy(update={"give_up_after": 0.2})
    with pytest.raises(Exception, match="no answer from"):
        collect_raw(settings, instance, "2024-01-01", checks=True)
    alerts.tick(webhook.url)
    assert webhook.titles == ["ETH-EUR:15m: trouble"]
    assert "of ETH-EUR/15m/raw_candles failed" in webhook.bodies[0]
    key = dg.AssetKey(["ETH-EUR", "15m", "raw_candles"])
    instance.report_runless_asset_event(dg.AssetMaterialization(key, partition="2024-01-01"))
    alerts.tick(webhook.url)
    assert webhook.titles == ["ETH-EUR:15m: trouble", "ETH-EUR:15m: recovered"]


def test_alerts_ignore_check_under_way(instance: dg.DagsterInstance, webhook: Webhook) -> None:
    alerts = Alerts(instance, NAMES[0])
    alerts.find(False, NAMES[0])
    for _ in range(2):
        alerts.tick(webhook.url)
    job = build_definitions(alerts.settings).resolve_implicit_global_asset_job_def()
    key = dg.AssetKey([*NAMES[0].split(":"), "raw_candles"])
    instance.create_run_for_job(job.get_subset(asset_selection={key}))
    alerts.tick(webhook.url)
    assert webhook.titles == [f"{NAMES[0]}: trouble"]


def test_alerts_call_heartbeat_which_may_fail(
    instance: dg.DagsterInstance, caplog: pytest.LogCaptureFixture
) -> None:
    calls: list[str] = []

    class Watchdog(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            calls.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            """Log nothing."""

    alerts = Alerts(instance, NAMES[0])
    with ThreadingHTTPServer(("127.0.0.1", 0), Watchdog) as watchdog:
        threading.Thread(target=watchdog.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{watchdog.server_port}/ping/{TOKEN}"
        for _ in range(2):
            assert alerts.tick(COINBASE_HEARTBEAT_URL=url) == "All is well"
        watchdog.shutdown()
    assert calls == [f"/ping/{TOKEN}"] * 2
    assert alerts.tick(COINBASE_HEARTBEAT_URL=url) == "All is well"
    assert "COINBASE_HEARTBEAT_URL: not reached (ConnectError)" in caplog.text
    assert TOKEN not in caplog.text


def test_alert_policies_cover_same_events() -> None:
    text = (project_folder() / "alert_policies.yaml").read_text()
    policies = yaml.safe_load(text)["alert_policies"]
    events = {event for policy in policies for event in policy["event_types"]}
    assert events >= {"ASSET_FRESHNESS_FAIL", "ASSET_CHECK_SEVERITY_ERROR", "JOB_FAILURE"}
    assert len({policy["name"] for policy in policies}) == len(policies)
