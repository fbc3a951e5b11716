"""The Dagster instance of this project's own commands."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
from dagster._core.instance.ref import InstanceRef
from sqlalchemy.exc import OperationalError

from coinbase_assets.file_locks import exclusive
from coinbase_assets.settings import project_folder

# Compute logs would take this process's standard output away from its progress bar.
_QUIET = {
    "telemetry": {"enabled": False},
    "compute_logs": {
        "module": "dagster._core.storage.noop_compute_log_manager",
        "class": "NoOpComputeLogManager",
    },
}


@contextmanager
def creating(home: Path) -> Iterator[None]:
    """Whoever opens the instance at `home` in this block may be the one who creates it.

    A new one gets the project's own dagster.yaml. Two processes at once would spoil it.
    """
    template = project_folder() / ".dagster" / "dagster.yaml"
    os.environ["DAGSTER_HOME"] = str(home)
    with exclusive(home / "creating.lock"):
        if template.exists() and not (home / "dagster.yaml").exists():
            shutil.copy(template, home)
        yield


@contextmanager
def open_instance(home: Path) -> Iterator[dg.DagsterInstance]:
    """The instance at `home`. Raises OSError if it cannot be used."""
    try:
        with _open(home) as instance:
            yield instance
    except OperationalError as error:
        raise OSError(f"DAGSTER_HOME={home}: cannot be used ({error.orig})") from error


def _open(home: Path) -> dg.DagsterInstance:
    try:
        with creating(home):
            return dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(home), overrides=_QUIET))
    except OSError as error:
        raise OSError(f"DAGSTER_HOME={home}: cannot be used ({error.strerror})") from error
