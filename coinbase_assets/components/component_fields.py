"""The parts of the component's YAML: each field with its description, an example and its rule."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date, timedelta
from typing import Annotated, Any, Self

import dagster as dg
from dagster.components.resolved.errors import ResolutionException
from dagster.components.utils.translation import TranslationFn, TranslationFnResolver
from pydantic import BaseModel

from coinbase_assets.candles.series_patterns import parse_patterns
from coinbase_assets.components.candle_options import AlertOptions, CandleAsset
from coinbase_assets.environment.azure_accounts import (
    check_account,
    check_account_url,
    check_connection_string,
    check_key,
    check_sas,
)
from coinbase_assets.environment.server_urls import check_budget_url
from coinbase_assets.environment.setting_values import (
    parse_api_url,
    parse_duration,
    parse_rollups,
    parse_start,
    parse_web_url,
    require_container,
    require_heartbeat_url,
    rollups_of_all,
)
from coinbase_assets.exchange.resource import DEFAULT_URL, ExchangeResource
from coinbase_assets.monitoring.destinations import parse_destinations
from coinbase_assets.storage.resource import AzureStorageResource


def field(
    parse: Callable[[Any], Any], yaml_type: Any, description: str, example: Any
) -> dg.Resolver:
    """Return the resolver of a field. `parse` raises ValueError for a wrong value."""

    def resolve(context: dg.ResolutionContext, value: Any) -> Any:
        with _errors_with_line(context):
            resolved = context.resolve_value(value)
            if resolved is None:
                raise ValueError(f"{value} has no value")
            return parse(resolved)

    return dg.Resolver(
        resolve,
        model_field_type=yaml_type,
        description=description,
        examples=[example],
        inject_before_resolve=False,
    )


@contextmanager
def _errors_with_line(context: dg.ResolutionContext) -> Iterator[None]:
    """Let the message of a ValueError begin with the file, the line and the field."""
    try:
        yield
    except ValueError as error:
        message, tree = str(error), context.source_position_tree
        if tree:
            place = tree.source_error(context.path, message, value_error=True)
            message = f"{place.file_name}:{place.start_line_no}: {place.location}: {message}"
        raise ResolutionException(message) from None


def checked(check: Callable[[Any], object]) -> Callable[[Any], Any]:
    """Return a function that checks a value, and returns it."""

    def parse(value: Any) -> Any:
        check(value)
        return value

    return parse


def _check_series(texts: Sequence[str]) -> None:
    if not parse_patterns(texts):
        raise ValueError("names no series; write for example [ETH-EUR:15m, 'BTC-*:1m']")


def _check_rollups(texts: Sequence[str]) -> None:
    for text in texts:
        if ">" in text:
            parse_rollups(text)
        else:
            list(rollups_of_all(text, ()))


def _parse_start(text: str) -> date:
    try:
        return parse_start(text)
    except ValueError as error:
        raise ValueError(f"{text}: {error}") from None


SeriesField = Annotated[
    Sequence[str],
    field(
        checked(_check_series),
        list[str],
        "The series to collect, as PRODUCT:GRANULARITY; `*` and `?` stand for parts of a product."
        " Granularities are 1m 5m 15m 1h 6h 1d.",
        ["ETH-EUR:15m", "BTC-*:1m"],
    ),
]
RollupsField = Annotated[
    Sequence[str],
    field(
        checked(_check_rollups),
        list[str],
        "Longer candles to build: a granularity for all products, or PRODUCT:GRANULARITY>LONGER.",
        ["1h", "4h", "ETH-EUR:15m>1w"],
    ),
]
StartField = Annotated[
    date,
    field(_parse_start, str, "The first day to collect (UTC), the first partition.", "2024-01-01"),
]


class StorageFields(dg.Resolvable, dg.Model):
    """The storage account: its URL and a key, a SAS or neither; or its connection string."""

    account_url: Annotated[
        str,
        field(
            lambda url: check_account_url(url, "sas_token"),
            str,
            "The URL of the account's blobs.",
            "https://NAME.blob.core.windows.net",
        ),
    ] = ""
    account_key: Annotated[
        str, field(checked(check_key), str, "The account's key.", "{{ env.AZURE_STORAGE_KEY }}")
    ] = ""
    sas_token: Annotated[
        str, field(checked(check_sas), str, "A SAS.", "{{ env.AZURE_STORAGE_SAS_TOKEN }}")
    ] = ""
    connection_string: Annotated[
        str,
        field(
            checked(check_connection_string),
            str,
            "Instead of the URL: a connection string.",
            "{{ env.AZURE_STORAGE_CONNECTION_STRING }}",
        ),
    ] = ""
    container: Annotated[
        str, field(checked(require_container), str, "The container of the candles.", "candles")
    ] = "coinbasedata"

    def __repr_args__(self) -> list[tuple[str, str]]:
        """Return only what is never secret."""
        return [("account_url", self.account_url), ("container", self.container)]

    @classmethod
    def resolve_from_model(cls, context: dg.ResolutionContext, model: BaseModel) -> Self:
        fields: Self = super().resolve_from_model(context, model)
        with _errors_with_line(context):
            fields.check()
        return fields

    def check(self) -> None:
        """Raise ValueError if these fields are not one account, with at most one credential."""
        if bool(self.account_url) == bool(self.connection_string):
            raise ValueError("give either account_url or connection_string")
        if self.account_key and self.sas_token:
            raise ValueError("account_key and sas_token are both given; give one")
        if self.account_url:
            key, sas = bool(self.account_key), bool(self.sas_token)
            check_account(self.account_url, key=key, sas=sas)

    def resource(self) -> AzureStorageResource:
        return AzureStorageResource(**self.model_dump(exclude={"container"}))


class ExchangeFields(dg.Resolvable, dg.Model):
    """The exchange, and how many requests go to it."""

    api_url: Annotated[
        str, field(parse_api_url, str, "The exchange, or a stand-in.", DEFAULT_URL)
    ] = DEFAULT_URL
    requests_per_second: Annotated[
        float, dg.Resolver.default(description="The budget of this IP address.", examples=[10])
    ] = 10
    give_up_after: Annotated[
        float,
        dg.Resolver.default(
            description="Seconds after which a request that fails is given up.", examples=[120]
        ),
    ] = 120
    budget_url: Annotated[
        str,
        field(
            checked(check_budget_url),
            str,
            "A PostgreSQL or Redis server that shares the budget among machines.",
            "{{ env.COINBASE_BUDGET_URL }}",
        ),
    ] = ""

    def resource(self) -> ExchangeResource:
        return ExchangeResource(**self.model_dump())

    def __repr_args__(self) -> list[tuple[str, str]]:
        """Return only what is never secret."""
        return [("api_url", self.api_url)]


class FreshnessFields(dg.Resolvable, dg.Model):
    """The time since its last refresh after which a series is late, and after which it is stale."""

    warn: Annotated[
        timedelta | None, field(parse_duration, str, "It is late after this time.", "45m")
    ] = None
    fail: Annotated[
        timedelta | None, field(parse_duration, str, "It is stale after this time.", "2h")
    ] = None


def _check_alert_urls(text: str) -> None:
    # Imported late, because apprise takes a second to load.
    from coinbase_assets.environment.alert_urls import parse_alert_urls

    parse_alert_urls(text)


class AlertFields(dg.Resolvable, dg.Model):
    """Where messages about trouble go."""

    urls: Annotated[
        str,
        field(
            checked(_check_alert_urls),
            str,
            "URLs of chats and mailboxes in apprise's format, separated by spaces.",
            "{{ env.COINBASE_ALERT_URLS }}",
        ),
    ] = ""
    heartbeat_url: Annotated[
        str,
        field(
            checked(require_heartbeat_url),
            str,
            "A URL that is called every 30 seconds, so that others notice a silent daemon.",
            "{{ env.COINBASE_HEARTBEAT_URL }}",
        ),
    ] = ""
    web_url: Annotated[
        str,
        field(
            parse_web_url,
            str,
            "The address of Dagster's web UI, for links.",
            "https://dagster.example.com",
        ),
    ] = ""

    def options(self, start: date) -> AlertOptions:
        destinations = parse_destinations(self.urls) if self.urls else ()
        return AlertOptions(destinations, self.heartbeat_url or None, self.web_url or None, start)

    def __repr_args__(self) -> list[tuple[str, str]]:
        """Return only what is never secret."""
        return [("web_url", self.web_url)]


TranslationField = Annotated[
    Annotated[
        TranslationFn[CandleAsset],
        TranslationFnResolver[CandleAsset](lambda data: {"data": data}),
    ]
    | None,
    dg.Resolver.default(
        description="Keys, groups, tags, owners, descriptions and kinds of the assets. `data` has"
        " `name`, `product` and `granularity`; the last two are `all` for what all series share.",
        examples=[{"key_prefix": "market", "group_name": "{{ data.granularity }}"}],
    ),
]
