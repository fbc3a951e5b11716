"""What importing a folder loads."""

import json
import subprocess
import sys

import pytest

# Imports every module of a package, and prints which packages and own modules that loads.
IMPORT_ALL = """
import importlib, json, pkgutil, sys
package = importlib.import_module(sys.argv[1])
names = [module.name for module in pkgutil.walk_packages(package.__path__, sys.argv[1] + ".")]
for name in names:
    importlib.import_module(name)
ours = [name for name in sys.modules if name.startswith("coinbase_assets.")]
print(json.dumps([names, sorted({*ours, *(name.partition(".")[0] for name in sys.modules)})]))
"""

# What the storage may load of this project: nothing of candles, of the exchange, or of settings.
BELOW_STORAGE = {"storage", "dagster_instance", "environment", "durations", "file_locks"}
BELOW_STORAGE |= {"local_sockets", "plain_text", "private_folders", "process_tuning"}
BELOW_STORAGE |= {"table_metadata"}


def imported(folder: str) -> tuple[list[str], set[str]]:
    """Return the folder's modules, and what importing them loads."""
    command = [sys.executable, "-c", IMPORT_ALL, f"coinbase_assets.{folder}"]
    modules, loaded = json.loads(subprocess.check_output(command, text=True))
    return modules, {*loaded}


@pytest.mark.parametrize("folder", ["candles", "completeness"])
def test_pure_folder_loads_no_dagster_azure_httpx(folder: str) -> None:
    modules, loaded = imported(folder)
    assert len(modules) >= 5
    assert "pyarrow" in loaded
    assert not {"dagster", "azure", "httpx"} & loaded


def test_storage_loads_no_candles() -> None:
    modules, loaded = imported("storage")
    assert "coinbase_assets.storage.io_manager" in modules
    ours = {name.split(".")[1] for name in loaded if name.startswith("coinbase_assets.")}
    assert ours <= BELOW_STORAGE
    assert not {"pandas", "polars"} & loaded
