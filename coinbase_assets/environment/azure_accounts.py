"""How an Azure storage account is named: by a URL and a credential, or by a connection string.

Each check raises ValueError with the rule and a remedy. No message holds a secret.
"""

import base64
import ipaddress
import re
from collections.abc import Callable, Mapping
from urllib.parse import parse_qs, urlsplit

from coinbase_assets.environment.plain_urls import plain_url

DEVELOPMENT_STORAGE = "UseDevelopmentStorage=true"

# Azure's own hosts: ACCOUNT.blob.core.windows.net, ACCOUNT.z12.blob.storage.azure.net, and the same
# for its other services. An Azure Stack has ACCOUNT.blob.REGION.DOMAIN.
_AZURE = re.compile(
    r"(?P<account>[^.]+)\.(?P<between>((privatelink|z\d+)\.)*)"
    r"(blob|(dfs|file|queue|table|web)(?=\.core\.|\.storage\.azure\.net$))\.(?P<suffix>.+)"
)
_CONTAINER = "and the container in COINBASE_CONTAINER"
_COPY_STRING = (
    "copy it from the storage account's page (AccountName=...;AccountKey=...), or write"
    f" {DEVELOPMENT_STORAGE} for Azurite"
)


def account_name(url: str) -> str | None:
    """Return the account's name; None for a custom domain, which does not contain it."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if azure := _AZURE.fullmatch(host):
        # A name has no dash: after it comes `-secondary` or `-ipv6`.
        return azure["account"].partition("-")[0]
    return parts.path.strip("/") if _names_accounts_in_path(host) else None


def check_account_url(text: str, sas_goes: str = "AZURE_STORAGE_SAS_TOKEN") -> str:
    """Return the URL of an account's blobs, without slashes at its end."""
    url = plain_url(text, f"put a SAS in {sas_goes}")
    parts = urlsplit(url)
    host, path = parts.hostname or "", parts.path.strip("/")
    if azure := _AZURE.fullmatch(host):
        right = _blob_host(azure)
        if path or host != right:
            netloc = parts.netloc.lower().replace(host, right)
            raise ValueError(_not_address(f"{parts.scheme}://{netloc}", bool(path)))
    elif _names_accounts_in_path(host) and not re.fullmatch("[^/]+", path):
        raise ValueError(_not_address(f"{parts.scheme}://{parts.netloc}/ACCOUNT", bool(path)))
    return url


def _blob_host(azure: re.Match[str]) -> str:
    """Return the host of the account's blob service."""
    suffix = azure["suffix"]
    zones = re.findall(r"z\d+\.", azure["between"]) if suffix == "storage.azure.net" else []
    return f"{azure['account']}.{''.join(zones)}blob.{suffix}"


def _not_address(right: str, has_path: bool) -> str:
    container = f", {_CONTAINER}" if has_path else ""
    return f"not the address of an account's blobs; write {right}{container}"


def _names_accounts_in_path(host: str) -> bool:
    """Whether accounts are named in the path, as an emulator does: the host is no domain."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return "." not in host or host == "host.docker.internal"
    return True


def check_account(url: str, *, key: bool, sas: bool) -> None:
    """Require that the URL goes with its credential: a key, a SAS, or neither to sign in."""
    if key and not account_name(url):
        raise ValueError(
            "a key needs a URL that names its account; replace URL and key by"
            " AZURE_STORAGE_CONNECTION_STRING="
            f"'AccountName=NAME;AccountKey=KEY;BlobEndpoint={url}'"
        )
    if not (key or sas or url.startswith("https:")):
        raise ValueError(
            "http:// needs a key or a SAS; write https://..., or set"
            " AZURE_STORAGE_KEY or AZURE_STORAGE_SAS_TOKEN"
        )


def check_key(text: str) -> None:
    if "sig=" in text:
        raise ValueError("a SAS, not a key; put it in AZURE_STORAGE_SAS_TOKEN")
    if "AccountKey=" in text:
        raise ValueError("a connection string; put it in AZURE_STORAGE_CONNECTION_STRING")
    try:
        base64.b64decode(text, validate=True)
    except ValueError:
        raise ValueError(
            "not the key of an account (base64); copy it from the account's page, without"
            " quotes or spaces"
        ) from None


def check_sas(text: str) -> None:
    if not parse_qs(text.lstrip("?")).get("sig") or re.search(r"[\s\"']|://", text):
        raise ValueError(
            "not a SAS token; write what follows the question mark of a SAS URL, sv=...&sig=...,"
            " without quotes or spaces"
        )


def check_connection_string(text: str) -> None:
    if re.search(r"[\s\"']", text):
        raise ValueError("has quotes or spaces; write it without them")
    fields = [part.partition("=") for part in text.rstrip(";").split(";")]
    parts = {name.upper(): value for name, _, value in fields}
    is_azurite = parts.get("USEDEVELOPMENTSTORAGE") == "true"
    names_account = is_azurite or {"ACCOUNTNAME", "BLOBENDPOINT"} & parts.keys()
    if not all(parts.values()) or not names_account:
        raise ValueError(f"not a connection string; {_COPY_STRING}")
    if not is_azurite:
        _check_parts(parts)


def _check_parts(parts: Mapping[str, str]) -> None:
    if not ({"ACCOUNTNAME", "ACCOUNTKEY"} <= parts.keys() or "SHAREDACCESSSIGNATURE" in parts):
        raise ValueError(f"has no AccountKey and no SharedAccessSignature; {_COPY_STRING}")
    if "BLOBSECONDARYENDPOINT" in parts and "BLOBENDPOINT" not in parts:
        raise ValueError("has a BlobSecondaryEndpoint alone; remove it, or add BlobEndpoint")
    for name, check in _CHECKS.items():
        if value := parts.get(name.upper()):
            _check_part(name, check, value)


def _check_part(name: str, check: Callable[[str], object], value: str) -> None:
    try:
        check(value)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def _check_name(text: str) -> None:
    if re.search("[A-Z.:/]", text):
        raise ValueError("not the name of an account; write the NAME in https://NAME.blob...")


def _check_suffix(text: str) -> None:
    if not re.fullmatch(r"(?!blob\.)[a-z0-9-]+(\.[a-z0-9-]+)+", text):
        raise ValueError("not the end of an account's host; write for example core.windows.net")


def _check_endpoint(text: str) -> None:
    url = text if "://" in text else f"https://{text}"
    check_account_url(url, "SharedAccessSignature")


_CHECKS: Mapping[str, Callable[[str], object]] = {
    "AccountName": _check_name,
    "AccountKey": check_key,
    "SharedAccessSignature": check_sas,
    "EndpointSuffix": _check_suffix,
    "BlobEndpoint": _check_endpoint,
}
