"""Destinations of alerts: mail, chat and webhooks, through apprise. Does not import Dagster."""

import hashlib
import logging
import os
import re
import threading
from collections.abc import Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass
from enum import IntEnum

from coinbase_assets.environment.alert_urls import (
    load_plugin,
    parse_alert_urls,
    shown_name,
    silence,
)
from coinbase_assets.environment.secrets import public, public_lines
from coinbase_assets.plain_text import inert

SECONDS = 10.0


class Level(IntEnum):
    """How a message is marked, ascending: apprise has the same names, in lower case."""

    INFO = 1
    SUCCESS = 2
    WARNING = 3
    FAILURE = 4


@dataclass(frozen=True)
class Message:
    """A message for people. `id` is unique and is not sent."""

    id: str
    title: str
    body: str
    level: Level = Level.INFO


class NotDelivered(Exception):
    """A destination did not accept a message. The error names it and the cause, without secrets."""

    def __init__(self, destination: "Destination", cause: str) -> None:
        super().__init__(f"{destination}: {cause}")
        self.key, self.cause = destination.key, cause


class Destination:
    """A URL that takes messages. `key` is a hash of the URL; `name` shows no secret.

    Raises ValueError for a URL that apprise does not support.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self.key = hashlib.sha256(url.encode()).hexdigest()[:16]
        self.name = shown_name(url)

    def __repr__(self) -> str:
        return self.name

    def send(self, message: Message) -> None:
        """Deliver the message. Raises NotDelivered if it is not accepted within 10 seconds.

        A destination that accepts a message but answers too late gets it twice.
        """
        outcome: Future[str | None] = Future()

        def work() -> None:
            with silence() as logged:
                outcome.set_result(None if self._notify(message) else _cause(logged))

        # A daemon thread: at its end, the process would wait for the thread of a pool.
        threading.Thread(target=work, daemon=True).start()
        wait([outcome], SECONDS)
        cause = outcome.result() if outcome.done() else f"no answer within {SECONDS:g} s"
        if cause:
            raise NotDelivered(self, cause)

    def _notify(self, message: Message) -> bool:
        from apprise import Apprise, NotifyFormat

        try:
            service = Apprise(load_plugin(self._url))
            title, body = inert(public(message.title)), inert(public_lines(message.body))
            kind = message.level.name.lower()
            return bool(service.notify(body, title, kind, body_format=NotifyFormat.TEXT))
        except Exception as error:
            logging.getLogger("apprise").exception("%s", error)
            return False


def parse_destinations(text: str) -> tuple[Destination, ...]:
    """Returns the destinations in `text`, each once. Raises ValueError, without the URL."""
    return tuple(map(Destination, parse_alert_urls(text)))


def _cause(logged: Sequence[str]) -> str:
    """Returns the cause that apprise logged. Only its numbers are shown: the text may be secret."""
    text = "\n".join(logged)
    if number := re.search(r"\[Errno (\d+)\]", text):
        return os.strerror(int(number[1]))
    if re.search(r"\[Errno -\d+\]", text):
        return "its host has no address"
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return "its certificate cannot be verified"
    if "timed out" in text:
        return "no answer in time"
    if status := re.search(r"(?:error=|\()(\d{3})\b", text):
        return f"refused with status {status[1]}"
    return "apprise could not deliver it"
