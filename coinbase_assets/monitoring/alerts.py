"""`alerts_sensor`: sends messages about incidents and ended back-fills."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

import dagster as dg
import httpx

from coinbase_assets.candles.series import Series
from coinbase_assets.environment.alert_urls import silence
from coinbase_assets.environment.network import httpx_options
from coinbase_assets.monitoring.alert_state import AlertState, load_state, save_state
from coinbase_assets.monitoring.backfills import backfill_message, ended_backfills
from coinbase_assets.monitoring.delivery import deliver
from coinbase_assets.monitoring.destinations import Destination, Message
from coinbase_assets.monitoring.incidents import update_incidents
from coinbase_assets.monitoring.problems import find_problems, update_failures, watched_subjects

log = logging.getLogger(__name__)


def build_alerts_sensor(
    series: Sequence[Series],
    checks: Sequence[dg.AssetCheckKey],
    destinations: Sequence[Destination],
    heartbeat_url: str | None,
) -> dg.SensorDefinition:
    """The sensor over these series and checks. It also logs each message as a warning."""

    @dg.sensor(
        name="alerts_sensor",
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=(
            "Sends a message to COINBASE_ALERT_URLS when a series has trouble, another when it has"
            " recovered, and one when a back-fill ends. Calls COINBASE_HEARTBEAT_URL every time."
        ),
    )
    def alerts_sensor(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        state, messages = evaluate(
            context.instance, load_state(context.instance), series, checks, datetime.now(UTC)
        )
        for message in messages:
            log.warning("%s\n%s", message.title, message.body)
        state = state.with_outbox(messages, destinations)
        save_state(context.instance, state)
        _send(context.instance, state, destinations)
        if heartbeat_url:
            _call_heartbeat(heartbeat_url)
        return dg.SkipReason(_skip_reason(state))

    return alerts_sensor


def evaluate(
    instance: dg.DagsterInstance,
    state: AlertState,
    series: Sequence[Series],
    checks: Sequence[dg.AssetCheckKey],
    now: datetime,
) -> tuple[AlertState, list[Message]]:
    """Returns the state as of `now`, and the new messages.

    The first evaluation reports neither earlier failed runs nor earlier back-fills.
    """
    since = datetime.fromisoformat(state.looked_at) if state.looked_at else now
    failures = update_failures(instance, since, state.failures)
    problems = find_problems(instance, series, checks, failures)
    watched = watched_subjects(series, checks, state.failures)
    update = update_incidents(state.incidents, problems, now, watched)
    ended = ended_backfills(instance, now)
    new = [b for b in ended if state.looked_at and b.backfill_id not in state.backfills]
    after = replace(
        state,
        incidents=update.incidents,
        failures=failures,
        backfills=[backfill.backfill_id for backfill in ended],
        looked_at=now.isoformat(),
    )
    return after, [*update.messages, *(backfill_message(backfill, now) for backfill in new)]


def _send(
    instance: dg.DagsterInstance, state: AlertState, destinations: Sequence[Destination]
) -> None:
    """Deliver the outbox. Each delivery is saved at once, so that a crash repeats no message."""

    def sent(destination: str, message_id: str) -> None:
        nonlocal state
        state = state.without(destination, message_id)
        save_state(instance, state)

    for failure in deliver(state.outbox, destinations, sent):
        log.warning("alert not delivered, trying again: %s", failure)


def _call_heartbeat(url: str) -> None:
    """Show an external watchdog that the alerts are running. The URL may hold a secret."""
    try:
        with silence():
            httpx.get(url, timeout=5, **httpx_options(url)).raise_for_status()
    except httpx.HTTPError as error:
        log.warning("COINBASE_HEARTBEAT_URL: not reached (%s)", type(error).__name__)


def _skip_reason(state: AlertState) -> str:
    subjects = [subject for incident in state.incidents for subject in incident.standing_texts]
    return f"Trouble with {', '.join(subjects)}" if subjects else "All is well"
