"""The catalogue of products, collected by Dagster from the stand-in exchange."""

from datetime import UTC, datetime

import dagster as dg
import pytest

from coinbase_assets.automation.schedules import build_products_schedule
from coinbase_assets.dagster_instance.deployment import SILENT
from coinbase_assets.definitions import build_definitions
from coinbase_assets.exchange.errors import InvalidAnswer
from coinbase_assets.exchange.products import PRODUCT_SCHEMA
from coinbase_assets.storage.parquet_store import ParquetStore
from coinbase_assets_tests.running import partition_metadata, settings_for
from coinbase_assets_tests.stand_in.exchange import StandInExchange
from coinbase_assets_tests.stand_in.markets import ListMarket

PRODUCTS = dg.AssetKey("products")
PATH = "products.parquet"


def collect(
    instance: dg.DagsterInstance, url: str, *series: str, raise_on_error: bool = True
) -> dg.ExecuteInProcessResult:
    """Materialise the catalogue, with these series configured."""
    job = build_definitions(settings_for(url, *series)).resolve_implicit_global_asset_job_def()
    return job.execute_in_process(
        instance=instance,
        asset_selection=[PRODUCTS],
        run_config=SILENT,
        raise_on_error=raise_on_error,
    )


def warnings_of(instance: dg.DagsterInstance, result: dg.ExecuteInProcessResult) -> list[str]:
    return [log.user_message for log in instance.all_logs(result.run_id) if log.level == 30]


def test_products_are_stored_with_metadata(
    lake: ParquetStore, instance: dg.DagsterInstance
) -> None:
    with StandInExchange(delisted=["LTC-USD"]) as exchange:
        result = collect(instance, exchange.url)
    table, blob = lake.get(PATH), lake.find([PATH])[PATH]
    assert table.schema.remove_metadata() == PRODUCT_SCHEMA
    assert table["id"].to_pylist() == sorted(exchange.markets)
    assert table["status"].to_pylist().count("delisted") == 1
    metadata = partition_metadata(result)["None"]
    fetched_at = metadata.pop("fetched_at")
    assert isinstance(fetched_at, float)
    assert abs(datetime.now(UTC).timestamp() - fetched_at) < 60
    assert metadata == {
        "dagster/row_count": len(exchange.markets),
        "dagster/uri": lake.uri(PATH),
        "dagster/size_bytes": blob.size,
        "source": exchange.url,
        "requests": 1,
    }
    assert blob.version == int(fetched_at)
    assert warnings_of(instance, result) == []


def test_products_name_missing_and_delisted(
    lake: ParquetStore, instance: dg.DagsterInstance
) -> None:
    series = ["XRP-USD:1m", "NO-SUCH:1m", "LTC-USD:1m", "NO-SUCH:1d", "ETH-EUR:1m", "AN-OLD:1d"]
    with StandInExchange(delisted=["LTC-USD", "XRP-USD", "SOL-USD"]) as exchange:
        result = collect(instance, exchange.url, *series)
    metadata = partition_metadata(result)["None"]
    assert metadata["not_in_catalogue"] == "AN-OLD, NO-SUCH"
    assert metadata["delisted"] == "LTC-USD, XRP-USD"
    unknown, delisted = warnings_of(instance, result)
    assert "not in the exchange's catalogue: AN-OLD, NO-SUCH;" in unknown
    assert "delisted by the exchange: LTC-USD, XRP-USD;" in delisted


def test_products_keep_stored_catalogue_when_answer_invalid(
    lake: ParquetStore, instance: dg.DagsterInstance
) -> None:
    with StandInExchange() as exchange:
        collect(instance, exchange.url)
    stored = lake.list("")
    with (
        StandInExchange(markets={"": ListMarket({})}) as exchange,
        pytest.raises(InvalidAnswer, match=r"entry 0: .* has no id"),
    ):
        collect(instance, exchange.url)
    assert list(stored) == [PATH]
    assert lake.list("") == stored


def test_products_declare_stored_columns(lake: ParquetStore) -> None:
    definitions = build_definitions(settings_for("http://127.0.0.1"))
    spec = definitions.resolve_assets_def(PRODUCTS).get_asset_spec(PRODUCTS)
    columns = spec.metadata["dagster/column_schema"].columns
    assert [(column.name, column.type) for column in columns] == [
        (field.name, str(field.type)) for field in PRODUCT_SCHEMA
    ]
    assert [column.name for column in columns if column.constraints.unique] == ["id"]
    assert [column.name for column in columns if not column.constraints.nullable] == ["id"]
    assert all(column.description for column in columns)
    assert spec.group_name == "catalogue"


def test_products_schedule_daily_with_retries(
    instance: dg.DagsterInstance,
) -> None:
    products_schedule = build_products_schedule()
    assert products_schedule.cron_schedule == "5 0 * * *"
    assert products_schedule.execution_timezone == "UTC"
    at = datetime(2026, 3, 15, 0, 5, tzinfo=UTC)
    context = dg.build_schedule_context(instance, scheduled_execution_time=at)
    (request,) = products_schedule.evaluate_tick(context).run_requests or []
    assert request.asset_selection == [PRODUCTS]
    assert request.tags["dagster/max_retries"] == "3"
    assert request.tags["dagster/retry_on_asset_or_op_failure"] == "true"
