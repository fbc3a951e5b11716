"""How an account is named in the settings: which forms are read, and what refuses the others."""

import traceback

import pytest

from coinbase_assets.environment.azure_accounts import account_name
from coinbase_assets.settings import SettingsError, load_settings

URL, KEY, SAS, STRING = (
    f"AZURE_STORAGE_{name}" for name in ("ACCOUNT_URL", "KEY", "SAS_TOKEN", "CONNECTION_STRING")
)
REAL = "https://mylake.blob.core.windows.net"
SECRET = "c2VjcmV0LW5ldmVyLXRvLWJlLXNlZW4="
SIGNED = f"sv=2024-01-01&sp=rwl&sig={SECRET}"
NAMED = f"AccountName=mylake;AccountKey={SECRET}"


def refusal(monkeypatch: pytest.MonkeyPatch, **environment: str) -> str:
    """Return the message that refuses these settings: one line, without the secret."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as refused:
        load_settings()
    assert SECRET not in "".join(traceback.format_exception(refused.value))
    assert "\n" not in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        (REAL, "mylake"),
        ("https://MyLake.blob.core.windows.net:443", "mylake"),
        ("https://mylake-secondary.blob.core.windows.net", "mylake"),
        ("https://mylake-ipv6.blob.core.windows.net", "mylake"),
        ("https://mylake.blob.core.chinacloudapi.cn", "mylake"),
        ("https://mylake.z12.blob.storage.azure.net", "mylake"),
        ("https://mylake.blob.east.azurestack.example.com", "mylake"),
        ("http://127.0.0.1:10000/mylake", "mylake"),
        ("https://[::1]:11002/mylake", "mylake"),
        ("http://azurite:10000/mylake", "mylake"),
        ("http://host.docker.internal:10000/mylake", "mylake"),
        ("https://candles.example.com", None),
        ("https://files.web.example.com", None),
    ],
)
def test_account_name_is_in_url(
    url: str, name: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert account_name(url) == name
    monkeypatch.setenv(URL, f"{url}/")
    monkeypatch.setenv(SAS, f"?{SIGNED}")
    assert load_settings().account_url == url


@pytest.mark.parametrize(
    ("url", "remedy"),
    [
        (f"{REAL}/candles", f"write {REAL}, and the container in COINBASE_CONTAINER"),
        ("https://mylake.dfs.core.windows.net", f"write {REAL}"),
        ("https://mylake.queue.core.windows.net:443/", f"write {REAL}:443"),
        ("https://mylake.z6.web.core.windows.net", f"write {REAL}"),
        ("https://mylake.privatelink.blob.core.windows.net", f"write {REAL}"),
        (
            "https://mylake.z12.dfs.storage.azure.net",
            "write https://mylake.z12.blob.storage.azure.net",
        ),
        (
            "http://127.0.0.1:10000/mylake/candles",
            "write http://127.0.0.1:10000/ACCOUNT, and the container in COINBASE_CONTAINER",
        ),
        ("http://127.0.0.1:10000", "write http://127.0.0.1:10000/ACCOUNT"),
        ("http://azurite:10000", "write http://azurite:10000/ACCOUNT"),
        (
            "https://candles.example.com/coinbasedata",
            "has the container in it; write https://candles.example.com",
        ),
        ("https://mylake..blob.core.windows.net", "not a URL; write https://HOST"),
        (f"https://{'a' * 64}.example.com", "not a URL; write https://HOST"),
        ("abfss://mylake.dfs.core.windows.net", "not a URL; write https://HOST"),
    ],
)
def test_settings_refuse_account_url(
    url: str, remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = refusal(monkeypatch, **{URL: url, SAS: SIGNED})
    assert message.startswith(f"{URL}={url.rstrip('/')}")
    assert remedy in message


@pytest.mark.parametrize(
    "url", [f"{REAL}?{SIGNED}", f"{REAL}/candles?{SIGNED}", f"?{SIGNED}", f"{REAL}#{SIGNED}"]
)
def test_settings_refuse_sas_in_account_url(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert refusal(monkeypatch, **{URL: url}).startswith(f"{URL}: ")


def test_settings_refuse_key_of_custom_domain(monkeypatch: pytest.MonkeyPatch) -> None:
    url = "https://candles.example.com"
    assert refusal(monkeypatch, **{URL: url, KEY: SECRET}) == (
        f"{URL}={url}: a key needs a URL that names its account; replace URL and key by"
        f" {STRING}='AccountName=NAME;AccountKey=KEY;BlobEndpoint={url}'"
    )


@pytest.mark.parametrize("url", [REAL, "https://candles.example.com"])
def test_settings_refuse_sign_in_without_https(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(URL, url)
    assert load_settings().account_url == url
    http = url.replace("https", "http")
    message = refusal(monkeypatch, **{URL: http})
    assert message.startswith(f"{URL}={http}: ")
    assert f"write https://..., or set {KEY} or {SAS}" in message


@pytest.mark.parametrize(
    ("name", "value", "remedy"),
    [
        (KEY, f"{SECRET}!", "not the key of an account"),
        (KEY, "ключ", "not the key of an account"),
        (KEY, SIGNED, f"put it in {SAS}"),
        (KEY, NAMED, f"put it in {STRING}"),
        (SAS, SECRET, "not a SAS token; write what follows the question mark"),
        (SAS, f"{REAL}/?{SIGNED}", "not a SAS token"),
    ],
)
def test_settings_refuse_credential(
    name: str, value: str, remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = refusal(monkeypatch, **{URL: REAL, name: value})
    assert message.startswith(f"{name}: ")
    assert remedy in message


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        (f"AccountName=mylake; AccountKey={SECRET}", "has quotes or spaces"),
        ("AccountName=mylake", "has no AccountKey and no SharedAccessSignature"),
        (f"BlobEndpoint={REAL};AccountKey={SECRET}", "has no AccountKey and no Shared"),
        (f"AccountName=mylake;AccountKey={SECRET}!", "AccountKey: not the key of an account"),
        (f"AccountName=mylake;;AccountKey={SECRET}", "not a connection string"),
        (f"{REAL};AccountName={REAL};AccountKey={SECRET}", "not a connection string"),
        (f"AccountName={REAL};AccountKey={SECRET}", "AccountName: not the name of an account"),
        (f"AccountName=MyLake;AccountKey={SECRET}", "AccountName: not the name of an account"),
        (f"{NAMED};EndpointSuffix=.core.windows.net", "EndpointSuffix: not the end of an acc"),
        (f"{NAMED};EndpointSuffix=blob.core.windows.net", "for example core.windows.net"),
        (f"{NAMED};BlobEndpoint=https://mylake.dfs.core.windows.net", f"write {REAL}"),
        (f"{NAMED};BlobEndpoint={REAL}/candles", f"write {REAL}, and the container in"),
        (f"{NAMED};BlobEndpoint=http://127.0.0.1:10000", "write http://127.0.0.1:10000/ACCOUNT"),
        (f"{NAMED};BlobEndpoint=htp://mylake.example.com", "BlobEndpoint: not a URL"),
        (f"{NAMED};BlobSecondaryEndpoint={REAL}", "add BlobEndpoint"),
        (f"{NAMED};BlobEndpoint={REAL}?{SIGNED}", "put a SAS in SharedAccessSignature"),
        (f"BlobEndpoint={REAL};SharedAccessSignature={SECRET}", "SharedAccessSignature: not a SAS"),
    ],
)
def test_settings_refuse_connection_string(
    text: str, remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = refusal(monkeypatch, **{STRING: text})
    assert message.startswith(f"{STRING}: ")
    assert remedy in message


@pytest.mark.parametrize(
    "text",
    [
        f"DefaultEndpointsProtocol=https;{NAMED};EndpointSuffix=core.usgovcloudapi.net",
        f"accountname=mylake;accountkey={SECRET};",
        f"{NAMED};BlobEndpoint=https://candles.example.com/",
        f"{NAMED};BlobEndpoint=http://azurite:10000/mylake;QueueEndpoint=http://azurite:10001/a",
        f"BlobEndpoint=mylake.blob.core.windows.net;SharedAccessSignature=?{SIGNED}",
        "UseDevelopmentStorage=true;DevelopmentStorageProxyUri=http://azurite",
    ],
)
def test_settings_accept_connection_string(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(STRING, text)
    assert load_settings().names_storage
