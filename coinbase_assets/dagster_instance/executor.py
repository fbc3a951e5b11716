"""How a run executes: all steps in the run's own process, which holds the run's lock."""

import logging
from collections.abc import Collection, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from coinbase_assets.dagster_instance.heartbeats import beating
from coinbase_assets.dagster_instance.orphaned_runs import run_lock
from coinbase_assets.dagster_instance.private_names import RETRIES_ENABLED, InProcessExecutor
from coinbase_assets.environment.secrets import public

if TYPE_CHECKING:
    from coinbase_assets.dagster_instance.private_names import (
        ExecutionPlan,
        PlanOrchestrationContext,
        SerializableErrorInfo,
        StepFailureData,
    )

log = logging.getLogger(__name__)

# The class of the error by which Dagster ends a step of a cancelled run.
_CANCELLED = "DagsterExecutionInterruptedError"

# What Dagster logs of each step that comes after a failed one.
_FOLLOWING = "Dependencies for step"

_until_the_process_ends = ExitStack()


class LockedInProcessExecutor(InProcessExecutor):
    """Executes all steps of a run in one process: starting a process takes longer than most steps.

    A launched run has a process of its own. The process keeps the run's lock until its own end,
    after the end of the run is recorded, and changes the run's heartbeat while steps execute.

    Logs a line for each step that failed or was cancelled, instead of Dagster's stack traces. It
    logs none for errors of the classes `said_elsewhere`.
    """

    def __init__(self, said_elsewhere: Collection[str] = ()) -> None:
        super().__init__(RETRIES_ENABLED)
        # Dagster makes the console logger of a run, and that of its steps, of this class.
        logging.setLoggerClass(_WithoutTraces)
        self._said_elsewhere = said_elsewhere

    def execute(
        self, plan_context: "PlanOrchestrationContext", execution_plan: "ExecutionPlan"
    ) -> Iterator[dg.DagsterEvent]:
        home = Path(plan_context.instance.root_directory)
        _until_the_process_ends.enter_context(run_lock(home, plan_context.run_id))
        with beating(plan_context.instance, plan_context.run_id):
            for event in super().execute(plan_context, execution_plan):
                if event.is_step_failure:
                    self._log_failure(plan_context.run_id, event.step_failure_data)
                yield event

    def _log_failure(self, run_id: str, failure: "StepFailureData") -> None:
        names = set(_class_names(failure.error))
        if _CANCELLED in names:
            log.warning("Run %s: cancelled", run_id)
        elif names.isdisjoint(self._said_elsewhere):
            log.error("Run %s: %s", run_id, _one_line(failure))


class _WithoutTraces(logging.Logger):
    """A logger that leaves out the events, with stack traces, that the executor logs in a line."""

    def filter(self, record: logging.LogRecord) -> bool:
        event: dg.DagsterEvent | None = getattr(record, "dagster_event", None)
        is_known = _is_in_a_line(event) if event else _FOLLOWING in record.getMessage()
        return not is_known and bool(super().filter(record))


def _is_in_a_line(event: dg.DagsterEvent) -> bool:
    """Whether the event is the end of a step, or of a run because of a step."""
    if event.event_type == dg.DagsterEventType.RUN_FAILURE:
        data = event.job_failure_data
        return bool(data.first_step_failure_event) or _CANCELLED in _class_names(data.error)
    return event.event_type in (dg.DagsterEventType.STEP_FAILURE, dg.DagsterEventType.RUN_CANCELED)


def _class_names(error: "SerializableErrorInfo | None") -> Iterator[str]:
    """Yield the class names of an error and its causes."""
    while error:
        yield error.cls_name or ""
        error = error.cause


def _one_line(failure: "StepFailureData") -> str:
    """Returns a failure's text, or else the original exception's, without the trace."""
    if failure.user_failure_data and failure.user_failure_data.description:
        return public(failure.user_failure_data.description)
    original = failure.error and (failure.error.cause or failure.error)
    return public(" ".join(original.message.split())) if original else "failed"
