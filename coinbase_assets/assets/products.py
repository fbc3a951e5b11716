"""`products`: the exchange's catalogue, and which configured products are missing or delisted."""

from collections.abc import Sequence

import dagster as dg
import pyarrow as pa

from coinbase_assets.assets.table_schema import column_metadata
from coinbase_assets.candles import metadata_keys
from coinbase_assets.candles.datasets import PRODUCTS
from coinbase_assets.candles.series import Series
from coinbase_assets.dagster_instance.deployment import OWN, Deployment
from coinbase_assets.exchange.products import DELISTED, PRODUCT_SCHEMA, Catalogue
from coinbase_assets.exchange.resource import ExchangeResource
from coinbase_assets.storage.paths import PATH_METADATA
from coinbase_assets.table_metadata import with_fields

_DESCRIPTIONS = {
    "id": "The product's name, for example ETH-EUR",
    "base_currency": "The currency that is traded; volumes are in it",
    "quote_currency": "The currency that is paid; prices are in it",
    "quote_increment": "The smallest step of a price, in the quote currency",
    "base_increment": "The smallest step of a volume, in the base currency",
    "display_name": "The name that the exchange shows to people",
    "status": "The exchange's word for its state: online, delisted",
    "trading_disabled": "True if the exchange accepts no orders and no cancellations",
}
_COLUMNS = column_metadata(PRODUCT_SCHEMA, _DESCRIPTIONS, unique="id")


def build_products(series: Sequence[Series], deployment: Deployment = OWN) -> dg.AssetsDefinition:
    """Return the asset of all products. It warns of missing or delisted products of `series`."""

    @dg.asset(
        key=deployment.key(PRODUCTS),
        io_manager_key=deployment.lake,
        required_resource_keys={deployment.exchange},
        group_name="catalogue",
        kinds={"source", "azure", "parquet"},
        metadata={
            PATH_METADATA: PRODUCTS.path(),
            **_COLUMNS,
        },
        description=(
            "The products of the Coinbase Exchange, ascending by id, delisted ones included."
            " `not_in_catalogue` names the configured products that the exchange does not have,"
            " `delisted` those that it no longer trades."
        ),
    )
    def products(context: dg.AssetExecutionContext) -> dg.Output:
        exchange: ExchangeResource = deployment.exchange_of(context)
        with exchange.get_client() as client:
            catalogue = client.fetch_products()
        unknown, delisted = _missing_or_delisted(series, catalogue.products)
        if unknown:
            context.log.warning(
                f"not in the exchange's catalogue: {unknown}; correct COINBASE_SERIES"
            )
        if delisted:
            context.log.warning(
                f"delisted by the exchange: {delisted}; there will be no new candles"
            )
        metadata = {"not_in_catalogue": unknown, metadata_keys.DELISTED: delisted}
        return dg.Output(
            _with_provenance(catalogue, exchange.api_url),
            metadata={name: names for name, names in metadata.items() if names},
        )

    return products


def _missing_or_delisted(series: Sequence[Series], products: pa.Table) -> tuple[str, str]:
    """Return the products of `series` missing from the catalogue, and the delisted ones."""
    statuses = dict(zip(*(products[name].to_pylist() for name in ("id", "status")), strict=True))
    configured = sorted({each.product for each in series})
    unknown = [name for name in configured if name not in statuses]
    delisted = [name for name in configured if statuses.get(name) == DELISTED]
    return ", ".join(unknown), ", ".join(delisted)


def _with_provenance(catalogue: Catalogue, source: str) -> pa.Table:
    """Return the products with their source, time and version.

    If two runs store the products at once, the version makes the newer answer stay.
    """
    return with_fields(
        catalogue.products,
        {
            "source": source,
            "version": str(int(catalogue.as_of.timestamp())),
            "fetched_at": f"{catalogue.as_of:%FT%TZ}",
            "requests": str(catalogue.requests),
        },
    )
