"""The Dagster instance, opened for a command."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg

from coinbase_assets.cli.console import console
from coinbase_assets.dagster_instance.opening import open_instance
from coinbase_assets.dagster_instance.orphaned_runs import fail_orphans


@contextmanager
def opened_instance(home: Path) -> Iterator[dg.DagsterInstance]:
    """Open the Dagster instance, and mark the runs of killed processes as failed.

    On leaving, do the same for a run that Ctrl-C interrupted.
    """
    with open_instance(home) as instance:
        for run_id in fail_orphans(instance, home):
            console.print(f"The process of run {run_id} was killed; the run is marked as failed")
        try:
            yield instance
        finally:
            fail_orphans(instance, home)
