"""What a run prints when a step fails or is cancelled: a line, without a stack trace."""

from pathlib import Path

import dagster as dg
import pytest
from dagster._core.errors import DagsterExecutionInterruptedError

from coinbase_assets.dagster_instance.executor import LockedInProcessExecutor
from coinbase_assets.dagster_instance.opening import open_instance


class Outage(Exception):
    """An error that other lines report."""


ERRORS = {
    "value": ValueError("bad\nvalue"),
    "outage": Outage("no answer"),
    "cancel": DagsterExecutionInterruptedError(),
}


@dg.op
def fails(context: dg.OpExecutionContext) -> None:
    context.log.warning("before the failure")
    raise ERRORS[context.run.tags["error"]]


@dg.op(ins={"after": dg.In(dg.Nothing)})
def follows() -> None:
    """Never runs: the step before it fails."""


@dg.job(executor_def=dg.ExecutorDefinition.hardcoded_executor(LockedInProcessExecutor(["Outage"])))
def failing() -> None:
    follows(fails())


@pytest.mark.parametrize(
    ("error", "said"),
    [
        ("value", ["ValueError: bad value"]),
        ("outage", []),
        ("cancel", ["cancelled"]),
    ],
)
def test_failed_step_is_a_line(
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    error: str,
    said: list[str],
) -> None:
    # What it opens does not redirect the output of steps.
    with open_instance(tmp_path / "home") as instance:
        job = dg.reconstructable(failing)
        result = dg.execute_job(job, instance, tags={"error": error}, raise_on_error=False)
        events = {event.event_type for event in result.all_events}
    assert dg.DagsterEventType.STEP_FAILURE in events
    printed = "".join(capfd.readouterr())
    assert "before the failure" in printed
    assert "Stack Trace" not in printed
    assert "Dependencies for step" not in printed
    lines = [each.getMessage() for each in caplog.records if "executor" in each.name]
    assert lines == [f"Run {result.run_id}: {line}" for line in said]
