"""Problems that Dagster recorded become messages at real receivers, once each."""

import logging
import os
import re
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import dagster as dg
import pytest
import yaml
from dagster._core.execution.backfill import BulkActionStatus

from coinbase_assets.assets import raw_candles
from coinbase_assets.definitions import build_definitions
from coinbase_assets.monitoring.alert_state import load_state
from coinbase_assets.monitoring.kinds import RECOVERY, TROUBLE, Kind
from coinbase_assets.settings import Settings, project_folder
from coinbase_assets.storage import client
from coinbase_assets.storage.parquet_store import ParquetStore
from coinbase_assets_tests.monitoring.test_backfills import add_backfill
from coinbase_assets_tests.running import collect_raw, land, refresh_raw, settings_for
from coinbase_assets_tests.stand_in.receivers import TOKEN, Webhook

NAMES = [f"COIN{number}-USD:15m" for number in range(6)]
NO_EXCHANGE = "http://127.0.0.1:1"
WEB = "https://candles.example.com"
LATE = "the exchange last answered 3 hours ago"
BEGIN, END = TROUBLE[Kind.STALE], RECOVERY[Kind.STALE]

pytestmark = pytest.mark.usefixtures("lake")


class Alerts:
    """Evaluations of the sensor, each with new definitions."""

    def __init__(self, instance: dg.DagsterInstance, *names: str) -> None:
        self.instance = instance
        self.settings = settings_for(NO_EXCHANGE, *names)

    def tick(self, *urls: str, **more: str) -> str:
        changes = {"COINBASE_ALERT_URLS": ",".join(urls) or None, "COINBASE_WEB_URL": WEB, **more}
        known = self.settings.model_dump(by_alias=True, exclude_unset=True)
        repository = build_definitions(
            Settings.model_validate(known | changes)
        ).get_repository_def()
        with dg.build_sensor_context(
            instance=self.instance,
            repository_def=repository,
            resources={"lake": repository.get_top_level_resources()["lake"]},
        ) as context:
            result = repository.get_sensor_def("alerts_sensor").evaluate_tick(context)
        return result.skip_message or ""

    def find(self, passed: bool, *names: str) -> None:
        """Record whether the exchange's answers are recent."""
        for name in names:
            self.record(name, "raw_candles", "answers_are_recent", passed, LATE)

    def record(
        self,
        name: str,
        kind: str,
        check: str,
        passed: bool,
        text: str,
        severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.ERROR,
        found: int = 1,
    ) -> None:
        evaluation = dg.AssetCheckEvaluation(
            asset_key=dg.AssetKey([*name.split(":"), kind]),
            check_name=check,
            passed=passed,
            severity=severity,
            metadata={"found": dg.MetadataValue.int(found)},
            description=text,
        )
        self.instance.report_runless_asset_event(evaluation)

    def holes(self, name: str, count: int) -> None:
        """Record the result of the check of completeness."""
        check = ("candle_coverage", "every_hole_is_explained")
        text = f"{count} holes"
        self.record(name, *check, not count, text, dg.AssetCheckSeverity.WARN, count)


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    with Webhook() as webhook:
        yield webhook


def test_alerts_report_begin_and_end(instance: dg.DagsterInstance, webhook: Webhook) -> None:
    alerts = Alerts(instance, *NAMES[:2])
    summaries = [alerts.tick(webhook.url)]
    alerts.find(False, *NAMES[:2])
    summaries += [alerts.tick(webhook.url) for _ in range(4)]
    assert webhook.titles == [f"{name}: {BEGIN}" for name in NAMES[:2]]
    lines = webhook.bodies[0].splitlines()
    assert lines[0] == f"{NAMES[0]}: {LATE}"
    assert lines[-1] == f"{WEB}/assets/{NAMES[0].replace(':', '/')}/raw_candles"
    alerts.find(True, *NAMES[:2])
    summaries += [alerts.tick(webhook.url) for _ in range(2)]
    assert webhook.titles[2:] == [f"{name}: {END}" for name in NAMES[:2]]
    assert [summaries[0], summaries[-1]] == ["All is well"] * 2
    assert summaries[3] == f"Trouble with {NAMES[0]} ({BEGIN}), {NAMES[1]} ({BEGIN})"


