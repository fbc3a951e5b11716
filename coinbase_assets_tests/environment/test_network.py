"""A proxy in the environment: for the outside, not for this machine's own services."""

import os
import ssl
import sys
from datetime import UTC, datetime
from pathlib import Path

import certifi
import httpx
import pytest
from requests.utils import get_environ_proxies

from coinbase_assets import read_candles_arrow
from coinbase_assets.candles.datasets import CANDLE_HISTORY
from coinbase_assets.candles.series import Series
from coinbase_assets.environment.network import httpx_options, prepare_network
from coinbase_assets.storage.parquet_store import ParquetStore
from coinbase_assets_tests.conftest import free_port
from coinbase_assets_tests.processes import finish, process_environment, processes
from coinbase_assets_tests.stand_in.tables import candle_table

PASSWORD = "geheim"
HERE = "127.0.0.1,127.0.0.0/8,localhost,.localhost,::1"
_KINDS = ("http", "https", "all", "no")
PROXY = [f"{kind}_proxy" for kind in _KINDS] + [f"{kind.upper()}_PROXY" for kind in _KINDS]


@pytest.mark.soak
@pytest.mark.parametrize("name", ["http_proxy", pytest.param("ALL_PROXY", marks=pytest.mark.soak)])
def test_proxies_bypassed_for_storage_on_this_machine(
    lake: ParquetStore, tmp_path: Path, name: str
) -> None:
    storage = ("AZURE_STORAGE_CONNECTION_STRING", "COINBASE_CONTAINER")
    settings = {each: os.environ[each] for each in storage}
    environment = process_environment(tmp_path / "home", **settings)
    environment[name] = f"http://127.0.0.1:{free_port()}"
    with processes(tmp_path) as start:
        done = finish(start("coinbase-assets", "status", environment=environment))
    assert done.stderr == ""
    assert "ETH-EUR:15m  0 " in done.stdout


@pytest.fixture
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*PROXY, "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"):
        # Set first, so that it is put back afterwards whatever is done to it.
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


def refusal(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> str:
    """Return the line that refuses the variable's value, and never shows a password."""
    monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=f"^{name}") as refused:
        prepare_network()
    message = str(refused.value)
    assert "\n" not in message
    assert PASSWORD not in message
    return message


