"""Which requests the web UI answers: those of the person at this machine. Pure: no I/O.

Any web page can make a browser send requests to 127.0.0.1, and a host name of the page's owner may
resolve to 127.0.0.1 (DNS rebinding). Dagster itself answers all of them.
"""

from collections.abc import Collection, Mapping
from urllib.parse import urlsplit

from graphql import GraphQLError, OperationDefinitionNode, OperationType, parse

from coinbase_assets.plain_text import quoted

LOCAL_HOSTS = frozenset({"127.0.0.1", "localhost"})


def refusal(
    method: str, path: str, query: str, headers: Mapping[str, str], more_hosts: Collection[str]
) -> str | None:
    """Return why a request is refused, or None if it is answered.

    `query` is the GraphQL document in the URL, "" if there is none. The headers have names in
    lower case. `more_hosts` are the hosts, besides 127.0.0.1 and localhost, at which a reverse
    proxy serves the web UI. The method of a WebSocket is GET.
    """
    host, origin = headers.get("host", ""), headers.get("origin")
    if _host_name(f"//{host}") not in {*LOCAL_HOSTS, *more_hosts}:
        return (
            f"the host {quoted(host)} is unknown; if a reverse proxy serves the web UI there, add"
            " it to COINBASE_WEB_HOSTS"
        )
    if origin is not None and not _is_same(origin, host, more_hosts):
        return f"the request comes from another web page, {quoted(origin)}"
    if headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
        # A link on another page may open the web UI.
        is_link = method == "GET" and headers.get("sec-fetch-dest") == "document"
        if not is_link or is_graphql(path):
            return "the request comes from another web page"
    if method != "POST" and is_graphql(path) and _changes(query):
        return "GET is for queries; send a mutation by POST"
    return None


def is_graphql(path: str) -> bool:
    return path.rstrip("/").endswith("/graphql")


def _is_same(origin: str, host: str, more_hosts: Collection[str]) -> bool:
    """Whether the origin is this server's: as the browser addressed it, or behind a proxy."""
    return origin.partition("://")[2] == host or _host_name(origin) in more_hosts


def _host_name(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def _changes(query: str) -> bool:
    """Whether the GraphQL document holds anything but queries. Dagster refuses what it is not."""
    try:
        definitions = parse(query).definitions
    except GraphQLError:
        return False
    operations = (each for each in definitions if isinstance(each, OperationDefinitionNode))
    return any(each.operation != OperationType.QUERY for each in operations)
