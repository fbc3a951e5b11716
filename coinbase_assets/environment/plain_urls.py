"""URLs in settings. No error message shows a refused URL: the URL may hold a secret."""

import re
from urllib.parse import SplitResult, urlsplit


def plain_url(text: str, remedy: str) -> str:
    """Return the URL without slashes at its end. Raises ValueError if it may hold a secret."""
    parts = split_url(text, "write https://HOST, or http://HOST:PORT for an emulator")
    if parts.query or parts.fragment or parts.username or parts.password:
        raise ValueError(f"has a user, a password, a query or a fragment; {remedy}")
    return text.rstrip("/")


def split_url(text: str, remedy: str) -> SplitResult:
    """Return the parts of a URL of HTTP or HTTPS. Raises ValueError for anything else."""
    try:
        parts = urlsplit(text)
        is_url = parts.scheme in ("http", "https") and parts.port != 0
    except ValueError:
        is_url = False
    if not is_url or not _is_host(parts.hostname or "") or re.search(r"\s", text):
        raise ValueError(f"not a URL; {remedy}")
    return parts


def _is_host(host: str) -> bool:
    """Whether each part between dots has 1 to 63 characters. A dot may end a host."""
    return all(0 < len(label) <= 63 for label in host.removesuffix(".").split("."))
