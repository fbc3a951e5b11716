"""Messages to people, through apprise: by mail, chat or webhook. No Dagster here.

The URL of a destination holds its secrets, so nothing here shows more of it than scheme and host,
and what apprise and the libraries under it log of it is swallowed.
"""

import contextlib
import hashlib
import logging
import os
import re
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from apprise import NotifyBase

SECONDS = 10.0
_SOCKET_SECONDS = 4.0
_BETWEEN_URLS = re.compile(r"[\s,;]+(?=[a-z0-9]+://)", re.IGNORECASE)
_ADDRESSED_BY_HOST = re.compile(r"(://|@)\{host\}")

_heard: ContextVar[list[str] | None] = ContextVar("_heard", default=None)


@dataclass(frozen=True)
class Message:
    """What to tell people; `id` is unique, and only for the sender's bookkeeping."""

    id: str
    title: str
    body: str


class NotDelivered(Exception):
    """A destination did not take a message: its name, and why, in one line without secrets."""

    def __init__(self, destination: "Destination", why: str) -> None:
        super().__init__(f"{destination}: {why}")
        self.key, self.why = destination.key, why


class Destination:
    """Where messages go. `key` identifies its URL and tells nothing of it; `name` is for people.

    Raises ValueError for a URL that apprise cannot make sense of.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self.key = hashlib.sha256(url.encode()).hexdigest()[:16]
        with silence(), warnings.catch_warnings(action="ignore"):
            # The first makes apprise load what it has, deprecated modules of Python included.
            self.name = _name(self._plugin(), url)

    def __repr__(self) -> str:
        return self.name

    def send(self, message: Message) -> None:
        """Deliver the message within 10 seconds, else raise NotDelivered.

        A destination that takes it, but does not say so in time, will get it twice.
        """
        outcome: Future[str | None] = Future()

        def work() -> None:
            with silence() as heard:
                outcome.set_result(None if self._notify(message) else _why(heard))

        # Not one of a pool, for which the process would wait at its end.
        threading.Thread(target=work, daemon=True).start()
        wait([outcome], SECONDS)
        why = outcome.result() if outcome.done() else f"no answer within {SECONDS:g} s"
        if why:
            raise NotDelivered(self, why)

    def _notify(self, message: Message) -> bool:
        from apprise import Apprise, NotifyFormat

        try:
            service = Apprise(self._plugin())
            return bool(service.notify(message.body, message.title, body_format=NotifyFormat.TEXT))
        except Exception as error:
            logging.getLogger("apprise").exception("%s", error)
            return False

    def _plugin(self) -> "NotifyBase":
        from apprise import Apprise, AppriseAsset

        # Without limits of its own apprise sends in our thread, not in one it would wait for.
        asset = AppriseAsset(app_id="coinbase-assets", app_desc="Coinbase", service_timeout=0)
        plugin = Apprise.instantiate(self._url, asset=asset)
        if plugin is None:
            raise ValueError("not a URL of apprise")
        for timeout in ("socket_connect_timeout", "socket_read_timeout"):
            setattr(plugin, timeout, min(getattr(plugin, timeout), _SOCKET_SECONDS))
        # Else the second recipient of a mail waits 5.5 seconds.
        plugin.request_rate_per_sec = 0
        return plugin


def parse_urls(text: str) -> tuple[Destination, ...]:
    """The destinations of apprise URLs between commas or whitespace, each once.

    A URL may hold commas, as `mailto://...?to=a,b` does. Raises ValueError, without the URL.
    """
    destinations = dict[str, Destination]()
    for number, url in enumerate(_BETWEEN_URLS.split(text.strip(" \t\r\n,;")), 1):
        try:
            destination = Destination(url)
        except ValueError:
            scheme, separator, _ = url.partition("://")
            named = f"URL {number} ({scheme}://...)" if separator else f"URL {number}"
            raise ValueError(
                f"{named} is none that apprise knows;"
                " write such as mailto://USER:PASSWORD@HOST, with special characters as %40 for @"
            ) from None
        destinations[destination.key] = destination
    return tuple(destinations.values())


def deliver(
    outbox: Mapping[str, Sequence[Message]],
    destinations: Sequence[Destination],
    sent: Callable[[str, str], None],
) -> list[NotDelivered]:
    """Send each destination its messages, by key, in order; return what failed, within 20 seconds.

    All destinations at once, each up to its first failure. After each delivery `sent` is called
    with the keys of destination and message, in this thread, before the next message goes there;
    what is not called for is to be delivered again. What `sent` raises is raised.
    """
    waiting = {one: iter(tuple(outbox.get(one.key, ()))) for one in destinations}
    running = dict[Future[None], tuple[Destination, Message]]()
    failures: list[NotDelivered] = []
    last_begin = time.monotonic() + SECONDS

    with ThreadPoolExecutor(max_workers=len(destinations) or 1) as threads:

        def begin(destination: Destination) -> None:
            message = next(waiting[destination], None)
            if message and time.monotonic() < last_begin:
                running[threads.submit(destination.send, message)] = destination, message

        for destination in waiting:
            begin(destination)
        while running:
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                destination, message = running.pop(future)
                try:
                    future.result()
                except NotDelivered as failure:
                    failures.append(failure)
                else:
                    sent(destination.key, message.id)
                    begin(destination)
    return failures


def _name(plugin: "NotifyBase", url: str) -> str:
    """Scheme and host; what stands in the host's place is a token for many a service."""
    addressed = all(map(_ADDRESSED_BY_HOST.search, plugin.templates))
    if addressed and re.match(r"[^/?#]*@[^/?#]*@", url.partition("://")[2]):
        raise ValueError("apprise takes what follows the first @ for the host")
    return f"{plugin.schema}://{plugin.host if addressed else ''}"


def _why(heard: Sequence[str]) -> str:
    """The cause in what apprise logged, of which only numbers are safe to tell."""
    said = "\n".join(heard)
    if number := re.search(r"\[Errno (\d+)\]", said):
        return os.strerror(int(number[1]))
    if re.search(r"\[Errno -\d+\]", said):
        return "its host has no address"
    if "CERTIFICATE_VERIFY_FAILED" in said:
        return "its certificate cannot be verified"
    if "timed out" in said:
        return "no answer in time"
    if status := re.search(r"(?:error=|\()(\d{3})\b", said):
        return f"refused with status {status[1]}"
    return "apprise could not deliver it"


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
