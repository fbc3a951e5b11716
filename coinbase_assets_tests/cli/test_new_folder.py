"""`coinbase-assets init`: what it writes, keeps and refuses."""

from pathlib import Path

import pytest

from coinbase_assets.dagster_instance.instance_config import config_for_postgres, template
from coinbase_assets.settings import project_folder
from coinbase_assets_tests.cli.users import NewUser, RunHere, User


@pytest.fixture
def newcomer(new_user: NewUser, tmp_path: Path) -> User:
    return new_user(DAGSTER_HOME=str(tmp_path / "home"))


def test_init_writes_files_and_says_what_is_next(
    newcomer: User, run_here: RunHere, tmp_path: Path
) -> None:
    folder = tmp_path / "new" / "folder"
    done = run_here(newcomer, "init", str(folder))
    assert done.returncode == 0
    example = folder / ".env.example"
    assert example.read_bytes() == (project_folder() / ".env.example").read_bytes()
    assert (tmp_path / "home" / "dagster.yaml").read_bytes() == template().read_bytes()
    assert folder.stat().st_mode & 0o777 == 0o700
    written = [line for line in done.stdout.splitlines() if line.startswith("Wrote ")]
    assert len(written) == 5
    assert done.stdout.endswith("\n  coinbase-assets collect\n  coinbase-assets dev\n")


def test_init_keeps_what_is_the_same(newcomer: User, run_here: RunHere, tmp_path: Path) -> None:
    assert run_here(newcomer, "init", str(tmp_path)).returncode == 0
    done = run_here(newcomer, "init", str(tmp_path))
    assert done.returncode == 0
    assert done.stdout.count("Kept ") == 5
    assert "Wrote " not in done.stdout


def test_init_overwrites_nothing(newcomer: User, run_here: RunHere, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[project]\n")
    done = run_here(newcomer, "init", str(tmp_path))
    assert done.returncode == 2
    assert done.stderr == (
        f"Error: {tmp_path}/pyproject.toml: exists, and is not overwritten; move it away, or name"
        " another folder\n"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["pyproject.toml"]


def test_init_for_postgres_names_its_setting(
    newcomer: User, run_here: RunHere, tmp_path: Path
) -> None:
    done = run_here(newcomer, "init", "--postgres", str(tmp_path))
    assert "DAGSTER_POSTGRES_URL" in done.stdout
    config = tmp_path / "home" / "dagster.yaml"
    assert config.read_text() == config_for_postgres()
    again = run_here(newcomer, "init", str(tmp_path))
    assert again.stderr.startswith(f"Error: {config}: exists, and is not overwritten; ")
    assert config.read_text() == config_for_postgres()
