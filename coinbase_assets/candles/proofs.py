"""Proofs: what witnesses say of the holes of a day, and how that is stored. Pure: no I/O."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa

NO_TRADES = "no_trades"
UNCONFIRMED = "unconfirmed"
UNPROVABLE = "unprovable"
SHOWS_MORE = "shows more"

_TIME = pa.timestamp("us", "UTC")
PROOF_SCHEMA = pa.schema(
    [
        pa.field("start", _TIME, nullable=False),
        pa.field("end", _TIME, nullable=False),
        pa.field("state", pa.string(), nullable=False),
        pa.field("witness", pa.string(), nullable=False),
        pa.field("as_of", _TIME, nullable=False),
    ]
)


@dataclass(frozen=True)
class Proof:
    """What a witness says of the holes from `start` until `end`, at `as_of` by the exchange's time.

    `state` is NO_TRADES if the witness proves that nothing was traded there. It is UNCONFIRMED if
    the witness shows trades, or if there is no witness. It is UNPROVABLE if none can be had.
    """

    start: datetime
    end: datetime
    state: str
    witness: str
    as_of: datetime

    @property
    def shows_trades(self) -> bool:
        """Whether a coarser candle shows trades in the holes, as opposed to nobody knowing."""
        return self.witness.endswith(SHOWS_MORE)


def proofs_table(proofs: Sequence[Proof]) -> pa.Table:
    """Return the proofs as a table with the columns of PROOF_SCHEMA."""
    return pa.Table.from_pylist([vars(proof) for proof in proofs], PROOF_SCHEMA)


def read_proofs(table: pa.Table) -> tuple[Proof, ...]:
    """Return the proofs that `proofs_table` wrote."""
    return tuple(Proof(**row) for row in table.select(PROOF_SCHEMA.names).to_pylist())


def proofs_digest(proofs: Sequence[Proof]) -> str:
    """Return a hash of the proofs, "" for none: 32 hexadecimal digits."""
    if not proofs:
        return ""
    texts = (
        f"{proof.start:%FT%T}|{proof.end:%FT%T}|{proof.state}|{proof.witness}|{proof.as_of:%FT%T}"
        for proof in proofs
    )
    return hashlib.blake2b("\n".join(texts).encode(), digest_size=16).hexdigest()
