"""What an examined day's evidence is, and which of its stored candles are withdrawn.

Pure: no Dagster, no I/O.
"""

from collections.abc import Sequence

import pyarrow as pa

from coinbase_assets.candles.days import Day
from coinbase_assets.candles.evidence import Evidence
from coinbase_assets.candles.proofs import NO_TRADES
from coinbase_assets.candles.table import clip_candles, without_candles
from coinbase_assets.candles.windows import Window
from coinbase_assets.completeness.agreement import count_relations, format_agreement
from coinbase_assets.completeness.examination import Examination, Witnesses, examine


def weigh(day: Day, witnesses: Witnesses, tries: int = 0) -> Evidence:
    """Return the evidence of a closed day. `tries` counts earlier ones in a row without proof."""
    found = examine(day, witnesses)
    names = {proof.witness for proof in found.proofs if proof.state == NO_TRADES}
    is_proven = all(proof.state == NO_TRADES for proof in found.proofs)
    is_single = len(names) == 1 and is_proven
    return Evidence(
        witnesses.as_of if witnesses.levels else day.refreshed_at,
        names.pop() if is_single else "",
        () if is_single else found.proofs,
        format_agreement(count_relations(found.relations)),
        _disagreement(day, found),
        0 if is_proven else tries + 1,
    )


def withdrawn(newest: Day, missing: pa.Table, witnesses: Witnesses) -> pa.Table:
    """Return those of the `missing` candles, stored before, that the exchange has withdrawn.

    `newest` holds the newest answers alone. A candle is withdrawn if a coarser candle proves that
    nothing was traded in its bucket.
    """
    proven = [proof for proof in examine(newest, witnesses).proofs if proof.state == NO_TRADES]
    times = missing["time"].to_pylist()
    is_proven = [any(proof.start <= time < proof.end for proof in proven) for time in times]
    return missing.filter(pa.array(is_proven, pa.bool_()))


def missing_candles(stored: Day, asked: Day) -> pa.Table:
    """Return the stored candles that the newer answer covers and does not hold."""
    covered = clip_candles(stored.candles, asked.answered_from, asked.answered_through)
    return without_candles(covered, asked.candles)


def _disagreement(day: Day, found: Examination) -> str:
    """Say for which buckets coarser candles differ."""
    said = [("more", found.more), ("less", found.less)]
    return "; ".join(
        f"coarser candles show {what} from {_first_three(windows)}"
        for what, windows in said
        if windows
    )


def _first_three(windows: Sequence[Window]) -> str:
    shown = ", ".join(f"{window.start:%H:%M} to {window.end:%H:%M}" for window in windows[:3])
    return shown + (f" and {len(windows) - 3} more" if len(windows) > 3 else "")
