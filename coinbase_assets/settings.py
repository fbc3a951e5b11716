"""Settings from the environment and `.env`. A wrong one is a SettingsError of one line."""

import difflib
import os
import re
from datetime import date, timedelta
from pathlib import Path
from typing import Annotated, Self

from dotenv import load_dotenv
from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from coinbase_assets.candles.series import Rollup, Series
from coinbase_assets.setting_values import (
    check_budget_url,
    parse_duration,
    parse_rollups,
    parse_series,
    parse_start,
    require_connection_string,
    require_plain_url,
    require_url,
)

CONNECTION_STRING = "AZURE_STORAGE_CONNECTION_STRING"
ACCOUNT_URL = "AZURE_STORAGE_ACCOUNT_URL"
BUDGET_URL = "COINBASE_BUDGET_URL"

_SECRETS = (
    CONNECTION_STRING,
    "AZURE_STORAGE_KEY",
    "AZURE_STORAGE_SAS_TOKEN",
    BUDGET_URL,
    "COINBASE_ALERT_URLS",
    "COINBASE_HEARTBEAT_URL",
)


_CONTAINER = re.compile(r"(?=.{3,63}$)[a-z0-9](-?[a-z0-9])+")


class SettingsError(Exception):
    """A setting is wrong: the message names the variable, the value and what is allowed."""


def project_folder() -> Path:
    """The folder of the checkout this code runs from, else the current one."""
    checkout = Path(__file__).resolve().parent.parent
    return checkout if (checkout / "pyproject.toml").exists() else Path.cwd()


