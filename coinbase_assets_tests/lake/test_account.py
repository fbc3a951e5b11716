"""Settings that name no storage account: the embedded Azurite."""

import os
from contextlib import nullcontext
from unittest.mock import patch

import pytest

from coinbase_assets.lake import account
from coinbase_assets.settings import load_settings, project_folder


def test_embedded_azurite_is_named_on_standard_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Programs read the standard output of `status --json`. Port 10000 is left to the user."""
    monkeypatch.setattr(account, "running_embedded_azurite", nullcontext)
    with patch.dict(os.environ), account.with_storage(load_settings()) as settings:
        assert settings.names_storage
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.strip().endswith(f"with its data in {project_folder()}/.azurite")
