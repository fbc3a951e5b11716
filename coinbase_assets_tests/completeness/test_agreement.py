"""Which granularities are witnesses of a series is learned from its newest days."""

import numpy as np
import pytest

from coinbase_assets.candles.series import Granularity
from coinbase_assets.completeness.agreement import (
    Counts,
    coarsest_reliable,
    count_relations,
    format_agreement,
    parse_agreement,
    total_agreement,
)
from coinbase_assets.completeness.examination import witness_levels
from coinbase_assets.completeness.folding import Relation

_, FIVE, QUARTER, HOUR, SIX, DAY = Granularity
LEVELS = witness_levels(Granularity.ONE_MINUTE)


def test_agreement_round_trip() -> None:
    related = np.array([Relation.SAME, Relation.SAME, Relation.LESS, Relation.MORE, 0])
    agreement = count_relations({DAY: related[2:3], HOUR: related})
    assert format_agreement(agreement) == "1d 0/1/0, 1h 2/1/1"
    assert parse_agreement("1d 0/1/0, 1h 2/1/1") == agreement
    assert total_agreement([agreement, agreement])[HOUR] == Counts(4, 2, 2)


@pytest.mark.parametrize("text", ["", "1d", "1d 1/2", "1w 1/2/3", "1d -1/0/0", "1d 1/2/3/4", "x"])
def test_agreement_unreadable(text: str) -> None:
    assert parse_agreement(text) == {}


@pytest.mark.parametrize(
    ("agreement", "first"),
    [
        ({}, DAY),
        ({DAY: Counts(0, 9)}, DAY),
        ({DAY: Counts(0, 0, 2)}, DAY),
        ({DAY: Counts(0, 0, 3)}, SIX),
        ({DAY: Counts(2, 0, 8)}, DAY),
        ({DAY: Counts(1, 0, 9)}, SIX),
        ({DAY: Counts(0, 0, 9), SIX: Counts(0, 0, 9), HOUR: Counts(50, 20, 30)}, HOUR),
        (dict.fromkeys(LEVELS, Counts(0, 0, 9)), FIVE),
    ],
)
def test_coarsest_reliable(agreement: dict[Granularity, Counts], first: Granularity) -> None:
    assert coarsest_reliable(agreement, LEVELS) == first


@pytest.mark.parametrize(
    ("counts", "exact"),
    [(Counts(2), False), (Counts(3), True), (Counts(95, 5), True), (Counts(94, 3, 3), False)],
)
def test_level_is_exact_if_it_hardly_ever_differs(counts: Counts, exact: bool) -> None:
    assert counts.is_exact is exact