class Settings(BaseSettings):
    """See the README's table; use `load_settings`, which also reads `.env`."""

    model_config = SettingsConfigDict(frozen=True, env_ignore_empty=True)

    series: Annotated[tuple[Series, ...], NoDecode] = Field(
        (Series.parse("ETH-EUR:15m"),), alias="COINBASE_SERIES"
    )
    rollups: Annotated[tuple[Rollup, ...], NoDecode] = Field((), alias="COINBASE_ROLLUPS")
    start: date = Field(date(2018, 1, 1), alias="COINBASE_START")
    container: str = Field("coinbasedata", alias="COINBASE_CONTAINER")
    api_url: str = Field("https://api.exchange.coinbase.com", alias="COINBASE_API_URL")
    requests_per_second: float = Field(10, alias="COINBASE_REQUESTS_PER_SECOND", gt=0, le=1000)
    budget_url: SecretStr | None = Field(None, alias="COINBASE_BUDGET_URL")
    give_up_after: float = Field(120, alias="COINBASE_GIVE_UP_AFTER", gt=0, le=86_400)
    freshness_warn: timedelta | None = Field(None, alias="COINBASE_FRESHNESS_WARN")
    freshness_fail: timedelta | None = Field(None, alias="COINBASE_FRESHNESS_FAIL")
    connection_string: SecretStr | None = Field(None, alias="AZURE_STORAGE_CONNECTION_STRING")
    account_url: str | None = Field(None, alias="AZURE_STORAGE_ACCOUNT_URL")
    account_key: SecretStr | None = Field(None, alias="AZURE_STORAGE_KEY")
    sas_token: SecretStr | None = Field(None, alias="AZURE_STORAGE_SAS_TOKEN")
    alert_urls: SecretStr | None = Field(None, alias="COINBASE_ALERT_URLS")
    heartbeat_url: SecretStr | None = Field(None, alias="COINBASE_HEARTBEAT_URL")
    dagster_home: Path = Field(
        default_factory=lambda: project_folder() / ".dagster", alias="DAGSTER_HOME"
    )

    @property
    def names_storage(self) -> bool:
        """Whether any Azure setting says where the lake is."""
        return bool(self.connection_string or self.account_url)

    @property
    def storage_account(self) -> dict[str, str]:
        """The account in clear text, as `blob_service` takes it."""
        given = {
            "connection_string": self.connection_string,
            "account_key": self.account_key,
            "sas_token": self.sas_token,
        }
        clear = {name: secret.get_secret_value() for name, secret in given.items() if secret}
        return {**clear, "account_url": self.account_url or ""}

    @field_validator("series", mode="before")
    @classmethod
    def _parse_series(cls, value: object) -> object:
        return parse_series(value) if isinstance(value, str) else value

    @field_validator("rollups", mode="before")
    @classmethod
    def _parse_rollups(cls, value: object) -> object:
        return parse_rollups(value) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _check_rollups(self) -> Self:
        for rollup in self.rollups:
            if rollup.made_of not in self.series:
                raise ValueError(
                    f"COINBASE_ROLLUPS: {rollup.made_of}, of which {rollup} is to be made, is not"
                    " in COINBASE_SERIES; add it there"
                )
        return self

    @field_validator("start", mode="before")
    @classmethod
    def _parse_start(cls, value: object) -> object:
        return parse_start(value) if isinstance(value, str) else value

    @field_validator("freshness_warn", "freshness_fail", mode="before")
    @classmethod
    def _parse_duration(cls, value: object) -> object:
        return parse_duration(value) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _check_freshness(self) -> Self:
        warn, fail = self.freshness_warn, self.freshness_fail
        if warn and fail and warn >= fail:
            raise ValueError(
                f"COINBASE_FRESHNESS_WARN: {warn} is not before COINBASE_FRESHNESS_FAIL={fail};"
                " give a shorter one"
            )
        return self

    @field_validator("container")
    @classmethod
    def _check_container(cls, value: str) -> str:
        if not _CONTAINER.fullmatch(value):
            raise ValueError("not a container name; use 3 to 63 of a-z, 0-9 and single dashes")
        return value

    @field_validator("api_url")
    @classmethod
    def _check_api_url(cls, value: str) -> str:
        require_plain_url(value, "takes neither a query nor a login")
        return value.rstrip("/")

    @field_validator("account_url")
    @classmethod
    def _check_account_url(cls, value: str | None) -> str | None:
        if value is None:
            return None
        require_plain_url(value, "give its SAS in AZURE_STORAGE_SAS_TOKEN")
        return value.rstrip("/")

    @field_validator("connection_string")
    @classmethod
    def _check_connection_string(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            require_connection_string(value.get_secret_value())
        return value

    @field_validator("budget_url")
    @classmethod
    def _check_budget_url(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            check_budget_url(value.get_secret_value())
        return value

    @field_validator("alert_urls")
    @classmethod
    def _check_alert_urls(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            # It takes apprise a second to load.
            from coinbase_assets.alert_urls import parse_alert_urls

            parse_alert_urls(value.get_secret_value())
        return value

    @field_validator("heartbeat_url")
    @classmethod
    def _check_heartbeat_url(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            require_url(value.get_secret_value(), "write https://HOST/PATH")
        return value

    @field_validator("dagster_home")
    @classmethod
    def _check_home(cls, value: Path) -> Path:
        if not value.is_absolute():
            raise ValueError("not an absolute path, which Dagster requires")
        return value

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
                f"AZURE_STORAGE_KEY or AZURE_STORAGE_SAS_TOKEN is set, {ACCOUNT_URL} is not; set it"
            )
        return self


def load_settings() -> Settings:
    """The settings of this process. Raises SettingsError."""
    load_dotenv(project_folder() / ".env")
    _refuse_misspelt_names()
    try:
        return Settings()
    except ValidationError as error:
        raise SettingsError(_one_line(error)) from None


def _refuse_misspelt_names() -> None:
    known = [str(field.alias) for field in Settings.model_fields.values()]
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
    return f"{name}: {message}" if _may_be_secret(name, value) else f"{name}={value}: {message}"


def _may_be_secret(name: str, value: str) -> bool:
    if name in _SECRETS:
        return True
    return name.endswith("_URL") and bool(set("?@;=") & set(value))
