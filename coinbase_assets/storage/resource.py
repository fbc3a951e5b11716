"""The storage account, as a Dagster resource."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import dagster as dg

if TYPE_CHECKING:
    from azure.storage.blob import BlobServiceClient


class AzureStorageResource(dg.ConfigurableResource):
    """A storage account: its connection string, or its URL with a key, a SAS token or neither.

    With neither, DefaultAzureCredential signs in. Pass secrets as `dg.EnvVar`, so that no
    configuration shows them. The first client loads Azure's libraries.
    """

    connection_string: str = ""
    account_url: str = ""
    account_key: str = ""
    sas_token: str = ""

    def __repr_args__(self) -> list[tuple[str, str]]:
        """Return only what is never secret."""
        return [("account_url", self.account_url)]

    @contextmanager
    def get_client(self) -> Iterator["BlobServiceClient"]:
        """Open a client of the account, which is closed at the end of the block."""
        from coinbase_assets.storage.client import blob_service

        with blob_service(
            self.connection_string, self.account_url, self.account_key, self.sas_token
        ) as service:
            yield service
