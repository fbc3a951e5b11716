"""Settings from the environment and `.env`. A wrong setting raises a one-line SettingsError."""

import difflib
import os
import re
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from coinbase_assets.candles.series import Rollup, Series
from coinbase_assets.environment.azure_accounts import (
    account_name,
    check_account,
    check_account_url,
    check_connection_string,
    check_key,
    check_sas,
)
from coinbase_assets.environment.collected_series import read_collected_series
from coinbase_assets.environment.env_file import load_env_file
from coinbase_assets.environment.first_day import read_first_day
from coinbase_assets.environment.listed_products import parse_configured_series
from coinbase_assets.environment.network import prepare_network
from coinbase_assets.environment.secrets import SECRETS, public
from coinbase_assets.environment.server_urls import check_budget_url, check_postgres_url
from coinbase_assets.environment.setting_values import (
    parse_api_url,
    parse_duration,
    parse_owners,
    parse_rollups,
    parse_start,
    parse_web_hosts,
    parse_web_url,
    require_absolute,
    require_container,
    require_heartbeat_url,
)
from coinbase_assets.environment.shards import Shard, parse_shard
from coinbase_assets.plain_text import shown

SERIES = "COINBASE_SERIES"
CONNECTION_STRING = "AZURE_STORAGE_CONNECTION_STRING"
ACCOUNT_URL = "AZURE_STORAGE_ACCOUNT_URL"
BUDGET_URL = "COINBASE_BUDGET_URL"

_MOST_SHOWN = 200
_EARLIEST = date(2018, 1, 1)

# A URL without anything that may be a secret: no login, query or fragment, and no long name.
_PLAIN_URL = re.compile(r"(\w+://)?([\w-]*\.)*[\w-]{0,24}(:\d{1,5})?(/[\w-]{0,24})*")


class SettingsError(Exception):
    """A setting is wrong. The message has the variable, the value unless secret, and the rule."""

    def __init__(self, message: str) -> None:
        super().__init__(public(message))


def project_folder() -> Path:
    """Return the folder of the checkout that this code runs from, else the current folder."""
    checkout = Path(__file__).resolve().parent.parent
    return checkout if (checkout / "pyproject.toml").exists() else Path.cwd()


def _parsed_by(parse: Callable[[str], object]) -> BeforeValidator:
    """Parses text; leaves other values as they are."""
    return BeforeValidator(lambda value: parse(value) if isinstance(value, str) else value)


def _checked_by(check: Callable[[Any], object]) -> AfterValidator:
    """Checks a value (a secret in clear text) and returns it."""

    def checked(value: Any) -> Any:
        check(value.get_secret_value() if isinstance(value, SecretStr) else value)
        return value

    return AfterValidator(checked)


def _check_alert_urls(text: str) -> None:
    # Imported late, because apprise takes a second to load.
    from coinbase_assets.environment.alert_urls import parse_alert_urls

    parse_alert_urls(text)


def _series_in(value: object, info: ValidationInfo) -> object:
    home: Path | None = info.data.get("dagster_home")
    series = parse_configured_series(value, home) if home and isinstance(value, str) else value
    return _in_shard(series, info)


def _rollups_in(value: object, info: ValidationInfo) -> object:
    return _in_shard(parse_rollups(value) if isinstance(value, str) else value, info)


def _in_shard(value: object, info: ValidationInfo) -> object:
    """Return those series that this deployment collects."""
    shard: Shard | None = info.data.get("shard")
    if not shard or not isinstance(value, tuple):
        return value
    return tuple(each for each in value if shard.holds(each.product))


_Duration = Annotated[timedelta, _parsed_by(parse_duration)]


