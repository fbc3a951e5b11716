"""Connections to a storage account, with retries."""

from typing import Any

from azure.core.pipeline.transport import RequestsTransport
from azure.storage.blob import BlobServiceClient

# The pauses between retries add up to half a minute; the SDK's defaults start at 15 seconds.
_OPTIONS: dict[str, Any] = {
    "retry_total": 5,
    "initial_backoff": 0.5,
    "increment_base": 2,
    "random_jitter_range": 1,
}
# Timeouts in seconds; the block size is the bytes read from a response at a time.
_CONNECTION = {
    "connection_timeout": 10,
    "read_timeout": 60,
    "connection_data_block_size": 1 << 20,
}
# At least the threads that use a client at a time. The SDK keeps 10 connections by default and
# closes any further connection after each request.
_KEPT_CONNECTIONS = 16


def blob_service(
    connection_string: str = "", account_url: str = "", account_key: str = "", sas_token: str = ""
) -> BlobServiceClient:
    """Return a client of the account.

    The account is named by a connection string, or by its URL with a key, a SAS token or neither;
    with neither, DefaultAzureCredential signs in.
    """
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
