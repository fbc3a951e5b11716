"""Messages arrive at real receivers, in order and once, and no secret is shown."""

import dataclasses
import json
import logging
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress

import pytest

from coinbase_assets.environment import alert_urls
from coinbase_assets.monitoring import delivery, destinations
from coinbase_assets.monitoring.delivery import deliver
from coinbase_assets.monitoring.destinations import (
    Destination,
    Message,
    NotDelivered,
    parse_destinations,
)
from coinbase_assets.plain_text import inert
from coinbase_assets_tests.conftest import free_port
from coinbase_assets_tests.stand_in.receivers import TOKEN, Mailbox, Webhook, mail_server

MESSAGES = [Message(str(number), f"Title {number}", f"Line\n<{number}> & ü") for number in (1, 2)]
TITLES = [message.title for message in MESSAGES]


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    with Webhook() as webhook:
        yield webhook


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with mail_server() as mailbox:
        yield mailbox


def failure(url: str) -> NotDelivered:
    with pytest.raises(NotDelivered) as refused:
        Destination(url).send(MESSAGES[0])
    return refused.value


def crash(destination: Destination, monkeypatch: pytest.MonkeyPatch) -> NotDelivered:
    """The failure after an unexpected error in apprise."""
    with monkeypatch.context() as patch:
        patch.setattr(destinations, "load_plugin", lambda url: {}[url])
        with pytest.raises(NotDelivered) as refused:
            destination.send(MESSAGES[0])
    return refused.value


class Outbox:
    """Undelivered messages by destination; a delivered message is removed."""

    def __init__(self, *destinations: Destination) -> None:
        self.waiting = {destination.key: list(MESSAGES) for destination in destinations}
        self.destinations: Sequence[Destination] = destinations

    def sent(self, key: str, message_id: str) -> None:
        assert self.waiting[key].pop(0).id == message_id

    def deliver(self) -> Mapping[str, str]:
        failures = deliver(
            {key: tuple(messages) for key, messages in self.waiting.items()},
            self.destinations,
            self.sent,
        )
        return {failure.key: failure.cause for failure in failures}


# Delivered.


def test_send_webhook_has_title_and_body(webhook: Webhook) -> None:
    Destination(webhook.url).send(MESSAGES[0])
    assert (webhook.titles, webhook.bodies) == ([MESSAGES[0].title], [inert(MESSAGES[0].body)])


