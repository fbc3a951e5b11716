"""Connecting to a storage account, with retries."""

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from azure.core.pipeline.transport import RequestsTransport
from azure.storage.blob import BlobServiceClient

if TYPE_CHECKING:
    from pyarrow.fs import AzureFileSystem

# The SDK's own pauses start at 15 seconds; these add up to half a minute.
_OPTIONS: dict[str, Any] = {
    "retry_total": 5,
    "initial_backoff": 0.5,
    "increment_base": 2,
    "random_jitter_range": 1,
}
# In seconds; and the bytes that are taken of an answer at a time.
_CONNECTION = {
    "connection_timeout": 10,
    "read_timeout": 60,
    "connection_data_block_size": 1 << 20,
}
# As many as threads use at a time; the SDK keeps 10, and closes the others after each request.
_KEPT_CONNECTIONS = 16


def blob_service(
    connection_string: str = "", account_url: str = "", account_key: str = "", sas_token: str = ""
) -> BlobServiceClient:
    """A client by connection string, or by URL and key, SAS token or DefaultAzureCredential."""
    options = {**_OPTIONS, "transport": _transport()}
    if connection_string:
        return BlobServiceClient.from_connection_string(connection_string, **options)
    credential: Any = account_key or sas_token or _default_credential()
    return BlobServiceClient(account_url, credential, **options)


def _transport() -> RequestsTransport:
    transport = RequestsTransport(**_CONNECTION)
    transport.open()
    for adapter in transport.session.adapters.values():
        adapter.init_poolmanager(connections=1, maxsize=_KEPT_CONNECTIONS)
    return transport


def _default_credential() -> Any:
    from azure.identity import DefaultAzureCredential

    return DefaultAzureCredential()


def arrow_filesystem(service: BlobServiceClient) -> "AzureFileSystem":
    """The same account for pyarrow, and for all that read through it."""
    from pyarrow.fs import AzureFileSystem

    url = urlsplit(service.primary_endpoint)
    return AzureFileSystem(
        service.account_name,
        account_key=getattr(service.credential, "account_key", None),
        sas_token=f"?{url.query}" if url.query else None,
        blob_storage_authority=url.netloc,
        blob_storage_scheme=url.scheme,
        dfs_storage_authority=url.netloc.replace(".blob.", ".dfs."),
        dfs_storage_scheme=url.scheme,
    )
