"""Opens the Dagster instance of this project's own commands."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
from sqlalchemy.exc import OperationalError

# The event log of the instance needs these names, and nothing is begun where Dagster lacks them.
from coinbase_assets.dagster_instance import private_event_log_names as private_event_log_names
from coinbase_assets.dagster_instance.instance_config import (
    InstanceConfigError,
    update_config,
)
from coinbase_assets.dagster_instance.private_names import InstanceRef
from coinbase_assets.file_locks import exclusive
from coinbase_assets.private_folders import private_folder
from coinbase_assets.settings import project_folder

# Capturing the output of steps would redirect this process's standard output, which the progress
# bar needs.
_QUIET = {
    "telemetry": {"enabled": False},
    "compute_logs": {
        "module": "dagster.core.storage.noop_compute_log_manager",
        "class": "NoOpComputeLogManager",
    },
}


@contextmanager
def creating(home: Path) -> Iterator[None]:
    """Prepare and lock `home` for the block, which opens the instance or creates it.

    The block sets DAGSTER_HOME and brings `dagster.yaml` up to date. It holds a lock, because two
    processes that create an instance at the same time break it. The project's own folder becomes
    private, and so does one that is missing; another that exists keeps the rights that its owner
    chose. Raises InstanceConfigError if `dagster.yaml` must be edited, OSError if `home` cannot be
    written.
    """
    os.environ["DAGSTER_HOME"] = str(home)
    if home == project_folder() / ".dagster":
        private_folder(home)
    with exclusive(home / "creating.lock"):
        update_config(home)
        yield


@contextmanager
def open_instance(home: Path) -> Iterator[dg.DagsterInstance]:
    """The instance at `home`, created if missing. Raises OSError if it cannot be used."""
    try:
        with _open(home) as instance:
            yield instance
    except OperationalError as error:
        raise OSError(f"DAGSTER_HOME={home}: cannot be used ({error.orig})") from error


def _open(home: Path) -> dg.DagsterInstance:
    try:
        with creating(home):
            return dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(home), overrides=_QUIET))
    except InstanceConfigError:
        raise
    except OSError as error:
        raise OSError(f"DAGSTER_HOME={home}: cannot be used ({error.strerror})") from error
