"""Runs in processes of their own, as Dagster's run launcher starts them."""

import os
import sys
from collections.abc import Iterable, Mapping
from importlib import import_module
from pathlib import Path
from unittest.mock import patch

import dagster as dg
from dagster._core.code_pointer import CodePointer
from dagster._core.definitions.assets.job.asset_job import IMPLICIT_ASSET_JOB_NAME
from dagster._core.definitions.reconstruct import ReconstructableJob, ReconstructableRepository
from dagster._grpc.types import ExecuteRunArgs

from benchmarks.processes import Finished, run
from coinbase_assets.dagster_instance.deployment import SILENT
from coinbase_assets_tests.processes import PROJECT, instance_at


def launch(
    assets: Iterable[dg.AssetKey],
    tags: Mapping[str, str],
    environment: Mapping[str, str],
    module: str = "coinbase_assets.definitions",
) -> Finished:
    """Run the assets of the module's `defs` to a successful end."""
    pointer = CodePointer.from_module(module, "defs", str(PROJECT))
    code = ReconstructableJob(ReconstructableRepository(pointer), IMPLICIT_ASSET_JOB_NAME)
    with patch.dict(os.environ, environment), instance_at(environment["DAGSTER_HOME"]) as instance:
        created = instance.create_run_for_job(
            import_module(module).defs().resolve_implicit_global_asset_job_def(),
            asset_selection=frozenset(assets),
            tags=dict(tags),
            run_config=SILENT,
            job_code_origin=code.get_python_origin(),
        )
        arguments = ExecuteRunArgs(
            code.get_python_origin(), created.run_id, instance.get_ref()
        ).get_command_args()
        command: list[str | Path] = [sys.executable, "-m", "dagster", *arguments[1:]]
        finished = run(command, environment, PROJECT)
        done = instance.get_run_by_id(created.run_id)
    assert done
    assert done.status == dg.DagsterRunStatus.SUCCESS
    return finished
