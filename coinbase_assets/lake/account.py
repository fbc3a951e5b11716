"""The lake's storage account: the account that the settings name, or else the embedded Azurite.

The embedded Azurite keeps its data in the project's folder.
"""

import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

from pydantic import SecretStr

from coinbase_assets.environment.azure_accounts import DEVELOPMENT_STORAGE
from coinbase_assets.settings import CONNECTION_STRING, Settings, load_settings, project_folder
from coinbase_assets.storage.blob_source import BlobSource


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
            resources.enter_context(running_embedded_azurite())
            account = {"connection_string": DEVELOPMENT_STORAGE}
        service = resources.enter_context(blob_service(**account))
        yield AzureBlobs(service, name or settings.container)


def _names_storage(account: Mapping[str, str]) -> bool:
    return bool(account.get("connection_string") or account.get("account_url"))


@contextmanager
def with_storage(settings: Settings) -> Iterator[Settings]:
    """Yield settings that name a storage account.

    If the given settings name none, the embedded Azurite runs until the end of the block, and the
    environment names it for processes started inside the block.
    """
    if settings.names_storage:
        yield settings
        return
    with running_embedded_azurite():
        # Not on standard output, which `status --json` has for other programs.
        print(
            f"No Azure storage is set: using Azurite, with its data in {_azurite_data()}",
            file=sys.stderr,
            flush=True,
        )
        os.environ[CONNECTION_STRING] = DEVELOPMENT_STORAGE
        yield settings.model_copy(update={"connection_string": SecretStr(DEVELOPMENT_STORAGE)})


def running_embedded_azurite() -> AbstractContextManager[None]:
    """Run Azurite on its default port until the end of the block. Raises AzuriteError."""
    # It loads httpx, which readers of an account do not need.
    from coinbase_assets.storage.azurite import running_azurite

    return running_azurite(_azurite_data())


def run_azurite() -> None:
    """Run Azurite until a signal ends the process. Raises AzuriteError."""
    with running_embedded_azurite():
        print(
            f"Azurite runs on 127.0.0.1:10000, with its data in {_azurite_data()}. Use it with\n"
            f"export {CONNECTION_STRING}={DEVELOPMENT_STORAGE}\nCtrl-C ends it.",
            flush=True,
        )
        signal.pause()


def _azurite_data() -> Path:
    return project_folder() / ".azurite"
