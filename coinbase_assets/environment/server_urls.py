"""URLs of the servers that a deployment of several machines needs: PostgreSQL and Redis.

Every function raises ValueError with the rule and a remedy. No message holds the URL: it may hold a
password.
"""

from importlib.util import find_spec
from urllib.parse import parse_qs, urlsplit

_DRIVERS = {
    "postgresql": ("psycopg", "postgres"),
    "postgres": ("psycopg", "postgres"),
    "redis": ("redis", "redis"),
    "rediss": ("redis", "redis"),
}


def check_budget_url(url: str) -> None:
    """Require the URL of a PostgreSQL or Redis server whose driver is installed."""
    scheme = _scheme(url)
    if scheme not in _DRIVERS:
        raise ValueError(
            "not the URL of a budget server; write postgresql://USER:PASSWORD@HOST/DATABASE or"
            " redis://HOST"
        )
    if any("password" in name.lower() for name in parse_qs(urlsplit(url).query)):
        raise ValueError(
            f"has a password in its query; write it before the host: {scheme}://USER:PASSWORD@HOST"
        )
    _require_driver(scheme, *_DRIVERS[scheme])


def check_postgres_url(url: str) -> None:
    """Require the URL of a PostgreSQL database, and the package that Dagster needs for it."""
    scheme = _scheme(url)
    if scheme not in ("postgresql", "postgres"):
        raise ValueError(
            "not the URL of a database; write postgresql://USER:PASSWORD@HOST/DATABASE"
        )
    _require_driver(scheme, "dagster_postgres", "server")


def _scheme(url: str) -> str:
    """Return the scheme of a URL that names a host; "" if it is no such URL."""
    try:
        parts = urlsplit(url)
        # The URL of a PostgreSQL socket has no host, but the socket's folder in its query.
        has_host = bool(parts.hostname or "host=/" in parts.query) and parts.port != 0
    except ValueError:
        return ""
    return parts.scheme if has_host else ""


def _require_driver(scheme: str, package: str, extra: str) -> None:
    if not find_spec(package):
        raise ValueError(
            f"{package} is not installed, but needed for {scheme}:// URLs;"
            f" run pip install 'coinbase-assets[{extra}]'"
        )
