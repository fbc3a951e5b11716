"""Evidence and proofs are stored and read again; days with unproven holes come up again."""

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from coinbase_assets.candles.calendar import DAY
from coinbase_assets.candles.evidence import Evidence, is_due_again
from coinbase_assets.candles.proofs import (
    NO_TRADES,
    PROOF_SCHEMA,
    UNCONFIRMED,
    Proof,
    proofs_digest,
    proofs_table,
    read_proofs,
)

AT = datetime(2024, 1, 10, tzinfo=UTC)
HOUR = timedelta(hours=1)
PROOFS = (
    Proof(AT, AT + HOUR, NO_TRADES, "trades 7 to 8", AT + 3 * DAY),
    Proof(AT + HOUR, AT + 2 * HOUR, UNCONFIRMED, "the 1h candle shows more", AT + 3 * DAY),
)


def test_proofs_round_trip() -> None:
    table = proofs_table(PROOFS)
    assert table.schema.equals(PROOF_SCHEMA)
    assert read_proofs(table) == PROOFS
    assert read_proofs(proofs_table([])) == ()


@pytest.mark.parametrize("field", ["start", "end", "state", "witness", "as_of"])
def test_proofs_digest_covers_every_column(field: str) -> None:
    row = vars(PROOFS[0])
    other = row[field] + HOUR if isinstance(row[field], datetime) else "other"
    assert proofs_digest([Proof(**{**row, field: other})]) != proofs_digest(PROOFS[:1])
    assert proofs_digest([]) == ""


def test_evidence_round_trip_without_its_proofs() -> None:
    evidence = Evidence(AT, proofs=PROOFS, agreement="1d 0/0/1", disagreement="more", tries=2)
    found = Evidence.from_fields(
        {name: text for name, text in evidence.to_fields().items() if text}
    )
    assert found
    assert (found.compared_at, found.digest, found.tries) == (AT, evidence.digest, 2)
    assert (found.agreement, found.disagreement) == ("1d 0/0/1", "more")
    assert (evidence.is_proven, Evidence(AT, "the 1d candles agree").is_proven) == (False, True)


@pytest.mark.parametrize(
    ("tries", "days"), [(1, 1), (2, 2), (3, 4), (5, 16), (6, 30), (7, 30), (500, 30)]
)
def test_unproven_day_is_due_after_growing_pauses(tries: int, days: int) -> None:
    fields = {**Evidence(AT, proofs=PROOFS, tries=tries).to_fields(), "missing_buckets": "4"}
    assert not is_due_again(fields, AT + days * DAY - timedelta(seconds=1))
    assert is_due_again(fields, AT + days * DAY)


def test_day_of_earlier_rule_is_due_at_once() -> None:
    fields = {"compared_at": "2024-01-10T00:00:00Z", "missing_buckets": "4"}
    assert is_due_again(fields, AT)
    assert not is_due_again({**fields, "missing_buckets": "0"}, AT)


def test_proven_day_is_never_due() -> None:
    fields = {**Evidence(AT, "the 1d candles agree").to_fields(), "missing_buckets": "4"}
    assert not is_due_again(fields, AT + 1_000 * DAY)
    assert not is_due_again({"missing_buckets": "4"}, AT + 1_000 * DAY)


def test_read_proofs_ignores_other_columns() -> None:
    table = proofs_table(PROOFS)
    assert read_proofs(table.append_column("more", pa.array([1, 2]))) == PROOFS
