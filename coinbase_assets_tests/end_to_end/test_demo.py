"""`make demo` must not touch the user's exchange, lake or Dagster instance."""

import subprocess
import sys
from importlib.metadata import packages_distributions, requires

import pytest
from packaging.requirements import Requirement

from coinbase_assets.settings import load_settings
from coinbase_assets_tests.demo import HOME, demo_environment
from coinbase_assets_tests.stand_in.exchange import StandInExchange


def test_demo_ignores_user_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COINBASE_CONTAINER", "precious")
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", "AccountName=mine;AccountKey=abc=")
    with StandInExchange() as exchange:
        for name, value in demo_environment(exchange).items():
            monkeypatch.setenv(name, value)
        settings = load_settings()
        assert settings.api_url == exchange.url
    assert not settings.names_storage
    assert (settings.container, settings.dagster_home) == ("demo", HOME)


@pytest.mark.soak
def test_demo_imports_no_developer_dependency() -> None:
    code = "import sys, coinbase_assets_tests.demo; print(*{n.split('.')[0] for n in sys.modules})"
    command = [sys.executable, "-c", code]
    modules = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.split()
    packages = packages_distributions()
    used = {package.lower() for module in modules for package in packages.get(module, [])}
    needed = requires("coinbase-assets") or []
    developers = {Requirement(line).name for line in needed if 'extra == "dev"' in line}
    assert used & developers == {"coinbase-assets"}
