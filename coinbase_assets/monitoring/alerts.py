"""`alerts_sensor`: sends messages about incidents and ended back-fills."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

import dagster as dg
import httpx

from coinbase_assets.candles.series import Series
from coinbase_assets.dagster_instance.deployment import OWN, Deployment
from coinbase_assets.environment.alert_urls import silence
from coinbase_assets.environment.network import httpx_options
from coinbase_assets.monitoring.alert_state import AlertState, load_state, save_state
from coinbase_assets.monitoring.backfills import (
    backfill_message,
    ended_backfills,
    is_filling,
)
from coinbase_assets.monitoring.delivery import deliver
from coinbase_assets.monitoring.destinations import Destination, Message
from coinbase_assets.monitoring.failed_runs import update_failures
from coinbase_assets.monitoring.incidents import update_incidents
from coinbase_assets.monitoring.kinds import TROUBLE, Kind
from coinbase_assets.monitoring.messages import describe_change
from coinbase_assets.monitoring.problems import find_problems, watched_subjects
from coinbase_assets.monitoring.uncollected import uncollected_days
from coinbase_assets.storage.errors import StorageError
from coinbase_assets.storage.io_manager import AzureParquetIOManager

if TYPE_CHECKING:
    from coinbase_assets.storage.parquet_store import ParquetStore

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Watch:
    """What the alerts look at, and the address of the web UI, if there is one."""

    series: Sequence[Series]
    checks: Sequence[dg.AssetCheckKey]
    start: date | None = None
    web_url: str | None = None
    deployment: Deployment = OWN


def build_alerts_sensor(
    series: Sequence[Series],
    checks: Sequence[dg.AssetCheckKey],
    destinations: Sequence[Destination],
    heartbeat_url: str | None,
    start: date | None,
    web_url: str | None,
    deployment: Deployment = OWN,
) -> dg.SensorDefinition:
    """Return the sensor over these series and checks. It also logs each message as a warning.

    `start` is the day from which on all days must be collected, if there is one.
    """
    watch = Watch(series, checks, start, web_url, deployment)

    @dg.sensor(
        name=deployment.name("alerts_sensor"),
        required_resource_keys={deployment.lake},
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=(
            "Sends a message to COINBASE_ALERT_URLS when a series has trouble, another when it has"
            " recovered, and one when a back-fill ends. Calls COINBASE_HEARTBEAT_URL every time."
        ),
    )
    def alerts_sensor(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        lake: AzureParquetIOManager = deployment.lake_of(context)
        instance, now = context.instance, datetime.now(UTC)
        since = load_state(instance, deployment)
        state = _publish(instance, *evaluate(instance, since, watch, now), destinations, deployment)
        try:
            reports = report_backfills(instance, lake.store, state, since, watch, now)
            state = _publish(instance, *reports, destinations, deployment)
        except StorageError as error:
            log.warning("ended back-fills are reported later: %s", error)
        if heartbeat_url:
            _call_heartbeat(heartbeat_url)
        return dg.SkipReason(_skip_reason(state))

    return alerts_sensor


def evaluate(
    instance: dg.DagsterInstance, state: AlertState, watch: Watch, now: datetime
) -> tuple[AlertState, list[Message]]:
    """Return the state as of `now`, and the messages about incidents.

    The first evaluation reports no earlier failed runs. The lake is not read, so that the alerts go
    on while the storage does not answer.
    """
    since = datetime.fromisoformat(state.looked_at) if state.looked_at else now
    deployment = watch.deployment
    failures = update_failures(instance, since, state.failures, deployment)
    problems = find_problems(instance, watch.series, watch.checks, failures, now, deployment)
    if watch.start:
        problems += uncollected_days(instance, watch.series, watch.start, now, deployment)
    watched = watched_subjects(watch.series, watch.checks, state.failures, deployment)
    held = {Kind.NOT_COLLECTED} if is_filling(instance) else set[Kind]()
    update = update_incidents(state.incidents, problems, now, watched, held)
    messages = [describe_change(change, now, watch.web_url) for change in update.changes]
    after = replace(state, incidents=update.incidents, failures=failures, looked_at=now.isoformat())
    return after, messages


def report_backfills(
    instance: dg.DagsterInstance,
    store: "ParquetStore",
    state: AlertState,
    before: AlertState,
    watch: Watch,
    now: datetime,
) -> tuple[AlertState, list[Message]]:
    """Return the state with the ended back-fills, and messages about those that ended since.

    `before` is the state before this evaluation; without one, nothing is reported. Raises
    StorageError.
    """
    ended = ended_backfills(instance, now)
    new = [b for b in ended if before.looked_at and b.backfill_id not in before.backfills]
    described = [
        backfill_message(each, store, now, watch.web_url, watch.deployment) for each in new
    ]
    messages = [message for message in described if message]
    return replace(state, backfills=[each.backfill_id for each in ended]), messages


def _publish(
    instance: dg.DagsterInstance,
    state: AlertState,
    messages: Sequence[Message],
    destinations: Sequence[Destination],
    deployment: Deployment,
) -> AlertState:
    """Log the messages, save the state, and deliver what is in the outbox. Return the state left.

    Each delivery is saved at once, so that a crash repeats no message.
    """
    for message in messages:
        log.warning("%s\n%s", message.title, message.body)
    state = state.with_outbox(messages, destinations)
    save_state(instance, state, deployment)

    def sent(destination: str, message_id: str) -> None:
        nonlocal state
        state = state.without(destination, message_id)
        save_state(instance, state, deployment)

    for failure in deliver(state.outbox, destinations, sent):
        log.warning("alert not delivered, trying again: %s", failure)
    return state


def _call_heartbeat(url: str) -> None:
    """Show an external watchdog that the alerts are running. The URL may hold a secret."""
    try:
        with silence():
            httpx.get(url, timeout=5, **httpx_options(url)).raise_for_status()
    except httpx.HTTPError as error:
        log.warning("COINBASE_HEARTBEAT_URL: not reached (%s)", type(error).__name__)


def _skip_reason(state: AlertState) -> str:
    standing = [problem for incident in state.incidents for problem in incident.standing]
    names = dict.fromkeys(f"{p.subject} ({TROUBLE[p.kind]})" for p in standing)
    return f"Trouble with {', '.join(names)}" if names else "All is well"
