"""How runs execute: all steps in the run's own process, which holds the run's lock."""

import logging
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import dagster as dg
from dagster._core.execution.context.system import PlanOrchestrationContext
from dagster._core.execution.plan.plan import ExecutionPlan
from dagster._core.execution.retries import RetryMode
from dagster._core.executor.in_process import InProcessExecutor
from dagster._utils.error import SerializableErrorInfo

from coinbase_assets.dagster_instance.orphaned_runs import run_lock

log = logging.getLogger(__name__)

# The configuration of runs that print no line for every event, and no trace for every failure.
SILENT = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}

_until_the_process_ends = ExitStack()


class LockedInProcessExecutor(InProcessExecutor):
    """One process a run: starting another for each step takes longer than most steps.

    A launched run has a process of its own; it keeps the lock until it ends, by which time the
    run's end is recorded.
    """

    def __init__(self) -> None:
        super().__init__(RetryMode.ENABLED)

    def execute(
        self, plan_context: PlanOrchestrationContext, execution_plan: ExecutionPlan
    ) -> Iterator[dg.DagsterEvent]:
        home = Path(plan_context.instance.root_directory)
        _until_the_process_ends.enter_context(run_lock(home, plan_context.run_id))
        for event in super().execute(plan_context, execution_plan):
            if event.is_step_failure:
                error = event.step_failure_data.error
                log.error("Run %s: %s", plan_context.run_id, _one_line(error))
            yield event


def _one_line(error: SerializableErrorInfo | None) -> str:
    """What was raised, without the trace, which the web UI shows, nor Dagster's words around it."""
    raised = error and (error.cause or error)
    return " ".join(raised.message.split()) if raised else "failed"
