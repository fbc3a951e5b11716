"""What the stand-in's markets with disagreements and losses are said to be, they are."""

from math import fsum

import numpy as np
import pytest

from coinbase_assets_tests.stand_in.disagreements import LEVELS, all_levels, minutes_of
from coinbase_assets_tests.stand_in.losses import Kind, LossyMarket, true_holes
from coinbase_assets_tests.stand_in.markets import Candles, SyntheticMarket

DAY, DAYS = 86_400, 20
START = 19_723 * DAY
END = START + DAYS * DAY
MARKET = SyntheticMarket("BTC-EUR", untraded=0.07)
MINUTES = minutes_of(MARKET, START, END)
EQUAL = all_levels(MINUTES, "d")
MIDDAY = START + 12 * 3_600
LOST = MINUTES.time[(MINUTES.time >= MIDDAY) & (MINUTES.time < MIDDAY + 600)].tolist()


def same(one: Candles, other: Candles) -> bool:
    return all(np.array_equal(*columns) for columns in zip(one, other, strict=True))


def folded_volumes(candles: Candles, length: int) -> list[float]:
    buckets = candles.time // length
    return [round(fsum(candles.volume[buckets == bucket]), 8) for bucket in np.unique(buckets)]


def answered(market: LossyMarket, granularity: int) -> Candles:
    """The day's candles in an answer of the market."""
    rows = market.candles(granularity, START, START + DAY - granularity, END)
    return Candles(*(np.array(column) for column in zip(*rows, strict=True)))


def losing(kind: Kind) -> LossyMarket:
    return LossyMarket(MINUTES, 60, kind, LOST)


def of_day(candles: Candles) -> Candles:
    return candles.select(candles.time < START + DAY)


def test_d_granularities_equal_their_folded_minutes() -> None:
    for length in LEVELS[1:]:
        rows = MARKET.candles(length, START, END - length, END)
        assert EQUAL[length].rows() == rows
        if length >= 3_600:
            assert EQUAL[length].volume.tolist() == folded_volumes(MINUTES, length)


def test_a_few_quarters_differ_both_ways_and_longer_candles_follow() -> None:
    levels = all_levels(MINUTES, "a")
    difference = levels[900].volume - EQUAL[900].volume
    assert 0.001 < np.mean(difference != 0) < 0.007
    assert (difference > 0).any()
    assert (difference < 0).any()
    assert same(levels[300], EQUAL[300])
    assert same(levels[900]._replace(volume=EQUAL[900].volume), EQUAL[900])
    assert same(levels[86_400], levels[900].aggregate(86_400))


def test_b_hours_lack_trades_and_no_day_is_equal() -> None:
    levels = all_levels(MINUTES, "b")
    surplus = EQUAL[3_600].volume / levels[3_600].volume
    assert 0.15 < np.mean(surplus > 1) < 0.26
    assert 1 <= surplus.min() < surplus.max() <= 1.61
    assert (levels[86_400].volume < EQUAL[86_400].volume).all()
    assert (levels[3_600].high <= EQUAL[3_600].high).all()
    assert (levels[3_600].low >= EQUAL[3_600].low).all()
    assert (levels[3_600].high >= np.maximum(levels[3_600].open, levels[3_600].close)).all()
    assert same(levels[900], EQUAL[900])
    assert same(levels[21_600], levels[3_600].aggregate(21_600))


def test_c_daily_volumes_are_off_by_a_unit() -> None:
    levels = all_levels(MINUTES, "c")
    assert np.round((levels[86_400].volume - EQUAL[86_400].volume) * 1e8).tolist() == [1] * DAYS
    assert same(levels[86_400]._replace(volume=EQUAL[86_400].volume), EQUAL[86_400])
    assert all(same(levels[length], EQUAL[length]) for length in LEVELS[:-1])


def test_lost_in_one_answer_comes_back_bucket_by_bucket() -> None:
    market, middle = losing("one answer"), LOST[len(LOST) // 2]
    assert middle not in [row[0] for row in market.candles(60, MIDDAY, middle, END)]
    second = [row[0] for row in market.candles(60, MIDDAY + 7, START + DAY, END)]
    assert set(LOST) & set(second) == {time for time in LOST if MIDDAY + 7 <= time <= middle}
    assert same(answered(market, 60), of_day(MINUTES))


@pytest.mark.parametrize(
    ("kind", "lost_up_to"),
    [("every answer", 60), ("two levels", 300), ("up to 1h", 3_600), ("every level", DAY)],
)
def test_lost_at_granularities_up_to_one(kind: Kind, lost_up_to: int) -> None:
    market = losing(kind)
    rest = of_day(MINUTES.select(~np.isin(MINUTES.time, LOST)))
    for length in LEVELS:
        whole, gone = of_day(EQUAL[length]), rest.aggregate(length)
        assert not same(whole, gone)
        for _ in range(2):
            assert same(answered(market, length), gone if length <= lost_up_to else whole)


def test_masked_fully_keeps_the_sum_of_the_quarter() -> None:
    market = losing("masked fully")
    minutes = answered(market, 60)
    assert not set(LOST) & set(minutes.time.tolist())
    assert folded_volumes(minutes, 900) == folded_volumes(of_day(MINUTES), 900)
    assert same(answered(market, 900), of_day(EQUAL[900]))


def test_masked_fully_of_a_whole_quarter_keeps_the_sum_of_the_hour() -> None:
    lost = MINUTES.time[MINUTES.time // 900 == MIDDAY // 900].tolist()
    minutes = answered(LossyMarket(MINUTES, 60, "masked fully", lost), 60)
    assert len(folded_volumes(minutes, 900)) == 95
    assert folded_volumes(minutes, 3_600) == folded_volumes(of_day(MINUTES), 3_600)


def test_altered_values_differ_by_a_twentieth_and_stay_candles() -> None:
    true, wrong = of_day(MINUTES), answered(losing("altered"), 60)
    assert same(wrong._replace(**_values(true)), true)
    changed = np.isin(true.time, LOST)
    assert np.allclose(abs(wrong.volume / true.volume - 1), np.where(changed, 0.05, 0), atol=1e-3)
    assert (((wrong.high != true.high) | (wrong.close != true.close)) == changed).all()
    assert (wrong.high >= np.maximum(wrong.open, wrong.close)).all()
    assert (wrong.low <= np.minimum(wrong.open, wrong.close)).all()


def _values(true: Candles) -> dict[str, np.ndarray]:
    return {"volume": true.volume, "high": true.high, "close": true.close}


def test_true_holes_are_where_nothing_was_traded() -> None:
    holes = true_holes(MINUTES, START, START + DAY, 60)
    assert len(holes) + len(of_day(MINUTES).time) == 1_440
    assert not set(holes) & set(MINUTES.time.tolist())
    assert true_holes(EQUAL[900], START, END, 900) == []
