"""Settings: which values are read and which are refused. No error shows a secret."""

import os
import traceback
from datetime import UTC, date, datetime, timedelta
from itertools import cycle
from pathlib import Path
from unittest import mock

import dagster as dg
import pytest

from coinbase_assets.candles.series import Granularity, RollupGranularity, Series
from coinbase_assets.environment.env_file import load_env_file
from coinbase_assets.environment.network import _CERTIFICATES
from coinbase_assets.environment.setting_values import parse_rollups
from coinbase_assets.settings import Settings, SettingsError, load_settings, project_folder
from coinbase_assets_tests.hostile_strings import HOSTILE

SERIES = "COINBASE_SERIES"
ROLLUPS = "COINBASE_ROLLUPS"
SHARD = "COINBASE_SHARD"
START = "COINBASE_START"
CONTAINER = "COINBASE_CONTAINER"
API = "COINBASE_API_URL"
RATE = "COINBASE_REQUESTS_PER_SECOND"
GIVE_UP = "COINBASE_GIVE_UP_AFTER"
WARN = "COINBASE_FRESHNESS_WARN"
FAIL = "COINBASE_FRESHNESS_FAIL"
CONNECTION = "AZURE_STORAGE_CONNECTION_STRING"
ACCOUNT = "AZURE_STORAGE_ACCOUNT_URL"
KEY = "AZURE_STORAGE_KEY"
SAS = "AZURE_STORAGE_SAS_TOKEN"
ALERTS = "COINBASE_ALERT_URLS"
HEARTBEAT = "COINBASE_HEARTBEAT_URL"
BUDGET = "COINBASE_BUDGET_URL"
HOME = "DAGSTER_HOME"

URL = "https://account.blob.core.windows.net"
SECRET = "c2VjcmV0LW5ldmVyLXRvLWJlLXNlZW4="
STRING = f"DefaultEndpointsProtocol=https;AccountName=account;AccountKey={SECRET}"
FUTURE = str(datetime.now(UTC).date() + timedelta(days=2))

DEFAULTS = {
    "series": (Series.parse("ETH-EUR:15m"),),
    "rollups": (),
    "start": date(2018, 1, 1),
    "container": "coinbasedata",
    "api_url": "https://api.exchange.coinbase.com",
    "requests_per_second": 10,
    "give_up_after": 120,
    "connection_string": None,
    "account_url": None,
    "account_key": None,
    "sas_token": None,
    "alert_urls": None,
    "heartbeat_url": None,
}


def load(monkeypatch: pytest.MonkeyPatch, **environment: str) -> Settings:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return load_settings()


def refusal(monkeypatch: pytest.MonkeyPatch, **environment: str) -> str:
    """Return the message that refuses these settings: one line, without the secret."""
    with pytest.raises(SettingsError) as refused:
        load(monkeypatch, **environment)
    message = str(refused.value)
    assert "\n" not in message
    assert SECRET not in "".join(traceback.format_exception(refused.value))
    return message