class Settings(BaseSettings):
    """The settings. Use `load_settings`, which also reads `.env`."""

    model_config = SettingsConfigDict(frozen=True, env_ignore_empty=True)

    dagster_home: Annotated[Path, _checked_by(require_absolute)] = Field(
        default_factory=lambda: project_folder() / ".dagster", alias="DAGSTER_HOME"
    )
    # The series and the rollups are those of this shard.
    shard: Annotated[Shard | None, NoDecode, _parsed_by(parse_shard)] = Field(
        None, alias="COINBASE_SHARD"
    )
    series: Annotated[tuple[Series, ...], NoDecode, BeforeValidator(_series_in)] = Field(
        (Series.parse("ETH-EUR:15m"),), alias=SERIES, validate_default=True
    )
    rollups: Annotated[tuple[Rollup, ...], NoDecode, BeforeValidator(_rollups_in)] = Field(
        (), alias="COINBASE_ROLLUPS"
    )
    # By default, the day that the first `collect` or `dev` of this instance has written.
    start: Annotated[date, _parsed_by(parse_start)] = Field(
        default_factory=lambda known: read_first_day(known["dagster_home"]) or _EARLIEST,
        alias="COINBASE_START",
    )
    container: Annotated[str, _checked_by(require_container)] = Field(
        "coinbasedata", alias="COINBASE_CONTAINER"
    )
    api_url: Annotated[str, AfterValidator(parse_api_url)] = Field(
        "https://api.exchange.coinbase.com", alias="COINBASE_API_URL"
    )
    requests_per_second: float = Field(10, alias="COINBASE_REQUESTS_PER_SECOND", gt=0, le=1000)
    budget_url: Annotated[SecretStr, _checked_by(check_budget_url)] | None = Field(
        None, alias=BUDGET_URL
    )
    postgres_url: Annotated[SecretStr, _checked_by(check_postgres_url)] | None = Field(
        None, alias="DAGSTER_POSTGRES_URL"
    )
    give_up_after: float = Field(120, alias="COINBASE_GIVE_UP_AFTER", gt=0, le=86_400)
    freshness_warn: _Duration | None = Field(None, alias="COINBASE_FRESHNESS_WARN")
    freshness_fail: _Duration | None = Field(None, alias="COINBASE_FRESHNESS_FAIL")
    connection_string: Annotated[SecretStr, _checked_by(check_connection_string)] | None = Field(
        None, alias=CONNECTION_STRING
    )
    account_url: Annotated[str, AfterValidator(check_account_url)] | None = Field(
        None, alias=ACCOUNT_URL
    )
    account_key: Annotated[SecretStr, _checked_by(check_key)] | None = Field(
        None, alias="AZURE_STORAGE_KEY"
    )
    sas_token: Annotated[SecretStr, _checked_by(check_sas)] | None = Field(
        None, alias="AZURE_STORAGE_SAS_TOKEN"
    )
    alert_urls: Annotated[SecretStr, _checked_by(_check_alert_urls)] | None = Field(
        None, alias="COINBASE_ALERT_URLS"
    )
    heartbeat_url: Annotated[SecretStr, _checked_by(require_heartbeat_url)] | None = Field(
        None, alias="COINBASE_HEARTBEAT_URL"
    )
    web_hosts: Annotated[tuple[str, ...], NoDecode, _parsed_by(parse_web_hosts)] = Field(
        (), alias="COINBASE_WEB_HOSTS"
    )
    web_url: Annotated[str, AfterValidator(parse_web_url)] | None = Field(
        None, alias="COINBASE_WEB_URL"
    )
    owners: Annotated[tuple[str, ...], NoDecode, _parsed_by(parse_owners)] = Field(
        (), alias="COINBASE_OWNERS"
    )

    @property
    def start_is_set(self) -> bool:
        """Whether COINBASE_START is set. If not, `collect` may go back behind `start`."""
        return "start" in self.model_fields_set

    @property
    def earliest(self) -> date:
        """The earliest day that can be collected."""
        return self.start if self.start_is_set else _EARLIEST

    @property
    def other_series(self) -> tuple[Series, ...]:
        """The series that were collected in this instance, but are not configured."""
        try:
            collected = read_collected_series(self.dagster_home)
        except ValueError as error:
            raise SettingsError(str(error)) from None
        return tuple(each for each in collected if each not in self.series)

    @property
    def names_storage(self) -> bool:
        """Whether any Azure setting says where the lake is."""
        return bool(self.connection_string or self.account_url)

    @property
    def storage_account(self) -> dict[str, str]:
        """The storage account as `blob_service` takes it, secrets in clear text."""
        secrets = {
            "connection_string": self.connection_string,
            "account_key": self.account_key,
            "sas_token": self.sas_token,
        }
        clear = {name: secret.get_secret_value() for name, secret in secrets.items() if secret}
        return {**clear, "account_url": self.account_url or ""}

    @model_validator(mode="after")
    def _check_shard(self) -> Self:
        if not self.series:
            raise ValueError(
                f"COINBASE_SHARD={self.shard}: no product in {SERIES} falls to this shard;"
                " name more products there, or divide them among fewer shards"
            )
        return self

    @model_validator(mode="after")
    def _check_rollups(self) -> Self:
        for rollup in self.rollups:
            if rollup.made_of not in self.series:
                raise ValueError(
                    f"COINBASE_ROLLUPS: {rollup} is made from {rollup.made_of}, which is not in"
                    f" COINBASE_SERIES; add {rollup.made_of} there"
                )
        return self

    @model_validator(mode="after")
    def _check_freshness(self) -> Self:
        warn, fail = self.freshness_warn, self.freshness_fail
        if warn and fail and warn >= fail:
            raise ValueError(
                f"COINBASE_FRESHNESS_WARN: {warn} is not shorter than"
                f" COINBASE_FRESHNESS_FAIL={fail}; give a shorter duration"
            )
        return self

    @model_validator(mode="after")
    def _check_one_storage(self) -> Self:
        if self.connection_string and self.account_url:
            raise ValueError(f"{CONNECTION_STRING} and {ACCOUNT_URL} are both set; unset one")
        if self.account_key and self.sas_token:
            raise ValueError(
                "AZURE_STORAGE_KEY and AZURE_STORAGE_SAS_TOKEN are both set; unset one"
            )
        if (self.account_key or self.sas_token) and not self.names_storage:
            raise ValueError(
                "AZURE_STORAGE_KEY or AZURE_STORAGE_SAS_TOKEN is set, but not the account's URL;"
                f" set {ACCOUNT_URL}"
            )
        return self

    @model_validator(mode="after")
    def _check_account(self) -> Self:
        if not (url := self.account_url):
            return self
        if url.endswith(f"/{self.container}") and not account_name(url):
            right = url.removesuffix(f"/{self.container}")
            raise ValueError(f"{ACCOUNT_URL}={url}: has the container in it; write {right}")
        try:
            check_account(url, key=bool(self.account_key), sas=bool(self.sas_token))
        except ValueError as error:
            raise ValueError(f"{ACCOUNT_URL}={url}: {error}") from None
        return self


