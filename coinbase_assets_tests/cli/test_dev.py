"""`coinbase-assets dev`, in a folder whose `.env` Dagster itself cannot read."""

from pathlib import Path

import pytest

from coinbase_assets.cli.dev import _create_instance


@pytest.mark.soak
def test_dev_keeps_env_file_from_dagster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dagster reads the `.env` of the folder it runs in as UTF-8, and fails otherwise."""
    (tmp_path / ".env").write_text("COINBASE_CONTAINER=candles\n", encoding="utf-16")
    monkeypatch.chdir(tmp_path)
    _create_instance(tmp_path / "home")
    assert (tmp_path / "home" / "dagster.yaml").exists()
