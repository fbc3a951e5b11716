"""The tables of the lake: the columns of their blobs, and the keys in the paths."""

from dataclasses import dataclass

import pyarrow as pa

from coinbase_assets.candles.catalogue import LISTING_SCHEMA, PRODUCT_SCHEMA
from coinbase_assets.candles.datasets import (
    CANDLE_COVERAGE,
    CANDLE_HISTORY,
    CANDLE_REVISIONS,
    CANDLE_ROLLUP,
    LISTINGS,
    MARKET_HALTS,
    PRODUCTS,
    PROOFS,
    RAW_CANDLES,
    Dataset,
)
from coinbase_assets.candles.proofs import PROOF_SCHEMA
from coinbase_assets.candles.revisions import REVISION_SCHEMA
from coinbase_assets.candles.table import SCHEMA
from coinbase_assets.completeness.halts import HALT_SCHEMA
from coinbase_assets.completeness.ledger import COVERAGE_SCHEMA

_OF_SERIES = ("product", "granularity")


@dataclass(frozen=True)
class LakeTable:
    """All blobs of a dataset: `keys` are the names in the folders of their paths."""

    dataset: Dataset
    keys: tuple[str, ...]
    columns: pa.Schema

    @property
    def prefix(self) -> str:
        """What the paths of the blobs start with."""
        return self.dataset.folder() or self.dataset.path()

    @property
    def key_schema(self) -> pa.Schema:
        return pa.schema([(key, pa.string()) for key in self.keys])

    @property
    def schema(self) -> pa.Schema:
        """The columns of the blobs, then the keys."""
        return pa.unify_schemas([self.columns, self.key_schema])


TABLES = {
    table.dataset.name: table
    for table in (
        LakeTable(CANDLE_HISTORY, (*_OF_SERIES, "month"), SCHEMA),
        LakeTable(CANDLE_ROLLUP, (*_OF_SERIES, "month"), SCHEMA),
        LakeTable(RAW_CANDLES, (*_OF_SERIES, "date"), SCHEMA),
        LakeTable(CANDLE_COVERAGE, (*_OF_SERIES, "month"), COVERAGE_SCHEMA),
        LakeTable(CANDLE_REVISIONS, (*_OF_SERIES, "date"), REVISION_SCHEMA),
        LakeTable(PROOFS, (*_OF_SERIES, "date"), PROOF_SCHEMA),
        LakeTable(MARKET_HALTS, ("month",), HALT_SCHEMA),
        LakeTable(LISTINGS, ("product",), LISTING_SCHEMA),
        LakeTable(PRODUCTS, (), PRODUCT_SCHEMA),
    )
}
