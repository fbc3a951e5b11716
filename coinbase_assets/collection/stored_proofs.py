"""The proofs of days, stored beside the raw days that name them by their digest."""

from typing import TYPE_CHECKING

from coinbase_assets.candles.datasets import PROOFS
from coinbase_assets.candles.proofs import PROOF_SCHEMA, Proof, proofs_digest, read_proofs
from coinbase_assets.candles.series import Series

if TYPE_CHECKING:
    from coinbase_assets.storage.parquet_store import ParquetStore


def proofs_path(series: Series, day: str) -> str:
    return PROOFS.path(series).format(partition=day)


def find_proofs(
    store: "ParquetStore", series: Series, day: str, digest: str
) -> tuple[Proof, ...] | None:
    """Return the proofs of a day; None if the stored ones do not have this digest.

    Raises StorageError.
    """
    path = proofs_path(series, day)
    if path not in store.find([path]):
        return None
    table = store.get(path)
    named = {field.name: field.type for field in table.schema}
    if any(named.get(field.name) != field.type for field in PROOF_SCHEMA):
        return None
    proofs = read_proofs(table)
    return proofs if proofs_digest(proofs) == digest else None
