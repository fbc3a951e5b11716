"""The storage account: dagster-azure's resource, with connection strings and retries."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from azure.storage.blob import BlobServiceClient
from dagster_azure.blob import AzureBlobStorageAnonymousCredential, AzureBlobStorageResource
from pydantic import Field

# The SDK's own pauses start at 15 seconds; these add up to half a minute.
_OPTIONS: dict[str, Any] = {
    "retry_total": 5,
    "initial_backoff": 0.5,
    "increment_base": 2,
    "random_jitter_range": 1,
    "connection_timeout": 10,
    "read_timeout": 60,
}


class AzureStorageResource(AzureBlobStorageResource):
    """AzureBlobStorageResource that retries soon, and knows connection strings.

    Give secrets as `dg.EnvVar`, so that no configuration shows them.
    """

    account_url: str = ""
    credential: AzureBlobStorageResource.__annotations__["credential"] = Field(  # type: ignore
        default_factory=AzureBlobStorageAnonymousCredential, discriminator="credential_type"
    )
    connection_string: str = ""

    def __repr_args__(self) -> list[tuple[str, str]]:
        """Nothing that may be secret."""
        return [("account_url", self.account_url)]

    @contextmanager
    def get_client(self) -> Iterator[BlobServiceClient]:
        if self.connection_string:
            service = BlobServiceClient.from_connection_string(self.connection_string, **_OPTIONS)
        else:
            service = BlobServiceClient(self.account_url, self._raw_credential(), **_OPTIONS)
        with service:
            yield service
