"""The `dagster.yaml` of an instance is created, kept, brought up to date or refused."""

import re
import shutil
import sqlite3
from contextlib import ExitStack, closing
from hashlib import sha256
from pathlib import Path

import dagster as dg
import pytest
import yaml

from coinbase_assets.dagster_instance.deployment import SILENT
from coinbase_assets.dagster_instance.instance_config import (
    POSTGRES_URL,
    SHIPPED,
    InstanceConfigError,
    config_for_postgres,
    template,
    update_config,
)
from coinbase_assets.dagster_instance.opening import creating, open_instance

PROJECT_FOLDER = "coinbase_assets.dagster_instance.opening.project_folder"
BEFORE_FOLDERS = Path(__file__).with_name("dagster_before_folders.yaml").read_text()
WITH_KEPT_STORAGES = Path(__file__).with_name("dagster_with_kept_storages.yaml").read_text()
MOVE = "change coinbase_assets.event_log to coinbase_assets.dagster_instance.event_log"
REMOVE = "remove the blocks run_storage and schedule_storage: Dagster's own use the same files"


@dg.asset
def price() -> int:
    return 1


def collect_price(instance: dg.DagsterInstance) -> str:
    return dg.materialize([price], instance=instance, run_config=SILENT).run_id


@pytest.fixture(params=[BEFORE_FOLDERS, WITH_KEPT_STORAGES], ids=["moved", "kept"])
def old_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Path:
    """An instance folder of an earlier version, with one run.

    That version left what it wrote in the -wal files; apart from that, the files are the same.
    """
    made, home = tmp_path / "made", tmp_path / "home"
    with open_instance(made):
        pass
    with ExitStack() as kept:
        for name in ("runs.db", "runs/index.db"):
            connection = kept.enter_context(closing(sqlite3.connect(made / "history" / name)))
            connection.execute("SELECT * FROM alembic_version").fetchall()
        with open_instance(made) as instance:
            collect_price(instance)
        shutil.copytree(made, home)
    assert (home / "history" / "runs" / "index.db-wal").stat().st_size
    (home / "dagster.yaml").write_text(request.param)
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    return home


def test_shipped_configs_include_the_current_one() -> None:
    assert sha256(template().read_bytes()).hexdigest() == SHIPPED[-1]
    for earlier in (BEFORE_FOLDERS, WITH_KEPT_STORAGES):
        assert sha256(earlier.encode()).hexdigest() in SHIPPED


def test_open_creates_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    with open_instance(tmp_path / "new") as instance:
        collect_price(instance)
    assert (tmp_path / "new" / "dagster.yaml").read_bytes() == template().read_bytes()


def test_open_old_home_shows_its_runs_and_goes_on(old_home: Path) -> None:
    with open_instance(old_home) as instance:
        (before,) = instance.get_runs()
        run_id = collect_price(instance)
        assert [run.run_id for run in instance.get_runs()] == [run_id, before.run_id]
        event = instance.get_latest_materialization_event(price.key)
        assert event
        assert event.run_id == run_id
    assert (old_home / "dagster.yaml").read_bytes() == template().read_bytes()
    # Dagster's own commands find the modules, too.
    with dg.DagsterInstance.get() as instance:
        assert len(instance.get_runs()) == 2


@pytest.mark.parametrize(
    ("text", "remedy"), [(BEFORE_FOLDERS, f"{MOVE}, and {REMOVE}"), (WITH_KEPT_STORAGES, REMOVE)]
)
def test_open_refuses_edited_config_with_old_modules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, remedy: str
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    config = tmp_path / "dagster.yaml"
    config.write_text(edited := text + "# mine\n")
    with (
        pytest.raises(OSError, match="names modules of an earlier version") as refused,
        open_instance(tmp_path),
    ):
        pass
    assert str(refused.value) == f"{config}: names modules of an earlier version; {remedy}"
    assert config.read_text() == edited
    config.write_text(edited := remedied(edited))
    with open_instance(tmp_path) as instance:
        collect_price(instance)
    assert config.read_text() == edited


def remedied(config: str) -> str:
    """Do what the message says."""
    kept = re.sub(r"(?m)^(run|schedule)_storage:\n( .*\n)+", "", config)
    before, after = MOVE.removeprefix("change ").split(" to ")
    return kept.replace(before, after)


@pytest.mark.parametrize("text", ["telemetry: {enabled: false}\n", "# coinbase_assets.event_log\n"])
def test_update_config_keeps_edited_file(tmp_path: Path, text: str) -> None:
    config = tmp_path / "dagster.yaml"
    config.write_text(text)
    update_config(tmp_path)
    assert config.read_text() == text


def test_update_config_keeps_config_for_postgres(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "dagster.yaml"
    config.write_text(text := config_for_postgres())
    monkeypatch.setenv(POSTGRES_URL, "postgresql://me@127.0.0.1/dagster")
    update_config(tmp_path)
    assert config.read_text() == text
    monkeypatch.delenv(POSTGRES_URL)
    with pytest.raises(InstanceConfigError, match=f"{POSTGRES_URL}: not set, but {config} takes"):
        update_config(tmp_path)


def test_config_for_postgres_differs_in_storage_only() -> None:
    ours, theirs = (
        yaml.safe_load(text) for text in (template().read_text(), config_for_postgres())
    )
    del ours["event_log_storage"]
    assert theirs.pop("storage")["custom"]["config"] == {"postgres_url": {"env": POSTGRES_URL}}
    assert theirs == ours


@pytest.mark.parametrize(("name", "mode"), [(".dagster", 0o700), ("mine", 0o755)])
def test_creating_makes_only_the_projects_own_folder_private(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, mode: int
) -> None:
    monkeypatch.setattr(PROJECT_FOLDER, lambda: tmp_path)
    monkeypatch.setenv("DAGSTER_HOME", "")
    home = tmp_path / name
    home.mkdir(0o755)
    with creating(home):
        assert home.stat().st_mode & 0o777 == mode


def test_creating_makes_missing_folder_private(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", "")
    with creating(tmp_path / "missing"):
        assert (tmp_path / "missing").stat().st_mode & 0o777 == 0o700
