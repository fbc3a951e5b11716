"""Settings that name no storage account: the embedded Azurite."""

import os
from contextlib import nullcontext
from unittest.mock import patch

import pytest

from coinbase_assets.environment.azure_accounts import DEVELOPMENT_STORAGE
from coinbase_assets.lake import account
from coinbase_assets.settings import load_settings, project_folder
from coinbase_assets.storage import azurite


def test_embedded_azurite_is_named_on_standard_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Programs read the standard output of `status --json`. Port 10000 is left to the user."""
    azurite = nullcontext("AccountName=a;AccountKey=a2V5;")
    monkeypatch.setattr(account, "running_embedded_azurite", lambda: azurite)
    with patch.dict(os.environ), account.with_storage(load_settings()) as settings:
        assert settings.storage_account["connection_string"] == "AccountName=a;AccountKey=a2V5;"
        assert os.environ["AZURE_STORAGE_CONNECTION_STRING"] == "AccountName=a;AccountKey=a2V5;"
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.strip().endswith(f"with its data in {project_folder()}/.azurite")


def test_development_storage_means_running_embedded_azurite(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its key is not the one that everybody knows, which the SDK would take."""
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", DEVELOPMENT_STORAGE)
    for running, meant in ((None, DEVELOPMENT_STORAGE), ("AccountName=a", "AccountName=a")):
        monkeypatch.setattr(azurite, "find_running", lambda data, running=running: running)
        with patch.dict(os.environ), account.with_storage(load_settings()) as settings:
            assert settings.storage_account["connection_string"] == meant
            assert os.environ["AZURE_STORAGE_CONNECTION_STRING"] == meant