def load_settings(**instead: str) -> Settings:
    """Return the settings of this process, with values in place of some. Raises SettingsError."""
    try:
        load_env_file(project_folder() / ".env")
        prepare_network()
        _refuse_misspelt_names()
        _tidy_values()
        return Settings(**instead)  # type: ignore[arg-type]
    except ValidationError as error:
        raise SettingsError(_one_line(error)) from None
    except ValueError as error:
        raise SettingsError(str(error)) from None


def _names() -> list[str]:
    return [str(field.alias) for field in Settings.model_fields.values()]


def _tidy_values() -> None:
    """Remove what other programs leave around values: whitespace, a carriage return, quotes."""
    for name in _names():
        value = os.environ.get(name, "")
        tidy = value.strip()
        if len(tidy) > 1 and tidy[0] == tidy[-1] and tidy[0] in "'\"":
            tidy = tidy[1:-1].strip()
        if tidy != value:
            os.environ[name] = tidy


def _refuse_misspelt_names() -> None:
    known = _names()
    for name in os.environ:
        close = difflib.get_close_matches(name, known, n=1, cutoff=0.93)
        if close and name not in known:
            raise SettingsError(f"{name}: no such setting; do you mean {close[0]}?")


def _one_line(error: ValidationError) -> str:
    first = error.errors()[0]
    message = first["msg"].removeprefix("Value error, ")
    if not first["loc"]:
        return message
    name = str(first["loc"][0])
    value = " ".join(str(first["input"]).split())
    if _may_be_secret(name, value):
        return f"{name}: {message}"
    return f"{name}={shown(value, _MOST_SHOWN)}: {message}"


def _may_be_secret(name: str, value: str) -> bool:
    return name in SECRETS or (name.endswith("_URL") and not _PLAIN_URL.fullmatch(value))