def test_alerts_report_storm_once(instance: dg.DagsterInstance, webhook: Webhook) -> None:
    alerts = Alerts(instance, *NAMES)
    alerts.find(False, *NAMES)
    for _ in range(3):
        alerts.tick(webhook.url)
    assert webhook.titles == [f"6 series: {BEGIN}"]
    assert all(name in webhook.bodies[0] for name in NAMES)
    alerts.find(True, *NAMES[:4])
    alerts.tick(webhook.url)
    alerts.find(True, *NAMES)
    for _ in range(2):
        alerts.tick(webhook.url)
    assert webhook.titles == [f"6 series: {BEGIN}", f"6 series: {END}"]


def test_alerts_retry_failed_destination(
    instance: dg.DagsterInstance, webhook: Webhook, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    alerts, broken = Alerts(instance, NAMES[0]), Webhook(status=500)
    alerts.find(False, NAMES[0])
    with broken:
        for _ in range(3):
            alerts.tick(webhook.url, broken.url)
        assert (webhook.titles, broken.titles) == ([f"{NAMES[0]}: {BEGIN}"], [])
        broken.status = 200
        for _ in range(2):
            alerts.tick(webhook.url, broken.url)
    assert webhook.titles == broken.titles == [f"{NAMES[0]}: {BEGIN}"]
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
    assert f"{NAMES[0]}: {BEGIN}" in caplog.text
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
    assert webhook.titles == ["ETH-EUR:15m: a run failed"]
    first, cause, *_, link = webhook.bodies[0].splitlines()
    assert first.endswith("of ETH-EUR/15m/raw_candles failed")
    assert cause.startswith("Cause: Exchange: ETH-EUR:15m")
    assert f"no answer from {NO_EXCHANGE}" in cause
    assert link == f"{WEB}/runs/{instance.get_runs()[0].run_id}"
    key = dg.AssetKey(["ETH-EUR", "15m", "raw_candles"])
    for day in ("2024-01-02", "2024-01-01"):
        # A later run may have stored another day only.
        assert len(webhook.titles) == 1
        instance.report_runless_asset_event(dg.AssetMaterialization(key, partition=day))
        alerts.tick(webhook.url)
    assert webhook.titles[1:] == [f"ETH-EUR:15m: {RECOVERY[Kind.RUN_FAILED]}"]


def test_alerts_ignore_check_under_way(instance: dg.DagsterInstance, webhook: Webhook) -> None:
    alerts = Alerts(instance, NAMES[0])
    alerts.find(False, NAMES[0])
    for _ in range(2):
        alerts.tick(webhook.url)
    job = build_definitions(alerts.settings).resolve_implicit_global_asset_job_def()
    key = dg.AssetKey([*NAMES[0].split(":"), "raw_candles"])
    instance.create_run_for_job(job.get_subset(asset_selection={key}))
    alerts.tick(webhook.url)
    assert webhook.titles == [f"{NAMES[0]}: {BEGIN}"]


def test_alerts_report_each_kind_of_a_series(
    instance: dg.DagsterInstance, webhook: Webhook
) -> None:
    """Each evaluation has new definitions and the stored state, as after a restart."""
    alerts, name = Alerts(instance, "ETH-EUR:15m", NAMES[0]), "ETH-EUR:15m"

    def ticks() -> list[str]:
        before = len(webhook.titles)
        for _ in range(3):
            alerts.tick(webhook.url)
        return [
            f"{kind}: {title}"
            for kind, title in zip(webhook.kinds[before:], webhook.titles[before:], strict=True)
        ]

    ticks()
    alerts.holes(name, 3)
    assert ticks() == [f"warning: {name}: {TROUBLE[Kind.INCOMPLETE]}"]
    alerts.holes(name, 300)
    assert ticks() == [f"warning: {name}: {TROUBLE[Kind.INCOMPLETE]} (worse)"]
    alerts.find(False, name, NAMES[0])
    assert ticks() == [f"failure: {each}: {BEGIN}" for each in (NAMES[0], name)]
    settings = alerts.settings.model_copy(update={"give_up_after": 0.2})
    with pytest.raises(Exception, match="no answer from"):
        collect_raw(settings, instance, "2024-01-01", checks=True)
    assert ticks() == [f"failure: {name}: {TROUBLE[Kind.RUN_FAILED]}"]
    alerts.find(True, name, NAMES[0])
    assert ticks() == [f"success: {each}: {END}" for each in (NAMES[0], name)]
    alerts.holes(name, 0)
    assert ticks() == [f"success: {name}: {RECOVERY[Kind.INCOMPLETE]}"]


def test_alerts_name_cause_of_late_series_once(
    instance: dg.DagsterInstance, webhook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    alerts = Alerts(instance, *NAMES)
    monkeypatch.setattr(raw_candles, "LIVE_GIVE_UP_AFTER", 0.2)
    with pytest.raises(Exception, match="no answer from"):
        refresh_raw(alerts.settings, instance, f"{datetime.now(UTC):%F}")
    alerts.find(False, *NAMES)
    for _ in range(2):
        alerts.tick(webhook.url)
    causes = [line for line in webhook.bodies[0].splitlines() if line.startswith("Cause: ")]
    assert len(causes) == 1
    assert f"no answer from {NO_EXCHANGE}" in causes[0]


def test_alerts_report_delisted_product_once_as_news(
    instance: dg.DagsterInstance, webhook: Webhook
) -> None:
    alerts = Alerts(instance, *NAMES[:2])
    product = NAMES[0].split(":")[0]
    event = dg.AssetMaterialization("products", metadata={"delisted": product})
    instance.report_runless_asset_event(event)
    alerts.find(False, NAMES[0])
    for _ in range(4):
        alerts.tick(webhook.url)
    assert webhook.titles == [f"{NAMES[0]}: {TROUBLE[Kind.DELISTED]}"]
    assert webhook.kinds == ["info"]


def test_alerts_report_days_since_start_once(
    instance: dg.DagsterInstance, webhook: Webhook, lake: ParquetStore
) -> None:
    yesterday, today = (datetime.now(UTC).date() - timedelta(days=n) for n in (1, 0))
    first = today - timedelta(days=5)
    alerts = Alerts(instance, "ETH-EUR:15m")
    for _ in range(2):
        alerts.tick(webhook.url)
    assert webhook.titles == []
    land(instance, alerts.settings.series[0], str(yesterday), str(today))
    for _ in range(3):
        alerts.tick(webhook.url, COINBASE_START=str(first))
    assert webhook.titles == [f"ETH-EUR:15m: {TROUBLE[Kind.NOT_COLLECTED]}"]
    last = today - timedelta(days=2)
    lines = webhook.bodies[0].splitlines()
    assert lines[0].endswith(
        f"4 days since COINBASE_START={first} are not collected: {first}..{last}"
    )
    assert lines[2] == (
        f"What helps: coinbase-assets collect --series ETH-EUR:15m --from {first} --to {last}"
    )
    days = [str(first + timedelta(days=n)) for n in range(4)]
    land(instance, alerts.settings.series[0], *days)
    alerts.tick(webhook.url, COINBASE_START=str(first))
    assert webhook.titles[1:] == [f"ETH-EUR:15m: {RECOVERY[Kind.NOT_COLLECTED]}"]


def test_alerts_go_on_without_storage(
    instance: dg.DagsterInstance, webhook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    alerts, there = Alerts(instance, NAMES[0]), os.environ["AZURE_STORAGE_CONNECTION_STRING"]
    alerts.tick(webhook.url)
    add_backfill(instance, "none", BulkActionStatus.CANCELED)
    alerts.find(False, NAMES[0])
    with monkeypatch.context() as patch:
        patch.setitem(client._OPTIONS, "retry_total", 0)
        nowhere = re.sub(r":\d+/", ":1/", there)
        patch.setenv("AZURE_STORAGE_CONNECTION_STRING", nowhere)
        for _ in range(2):
            alerts.tick(webhook.url)
    assert webhook.titles == [f"{NAMES[0]}: {BEGIN}"]
    alerts.tick(webhook.url)
    assert webhook.titles[1:] == ["Back-fill canceled: 0 of 13 partitions are stored"]


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