@pytest.fixture
def project(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A checkout in whose instance nothing was collected yet."""
    monkeypatch.setattr("coinbase_assets.settings.project_folder", lambda: tmp_path)
    return tmp_path


def test_settings_have_defaults(monkeypatch: pytest.MonkeyPatch, project: Path) -> None:
    monkeypatch.delenv(HOME)
    settings = load_settings()
    values = {name: getattr(settings, name) for name in DEFAULTS}
    assert values == DEFAULTS
    assert settings.dagster_home == project / ".dagster"
    assert not settings.names_storage


def test_settings_ignore_empty_variables(monkeypatch: pytest.MonkeyPatch, project: Path) -> None:
    names = (str(field.alias) for field in Settings.model_fields.values())
    settings = load(monkeypatch, **dict.fromkeys(names, ""))
    assert {name: getattr(settings, name) for name in DEFAULTS} == DEFAULTS
    assert settings.dagster_home == project / ".dagster"


@pytest.mark.parametrize(
    ("name", "text", "field", "value"),
    [
        (SERIES, "BTC-USD:1m", "series", (Series.parse("BTC-USD:1m"),)),
        (ROLLUPS, "ETH-EUR:15m>1h,1w", "rollups", parse_rollups("ETH-EUR:15m>1h,1w")),
        (START, "2024-02-29", "start", date(2024, 2, 29)),
        (CONTAINER, "my-candles-2", "container", "my-candles-2"),
        (API, "http://127.0.0.1:8900/", "api_url", "http://127.0.0.1:8900"),
        (RATE, "2.5", "requests_per_second", 2.5),
        (GIVE_UP, "7", "give_up_after", 7),
        (ACCOUNT, f"{URL}/", "account_url", URL),
        (HOME, "/var/lib/dagster", "dagster_home", Path("/var/lib/dagster")),
    ],
)
def test_settings_read_value(
    monkeypatch: pytest.MonkeyPatch, name: str, text: str, field: str, value: object
) -> None:
    assert getattr(load(monkeypatch, **{name: text}), field) == value


@pytest.mark.parametrize(
    ("secret", "others"),
    [(CONNECTION, {}), (KEY, {ACCOUNT: URL}), (SAS, {ACCOUNT: URL})],
)
def test_settings_hide_secret(
    monkeypatch: pytest.MonkeyPatch, secret: str, others: dict[str, str]
) -> None:
    text = {CONNECTION: STRING, KEY: SECRET, SAS: f"sig={SECRET}"}[secret]
    settings = load(monkeypatch, **{secret: text}, **others)
    (field,) = (name for name, info in Settings.model_fields.items() if info.alias == secret)
    assert getattr(settings, field).get_secret_value() == text
    assert settings.names_storage
    for shown in (repr(settings), str(settings), settings.model_dump(), settings.model_dump_json()):
        assert SECRET not in str(shown)


@pytest.mark.parametrize(
    ("name", "field", "text"),
    [
        (ALERTS, "alert_urls", f"mailto://u:{SECRET}@a.com?to=b@c.com,d@e.com, json://a/{SECRET}"),
        (HEARTBEAT, "heartbeat_url", f"https://user:{SECRET}@a.com/{SECRET}?key={SECRET}"),
        (BUDGET, "budget_url", f"redis://:{SECRET}@a.com:6379/1"),
        (BUDGET, "budget_url", f"postgresql://me:{SECRET}@a.com/budgets?sslmode=require"),
    ],
)
def test_settings_hide_secret_url(
    monkeypatch: pytest.MonkeyPatch, name: str, field: str, text: str
) -> None:
    settings = load(monkeypatch, **{name: text})
    assert getattr(settings, field).get_secret_value() == text
    for shown in (repr(settings), str(settings), settings.model_dump(), settings.model_dump_json()):
        assert SECRET not in str(shown)


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        (
            ALERTS,
            f"json://a, slack://{SECRET}",
            "URL 2 (slack://...) is not a URL that apprise supports",
        ),
        (
            ALERTS,
            SECRET,
            "URL 1 is not a URL that apprise supports; write it like mailto://USER:PASS",
        ),
        (ALERTS, f"https://a.com/{SECRET}", "URL 1 (https://...) is not a URL"),
        (HEARTBEAT, SECRET, "not a URL; write https://HOST/PATH"),
        (BUDGET, SECRET, "not the URL of a budget server; write postgresql://USER:PASSWORD@HOST"),
        (BUDGET, f"mysql://me:{SECRET}@a.com", "not the URL of a budget server"),
        (BUDGET, f"redis://:{SECRET}@", "not the URL of a budget server"),
        (
            BUDGET,
            f"redis://h/0?password={SECRET}",
            "has a password in its query; write it before the host: redis://USER:PASSWORD@HOST",
        ),
        (BUDGET, f"postgresql://h/b?sslPassword={SECRET}", "has a password in its query"),
        (BUDGET, f"redis://:{SECRET}@a.com:no", "not the URL of a budget server"),
        (HEARTBEAT, f"json://a.com/{SECRET}", "not a URL"),
        (HEARTBEAT, f"https://a.com/{SECRET} https://b.com/", "not a URL"),
    ],
)
def test_settings_refuse_secret_url_without_showing_it(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, rule: str
) -> None:
    assert refusal(monkeypatch, **{name: value}).startswith(f"{name}: {rule}")


def test_settings_accept_azurite(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(monkeypatch, **{CONNECTION: "UseDevelopmentStorage=true"}).names_storage


def test_settings_read_list_of_series(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = load(monkeypatch, **{SERIES: "ETH-EUR:15m, BTC-USD:1m,ETH-EUR:15m,,\nETH-EUR:1d"})
    assert list(map(str, settings.series)) == ["ETH-EUR:15m", "BTC-USD:1m", "ETH-EUR:1d"]


def test_settings_refuse_rollup_of_missing_series(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "ETH-EUR:15m>1h;BTC-USD:1m>1d"
    assert refusal(monkeypatch, **{ROLLUPS: text}) == (
        "COINBASE_ROLLUPS: BTC-USD:1d is made from BTC-USD:1m, which is not in"
        " COINBASE_SERIES; add BTC-USD:1m there"
    )
    settings = load(monkeypatch, **{ROLLUPS: text, SERIES: "BTC-USD:1m,ETH-EUR:15m"})
    assert settings.rollups == parse_rollups(text)


def test_settings_of_shards_divide_series_and_rollups(monkeypatch: pytest.MonkeyPatch) -> None:
    names = {SERIES: "ETH-EUR:15m,BTC-USD:1m,ETH-USD:1m,BTC-USD:1h", ROLLUPS: "BTC-USD:1m>1d"}
    shards = [load(monkeypatch, **names, **{SHARD: f"{number}/3"}) for number in (1, 2, 3)]
    assert [" ".join(map(str, each.series)) for each in shards] == [
        "ETH-EUR:15m",
        "BTC-USD:1m BTC-USD:1h",
        "ETH-USD:1m",
    ]
    assert [each.rollups for each in shards] == [(), parse_rollups("BTC-USD:1m>1d"), ()]


@pytest.mark.parametrize("series", ["ETH-EUR:15m", ""])
def test_settings_refuse_shard_without_product(
    monkeypatch: pytest.MonkeyPatch, series: str
) -> None:
    assert refusal(monkeypatch, **{SERIES: series, SHARD: "2/3"}) == (
        "COINBASE_SHARD=2/3: no product in COINBASE_SERIES falls to this shard;"
        " name more products there, or divide them among fewer shards"
    )


@pytest.mark.parametrize("value", ["2018-01-01", str(datetime.now(UTC).date())])
def test_settings_accept_start_until_today(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    assert str(load(monkeypatch, **{START: value}).start) == value


@pytest.mark.parametrize("value", ["abc", "a" * 63, "0-1-2"])
def test_settings_accept_container_name(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    assert load(monkeypatch, **{CONTAINER: value}).container == value


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        (SERIES, "ETH-EUR:2m", "unknown granularity '2m'; allowed are 1m 5m 15m 1h 6h 1d"),
        (SERIES, "ETH-EUR:15M", "allowed are 1m 5m 15m 1h 6h 1d"),
        (SERIES, "ETH-EUR", "allowed are 1m 5m 15m 1h 6h 1d"),
        (SERIES, "ETHEUR:15m", "write the product in capitals, for example ETH-EUR:15m"),
        (
            SERIES,
            "eth-eur:15m",
            "'eth-eur' is not a product; write the product in capitals",
        ),
        (SERIES, "ETH-EUR:15m BTC-USD:1m", f"allowed are {' '.join(Granularity)}"),
        (SERIES, ",", "write PRODUCT:GRANULARITY"),
        (ROLLUPS, "ETH-EUR:15m>3h", f"allowed are {' '.join(RollupGranularity)}"),
        (ROLLUPS, "ETH-EUR:15m>5m", "allowed are 30m 1h"),
        (ROLLUPS, "ETH-EUR:15m", "write for example ETH-EUR:1m>5m,1h"),
        (ROLLUPS, "ETH-EUR:15m>1h;ETH-EUR:5m>1h", "remove one of them"),
        (SHARD, "4/3", "there are 3 shards; write 1/3 to 3/3"),
        (SHARD, "1", "not a shard; write NUMBER/SHARDS: 1/3 is the first of three"),
        (START, FUTURE, "in the future"),
        (START, "2024-02-30", "write YYYY-MM-DD"),
        (START, "01.02.2024", "write YYYY-MM-DD"),
        (START, "yesterday", "write YYYY-MM-DD"),
        (CONTAINER, "ab", "3 to 63"),
        (CONTAINER, "a" * 64, "3 to 63"),
        (CONTAINER, "Coinbase", "a-z"),
        (CONTAINER, "coin_base", "a-z, 0-9 and single dashes"),
        (CONTAINER, "coin--base", "single dashes"),
        (CONTAINER, "-coinbase", "single dashes"),
        (CONTAINER, "coinbase-", "single dashes"),
        (API, "api.exchange.coinbase.com", "write https://HOST"),
        (API, "ftp://api.exchange.coinbase.com", "write https://HOST"),
        (API, "https://", "write https://HOST"),
        (API, "http://127.0.0.1:99999", "write https://HOST"),
        (ACCOUNT, "account", "write https://HOST"),
        (RATE, "ten", "valid number"),
        (RATE, "0", "greater than 0"),
        (RATE, "-1", "greater than 0"),
        (RATE, "nan", "less than or equal to 1000"),
        (RATE, "1001", "less than or equal to 1000"),
        (GIVE_UP, "soon", "valid number"),
        (GIVE_UP, "0", "greater than 0"),
        (GIVE_UP, "86401", "less than or equal to 86400"),
        (WARN, "soon", "not a duration; write for example 90s, 45m, 2h or 1d"),
        (WARN, "59s", "give at least 60s"),
        (FAIL, "1 week", "not a duration"),
        (FAIL, "0d", "give at least 60s"),
        (HOME, ".dagster", "absolute path"),
        (HOME, "~/dagster", "absolute path"),
    ],
)
def test_settings_refuse_wrong_value(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, rule: str
) -> None:
    message = refusal(monkeypatch, **{name: value})
    assert message.startswith(name)
    assert value in message
    assert rule in message


@pytest.mark.parametrize("name", [SERIES, START, CONTAINER])
def test_settings_refuse_two_lines_in_one_line(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    assert refusal(monkeypatch, **{name: "ETH-EUR:15m\nBTC-USD:1m"}).startswith(name)


@pytest.mark.parametrize("name", [ACCOUNT, API])
@pytest.mark.parametrize(
    "value",
    [
        SECRET,
        "http://[::1",
        f"user:{SECRET}",
        f"https://user:{SECRET}",
        f"{URL}:{SECRET}",
        f"{URL}?sv=2024-01-01&sig={SECRET}",
        f"https://user:{SECRET}@account.blob.core.windows.net",
        f"account.blob.core.windows.net?sig={SECRET}",
        f"?sv=2024-01-01&sig={SECRET}",
        STRING,
    ],
)
def test_settings_refuse_url_with_secret(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    message = refusal(monkeypatch, **{name: value})
    assert message.startswith(f"{name}: ")
    assert value not in message


def test_settings_explain_sas_for_account_only(monkeypatch: pytest.MonkeyPatch) -> None:
    assert SAS not in refusal(monkeypatch, **{API: "https://user:password@127.0.0.1"})
    monkeypatch.delenv(API)
    assert SAS in refusal(monkeypatch, **{ACCOUNT: f"{URL}?sig={SECRET}"})


@pytest.mark.parametrize(
    "value",
    [
        SECRET,
        f"AccountKey={SECRET}",
        f"sig={SECRET}",
        "UseDevelopmentStorage=false",
        f"AccountName=account;AccountKey={SECRET};and-so-on",
    ],
)
def test_settings_refuse_connection_string_without_showing_it(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    message = refusal(monkeypatch, **{CONNECTION: value})
    assert message.startswith(CONNECTION)
    assert "AccountName=...;AccountKey=..." in message
    assert "UseDevelopmentStorage=true" in message


@pytest.mark.parametrize(
    ("together", "named"),
    [
        ({CONNECTION: STRING, ACCOUNT: URL}, [CONNECTION, ACCOUNT, "unset one"]),
        ({ACCOUNT: URL, KEY: SECRET, SAS: f"sig={SECRET}"}, [KEY, SAS, "unset one"]),
        ({KEY: SECRET}, [KEY, f"set {ACCOUNT}"]),
        ({SAS: f"sig={SECRET}"}, [SAS, f"set {ACCOUNT}"]),
        ({WARN: "2h", FAIL: "2h"}, [WARN, FAIL, "2:00:00", "give a shorter duration"]),
    ],
)
def test_settings_refuse_conflicting_variables(
    monkeypatch: pytest.MonkeyPatch, together: dict[str, str], named: list[str]
) -> None:
    message = refusal(monkeypatch, **together)
    assert [name for name in named if name not in message] == []


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("COINBASE_SERIS", SERIES),
        ("COINBASE_CONTAINERS", CONTAINER),
        ("COINBASE_REQUEST_PER_SECOND", RATE),
        ("AZURE_STORAGE_CONNECTIONSTRING", CONNECTION),
        ("DAGSTER_HOM", HOME),
    ],
)
def test_settings_refuse_misspelt_variable(
    monkeypatch: pytest.MonkeyPatch, wrong: str, right: str
) -> None:
    message = refusal(monkeypatch, **{wrong: SECRET})
    assert message.startswith(wrong)
    assert message.endswith(f"{right}?")


@pytest.mark.parametrize(
    "name",
    [
        "COINBASE_API_KEY",
        "COINBASE_API_SECRET",
        "AZURE_STORAGE_ACCOUNT",  # read by az, the command line of Azure
        "AZURE_STORAGE_AUTH_MODE",
        "AZURE_CLIENT_ID",
    ],
)
def test_settings_ignore_variables_of_other_tools(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    assert load(monkeypatch, **{name: "x"}).container == "coinbasedata"


def test_settings_read_env_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(f"{SERIES}=BTC-USD:1h\n{CONTAINER}=from-file\n#{RATE}=1\n")
    monkeypatch.setattr("coinbase_assets.settings.load_env_file", load_env_file)
    monkeypatch.setattr("coinbase_assets.settings.project_folder", lambda: tmp_path)
    with mock.patch.dict(os.environ, {CONTAINER: "from-environment"}):
        settings = load_settings()
    assert list(map(str, settings.series)) == ["BTC-USD:1h"]
    assert settings.container == "from-environment"
    assert settings.requests_per_second == 10


def test_settings_refuse_wrong_env_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("coinbase_assets.settings.load_env_file", load_env_file)
    monkeypatch.setattr("coinbase_assets.settings.project_folder", lambda: tmp_path)
    for line in ("COINBASE_SERIES=ETH-EUR:2m", "COINBASE_SERIS=ETH-EUR:15m"):
        (tmp_path / ".env").write_text(f"{line}\n")
        with mock.patch.dict(os.environ):
            assert refusal(monkeypatch).startswith(line.split("=")[0])


@pytest.mark.parametrize(
    "written", ["{}\r", "{}\n", " {} ", "\t{}\xa0", "'{}'", '"{}"', ' "{} "\r\n']
)
@pytest.mark.parametrize(
    ("name", "value", "field"),
    [(CONTAINER, "candles", "container"), (API, "http://127.0.0.1:8900", "api_url")],
)
def test_settings_tidy_values_of_other_programs(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, field: str, written: str
) -> None:
    """A carriage return of Windows, the quotes of `docker --env-file`, a secret's final newline."""
    settings = load(monkeypatch, **{name: written.format(value)})
    assert getattr(settings, field) == value
    # Dagster's resources read secrets from the environment.
    assert os.environ[name] == value


def test_settings_refuse_unreadable_env_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".env").mkdir()
    monkeypatch.setattr("coinbase_assets.settings.load_env_file", load_env_file)
    monkeypatch.setattr("coinbase_assets.settings.project_folder", lambda: tmp_path)
    assert refusal(monkeypatch).startswith(f"{tmp_path}/.env: not a file; ")


