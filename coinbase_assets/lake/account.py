"""Where the settings name no storage: the embedded Azurite, its data beside the project."""

import os
import signal
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import click
from pydantic import SecretStr

from coinbase_assets.setting_values import DEVELOPMENT_STORAGE
from coinbase_assets.settings import (
    CONNECTION_STRING,
    Settings,
    project_folder,
)
from coinbase_assets.storage.azurite import running_azurite


@contextmanager
def with_storage(settings: Settings) -> Iterator[Settings]:
    """The settings; where they name no storage, those for Azurite, which then runs.

    The environment says so, too, for the processes that are started meanwhile.
    """
    if settings.names_storage:
        yield settings
        return
    click.echo(f"No Azure storage is set: using Azurite, with its data in {_azurite_data()}")
    with running_embedded_azurite():
        os.environ[CONNECTION_STRING] = DEVELOPMENT_STORAGE
        yield settings.model_copy(update={"connection_string": SecretStr(DEVELOPMENT_STORAGE)})


def running_embedded_azurite() -> AbstractContextManager[None]:
    """Azurite with the data beside the project, unless one runs already. Raises AzuriteError."""
    return running_azurite(_azurite_data())


def run_azurite() -> None:
    """Keep Azurite running until the process is told to end."""
    with running_embedded_azurite():
        click.echo(
            f"Azurite on 127.0.0.1:10000, data in {_azurite_data()}; use it with\n"
            f"export {CONNECTION_STRING}={DEVELOPMENT_STORAGE}\nCtrl-C ends it."
        )
        signal.pause()


def _azurite_data() -> Path:
    return project_folder() / ".azurite"
