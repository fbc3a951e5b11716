"""What importing a folder loads."""

import json
import subprocess
import sys

import pytest

# Imports every module of a package, and prints which top-level packages that loads.
IMPORT_ALL = """
import importlib, json, pkgutil, sys
package = importlib.import_module(sys.argv[1])
names = [module.name for module in pkgutil.walk_packages(package.__path__, sys.argv[1] + ".")]
for name in names:
    importlib.import_module(name)
print(json.dumps([names, sorted({name.partition(".")[0] for name in sys.modules})]))
"""


@pytest.mark.parametrize("folder", ["candles", "completeness"])
def test_pure_folder_loads_no_dagster_azure_httpx(folder: str) -> None:
    command = [sys.executable, "-c", IMPORT_ALL, f"coinbase_assets.{folder}"]
    modules, loaded = json.loads(subprocess.check_output(command, text=True))
    assert len(modules) >= 5
    assert "pyarrow" in loaded
    assert not {"dagster", "azure", "httpx"} & {*loaded}
