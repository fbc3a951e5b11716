"""Candles folded into coarser buckets, and compared with the exchange's own."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from coinbase_assets.candles.calendar import DAY, HOUR
from coinbase_assets.completeness.folding import Folded, Relation, fold, relate
from coinbase_assets_tests.stand_in.tables import candle_table

START = datetime(2024, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def folded(*rows: Sequence[float], length: timedelta = DAY) -> Folded:
    """Fold candles of the first minutes of a day: open, high, low, close, volume."""
    names = ("open", "high", "low", "close", "volume")
    columns = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
    table = candle_table([START + n * MINUTE for n in range(len(rows))], **columns)
    return fold(table, START, length)


def test_fold_takes_first_last_extremes_and_sum() -> None:
    found = folded((5, 7, 4, 6, 1), (6, 9, 6, 8, 2), (8, 8, 3, 3, 4), length=HOUR)
    assert [float(found.open[0]), float(found.high[0])] == [5, 9]
    assert [float(found.low[0]), float(found.close[0])] == [3, 3]
    assert (float(found.volume[0]), int(found.count[0])) == (7, 3)
    assert found.exists.tolist() == [True] + [False] * 23


def test_fold_adds_volumes_exactly() -> None:
    rows = [(1, 1, 1, 1, 0.1)] * 10 + [(1, 1, 1, 1, 1e8)]
    assert float(folded(*rows).volume[0]) == 100000001.0


THEIRS = (5.0, 9.0, 3.0, 6.0, 10.0)


@pytest.mark.parametrize(
    ("ours", "relation"),
    [
        (THEIRS, Relation.SAME),
        ((5, 9, 3, 6, 10 + 5e-9), Relation.SAME),
        ((5, 9, 3, 6, 10 + 1e-8), Relation.LESS),
        ((5, 9, 3, 6, 10 - 1e-8), Relation.MORE),
        ((5, 9, 3, 6, 12), Relation.LESS),
        ((5, 8, 3, 6, 12), Relation.MORE),
        ((5, 9, 4, 6, 12), Relation.MORE),
        ((4, 9, 3, 6, 10), Relation.MORE),
        ((5, 9, 3, 7, 10), Relation.MORE),
        ((5, 10, 3, 6, 10), Relation.MORE),
    ],
)
def test_relate(ours: tuple[float, ...], relation: Relation) -> None:
    assert relate(folded(THEIRS), folded(ours))[0] == relation


def test_relate_absent_candles() -> None:
    nothing = fold(candle_table([]), START, DAY)
    assert relate(nothing, nothing)[0] == Relation.NOTHING
    assert relate(nothing, folded(THEIRS))[0] == Relation.LESS
    assert relate(folded(THEIRS), nothing)[0] == Relation.MORE
