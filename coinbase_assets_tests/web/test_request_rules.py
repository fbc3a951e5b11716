"""Which requests the web UI answers, by host, origin, kind of request and GraphQL document."""

from collections.abc import Mapping

import pytest

from coinbase_assets.web.request_rules import refusal

HERE = "127.0.0.1:3000"
MUTATION = "mutation { wipeAssets(assetPartitionRanges: []) { __typename } }"
QUERY = "{ version }"


def answer(method: str = "GET", path: str = "/", query: str = "", **headers: str) -> str | None:
    return refusal(method, path, query, _named(headers), ())


def answer_behind_proxy(name: str, **headers: str) -> str | None:
    return refusal("POST", "/graphql", "", _named(headers), (name,))


def _named(headers: Mapping[str, str]) -> dict[str, str]:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return {"host": HERE, **given}


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"host": "localhost:3000"},
        {"host": "127.0.0.1"},
        {"origin": f"http://{HERE}", "sec_fetch_site": "same-origin"},
        {"host": "localhost:80", "origin": "http://localhost:80"},
        {"sec_fetch_site": "none", "sec_fetch_dest": "document"},
        {"sec_fetch_site": "cross-site", "sec_fetch_dest": "document"},
    ],
    ids=str,
)
def test_rules_answer_own_pages_tools_and_links(headers: dict[str, str]) -> None:
    assert answer(**headers) is None


def test_rules_answer_own_queries_and_mutations() -> None:
    own = {"origin": f"http://{HERE}", "sec_fetch_site": "same-origin"}
    assert answer("POST", "/graphql", **own) is None
    assert answer("POST", "/graphql") is None
    assert answer("GET", "/graphql", QUERY) is None


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:3000", "127.0.0.1.evil.example", "", "[", "localhost@evil"],
)
def test_rules_refuse_foreign_hosts(host: str) -> None:
    refused = answer(host=host, origin=f"http://{host}")
    assert refused == (
        f"the host {host!r} is unknown; if a reverse proxy serves the web UI there, add it"
        " to COINBASE_WEB_HOSTS"
    )


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "http://127.0.0.1:8000",
        "http://localhost:3000",
        "http://127.0.0.1:3000.evil.example",
        "null",
        "file://",
        "",
        "http://[",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_rules_refuse_foreign_origins(method: str, origin: str) -> None:
    """A WebSocket's method is GET."""
    assert "another web page" in str(answer(method, "/graphql", origin=origin))


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
@pytest.mark.parametrize("kind", ["image", "iframe", "empty", "script", ""])
def test_rules_refuse_parts_of_foreign_pages(site: str, kind: str) -> None:
    assert answer(sec_fetch_site=site, sec_fetch_dest=kind)


def test_rules_refuse_foreign_forms_and_links_to_graphql() -> None:
    foreign = {"sec_fetch_site": "cross-site", "sec_fetch_dest": "document"}
    assert answer("POST", "/", **foreign)
    assert answer("GET", "/graphql", QUERY, **foreign)
    assert answer("GET", "/graphql/", QUERY, **foreign)


@pytest.mark.parametrize(
    "document",
    [
        MUTATION,
        f"{QUERY} {MUTATION}",
        f"query Q {QUERY} {MUTATION.replace('mutation', 'mutation M')}",
        f"# query\n{MUTATION}",
        "subscription { ping }",
    ],
)
def test_rules_refuse_changes_by_get(document: str) -> None:
    for path in ("/graphql", "/graphql/"):
        refused = answer("GET", path, document, sec_fetch_site="none")
        assert refused == "GET is for queries; send a mutation by POST"
    assert answer("POST", "/graphql", document) is None


def test_rules_leave_wrong_documents_to_dagster() -> None:
    assert answer("GET", "/graphql", "no GraphQL {") is None


def test_rules_answer_hosts_of_reverse_proxy() -> None:
    """The proxy passes the host on, or replaces it by its own address of the web UI."""
    name = "candles.example.com"
    for host in (name, f"{name}:8443", HERE):
        for origin in (f"https://{name}", f"https://{name}:8443"):
            assert answer_behind_proxy(name, host=host, origin=origin) is None
    assert answer_behind_proxy(name, origin="https://evil.example")
    assert answer_behind_proxy(name, host=f"evil.{name}")
