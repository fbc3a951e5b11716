"""Alert URLs, in apprise's format. Imports neither candles nor Dagster.

An alert URL holds secrets. This module shows only its scheme and host, and suppresses the log
records of apprise and of the libraries that apprise uses.
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

# The texts that `silence` has collected in this context; None outside of it.
_collected: ContextVar[list[str] | None] = ContextVar("_collected", default=None)


def parse_alert_urls(text: str) -> tuple[str, ...]:
    """Returns the URLs in `text`, each once, in order. Commas or whitespace separate them.

    A URL itself may contain commas: `mailto://...?to=a,b`. Raises ValueError, which gives the
    position and scheme of a wrong URL, but not the URL.
    """
    urls = tuple(dict.fromkeys(_BETWEEN_URLS.split(text.strip(" \t\r\n,;"))))
    for number, url in enumerate(urls, 1):
        try:
            shown_name(url)
        except ValueError:
            scheme, separator, _ = url.partition("://")
            named = f"URL {number} ({scheme}://...)" if separator else f"URL {number}"
            raise ValueError(
                f"{named} is not a URL that apprise supports; write it like"
                " mailto://USER:PASSWORD@HOST, and encode special characters (@ as %40)"
            ) from None
    return urls


def shown_name(url: str) -> str:
    """Returns scheme and host, or the scheme alone if the URL has a token in place of the host.

    Raises ValueError for a URL that apprise does not support.
    """
    with silence(), warnings.catch_warnings(action="ignore"):
        # The first URL makes apprise import all its plugins, some with deprecated Python modules.
        plugin = load_plugin(url)
    addressed = all(map(_ADDRESSED_BY_HOST.search, plugin.templates))
    if addressed and re.match(r"[^/?#]*@[^/?#]*@", url.partition("://")[2]):
        raise ValueError("apprise takes the text after the first @ as the host")
    return f"{plugin.schema}://{plugin.host if addressed else ''}"


def load_plugin(url: str) -> "NotifyBase":
    """Returns apprise's plugin for the URL. Raises ValueError if apprise does not support it."""
    from apprise import Apprise, AppriseAsset

    # With a service timeout, apprise would send in a thread of its own and wait for that.
    asset = AppriseAsset(app_id="coinbase-assets", app_desc="Coinbase", service_timeout=0)
    plugin = Apprise.instantiate(url, asset=asset)
    if plugin is None:
        raise ValueError("not a URL that apprise supports")
    for timeout in ("socket_connect_timeout", "socket_read_timeout"):
        setattr(plugin, timeout, min(getattr(plugin, timeout), _SOCKET_SECONDS))
    # By default, apprise waits 5.5 seconds before the second recipient of a mail.
    plugin.request_rate_per_sec = 0
    return plugin


class _Silence:
    """Makes the log records. Inside `silence()`, they have no text and the lowest level.

    Filters on loggers are not enough: urllib3 logs paths, and other libraries may log secrets, too.
    """

    def __init__(self, make: Callable[..., logging.LogRecord]) -> None:
        self._make = make

    def __call__(self, *args: Any, **kwargs: Any) -> logging.LogRecord:
        record = self._make(*args, **kwargs)
        collected = _collected.get()
        if collected is None:
            return record
        text = record.getMessage()
        # Other records hold the text of the message that is sent.
        if record.levelno >= logging.WARNING or text.startswith("Socket Exception"):
            collected.append(text)
        record.msg, record.args, record.levelno = "", (), -1
        record.exc_info = record.exc_text = record.stack_info = None
        return record


@contextlib.contextmanager
def silence() -> Iterator[list[str]]:
    """Suppress this thread's log records. Yields a list that collects failure texts."""
    make = logging.getLogRecordFactory()
    if not isinstance(make, _Silence):
        logging.setLogRecordFactory(_Silence(make))
    logging.getLogger("apprise").setLevel(logging.DEBUG)
    collected: list[str] = []
    token = _collected.set(collected)
    try:
        yield collected
    finally:
        _collected.reset(token)
