"""The search for the trades around a hole, which prove what happened in it.

Trades are asked for by id, not by time. The ids near a time are found by interpolation between
known ids and times. Guesses cost requests, never truth: a hole is decided by answered trades alone.
"""

import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pyarrow as pa

from coinbase_assets.candles.series import Granularity
from coinbase_assets.candles.table import empty_candles
from coinbase_assets.candles.trades import MAX_TRADES, TradePage, fold_trades
from coinbase_assets.candles.windows import Window
from coinbase_assets.collection.allowance import Allowance
from coinbase_assets.collection.trade_anchors import Anchor, TradeAnchors
from coinbase_assets.completeness.trade_proofs import (
    Stretch,
    join_answers,
    judge_hole,
    microseconds,
)
from coinbase_assets.exchange.errors import ExchangeError, ProductNotFound, TradesNotOffered
from coinbase_assets.exchange.resource import BlockingExchange

if TYPE_CHECKING:
    from coinbase_assets.storage.parquet_store import ParquetStore

log = logging.getLogger(__name__)

MOST_REQUESTS = 20
"""After so many requests for a hole, the search gives up."""
# Pages of trades kept in memory: about 1 MB, the trades of a week of a thin product.
_PAGES_KEPT = 32
# Trades between two anchors that are read page by page instead of narrowed down further.
_FEW = 4 * MAX_TRADES
# Before the first trade of any product.
_BEGINNING = Anchor(0, microseconds(datetime(2012, 1, 1, tzinfo=UTC)))


@dataclass(frozen=True, eq=False)
class TradesOfHole:
    """What trades say of a hole.

    `candles` are made of the trades in it. `witness` names the trades that prove that there are no
    others; it is empty if nothing was proven. `available` is false if the exchange has no trades of
    that time, so that they never prove anything.
    """

    hole: Window
    candles: pa.Table
    witness: str = ""
    available: bool = True
    as_of: datetime | None = None


class TradeSearch:
    """The trades of a product, asked for as far as `allowance` suffices. Answers are kept."""

    def __init__(
        self,
        exchange: BlockingExchange,
        store: "ParquetStore",
        product: str,
        allowance: Allowance,
    ) -> None:
        self._exchange = exchange
        self._store = store
        self._product = product
        self._allowance = allowance
        self._pages: deque[TradePage] = deque(maxlen=_PAGES_KEPT)
        self._stretches: Sequence[Stretch] = ()
        self._anchors: TradeAnchors | None = None
        self._offered = True
        self._answers = True
        # The exchange has no trade below this id; 0 if that is not known.
        self._lowest = 0

    def look(self, hole: Window, granularity: Granularity) -> TradesOfHole:
        """Return what trades prove of the hole. Raises StorageError.

        After a failed request, no other is sent.
        """
        found = TradesOfHole(hole, empty_candles())
        asked = set[int | None]()
        while self._offered and self._answers:
            verdict = judge_hole(self._stretches, hole)
            if verdict and not verdict.doubted:
                candles = fold_trades(verdict.trades, granularity)
                found = TradesOfHole(hole, candles, verdict.witness, as_of=self._as_of)
                break
            doubted = verdict.doubted if verdict else None
            cursor = _around(doubted) if doubted else self._next_cursor(hole, len(asked))
            if cursor in asked or len(asked) == MOST_REQUESTS or not self._ask(cursor):
                break
            asked.add(cursor)
        if asked and self._anchors:
            self._anchors.save()
        if not self._offered or (not found.witness and self._precedes_trades(hole)):
            return TradesOfHole(hole, empty_candles(), available=False)
        return found

    @property
    def _as_of(self) -> datetime:
        return min(page.as_of for page in self._pages)

    def _ask(self, after: int | None) -> bool:
        """Ask for a page of trades; return whether there was an answer that helps."""
        if not self._allowance.take():
            return False
        try:
            page = self._exchange.fetch_trades(self._product, after)
        except (TradesNotOffered, ProductNotFound):
            self._offered = False
            return False
        except ExchangeError as error:
            # Candles are worth more than a proof: what is in doubt stays in doubt.
            log.warning("%s; holes in doubt stay unconfirmed", error)
            self._answers = False
            return False
        self._learn_lowest(page.trades, after)
        if not page.trades.num_rows:
            return after is not None
        self._pages.append(page)
        self._stretches = join_answers([each.trades for each in self._pages])
        if self._anchors:
            self._anchors.add(page.trades)
        return True

    def _next_cursor(self, hole: Window, asked: int) -> int | None:
        """Return the id below which the trades around the hole are likely; None for the newest.

        Interpolates, and halves every second time: trade is not even, and from one side alone
        interpolation comes near slowly.
        """
        if self._anchors is None:
            self._anchors = TradeAnchors(self._store, self._product)
        start, end = microseconds(hole.start), microseconds(hole.end)
        before, after = self._anchors.around(start, end)
        if after is None:
            return None
        if entering := [stretch for stretch in self._stretches if stretch.enters(hole)]:
            return _beyond(entering[0], hole)
        before = before or Anchor(max(0, self._lowest - 1), _BEGINNING.time)
        if after.id - before.id <= _FEW:
            return self._next_page(after)
        share = 0.5 if asked % 2 else (end - before.time) / max(1, after.time - before.time)
        guess = before.id + int(share * (after.id - before.id)) + MAX_TRADES // 2
        return min(max(guess, before.id + MAX_TRADES // 2), after.id + 1)

    def _learn_lowest(self, trades: pa.Table, after: int | None) -> None:
        lowest = trades["id"][0].as_py() if trades.num_rows else after
        if lowest and (lowest == 1 or (after and lowest >= after - 1)):
            self._lowest = max(self._lowest, lowest)

    def _precedes_trades(self, hole: Window) -> bool:
        """Whether the hole begins before the oldest trade that the exchange has."""
        known = self._anchors.all() if self._anchors else ()
        return any(
            anchor.id == self._lowest and anchor.time >= microseconds(hole.start)
            for anchor in known
        )

    def _next_page(self, after: Anchor) -> int:
        """Return the cursor of the page below the pages that reach down from the anchor.

        The pages share a trade, so that they can be joined.
        """
        for stretch in self._stretches:
            if stretch.ids[0] < after.id <= stretch.ids[-1]:
                return int(stretch.ids[0]) + 1
        return after.id + 1


def _beyond(stretch: Stretch, hole: Window) -> int:
    """Return the cursor of a page that shares a trade with the stretch, and reaches further."""
    first, _ = stretch.places(hole)
    return int(stretch.ids[-1]) + MAX_TRADES if first else int(stretch.ids[0]) + 1


def _around(doubted: tuple[int, int]) -> int:
    """Return the cursor of a page that holds the ids around a gap, and begins elsewhere."""
    return doubted[1] + MAX_TRADES // 3
