"""URLs of alerts as apprise takes them. Knows no candles, and no Dagster.

Such a URL holds secrets, so nothing here shows more of it than scheme and host, and what apprise
and the libraries under it log of it is swallowed.
"""

import contextlib
import logging
import re
import warnings
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from apprise import NotifyBase

_SOCKET_SECONDS = 4.0
_BETWEEN_URLS = re.compile(r"[\s,;]+(?=[a-z0-9]+://)", re.IGNORECASE)
_ADDRESSED_BY_HOST = re.compile(r"(://|@)\{host\}")

_heard: ContextVar[list[str] | None] = ContextVar("_heard", default=None)


def parse_alert_urls(text: str) -> tuple[str, ...]:
    """The URLs between commas or whitespace, each once.

    A URL may hold commas, as `mailto://...?to=a,b` does. Raises ValueError, without the URL.
    """
    urls = tuple(dict.fromkeys(_BETWEEN_URLS.split(text.strip(" \t\r\n,;"))))
    for number, url in enumerate(urls, 1):
        try:
            shown_name(url)
        except ValueError:
            scheme, separator, _ = url.partition("://")
            named = f"URL {number} ({scheme}://...)" if separator else f"URL {number}"
            raise ValueError(
                f"{named} is none that apprise knows;"
                " write such as mailto://USER:PASSWORD@HOST, with special characters as %40 for @"
            ) from None
    return urls


def shown_name(url: str) -> str:
    """Scheme and host; where a token stands in the host's place, the scheme alone.

    Raises ValueError for a URL that apprise cannot make sense of.
    """
    with silence(), warnings.catch_warnings(action="ignore"):
        # The first makes apprise load what it has, deprecated modules of Python included.
        plugin = load_plugin(url)
    addressed = all(map(_ADDRESSED_BY_HOST.search, plugin.templates))
    if addressed and re.match(r"[^/?#]*@[^/?#]*@", url.partition("://")[2]):
        raise ValueError("apprise takes what follows the first @ for the host")
    return f"{plugin.schema}://{plugin.host if addressed else ''}"


def load_plugin(url: str) -> "NotifyBase":
    from apprise import Apprise, AppriseAsset

    # Without limits of its own apprise sends in our thread, not in one it would wait for.
    asset = AppriseAsset(app_id="coinbase-assets", app_desc="Coinbase", service_timeout=0)
    plugin = Apprise.instantiate(url, asset=asset)
    if plugin is None:
        raise ValueError("not a URL of apprise")
    for timeout in ("socket_connect_timeout", "socket_read_timeout"):
        setattr(plugin, timeout, min(getattr(plugin, timeout), _SOCKET_SECONDS))
    # Else the second recipient of a mail waits 5.5 seconds.
    plugin.request_rate_per_sec = 0
    return plugin


class _Silence:
    """Makes log records; those made in a `silence` are emptied, and below every handler's level.

    Filters on loggers would not do: urllib3 logs paths, other libraries who knows what.
    """

    def __init__(self, make: Callable[..., logging.LogRecord]) -> None:
        self._make = make

    def __call__(self, *args: Any, **kwargs: Any) -> logging.LogRecord:
        record = self._make(*args, **kwargs)
        heard = _heard.get()
        if heard is None:
            return record
        text = record.getMessage()
        # Not the message's own text, which is logged, too.
        if record.levelno >= logging.WARNING or text.startswith("Socket Exception"):
            heard.append(text)
        record.msg, record.args, record.levelno = "", (), -1
        record.exc_info = record.exc_text = record.stack_info = None
        return record


@contextlib.contextmanager
def silence() -> Iterator[list[str]]:
    """Let no logger in this thread say anything, but collect what apprise says of failures."""
    make = logging.getLogRecordFactory()
    if not isinstance(make, _Silence):
        logging.setLogRecordFactory(_Silence(make))
    logging.getLogger("apprise").setLevel(logging.DEBUG)
    heard: list[str] = []
    token = _heard.set(heard)
    try:
        yield heard
    finally:
        _heard.reset(token)
