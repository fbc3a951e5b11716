"""Whatever a message holds, no chat and no mail program renders it, and it holds no secret."""

from datetime import UTC, datetime

import dagster as dg
import pytest

from coinbase_assets.environment.secrets import public
from coinbase_assets.monitoring.destinations import Destination, Message
from coinbase_assets.monitoring.problems import find_problems
from coinbase_assets_tests.hostile_strings import HOSTILE, assert_plain
from coinbase_assets_tests.stand_in.receivers import TOKEN, Webhook, mail_server

SHORT = [text for text in HOSTILE if len(text) < 1_000]
CHECK = dg.AssetCheckKey(dg.AssetKey(["ETH-EUR", "15m", "raw_candles"]), "answers_are_recent")


def test_hostile_message_arrives_as_text() -> None:
    body = "\n".join(f"ETH-EUR:15m: {public(text)}" for text in SHORT)
    with Webhook() as webhook, mail_server() as mailbox:
        for url in (webhook.url, mailbox.url):
            Destination(url).send(Message("1", "x\r\nBcc: a@evil\x1b", f"{body}\x1b[2J"))
    assert (
        webhook.titles
        == mailbox.titles[:1]
        == ["x\\r\\nBcc: a\N{FULLWIDTH COMMERCIAL AT}evil\\x1b"]
    )
    for mail in mailbox.mails:
        assert mail["Bcc"] is None
        assert mail.get_content_type() == "text/plain"
    for text in (webhook.bodies[0], mailbox.mails[0].get_content().replace("\r\n", "\n").strip()):
        assert_plain(text)
        assert len(text.splitlines()) == len(SHORT)
        assert "@" not in text


def test_message_holds_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    with Webhook() as webhook:
        monkeypatch.setenv("COINBASE_ALERT_URLS", webhook.url)
        Destination(webhook.url).send(Message("1", TOKEN, f"{webhook.url} {TOKEN}"))
    assert (webhook.titles, webhook.bodies) == (["..."], ["... ..."])


def test_problem_of_hostile_description_is_a_line(instance: dg.DagsterInstance) -> None:
    for text in HOSTILE[::20]:
        evaluation = dg.AssetCheckEvaluation(
            asset_key=CHECK.asset_key,
            check_name=CHECK.name,
            passed=False,
            severity=dg.AssetCheckSeverity.ERROR,
            metadata={},
            description=f"x{text}".encode(errors="replace").decode(),
        )
        instance.report_runless_asset_event(evaluation)
        (problem,) = find_problems(instance, [], [CHECK], {}, datetime.now(UTC))
        assert problem.text.isprintable()
        assert len(problem.text) < 2_100
