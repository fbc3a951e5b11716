"""No text holds a secret of the environment, in no form and in no part."""

import logging
import re
import signal
import time
import traceback
from collections.abc import Iterator
from urllib.parse import quote, quote_plus

import pytest

from coinbase_assets.cli.logs import PlainFormatter
from coinbase_assets.cli.main import main
from coinbase_assets.environment.azure_accounts import DEVELOPMENT_STORAGE
from coinbase_assets.environment.network import _CERTIFICATES
from coinbase_assets.environment.secrets import SECRETS, masked, public
from coinbase_assets.exchange.errors import ExchangeError
from coinbase_assets.lake.sql import QueryError
from coinbase_assets.settings import SettingsError, load_settings
from coinbase_assets.storage.errors import StorageError
from coinbase_assets_tests.hostile_strings import HOSTILE

SECRET = "pl+nted/S3cret=="
FORMS = {SECRET, quote(SECRET), quote(SECRET, safe=""), quote_plus(SECRET).lower()}
STRING = "AZURE_STORAGE_CONNECTION_STRING"
KEY = "AZURE_STORAGE_KEY"
SAS = "AZURE_STORAGE_SAS_TOKEN"
BUDGET = "COINBASE_BUDGET_URL"
ALERTS = "COINBASE_ALERT_URLS"
HEARTBEAT = "COINBASE_HEARTBEAT_URL"

RIGHT = {
    STRING: f"AccountName=account;AccountKey={SECRET};BlobEndpoint=http://127.0.0.1:1/account",
    KEY: SECRET,
    SAS: f"?sv=2024-01-01&sig={quote(SECRET, safe='')}",
    BUDGET: f"postgresql://me:{quote(SECRET, safe='')}@db.example.com/budgets",
    ALERTS: f"mailto://me:{quote(SECRET, safe='')}@mail.example.com?to=you, json://a.com/{SECRET}",
    HEARTBEAT: f"https://example.com/{SECRET}",
}
MALFORMED = [
    "{}",
    "'{}",
    "{} {}",
    "user:{}",
    "https://user:{}",
    "https://h/?a={}#{}",
    "AccountKey={}",
    "SharedAccessSignature=sig={}",
    "AccountName=a;AcountKey={}",
    "redis://:{}@h:port",
    "redis://h/0?password={}",
    "slack://{}",
    "://{}@",
]


@pytest.fixture
def run_here(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let `main` run in this process, and settings load without reading certificates."""
    for name in _CERTIFICATES:
        monkeypatch.delenv(name, raising=False)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


def settings_error() -> SettingsError | None:
    try:
        load_settings()
    except SettingsError as error:
        return error
    return None


@pytest.mark.parametrize("name", RIGHT)
def test_masked_replaces_every_form(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, RIGHT[name])
    for form in FORMS:
        shown = masked(f"before {form} after")
        assert re.fullmatch(r"before \S*\.\.\.\S* after", shown)
        assert not re.search("nted|s3cret", shown, re.IGNORECASE)
    assert SECRET not in masked(f"{RIGHT[name]!r} {RIGHT[name]}")


def test_secrets_of_settings_are_known() -> None:
    assert RIGHT.keys() <= SECRETS.keys()


@pytest.mark.parametrize("name", SECRETS)
def test_masked_takes_hostile_secret(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for text in HOSTILE[::5]:
        if "\ud800" not in text and len(text) < 1_000:
            monkeypatch.setenv(name, f"{text}\udcff")
            assert isinstance(masked(text), str)


def test_masked_takes_hostile_text_without_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in RIGHT.items():
        monkeypatch.setenv(name, value)
    began = time.process_time()
    for text in HOSTILE:
        masked(text)
    assert time.process_time() - began < 5


def test_masked_replaces_tokens_in_place_of_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ALERTS, "slack://TokenAAAA/TokenBBBB/TokenCCCC json://alerts.example.com")
    assert (
        masked("tokenaaaa TokenBBBB TokenCCCC alerts.example.com")
        == "... ... ... alerts.example.com"
    )


def test_masked_keeps_what_is_public(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(STRING, RIGHT[STRING])
    assert (
        masked("account at http://127.0.0.1:1/account") == "account at http://127.0.0.1:1/account"
    )
    monkeypatch.setenv(STRING, DEVELOPMENT_STORAGE)
    for text in (
        DEVELOPMENT_STORAGE,
        "mailto://USER:PASSWORD@HOST",
        "AccountName=a;AccountKey=KEY",
    ):
        assert masked(text) == text


def test_masked_keeps_words_with_short_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(BUDGET, "redis://:coinbase@h.example.com")
    assert masked("coinbasedata, not coinbase") == "coinbasedata, not ..."
    monkeypatch.setenv(BUDGET, "redis://:a@h.example.com")
    assert masked("a path to redis://:a@h.example.com/0") == "a path to .../0"
    assert masked("redis://:a@elsewhere") == "redis://...@elsewhere"


@pytest.mark.parametrize(
    "text", [f"sig={SECRET}", f"x&SIG={SECRET}", f"AccountKey={SECRET};", f"https://u:{SECRET}@h"]
)
def test_masked_replaces_unknown_secret_by_its_name(text: str) -> None:
    assert "S3cret" not in masked(text)


@pytest.mark.parametrize("kind", [ExchangeError, StorageError, SettingsError, QueryError])
def test_error_holds_no_secret(kind: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY, SECRET)
    error = kind(f"{'x' * 1990}{SECRET}\x1b[2J\n")
    assert SECRET[:5] not in repr(error) + str(error)
    assert str(kind("a\x1b\nb")) == r"a\x1b\nb"


def test_log_holds_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY, SECRET)
    try:
        raise RuntimeError(f"{SECRET}\x1b[2J")
    except RuntimeError as error:
        info = type(error), error, error.__traceback__
        record = logging.LogRecord("", 30, "", 0, "%s", (f"{SECRET}\x9b",), info)
    lines = PlainFormatter().format(record).splitlines()
    assert lines[0] == r"...\x9b"
    assert lines[-1] == r"RuntimeError: ...\x1b[2J"


@pytest.mark.usefixtures("run_here")
@pytest.mark.parametrize("name", [*RIGHT, "AZURE_STORAGE_ACCOUNT_URL", "COINBASE_API_URL"])
def test_malformed_secret_is_shown_nowhere(
    name: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    refused = 0
    for form in MALFORMED:
        value = form.replace("{}", SECRET)
        monkeypatch.setenv(name, value)
        assert name not in SECRETS or "S3cret" not in public(f"a {value!r} b {value}")
        if error := settings_error():
            refused += 1
            assert "S3cret" not in "".join(traceback.format_exception(error))
            assert name in str(error)
            with pytest.raises(SystemExit, match="2"):
                main(["status"])
    output = capfd.readouterr()
    assert "S3cret" not in output.out + output.err
    assert len(output.err.splitlines()) == refused >= 5