def test_web_url_ends_without_slash(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(monkeypatch).web_url is None
    assert load(monkeypatch, COINBASE_WEB_URL="https://a.com/x/").web_url == "https://a.com/x"
    message = refusal(monkeypatch, COINBASE_WEB_URL="a.com")
    assert message.startswith("COINBASE_WEB_URL=a.com: not a URL")


def test_start_is_set_only_if_set(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not load(monkeypatch).start_is_set
    assert load(monkeypatch, COINBASE_START="2024-01-01").start_is_set


def test_web_hosts_are_names(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(monkeypatch).web_hosts == ()
    hosts = load(monkeypatch, COINBASE_WEB_HOSTS=" Candles.example.com, lan ,").web_hosts
    assert hosts == ("candles.example.com", "lan")


@pytest.mark.parametrize("host", ["https://a.example", "a.example:443", "*", "a..b", "a b"])
def test_web_hosts_refuse_other_texts(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    message = refusal(monkeypatch, COINBASE_WEB_HOSTS=f"lan,{host}")
    rule = f"{host!r} is not a host name; write it without https:// and port"
    assert message == f"COINBASE_WEB_HOSTS=lan,{host}: {rule}"


def test_owners_are_as_dagster_takes_them(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(monkeypatch).owners == ()
    owners = load(monkeypatch, COINBASE_OWNERS=" ada@example.com, team:market-data,").owners
    assert owners == ("ada@example.com", "team:market-data")
    dg.AssetSpec("a", owners=owners)


@pytest.mark.parametrize("owner", ["ada", "team:", "ada@example", "a@b@c.com", "a b@c.com"])
def test_owners_refuse_other_texts(monkeypatch: pytest.MonkeyPatch, owner: str) -> None:
    rule = f"{owner!r} is no owner; write an email address, or team: and a name"
    message = refusal(monkeypatch, COINBASE_OWNERS=owner)
    assert message == f"COINBASE_OWNERS={owner}: {rule}"


def test_settings_refuse_hostile_values_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each text in one of the variables, in turn; some texts are right values there."""
    names = [str(field.alias) for field in Settings.model_fields.values()]
    for name in _CERTIFICATES:
        monkeypatch.delenv(name, raising=False)
    refused = 0
    for text, name in zip(filter(_fits_variable, HOSTILE), cycle(names), strict=False):
        with monkeypatch.context() as patch:
            patch.setenv(name, text)
            try:
                load_settings()
            except SettingsError as error:
                message = str(error)
                refused += 1
        assert message.isprintable()
        assert len(message) < 600
    assert refused > 150


def _fits_variable(text: str) -> bool:
    return "\ud800" not in text and len(text) < 100_000


def test_settings_refuse_wrong_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    message = refusal(monkeypatch, HTTPS_PROXY=f"ftp://me:{SECRET}@proxy:3128")
    assert message.startswith("HTTPS_PROXY: no such kind of proxy; write http://HOST:PORT")


def test_settings_match_example_env_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lines = (project_folder() / ".env.example").read_text().splitlines()
    settings = [line[1:].partition("=") for line in lines if line.startswith("#") and "=" in line]
    named = {name: value for name, _, value in settings if name.isupper() and " " not in name}
    assert named.keys() == {str(field.alias) for field in Settings.model_fields.values()}
    named[ACCOUNT] = ""
    assert load(monkeypatch, **named) == Settings.model_validate(
        {HOME: load_settings().dagster_home}
    )


def test_settings_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_settings().container = "other"  # type: ignore[misc]
