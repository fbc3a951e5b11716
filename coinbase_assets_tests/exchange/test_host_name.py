"""An exchange whose name does not resolve is noticed before anything is asked of it."""

import pytest

from coinbase_assets.exchange import host_name
from coinbase_assets.exchange.host_name import unknown_host

# Reserved: no name server ever knows it.
NOWHERE = "exchange.invalid"


@pytest.fixture(autouse=True)
def no_proxy_and_little_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setattr(host_name, "PATIENCE", 0.1)


def test_a_name_that_does_not_resolve_is_told() -> None:
    error = str(unknown_host(f"https://{NOWHERE}"))
    assert error == f"no answer from https://{NOWHERE}: the name {NOWHERE} does not resolve"


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "localhost"])
def test_a_name_that_resolves_is_no_error(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_name, "PATIENCE", 30.0)
    assert unknown_host(f"http://{host}:8900") is None


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "ALL_PROXY"])
def test_a_proxy_resolves_the_name(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "http://127.0.0.1:3128")
    assert unknown_host(f"https://{NOWHERE}") is None


def test_a_proxy_that_is_not_used_for_the_host_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:3128")
    assert unknown_host(f"http://{NOWHERE}")
    monkeypatch.setenv("NO_PROXY", NOWHERE)
    assert unknown_host(f"https://{NOWHERE}")
