"""`alerts_sensor`: tells people what goes wrong with series, once, and when it is over."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime

import dagster as dg
import httpx

from coinbase_assets.alert_urls import silence
from coinbase_assets.candles.series import Series
from coinbase_assets.monitoring.backfills import backfill_message, ended_backfills
from coinbase_assets.monitoring.delivery import deliver
from coinbase_assets.monitoring.destinations import Destination, Message
from coinbase_assets.monitoring.incidents import Incident, update_incidents
from coinbase_assets.monitoring.problems import (
    Failures,
    failed_runs,
    shown_failures,
    standing_problems,
)

log = logging.getLogger(__name__)

# Under this name the state lies in the Dagster instance.
_STATE = "coinbase_assets/alerts"
# Messages kept for a destination that takes none.
_MOST_KEPT = 100


@dataclass(frozen=True)
class AlertState:
    """What is known from one evaluation to the next, also across restarts.

    `outbox` holds what each destination, by its key, has not taken yet; `looked_at` is the time of
    the last evaluation, `backfills` are those already told of.
    """

    incidents: Sequence[Incident] = ()
    outbox: Mapping[str, Sequence[Message]] = field(default_factory=dict)
    failures: Failures = field(default_factory=dict)
    backfills: Sequence[str] = ()
    looked_at: str = ""

    def without(self, destination: str, message: str) -> "AlertState":
        left = [one for one in self.outbox.get(destination, ()) if one.id != message]
        return replace(self, outbox={**self.outbox, destination: left})


def load_state(instance: dg.DagsterInstance) -> AlertState:
    text = instance.daemon_cursor_storage.get_cursor_values({_STATE}).get(_STATE)
    if not text:
        return AlertState()
    stored = json.loads(text)
    return AlertState(
        [Incident(**one) for one in stored["incidents"]],
        {key: [Message(**one) for one in kept] for key, kept in stored["outbox"].items()},
        {
            name: {asset: (run_id, when) for asset, (run_id, when) in assets.items()}
            for name, assets in stored["failures"].items()
        },
        stored["backfills"],
        stored["looked_at"],
    )


def save_state(instance: dg.DagsterInstance, state: AlertState) -> None:
    instance.daemon_cursor_storage.set_cursor_values({_STATE: json.dumps(asdict(state))})


def build_alerts_sensor(
    series: Sequence[Series],
    checks: Sequence[dg.AssetCheckKey],
    destinations: Sequence[Destination],
    heartbeat_url: str | None,
) -> dg.SensorDefinition:
    """The sensor over all series and their checks; without destinations it only logs."""

    @dg.sensor(
        name="alerts_sensor",
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=(
            "Tells what goes wrong with a series, once, and once that it is over, to"
            " COINBASE_ALERT_URLS; calls COINBASE_HEARTBEAT_URL."
        ),
    )
    def alerts_sensor(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        now = datetime.now(UTC)
        state, messages = evaluate(
            context.instance, load_state(context.instance), series, checks, now
        )
        for message in messages:
            log.warning("%s\n%s", message.title, message.body)
        state = _with_outbox(state, messages, destinations)
        save_state(context.instance, state)
        _send(context.instance, state, destinations)
        if heartbeat_url:
            _beat(heartbeat_url)
        return dg.SkipReason(_summary(state))

    return alerts_sensor


def evaluate(
    instance: dg.DagsterInstance,
    state: AlertState,
    series: Sequence[Series],
    checks: Sequence[dg.AssetCheckKey],
    now: datetime,
) -> tuple[AlertState, list[Message]]:
    """The state as of now, and what to tell; the first evaluation looks at nothing past."""
    since = datetime.fromisoformat(state.looked_at) if state.looked_at else now
    failures, urgent = failed_runs(instance, since, state.failures)
    problems = {
        name: list(what) for name, what in standing_problems(instance, series, checks).items()
    }
    for name, what in shown_failures(failures).items():
        problems[name] = [*problems.get(name, ()), *what]
    change = update_incidents(state.incidents, problems, now, failures if urgent else ())
    ended = ended_backfills(instance, now)
    new = (
        [one for one in ended if one.backfill_id not in state.backfills] if state.looked_at else []
    )
    return (
        AlertState(
            change.incidents,
            state.outbox,
            failures,
            [one.backfill_id for one in ended],
            now.isoformat(),
        ),
        [*change.messages, *(backfill_message(one, now) for one in new)],
    )


def _with_outbox(
    state: AlertState, messages: Sequence[Message], destinations: Sequence[Destination]
) -> AlertState:
    outbox = {
        one.key: [*state.outbox.get(one.key, ()), *messages][-_MOST_KEPT:] for one in destinations
    }
    return replace(state, outbox=outbox)


def _send(
    instance: dg.DagsterInstance, state: AlertState, destinations: Sequence[Destination]
) -> None:
    """What is delivered is crossed off at once, so that a crash sends nothing twice."""

    def sent(destination: str, message: str) -> None:
        nonlocal state
        state = state.without(destination, message)
        save_state(instance, state)

    for failure in deliver(state.outbox, destinations, sent):
        log.warning("alert not delivered, trying again: %s", failure)


def _beat(url: str) -> None:
    """Tell an outside watchdog that somebody is looking. The URL may hold a secret."""
    try:
        with silence():
            httpx.get(url, timeout=5).raise_for_status()
    except httpx.HTTPError as error:
        log.warning("COINBASE_HEARTBEAT_URL: not reached (%s)", type(error).__name__)


def _summary(state: AlertState) -> str:
    told = [name for one in state.incidents for name in one.open]
    return f"Trouble with {', '.join(told)}" if told else "All is well"
