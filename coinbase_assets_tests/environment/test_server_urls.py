"""URLs of PostgreSQL and Redis: what is refused, and how."""

import sys

import pytest

from coinbase_assets.environment.server_urls import check_budget_url, check_postgres_url

SECRET = "correct-horse"


@pytest.mark.parametrize(("scheme", "driver"), [("postgresql", "psycopg"), ("redis", "redis")])
def test_check_budget_url_refuses_missing_driver(
    monkeypatch: pytest.MonkeyPatch, scheme: str, driver: str
) -> None:
    monkeypatch.setitem(sys.modules, driver, None)
    with pytest.raises(ValueError, match=rf"^{driver} is not installed.*coinbase-assets\["):
        check_budget_url(f"{scheme}://127.0.0.1")


def test_check_postgres_url_refuses_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dagster_postgres", None)
    with pytest.raises(ValueError, match=r"^dagster_postgres is not installed.*assets\[server\]"):
        check_postgres_url("postgresql://127.0.0.1/dagster")


@pytest.mark.parametrize("url", ["redis://h", f"postgresql://me:{SECRET}@/d", "h/d", f"{SECRET}["])
def test_check_postgres_url_refuses_other_text_without_showing_it(url: str) -> None:
    with pytest.raises(ValueError, match=r"^not the URL of a database; write postg") as refused:
        check_postgres_url(url)
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize("url", ["postgres://h/d", "postgresql://me@/d?host=/var/run/postgresql"])
def test_check_postgres_url_takes_sockets_and_short_scheme(url: str) -> None:
    check_postgres_url(url)
