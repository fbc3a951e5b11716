"""Where alerts arrive in tests: a webhook and a mail server on 127.0.0.1, both real."""

import email
import email.policy
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, Envelope

from coinbase_assets_tests.conftest import free_port

TOKEN = "tOkEn-nEvEr-tO-bE-sEeN"


@dataclass(kw_only=True)
class Webhook:
    """A context manager that receives at `url` until it ends, and may begin again at its port.

    Answers with `status`; while that is 0 it is silent, which `url` bears for `patience` seconds.
    `titles` are those answered with 200, `asked` counts all requests.
    """

    status: int = 200
    patience: float = 4.0
    port: int = field(default_factory=free_port)
    titles: list[str] = field(default_factory=list)
    bodies: list[str] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)
    asked: int = 0

    def __enter__(self) -> Self:
        self.stopping = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), _handler(self))
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stopping.set()
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        """For apprise."""
        place = f"user:{TOKEN}@127.0.0.1:{self.port}/hook/{TOKEN}"
        return f"json://{place}?rto={self.patience}&+X-Key={TOKEN}"


def _handler(webhook: Webhook) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            webhook.asked += 1
            sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if webhook.status == 200:
                webhook.titles.append(sent["title"])
                webhook.bodies.append(sent["message"])
                webhook.kinds.append(sent["type"])
            if webhook.status:
                self.send_response(webhook.status)
                self.end_headers()
            else:
                webhook.stopping.wait(60)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the parent's name)
            """Say nothing."""

    return Handler


@dataclass
class Mailbox:
    """What a mail server received; `url` is its address for apprise."""

    url: str
    mails: list[EmailMessage] = field(default_factory=list)

    @property
    def titles(self) -> list[str]:
        return [str(mail["Subject"]) for mail in self.mails]

    async def handle_DATA(self, server: object, session: object, envelope: Envelope) -> str:  # noqa: N802
        content = envelope.original_content or b""
        mail = email.message_from_bytes(content, policy=email.policy.default)
        assert isinstance(mail, EmailMessage)
        self.mails.append(mail)
        return "250 OK"


@contextmanager
def mail_server(password: str = TOKEN) -> Iterator[Mailbox]:
    """A server that takes mail from whoever has the password; those of `url` have TOKEN."""
    port = free_port()
    people = "from=lake@example.com&to=a@example.com,b@example.com"
    mailbox = Mailbox(f"mailto://user:{TOKEN}@127.0.0.1:{port}?{people}")

    def login(*arguments: Any) -> AuthResult:
        return AuthResult(success=arguments[-1].password == password.encode(), handled=False)

    controller = Controller(
        mailbox, hostname="127.0.0.1", port=port, authenticator=login, auth_require_tls=False
    )
    controller.start()
    try:
        yield mailbox
    finally:
        controller.stop()
