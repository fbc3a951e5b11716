"""The check that the exchange's host name resolves."""

import pytest

from coinbase_assets.exchange import host_name
from coinbase_assets.exchange.host_name import unknown_host

# Reserved (RFC 2606): no name server knows this name.
NOWHERE = "exchange.invalid"


@pytest.fixture(autouse=True)
def no_proxy_and_little_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setattr(host_name, "PATIENCE", 0.1)


def test_unknown_host_names_unresolved_host() -> None:
    error = str(unknown_host(f"https://{NOWHERE}"))
    assert error == f"no answer from https://{NOWHERE}: the name {NOWHERE} does not resolve"


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "localhost"])
def test_unknown_host_accepts_resolved_host(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_name, "PATIENCE", 30.0)
    assert unknown_host(f"http://{host}:8900") is None


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "ALL_PROXY"])
def test_unknown_host_leaves_name_to_proxy(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "http://127.0.0.1:3128")
    assert unknown_host(f"https://{NOWHERE}") is None


def test_unknown_host_ignores_unused_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:3128")
    assert unknown_host(f"http://{NOWHERE}")
    monkeypatch.setenv("NO_PROXY", NOWHERE)
    assert unknown_host(f"https://{NOWHERE}")