def test_send_mail_reaches_every_recipient(
    mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Apprise would pause longer than this between recipients.
    monkeypatch.setattr(destinations, "SECONDS", 5.0)
    Destination(mailbox.url).send(MESSAGES[0])
    assert [mail["To"] for mail in mailbox.mails] == ["a@example.com", "b@example.com"]
    assert mailbox.titles == [MESSAGES[0].title] * 2
    assert mailbox.mails[0].get_content().splitlines() == inert(MESSAGES[0].body).splitlines()


def test_deliver_in_order_once(webhook: Webhook, mailbox: Mailbox) -> None:
    outbox = Outbox(Destination(webhook.url), Destination(mailbox.url))
    outbox.waiting[Destination(mailbox.url).key].pop(0)
    assert outbox.deliver() == outbox.deliver() == {}
    assert webhook.titles == TITLES
    assert mailbox.titles == TITLES[1:] * 2
    assert list(outbox.waiting.values()) == [[], []]


def test_deliver_keeps_messages_of_unknown_destination(webhook: Webhook) -> None:
    assert deliver({"gone": MESSAGES}, [Destination(webhook.url)], Outbox().sent) == []
    assert deliver({"gone": MESSAGES}, [], Outbox().sent) == []
    assert webhook.asked == 0


# Not delivered.


@pytest.mark.parametrize(
    ("status", "cause"), [(500, "refused with status 500"), (0, "no answer in time")]
)
def test_send_webhook_failure_has_cause(webhook: Webhook, status: int, cause: str) -> None:
    webhook.status, webhook.patience = status, 0.5
    assert str(failure(webhook.url)) == f"json://127.0.0.1: {cause}"
    assert failure(webhook.url).key == Destination(webhook.url).key


@pytest.mark.parametrize("scheme", ["json", "mailto"])
@pytest.mark.parametrize(
    ("place", "cause"),
    [
        ("127.0.0.1:1", "Connection refused"),
        ("nowhere.invalid", "its host has no address"),
    ],
)
def test_send_unreachable_has_cause(scheme: str, place: str, cause: str) -> None:
    url = f"{scheme}://user:{TOKEN}@{place}?from=a@example.com"
    assert failure(url).cause == cause


def test_send_mail_wrong_password_has_cause() -> None:
    with mail_server("another") as mailbox:
        assert failure(mailbox.url).cause == "refused with status 535"
    assert mailbox.mails == []


def test_send_cause_ignores_message_text(webhook: Webhook) -> None:
    webhook.status = 503
    with pytest.raises(NotDelivered, match="status 503"):
        Destination(webhook.url).send(Message("1", "Late", "[Errno 13] timed out error=418"))


@pytest.mark.parametrize("trouble", ["closed", "500", "silent"])
def test_deliver_failing_destination_does_not_block_others(mailbox: Mailbox, trouble: str) -> None:
    failing = Webhook(status={"500": 500, "silent": 0}.get(trouble, 200), patience=1)
    outbox = Outbox(Destination(failing.url), Destination(mailbox.url))
    with ExitStack() as stack:
        if trouble != "closed":
            stack.enter_context(failing)
        assert list(outbox.deliver()) == [Destination(failing.url).key]
        assert failing.asked == (trouble != "closed")
        assert mailbox.titles == [TITLES[0], TITLES[0], TITLES[1], TITLES[1]]
        assert failing.titles == []
    failing.status = 200
    with failing:
        assert outbox.deliver() == {}
    assert failing.titles == TITLES
    assert len(mailbox.mails) == 4


def test_deliver_keeps_rest_after_failure(webhook: Webhook) -> None:
    outbox = Outbox(Destination(webhook.url))

    def sent(key: str, message_id: str) -> None:
        outbox.sent(key, message_id)
        webhook.status = 500

    (failure,) = deliver({**outbox.waiting}, outbox.destinations, sent)
    assert failure.cause == "refused with status 500"
    webhook.status = 200
    assert outbox.deliver() == {}
    assert webhook.titles == TITLES


def test_deliver_repeats_nothing_after_crash(webhook: Webhook) -> None:
    outbox = Outbox(Destination(webhook.url))

    def crash(key: str, message_id: str) -> None:
        outbox.sent(key, message_id)
        raise KeyboardInterrupt

    with suppress(KeyboardInterrupt):
        deliver(
            {key: [*value] for key, value in outbox.waiting.items()}, outbox.destinations, crash
        )
    assert webhook.titles == TITLES[:1]
    assert outbox.deliver() == {}
    assert webhook.titles == TITLES


def test_send_gives_up_silent_destination(
    webhook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    webhook.status = 0
    monkeypatch.setattr(destinations, "SECONDS", 0.2)
    assert failure(webhook.url).cause == "no answer within 0.2 s"


def test_send_limits_timeout_of_url(webhook: Webhook, monkeypatch: pytest.MonkeyPatch) -> None:
    webhook.status, webhook.patience = 0, 60
    monkeypatch.setattr(alert_urls, "_SOCKET_SECONDS", 0.2)
    assert failure(webhook.url).cause == "no answer in time"


def test_deliver_begins_no_message_after_deadline(
    webhook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox = Outbox(Destination(webhook.url))
    with monkeypatch.context() as patch:
        patch.setattr(delivery, "SECONDS", 0.0)
        assert outbox.deliver() == {}
    assert webhook.asked == 0
    assert outbox.deliver() == {}
    assert webhook.titles == TITLES


# Names and secrets.


@pytest.mark.parametrize(
    ("url", "name"),
    [
        (f"json://user:{TOKEN}@example.com:8080/{TOKEN}?x={TOKEN}", "json://example.com"),
        (f"jsons://user:p%40{TOKEN}@example.com/a@b@c", "jsons://example.com"),
        (f"mailto://user:{TOKEN}@example.com?to=a@b.com,c@d.com", "mailto://example.com"),
        ("slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ", "slack://"),
        (
            "https://hooks.slack.com/services/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ",
            "slack://",
        ),
        (f"discord://12345678901234567/{TOKEN}", "discord://"),
        ("tgram://123456789:abcdefg_hijklmnop/12315544/", "tgram://"),
        (f"ntfy://{TOKEN}", "ntfy://"),
    ],
)
def test_destination_name_is_scheme_and_host(url: str, name: str) -> None:
    (destination,) = parse_destinations(url)
    assert [destination.name, str(destination), repr(destination)] == [name] * 3


def test_destination_key_is_stable() -> None:
    assert Destination("json://a/b").key == Destination("json://a/b").key == "ed2b7cfa1f63eb8b"
    assert Destination("json://a/c").key != Destination("json://a/b").key


def test_deliver_shows_no_secret(
    webhook: Webhook,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caplog.set_level(logging.DEBUG)
    for name in list(logging.root.manager.loggerDict):
        caplog.set_level(logging.DEBUG, name)
    closed = f"json://user:{TOKEN}@127.0.0.1:{free_port()}/{TOKEN}"
    with mail_server() as mailbox, mail_server("another") as strict:
        outbox = Outbox(*parse_destinations(f"{closed} {webhook.url} {mailbox.url} {strict.url}"))
        assert len(outbox.deliver()) == 2
        webhook.status = 500
        failures = [failure(webhook.url), failure(closed), failure(strict.url)]
        failures.append(crash(Destination(mailbox.url), monkeypatch))
    with pytest.raises(ValueError, match="URL 2") as refused:
        parse_destinations(f"{webhook.url},unknown://user:{TOKEN}@host/{TOKEN}")
    for error in (*failures, refused.value):
        text = "".join(traceback.format_exception(error)) + repr(error) + str(vars(error))
        assert TOKEN not in text
    assert {error.__context__ for error in failures} == {None}
    logging.getLogger("coinbase_assets").info("after")
    assert caplog.messages[-1] == "after"
    # The mail server in this process logs the messages that it receives.
    names = {record.name for record in caplog.records}
    assert names <= {"coinbase_assets", "mail.log", "asyncio"}
    assert TOKEN not in "".join(capfd.readouterr())


# URLs.


@pytest.mark.parametrize(
    "text",
    [
        "json://a/x,mailto://u:p@b.com?to=c@d.com,e@f.com",
        " json://a/x , mailto://u:p@b.com?to=c@d.com,e@f.com,\n",
        "json://a/x\nmailto://u:p@b.com?to=c@d.com,e@f.com json://a/x",
        "json://a/x;;mailto://u:p@b.com?to=c@d.com,e@f.com;",
    ],
)
def test_parse_destinations_separators(text: str) -> None:
    keys = [Destination(url).key for url in ("json://a/x", "mailto://u:p@b.com?to=c@d.com,e@f.com")]
    assert [destination.key for destination in parse_destinations(text)] == keys


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (f"https://example.com/{TOKEN}", "URL 1 (https://...)"),
        (f"json://a, slack://{TOKEN}", "URL 2 (slack://...)"),
        (f"{TOKEN},json://a", "URL 1 is"),
        ("json://", "URL 1 (json://...)"),
        (f"json://a, json://user:p@{TOKEN}@example.com", "URL 2 (json://...)"),
        (",", "URL 1 is"),
    ],
)
def test_parse_destinations_names_position_and_scheme(text: str, named: str) -> None:
    with pytest.raises(ValueError, match="like mailto://") as refused:
        parse_destinations(text)
    assert str(refused.value).startswith(named)
    assert TOKEN not in "".join(traceback.format_exception(refused.value))


def test_message_survives_json() -> None:
    stored = json.dumps([dataclasses.asdict(message) for message in MESSAGES])
    assert [Message(**message) for message in json.loads(stored)] == MESSAGES
