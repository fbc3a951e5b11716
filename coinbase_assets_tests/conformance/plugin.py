"""A pytest plugin: Dagster's own tests get the storages that `dagster.yaml` names.

Nothing is replaced if the environment variable STOCK is set: the tests then say what Dagster's own
storages do on this machine.
"""

import asyncio
import inspect
import os
import sys
from importlib import import_module
from types import ModuleType
from typing import Any

import dagster as dg
import pytest
import yaml

from coinbase_assets.dagster_instance.instance_config import template

STOCK = "CONFORMANCE_STOCK"
_STORAGES = "dagster._core.storage"
# By the key in dagster.yaml: the module and the name of the class that Dagster's own tests use.
_REPLACED = {
    "event_log_storage": ("event_log", "SqliteEventLogStorage"),
    "run_storage": ("runs", "SqliteRunStorage"),
    "schedule_storage": ("schedules", "SqliteScheduleStorage"),
}


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests() -> None:
    """Prepare Dagster's modules before the tests import names from them."""
    _provide("dagster_test.utils.data_factory", dagster_run=dg.DagsterRun)
    _provide("dagster_test.dg_utils.utils", scrub_tox_uv_project_environment=lambda: None)
    if not os.environ.get(STOCK):
        _replace_storages(yaml.safe_load(template().read_text()))


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a test that is a coroutine, for which Dagster uses another plugin."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    asyncio.run(pyfuncitem.obj(**arguments))
    return True


def _replace_storages(config: dict[str, Any]) -> None:
    unified = import_module(f"{_STORAGES}.sqlite_storage")
    for key, (module, name) in _REPLACED.items():
        if named := config.get(key):
            ours = getattr(import_module(named["module"]), named["class"])
            setattr(import_module(f"{_STORAGES}.{module}"), name, ours)
            setattr(unified, name, ours)


def _provide(name: str, **members: Any) -> None:
    """Provide a module of `dagster_test`, which the package index does not have."""
    while name:
        module = sys.modules.setdefault(name, ModuleType(name))
        vars(module).update(members, __path__=[])
        name, members = name.rpartition(".")[0], {}
