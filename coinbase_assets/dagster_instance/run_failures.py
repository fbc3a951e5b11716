"""Why a run failed."""

import dagster as dg

from coinbase_assets.environment.secrets import public

_MOST_SHOWN = 300


def failure_cause(instance: dg.DagsterInstance, run_id: str) -> str:
    """Return the first cause of a failed run in a line without secrets; empty if none is recorded.

    That is the description of the step's dg.Failure, else the message of the first exception that
    is not Dagster's own.
    """
    events = instance.get_records_for_run(
        run_id, of_type=dg.DagsterEventType.STEP_FAILURE, limit=1
    ).records
    step = events and events[0].event_log_entry.get_dagster_event().step_failure_data
    if not step:
        return ""
    if step.user_failure_data and step.user_failure_data.description:
        return public(step.user_failure_data.description, _MOST_SHOWN)
    error = step.error
    while error and error.cause and str(error.cls_name).startswith("Dagster"):
        error = error.cause
    return public(_without_class(error.message), _MOST_SHOWN) if error else ""


def _without_class(message: str) -> str:
    """Return the message of `package.module.Class: message`, as Python formats an exception."""
    name, colon, text = message.strip().partition(": ")
    return text if colon and " " not in name else name + colon + text
