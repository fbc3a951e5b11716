"""The storage account, by the settings every Azure tool has, with retries."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import dagster as dg

if TYPE_CHECKING:
    from azure.storage.blob import BlobServiceClient

# The SDK's own pauses start at 15 seconds; these add up to half a minute.
_OPTIONS: dict[str, Any] = {
    "retry_total": 5,
    "initial_backoff": 0.5,
    "increment_base": 2,
    "random_jitter_range": 1,
    "connection_timeout": 10,
    "read_timeout": 60,
}


class AzureStorageResource(dg.ConfigurableResource):
    """A storage account: its connection string, or its URL with a key, a SAS token or neither.

    With neither, DefaultAzureCredential signs in. Give secrets as `dg.EnvVar`, so that no
    configuration shows them. Azure's libraries load when a client is asked for.
    """

    connection_string: str = ""
    account_url: str = ""
    account_key: str = ""
    sas_token: str = ""

    def __repr_args__(self) -> list[tuple[str, str]]:
        """Nothing that may be secret."""
        return [("account_url", self.account_url)]

    @contextmanager
    def get_client(self) -> Iterator["BlobServiceClient"]:
        from azure.storage.blob import BlobServiceClient

        if self.connection_string:
            service = BlobServiceClient.from_connection_string(self.connection_string, **_OPTIONS)
        else:
            service = BlobServiceClient(self.account_url, self._credential(), **_OPTIONS)
        with service:
            yield service

    def _credential(self) -> Any:
        if given := self.account_key or self.sas_token:
            return given
        from azure.identity import DefaultAzureCredential

        return DefaultAzureCredential()
