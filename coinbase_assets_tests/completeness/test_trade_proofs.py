"""Trades of several answers are joined, and prove holes only where ids leave no doubt."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from coinbase_assets.candles.trades import trade_table
from coinbase_assets.candles.windows import Window
from coinbase_assets.completeness.trade_proofs import (
    MOST_SKIPPED,
    Verdict,
    join_answers,
    judge_hole,
)

START = datetime(2024, 1, 10, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def answer(ids: Sequence[int], later: int = 0, price: float = 100.0) -> pa.Table:
    """Return trades with these ids, the trade n at n seconds, or so much later."""
    return trade_table([(n, START + (n + later) * SECOND, price, 1.0) for n in ids])


def _rows(trades: pa.Table) -> list[Any]:
    return [tuple(row.values()) for row in trades.to_pylist()]


def hole(first: int, end: int) -> Window:
    return Window(START + first * SECOND, START + end * SECOND)


def judge(hole: Window, *answers: pa.Table) -> Verdict | None:
    return judge_hole(join_answers(answers), hole)


def proves(verdict: Verdict | None) -> bool:
    return verdict is not None and verdict.doubted is None


def test_judge_consecutive_ids_prove_hole() -> None:
    trades = _rows(answer(range(40, 50))) + _rows(answer(range(50, 60), later=100))
    verdict = judge(hole(60, 120), trade_table(trades))
    assert verdict
    assert (verdict.witness, verdict.trades.num_rows, verdict.doubted) == (
        "trades 49 to 50",
        0,
        None,
    )


def test_judge_trades_in_hole_are_returned() -> None:
    verdict = judge(hole(10, 20), answer(range(1, 40)))
    assert verdict
    assert verdict.trades["id"].to_pylist() == [*range(10, 20)]
    assert (verdict.before, verdict.after) == (9, 20)


@pytest.mark.parametrize(
    "answers",
    [
        [answer(range(1, 15))],
        [answer(range(15, 40))],
        [answer(range(1, 12)), answer(range(13, 40))],
    ],
    ids=["ends in it", "begins in it", "two answers without a common trade"],
)
def test_judge_hole_that_no_stretch_spans(answers: list[pa.Table]) -> None:
    assert judge(hole(10, 20), *answers) is None


def test_judge_id_left_out_by_one_answer_is_doubted() -> None:
    lacking = answer([n for n in range(1, 40) if n not in {14, 15}])
    verdict = judge(hole(10, 20), lacking)
    assert verdict
    assert verdict.doubted == (13, 16)


def test_judge_id_left_out_by_two_answers_was_never_issued() -> None:
    ids = [n for n in range(1, 40) if n != 14]
    verdict = judge(hole(10, 20), answer(ids[:30]), answer(ids[5:]))
    assert proves(verdict)


def test_judge_id_left_out_by_one_of_two_answers_comes_back() -> None:
    verdict = judge(
        hole(10, 20), answer([n for n in range(1, 40) if n != 14]), answer(range(5, 38))
    )
    assert verdict
    assert proves(verdict)
    assert verdict.trades["id"].to_pylist() == [*range(10, 20)]


def test_judge_contradicting_answers_prove_nothing() -> None:
    assert judge(hole(10, 20), answer(range(1, 40)), answer(range(5, 38), price=101.0)) is None


@pytest.mark.parametrize(("skipped", "proven"), [(MOST_SKIPPED, True), (MOST_SKIPPED + 1, False)])
def test_judge_ids_that_jump_far_restart(skipped: int, proven: bool) -> None:
    """Both answers leave out the same ids: few were never issued, many are another book's."""
    after = 10 + skipped + 1
    rows = _rows(answer(range(1, 11))) + _rows(answer(range(after, after + 10)))
    verdict = judge(hole(12, after - 1), trade_table(rows), trade_table(rows[1:]))
    assert proves(verdict) is proven


def test_judge_falling_times_within_an_answer_break_it() -> None:
    rows = _rows(answer(range(1, 20))) + _rows(answer(range(20, 40), later=-12))
    assert judge(hole(8, 12), trade_table(rows)) is None
    assert proves(judge(hole(2, 5), trade_table(rows)))


def test_judge_two_stretches_over_one_hole_prove_nothing() -> None:
    other_book = answer(range(5_001, 5_040), later=-5_000)
    assert judge(hole(10, 20), answer(range(1, 40)), other_book) is None
    elsewhere = answer(range(5_001, 5_040), later=-4_000)
    assert proves(judge(hole(10, 20), answer(range(1, 40)), elsewhere))
