"""The lake's storage account: the account that the settings name, or else the embedded Azurite.

The embedded Azurite keeps its data in the project's folder.
"""

import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import SecretStr

from coinbase_assets.environment.azure_accounts import DEVELOPMENT_STORAGE
from coinbase_assets.settings import CONNECTION_STRING, Settings, load_settings, project_folder
from coinbase_assets.storage.blob_source import BlobSource

if TYPE_CHECKING:
    from coinbase_assets.storage.parquet_store import ParquetStore


@contextmanager
def open_store(settings: Settings) -> Iterator["ParquetStore"]:
    """Open the lake that the settings name, as `open_container`. Raises StorageError."""
    # They load Arrow, which `coinbase-assets dev` does not need.
    from coinbase_assets.candles.blob_rules import LakeRules
    from coinbase_assets.storage.parquet_store import ParquetStore

    with open_container(settings.container, settings.storage_account) as source:
        yield ParquetStore(source, LakeRules())


@contextmanager
def open_container(name: str | None, account: Mapping[str, str]) -> Iterator[BlobSource]:
    """Open a container, by default the container that the settings name.

    `account` has the arguments of `blob_service`. If it has neither a connection string nor a URL,
    the settings' account is used. If the settings name no account either, the embedded Azurite runs
    until the end of the block. Raises SettingsError, StorageError.
    """
    # They load Azure's libraries, which `coinbase-assets dev` does not need.
    from coinbase_assets.storage.azure_blobs import AzureBlobs
    from coinbase_assets.storage.client import blob_service

    settings = load_settings()
    if not _names_storage(account):
        account = settings.storage_account
    with ExitStack() as resources:
        if not _names_storage(account):
            account = {"connection_string": resources.enter_context(running_embedded_azurite())}
        elif embedded := _embedded_azurite(account.get("connection_string")):
            account = {"connection_string": embedded}
        service = resources.enter_context(blob_service(**account))
        yield AzureBlobs(service, name or settings.container)


def _names_storage(account: Mapping[str, str]) -> bool:
    return bool(account.get("connection_string") or account.get("account_url"))


@contextmanager
def with_storage(settings: Settings) -> Iterator[Settings]:
    """Yield settings that name a storage account.

    If the given settings name none, the embedded Azurite runs until the end of the block, and the
    environment names it for processes started inside the block. So it does if the settings name
    the development storage, and the embedded Azurite runs.
    """
    if embedded := _embedded_azurite(settings.storage_account.get("connection_string")):
        yield _with_connection(settings, embedded)
        return
    if settings.names_storage:
        yield settings
        return
    with running_embedded_azurite() as connection_string:
        # Not on standard output, which `status --json` has for other programs.
        print(
            f"No Azure storage is set: using Azurite, with its data in {_azurite_data()}",
            file=sys.stderr,
            flush=True,
        )
        yield _with_connection(settings, connection_string)


def has_lake(settings: Settings) -> bool:
    """Return whether the settings name a storage account, or the embedded Azurite has data."""
    return settings.names_storage or _azurite_data().exists()


def _with_connection(settings: Settings, connection_string: str) -> Settings:
    """Return settings with this connection string, and set it for processes started later."""
    os.environ[CONNECTION_STRING] = connection_string
    return settings.model_copy(update={"connection_string": SecretStr(connection_string)})


def _embedded_azurite(connection_string: str | None) -> str | None:
    """Return the embedded Azurite's own connection string, if it runs and the given one means it.

    The key that everybody knows does not open it.
    """
    if connection_string != DEVELOPMENT_STORAGE:
        return None
    from coinbase_assets.storage.azurite import find_running

    return find_running(_azurite_data())


def running_embedded_azurite() -> AbstractContextManager[str]:
    """Run Azurite on its default port until the end of the block. Raises AzuriteError.

    Yields its connection string.
    """
    # It loads httpx, which readers of an account do not need.
    from coinbase_assets.storage.azurite import running_azurite

    return running_azurite(_azurite_data())


def run_azurite() -> None:
    """Run Azurite until a signal ends the process. Raises AzuriteError."""
    with running_embedded_azurite() as connection_string:
        print(
            f"Azurite runs on 127.0.0.1:10000, with its data in {_azurite_data()}. Other programs"
            f" can use it with\nexport {CONNECTION_STRING}='{connection_string}'\nCtrl-C ends it.",
            flush=True,
        )
        signal.pause()


def _azurite_data() -> Path:
    return project_folder() / ".azurite"