@pytest.mark.usefixtures("no_variables")
@pytest.mark.parametrize(
    ("given", "bypassed"),
    [
        ({}, None),
        ({"HTTP_PROXY": ""}, None),
        ({"HTTP_PROXY": "http://proxy"}, HERE),
        ({"HTTPS_PROXY": "http://proxy"}, HERE),
        ({"http_proxy": "http://proxy", "NO_PROXY": "a,b"}, f"a,b,{HERE}"),
        ({"http_proxy": "http://proxy", "no_proxy": "c", "NO_PROXY": "a"}, f"c,{HERE}"),
        ({"http_proxy": "http://proxy", "NO_PROXY": "*"}, "*"),
    ],
)
def test_proxies_bypassed_already_stay_so(
    given: dict[str, str], bypassed: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    for _ in range(2):
        prepare_network()
        assert (os.environ.get("no_proxy") or os.environ.get("NO_PROXY")) == bypassed


@pytest.mark.usefixtures("no_variables")
@pytest.mark.parametrize(
    ("url", "variables", "proxy"),
    [
        ("http://127.0.0.1:10000/a", {"HTTP_PROXY": "http://p"}, None),
        ("http://127.8.9.10:10000", {"HTTP_PROXY": "http://p"}, None),
        ("http://[::1]:10000", {"ALL_PROXY": "http://p"}, None),
        ("http://localhost:8900", {"all_proxy": "http://p"}, None),
        ("http://devstoreaccount1.localhost", {"http_proxy": "http://p"}, None),
        ("http://a.com", {"HTTP_PROXY": "http://p"}, "http://p"),
        ("http://a.com", {"HTTP_PROXY": "p:3128"}, "http://p:3128"),
        ("http://a.com", {"HTTP_PROXY": "http://upper", "http_proxy": "http://l"}, "http://l"),
        ("http://a.com", {"HTTPS_PROXY": "http://p"}, None),
        ("https://a.com", {"HTTPS_PROXY": "http://p", "ALL_PROXY": "http://q"}, "http://p"),
        ("https://a.com", {"ALL_PROXY": "socks5h://q:1080"}, "socks5h://q:1080"),
        ("https://a.com", {"HTTPS_PROXY": " http://p\r\n"}, "http://p"),
        ("https://a.com", {"HTTPS_PROXY": "http://p", "NO_PROXY": "com"}, None),
        ("https://10.1.2.3", {"HTTPS_PROXY": "http://p", "NO_PROXY": "10.0.0.0/8"}, None),
        ("https://a.com", {"HTTPS_PROXY": "http://p", "NO_PROXY": "[::1],fe80::/10"}, "http://p"),
        ("https://a.com", {"HTTPS_PROXY": "http://p", "NO_PROXY": "*"}, None),
    ],
)
def test_httpx_uses_same_proxy_as_curl(
    url: str, variables: dict[str, str], proxy: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """httpx itself fails with a traceback at such a NO_PROXY, and knows no ranges of addresses."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    prepare_network()
    options = httpx_options(url)
    assert options["proxy"] == proxy
    httpx.Client(**options).close()


@pytest.mark.usefixtures("no_variables")
@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.8.9.10", "localhost", "devstoreaccount1.localhost", "[::1]"]
)
@pytest.mark.parametrize("given", ["", "a.com"])
def test_requests_bypasses_proxy_on_this_machine(
    host: str, given: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Azure's SDK and apprise send through requests."""
    monkeypatch.setenv("ALL_PROXY", "http://proxy:3128")
    monkeypatch.setenv("NO_PROXY", given)
    prepare_network()
    assert not get_environ_proxies(f"http://{host}:10000/devstoreaccount1")
    assert get_environ_proxies("http://b.com")


@pytest.mark.usefixtures("no_variables")
@pytest.mark.parametrize("name", ["HTTP_PROXY", "https_proxy", "ALL_PROXY"])
@pytest.mark.parametrize(
    "value",
    [
        f"http://me:{PASSWORD}@proxy:port",
        f"http://me:{PASSWORD}@proxy:99999",
        f"http://me:{PASSWORD}@proxy:0",
        f"http://me:{PASSWORD}@",
        f"http://me:{PASSWORD}/x@proxy:3128",
        f"http://me:{PASSWORD}@pro xy:3128",
        f"http://me:{PASSWORD}\x1b@proxy:3128",
        f"http://me:{PASSWORD}@[::1",
        f"http://me:{PASSWORD}@pröxy:3128",
        "http://",
        "://",
    ],
)
def test_proxy_that_is_no_url_is_named(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ": not the URL of a proxy; write http://HOST" in refusal(monkeypatch, name, value)


@pytest.mark.usefixtures("no_variables")
@pytest.mark.parametrize("kind", ["ftp", "socks4", "sock5", "quux"])
def test_proxy_of_unknown_kind_is_named(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    message = refusal(monkeypatch, "ALL_PROXY", f"{kind}://me:{PASSWORD}@proxy:3128")
    assert message.startswith("ALL_PROXY: no such kind of proxy; write http://HOST:PORT")


@pytest.mark.usefixtures("no_variables")
@pytest.mark.parametrize("package", ["socksio", "socks"])
def test_socks_proxy_without_extra_names_it(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    message = refusal(monkeypatch, "ALL_PROXY", f"socks5h://me:{PASSWORD}@proxy:1080")
    assert "needs pip install 'coinbase-assets[socks]'; or write http://HOST:PORT" in message


@pytest.mark.usefixtures("no_variables")
@pytest.mark.parametrize(
    "name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"]
)
def test_certificates_that_cannot_be_used_are_named(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing, empty = tmp_path / "missing.pem", tmp_path / "empty.pem"
    empty.write_text("no certificate")
    message = refusal(monkeypatch, name, str(missing))
    assert message.startswith(f"{name}={missing}: cannot be read (No such file or directory)")
    message = refusal(monkeypatch, name, str(empty))
    assert message.startswith(f"{name}={empty}: holds no certificates; name a PEM file")


@pytest.mark.usefixtures("no_variables")
@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"])
def test_certificates_are_those_of_every_library(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, f"{certifi.where()}\r")
    prepare_network()
    assert os.environ["REQUESTS_CA_BUNDLE"] == certifi.where()
    assert isinstance(httpx_options("https://a.com")["verify"], ssl.SSLContext)


@pytest.mark.usefixtures("no_variables")
@pytest.mark.parametrize("kind", ["http", "socks5h"])
def test_library_bypasses_proxy(
    kind: str, lake: ParquetStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the command line: `read_candles` in a notebook."""
    series = Series.parse("ETH-EUR:1h")
    table = candle_table([datetime(2024, 1, 1, tzinfo=UTC)])
    lake.put(CANDLE_HISTORY.path(series).format(partition="2024-01"), table, None)
    monkeypatch.setenv("ALL_PROXY", f"{kind}://127.0.0.1:{free_port()}")
    assert read_candles_arrow("ETH-EUR", "1h", "2024-01-01", "2024-01-02").num_rows == 1
