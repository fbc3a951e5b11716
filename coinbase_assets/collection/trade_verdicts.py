"""Trades decide about the holes of a day that coarser candles do not prove."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

import pyarrow as pa

from coinbase_assets.candles.days import Day
from coinbase_assets.candles.proofs import NO_TRADES, UNCONFIRMED, UNPROVABLE, Proof
from coinbase_assets.candles.table import (
    empty_candles,
    epoch_seconds,
    merge_candles,
    without_candles,
)
from coinbase_assets.candles.windows import Window
from coinbase_assets.collection.reconciler import Reconciled, merged_day, reconciled_day
from coinbase_assets.collection.trade_search import TradeSearch, TradesOfHole
from coinbase_assets.completeness.examination import Examination, Witnesses, examine

# A hole in which a coarser candle shows trades is in doubt so many times before it is given up.
_TRIES_BEFORE_UNPROVABLE = 4
NO_TRADES_TO_BE_HAD = "the exchange has no trades of that time"


def settle_by_trades(
    reconciled: Reconciled, stored: Day | None, trades: TradeSearch, every_hole: bool
) -> Reconciled:
    """Return the day with what trades prove, and with candles made of trades.

    They are asked for at holes in doubt, or at `every_hole`. Raises StorageError.
    """
    day, witnesses = reconciled.day, reconciled.witnesses
    if not witnesses:
        return reconciled
    found = examine(merged_day(day, stored, reconciled.absent), witnesses)
    if not (holes := _holes(found, every_hole)):
        return reconciled
    longest_first = sorted(holes, key=lambda hole: hole.start - hole.end)
    said = {hole: trades.look(hole, day.series.granularity) for hole in longest_first}
    day, dropped = _with_trades(day, stored, witnesses, said.values())
    kept_in_doubt = _kept_in_doubt(found, stored)
    proofs = [
        proof
        for hole in holes
        for proof in _proofs_by(said[hole], day, dropped)
        if proof.state == NO_TRADES or not any(_overlap(proof, each) for each in kept_in_doubt)
    ]
    return reconciled_day(day, stored, replace(witnesses, by_trades=proofs))


def _holes(found: Examination, every_hole: bool) -> list[Window]:
    """Return the holes to decide about; none if coarser candles could not be asked for."""
    return [
        Window(proof.start, proof.end)
        for proof in found.proofs
        if every_hole or (proof.state == UNCONFIRMED and not found.needs)
    ]


def _with_trades(
    day: Day, stored: Day | None, witnesses: Witnesses, said: Iterable[TradesOfHole]
) -> tuple[Day, pa.Table]:
    """Return the day with candles made of trades, and those candles that are left out.

    A candle is left out if a coarser candle of its bucket still shows more.
    """
    made = merge_candles(empty_candles(), *(each.candles for each in said))
    more = examine(merged_day(_with_made(day, made), stored), witnesses).more
    times = made["time"].to_pylist()
    is_dropped = [any(each.start <= time < each.end for each in more) for time in times]
    dropped = made.filter(pa.array(is_dropped, pa.bool_()))
    return _with_made(day, without_candles(made, dropped)), dropped


def _with_made(day: Day, made: pa.Table) -> Day:
    new = without_candles(made, day.candles)
    times = frozenset(epoch_seconds(new["time"]).tolist())
    candles = merge_candles(new, day.candles)
    return replace(day, candles=candles, from_trades=day.from_trades | times)


def _kept_in_doubt(found: Examination, stored: Day | None) -> list[Proof]:
    """Return the doubts that may not be given up yet."""
    tries = stored.evidence.tries if stored and stored.evidence else 0
    return [
        proof for proof in found.proofs if proof.shows_trades and tries < _TRIES_BEFORE_UNPROVABLE
    ]


def _overlap(proof: Proof, other: Proof) -> bool:
    return proof.start < other.end and other.start < proof.end


def _proofs_by(said: TradesOfHole, day: Day, dropped: pa.Table) -> Iterator[Proof]:
    """Yield what trades prove of a hole; nothing if candles made of them were left out."""
    hole, as_of = said.hole, said.as_of or day.refreshed_at
    if not said.available:
        yield Proof(hole.start, hole.end, UNPROVABLE, NO_TRADES_TO_BE_HAD, as_of)
    elif said.witness and without_candles(said.candles, dropped).num_rows == said.candles.num_rows:
        yield Proof(hole.start, hole.end, NO_TRADES, said.witness, as_of)
