"""Where alerts go, through apprise: by mail, chat or webhook. Knows no Dagster."""

import hashlib
import logging
import os
import re
import threading
from collections.abc import Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass

from coinbase_assets.alert_urls import load_plugin, parse_alert_urls, shown_name, silence

SECONDS = 10.0


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
        self.name = shown_name(url)

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
            service = Apprise(load_plugin(self._url))
            return bool(service.notify(message.body, message.title, body_format=NotifyFormat.TEXT))
        except Exception as error:
            logging.getLogger("apprise").exception("%s", error)
            return False


def parse_destinations(text: str) -> tuple[Destination, ...]:
    """The destinations of the URLs in the text, each once. Raises ValueError, without the URL."""
    return tuple(map(Destination, parse_alert_urls(text)))


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
