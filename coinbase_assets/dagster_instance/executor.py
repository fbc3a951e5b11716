"""How a run executes: all steps in the run's own process, which holds the run's lock."""

import logging
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from coinbase_assets.dagster_instance.orphaned_runs import run_lock
from coinbase_assets.dagster_instance.private_names import RETRIES_ENABLED, InProcessExecutor
from coinbase_assets.environment.secrets import public

if TYPE_CHECKING:
    from coinbase_assets.dagster_instance.private_names import (
        ExecutionPlan,
        PlanOrchestrationContext,
        StepFailureData,
    )

log = logging.getLogger(__name__)

# The configuration of a run that prints neither its events nor the traces of its failures.
SILENT = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}

_until_the_process_ends = ExitStack()


class LockedInProcessExecutor(InProcessExecutor):
    """Executes all steps of a run in one process: starting a process takes longer than most steps.

    A launched run has a process of its own. The process keeps the run's lock until its own end,
    after the end of the run is recorded.
    """

    def __init__(self) -> None:
        super().__init__(RETRIES_ENABLED)

    def execute(
        self, plan_context: "PlanOrchestrationContext", execution_plan: "ExecutionPlan"
    ) -> Iterator[dg.DagsterEvent]:
        home = Path(plan_context.instance.root_directory)
        _until_the_process_ends.enter_context(run_lock(home, plan_context.run_id))
        for event in super().execute(plan_context, execution_plan):
            if event.is_step_failure:
                log.error("Run %s: %s", plan_context.run_id, _one_line(event.step_failure_data))
            yield event


def _one_line(failure: "StepFailureData") -> str:
    """Returns a failure's text, or else the original exception's, without the trace."""
    if failure.user_failure_data and failure.user_failure_data.description:
        return public(failure.user_failure_data.description)
    original = failure.error and (failure.error.cause or failure.error)
    return public(" ".join(original.message.split())) if original else "failed"
