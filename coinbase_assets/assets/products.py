"""`products`: the exchange's catalogue, and which configured products are not to be had there."""

from collections.abc import Sequence

import dagster as dg
import pyarrow as pa

from coinbase_assets.assets.table_schema import column_metadata
from coinbase_assets.candles import metadata_keys
from coinbase_assets.candles.datasets import PRODUCTS
from coinbase_assets.candles.series import Series
from coinbase_assets.exchange.products import DELISTED, PRODUCT_SCHEMA, Catalogue
from coinbase_assets.exchange.resource import ExchangeResource
from coinbase_assets.storage.paths import PATH_METADATA
from coinbase_assets.table_metadata import with_fields

_DESCRIPTIONS = {
    "id": "The product's name, such as ETH-EUR",
    "base_currency": "What is traded, in which volumes are",
    "quote_currency": "What it is paid with, in which prices are",
    "quote_increment": "The step of prices, in the quote currency",
    "base_increment": "The step of volumes, in the base currency",
    "display_name": "The name the exchange shows",
    "status": "As the exchange says it: online, delisted",
    "trading_disabled": "Whether neither orders nor their cancellation are accepted",
}
_COLUMNS = column_metadata(PRODUCT_SCHEMA, _DESCRIPTIONS, unique="id")


def build_products(series: Sequence[Series]) -> dg.AssetsDefinition:
    """The asset of all products; it warns of those of `series` that it lacks or has delisted."""

    @dg.asset(
        key=PRODUCTS.asset_key(),
        io_manager_key="lake",
        group_name="catalogue",
        kinds={"coinbase", "azure", "parquet"},
        metadata={
            PATH_METADATA: PRODUCTS.path(),
            **_COLUMNS,
        },
        description=(
            "The products of the Coinbase Exchange, those delisted included, ascending by id."
            " Configured ones that it does not have are in `not_in_catalogue`, those it no longer"
            " trades in `delisted`."
        ),
    )
    def products(context: dg.AssetExecutionContext, exchange: ExchangeResource) -> dg.Output:
        with exchange.get_client() as client:
            catalogue = client.fetch_products()
        unknown, delisted = _not_to_be_had(series, catalogue.products)
        if unknown:
            context.log.warning(f"not in the exchange's catalogue: {unknown}; see COINBASE_SERIES")
        if delisted:
            context.log.warning(f"delisted by the exchange: {delisted}; no new candles will come")
        metadata = {"not_in_catalogue": unknown, metadata_keys.DELISTED: delisted}
        return dg.Output(_with_provenance(catalogue, exchange.api_url), metadata=metadata)

    return products


def _not_to_be_had(series: Sequence[Series], products: pa.Table) -> tuple[str, str]:
    """The series' products that the catalogue lacks, and those it has delisted, as text."""
    statuses = dict(zip(*(products[name].to_pylist() for name in ("id", "status")), strict=True))
    configured = sorted({one.product for one in series})
    unknown = [name for name in configured if name not in statuses]
    delisted = [name for name in configured if statuses.get(name) == DELISTED]
    return ", ".join(unknown), ", ".join(delisted)


def _with_provenance(catalogue: Catalogue, source: str) -> pa.Table:
    """The products; of two runs that store them at once, the newer answer stays."""
    return with_fields(
        catalogue.products,
        {
            "source": source,
            "version": str(int(catalogue.as_of.timestamp())),
            "fetched_at": f"{catalogue.as_of:%FT%TZ}",
            "requests": str(catalogue.requests),
        },
    )
