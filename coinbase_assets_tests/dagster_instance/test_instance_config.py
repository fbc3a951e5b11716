"""The `dagster.yaml` of an instance is created, kept, brought up to date or refused."""

from hashlib import sha256
from pathlib import Path

import dagster as dg
import pytest

from coinbase_assets.dagster_instance.executor import SILENT
from coinbase_assets.dagster_instance.instance_config import (
    SHIPPED,
    InstanceConfigError,
    template,
    update_config,
)
from coinbase_assets.dagster_instance.opening import creating, open_instance

PROJECT_FOLDER = "coinbase_assets.dagster_instance.instance_config.project_folder"
BEFORE_FOLDERS = Path(__file__).with_name("dagster_before_folders.yaml").read_text()
MOVED = "coinbase_assets.{0} to coinbase_assets.dagster_instance.{0}"


@dg.asset
def price() -> int:
    return 1


def collect_price(instance: dg.DagsterInstance) -> str:
    return dg.materialize([price], instance=instance, run_config=SILENT).run_id


@pytest.fixture
def old_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An instance folder of the version before the modules moved, with one run.

    The files of that version and of Dagster's own storages are the same.
    """
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    with open_instance(tmp_path) as instance:
        collect_price(instance)
    (tmp_path / "dagster.yaml").write_text(BEFORE_FOLDERS)
    return tmp_path


def test_shipped_configs_include_the_current_one() -> None:
    assert sha256(template().read_bytes()).hexdigest() == SHIPPED[-1]
    assert sha256(BEFORE_FOLDERS.encode()).hexdigest() in SHIPPED


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


def test_open_refuses_edited_config_with_moved_modules(old_home: Path) -> None:
    config = old_home / "dagster.yaml"
    config.write_text(edited := BEFORE_FOLDERS + "# mine\n")
    with (
        pytest.raises(OSError, match="names modules that have moved") as refused,
        open_instance(old_home),
    ):
        pass
    assert str(refused.value) == (
        f"{config}: names modules that have moved;"
        f" change {MOVED.format('event_log')} and {MOVED.format('sqlite_storage')}"
    )
    assert config.read_text() == edited
    for name in ("event_log", "sqlite_storage"):
        before, after = MOVED.format(name).split(" to ")
        edited = edited.replace(before, after)
    config.write_text(edited)
    with open_instance(old_home) as instance:
        assert len(instance.get_runs()) == 1
    assert config.read_text() == edited


@pytest.mark.parametrize("text", ["telemetry: {enabled: false}\n", "# coinbase_assets.event_log\n"])
def test_update_config_keeps_edited_file(tmp_path: Path, text: str) -> None:
    config = tmp_path / "dagster.yaml"
    config.write_text(text)
    update_config(tmp_path)
    assert config.read_text() == text


def test_update_config_without_template_refuses_old_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PROJECT_FOLDER, lambda: tmp_path / "none")
    update_config(tmp_path)
    assert not (tmp_path / "dagster.yaml").exists()
    (tmp_path / "dagster.yaml").write_text(BEFORE_FOLDERS)
    with pytest.raises(InstanceConfigError, match="names modules that have moved"):
        update_config(tmp_path)


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
