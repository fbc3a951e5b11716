"""Connections to a storage account, with retries."""

from typing import Any

from azure.core.credentials import AzureNamedKeyCredential, AzureSasCredential
from azure.core.pipeline.transport import RequestsTransport
from azure.storage.blob import BlobServiceClient

from coinbase_assets.environment.azure_accounts import (
    account_name,
    check_account,
    check_account_url,
    check_connection_string,
    check_key,
    check_sas,
)
from coinbase_assets.storage.errors import StorageError

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
    with neither, DefaultAzureCredential signs in. Raises StorageError.
    """
    try:
        if connection_string:
            check_connection_string(connection_string)
        else:
            _check_parts(account_url, account_key, sas_token)
    except ValueError as error:
        raise StorageError(f"the storage account cannot be used: {error}") from None
    options = {**_OPTIONS, "transport": _transport()}
    if connection_string:
        return BlobServiceClient.from_connection_string(connection_string, **options)
    credential = _credential(account_url, account_key, sas_token)
    return BlobServiceClient(account_url, credential, **options)


def _check_parts(url: str, key: str, sas: str) -> None:
    check_account_url(url)
    if key:
        check_key(key)
    if sas:
        check_sas(sas)
    check_account(url, key=bool(key), sas=bool(sas))


def _credential(url: str, key: str, sas: str) -> Any:
    """Return the SDK's credential. From a text, the SDK guesses the account, and what it is."""
    if key:
        return AzureNamedKeyCredential(str(account_name(url)), key)
    if sas:
        return AzureSasCredential(sas)
    from azure.identity import DefaultAzureCredential

    return DefaultAzureCredential()


def _transport() -> RequestsTransport:
    transport = RequestsTransport(**_CONNECTION)
    transport.open()
    for adapter in transport.session.adapters.values():
        adapter.init_poolmanager(connections=1, maxsize=_KEPT_CONNECTIONS)
    return transport
