"""What the alerts remember between evaluations, stored in the Dagster instance as JSON."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

import dagster as dg
from pydantic import TypeAdapter

from coinbase_assets.dagster_instance.deployment import OWN, Deployment
from coinbase_assets.monitoring.destinations import Destination, Message
from coinbase_assets.monitoring.failed_runs import Failures
from coinbase_assets.monitoring.incidents import Incident
from coinbase_assets.monitoring.stored_incidents import read_incidents

# The key of the state in the instance.
_STATE = "coinbase_assets/alerts"
# The outbox keeps at most this many messages for a destination that accepts none.
_MOST_KEPT = 100


@dataclass(frozen=True)
class AlertState:
    """What is known from one evaluation to the next, also after a restart.

    `outbox` has the undelivered messages of each destination, by the destination's key. `failures`
    are the unresolved failed runs. `backfills` are the ids of the ended back-fills that have
    been reported. `looked_at` is the time of the last evaluation, in ISO 8601; empty before the
    first.
    """

    incidents: Sequence[Incident] = ()
    outbox: Mapping[str, Sequence[Message]] = field(default_factory=dict)
    failures: Failures = field(default_factory=dict)
    backfills: Sequence[str] = ()
    looked_at: str = ""

    def without(self, destination: str, message_id: str) -> "AlertState":
        """Returns the state after this message was delivered to this destination (a key)."""
        messages = self.outbox.get(destination, ())
        left = [message for message in messages if message.id != message_id]
        return replace(self, outbox={**self.outbox, destination: left})

    def with_outbox(
        self, messages: Sequence[Message], destinations: Sequence[Destination]
    ) -> "AlertState":
        """Returns the state with the messages queued, for these destinations alone."""
        outbox = {
            key: [*self.outbox.get(key, ()), *messages][-_MOST_KEPT:]
            for key in (destination.key for destination in destinations)
        }
        return replace(self, outbox=outbox)


def load_state(instance: dg.DagsterInstance, deployment: Deployment = OWN) -> AlertState:
    """Returns the stored state, or an empty state if none is stored."""
    key = deployment.name(_STATE)
    text = instance.daemon_cursor_storage.get_cursor_values({key}).get(key)
    if not text:
        return AlertState()
    stored = json.loads(text)
    return AlertState(
        read_incidents(stored["incidents"]),
        {
            key: TypeAdapter(list[Message]).validate_python(messages)
            for key, messages in stored["outbox"].items()
        },
        {
            subject: {asset: (run_id, when) for asset, (run_id, when) in assets.items()}
            for subject, assets in stored["failures"].items()
        },
        stored["backfills"],
        stored["looked_at"],
    )


def save_state(
    instance: dg.DagsterInstance, state: AlertState, deployment: Deployment = OWN
) -> None:
    """Store the state; it replaces the earlier state."""
    stored = {deployment.name(_STATE): json.dumps(asdict(state))}
    instance.daemon_cursor_storage.set_cursor_values(stored)
