"""What becomes of candles that the exchange lost: are they named, and do they come back?

Days of a market with planted losses are collected and healed by the commands, from a stand-in
exchange. Then the lake is compared with the truth.
"""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import get_args

import numpy as np

from benchmarks.processes import COMMAND, azurite, run
from coinbase_assets.candles.series import Granularity
from coinbase_assets.lake.reader import Lake
from coinbase_assets_tests.processes import process_environment, quiet_instance
from coinbase_assets_tests.stand_in.exchange import StandInExchange
from coinbase_assets_tests.stand_in.losses import Disagreement, Kind, LossyMarket
from coinbase_assets_tests.stand_in.markets import Candles, SyntheticMarket
from coinbase_assets_tests.stand_in.trades import TradeTape

LENGTHS = (1, 2, 3, 5, 10, 30, 60)
# Days without a loss come first: which granularities agree is learned from them.
LEARNING = 4
FIRST = date(2024, 1, 3)
LOSSES_A_DAY = 3
_PRODUCT = "BTC-EUR"


@dataclass(frozen=True)
class Truth:
    """The shares of lost candles that were named and that are back, and of true holes proven.

    `wrong` counts lost candles that the ledger calls untraded, `requests` those of all commands.
    """

    named: float
    back: float
    proven: float
    wrong: int
    requests: int


def main(runs: int) -> None:
    """Print the tables; the figures are counts, so one run suffices."""
    _print_minutes()
    _print_granularities()


def _print_minutes() -> None:
    print("\n1m, 7 % of minutes empty: lost runs of 1, 2, 3, 5, 10, 30 and 60 minutes\n")
    print("| stand-in | lost | named | back | true holes proven | wrong | requests |")
    print("|---|---|---|---|---|---|---|")
    for disagreement in get_args(Disagreement):
        for kind in (None, *get_args(Kind)):
            found = _measure(Case("1m", disagreement, kind, 0.07))
            print(f"| {disagreement} | {kind or 'nothing'} | {_row(found)} |", flush=True)


def _print_granularities() -> None:
    print("\nSingle candles lost in every answer, stand-in d\n")
    print("| series | empty minutes | named | back | true holes proven | wrong | requests |")
    print("|---|---|---|---|---|---|---|")
    for granularity in ("1m", "5m", "15m", "1h", "6h", "1d"):
        empty = 0.35 if granularity == "1m" else 0.9
        found = _measure(Case(granularity, "d", "every answer", empty))
        print(f"| {granularity} | {empty:.0%} | {_row(found)} |", flush=True)


def _row(found: Truth) -> str:
    shares = (f"{100 * share:.1f} %" for share in (found.named, found.back, found.proven))
    return " | ".join([*shares, str(found.wrong), str(found.requests)])


@dataclass(frozen=True)
class Case:
    """What is lost, if anything, in candles of a granularity of a market with empty minutes."""

    granularity: str
    disagreement: Disagreement
    kind: Kind | None
    empty: float

    @property
    def step(self) -> int:
        return Granularity(self.granularity).seconds

    @property
    def options(self) -> Sequence[str]:
        return ["--trades"] if self.kind == "every level" else []


def _measure(case: Case) -> Truth:
    """Collect and heal the days, and compare the lake with the truth."""
    days = LEARNING + len(LENGTHS)
    start = int(datetime(FIRST.year, FIRST.month, FIRST.day, tzinfo=UTC).timestamp())
    # The higher the price, the lower the volumes: in c, a unit of the last decimal must count.
    price = 28_000.0 if case.disagreement == "c" else 100.0
    whole = SyntheticMarket(_PRODUCT, untraded=case.empty, price=price)
    tape = TradeTape(market=whole, start=start - 30 * 86_400, end=start + (days + 30) * 86_400)
    rows = whole.candles(60, start - 86_400, start + (days + 1) * 86_400 - 60, 2e9)
    minutes = Candles(*(np.array(column) for column in zip(*rows, strict=True)))
    true = minutes.aggregate(case.step)
    lost = set(_lost(true, start, case.step)) if case.kind else set()
    market = LossyMarket(minutes, case.step, case.kind or "altered", lost, case.disagreement)
    last = FIRST + timedelta(days=days - 1)
    with (
        tempfile.TemporaryDirectory() as folder,
        azurite(Path(folder)) as account,
        StandInExchange(rate=None, markets={_PRODUCT: market}, trades={_PRODUCT: tape}) as exchange,
    ):
        environment = _environment(Path(folder), account, exchange.url, case.granularity)
        span = ["--from", str(FIRST), "--to", str(last)]
        for command in (["collect", *span], ["heal", *span, *case.options]):
            run([COMMAND, *command], environment, Path(folder))
        with Lake("coinbasedata", connection_string=account) as lake:
            states = dict(_states(lake, case.step))
            stored = lake.read_candles_arrow(
                _PRODUCT, case.granularity, FIRST, last + timedelta(days=1)
            )
    times = _seconds(stored["time"].to_pylist())
    values = dict(zip(times, stored["volume"].to_pylist(), strict=True))
    buckets = range(start, start + days * 86_400, case.step)
    return _compare(true, lost, states, values, buckets, len(exchange.requests))


def _compare(
    true: Candles,
    lost: set[int],
    states: Mapping[int, str],
    values: Mapping[int, float],
    buckets: range,
    requests: int,
) -> Truth:
    volumes = dict(zip(true.time.tolist(), true.volume.tolist(), strict=True))
    back = {time for time in lost if abs(values.get(time, 0) - volumes[time]) < 1e-8}
    wrong = {time for time in lost - back if states.get(time) == "no_trades"}
    named = back | {time for time in lost if states.get(time) not in ("no_trades", "traded")}
    holes = [time for time in buckets if time not in volumes]
    proven = [time for time in holes if states.get(time) == "no_trades"]
    return Truth(
        _share(named, lost), _share(back, lost), _share(proven, holes), len(wrong), requests
    )


def _share(part: Sequence[int] | set[int], whole: Sequence[int] | set[int]) -> float:
    return len(part) / len(whole) if whole else 1.0


def _lost(true: Candles, start: int, step: int) -> Iterator[int]:
    """Yield the starts of the lost candles: on each day runs of another length."""
    random = np.random.default_rng(7)
    for number, length in enumerate(LENGTHS):
        day = start + (LEARNING + number) * 86_400
        traded = true.time[(true.time >= day) & (true.time < day + 86_400)]
        runs = 1 if step > 900 else LOSSES_A_DAY
        long = max(1, min(length * 60 // step, len(traded)))
        for part in np.array_split(traded, runs):
            first = int(random.integers(0, max(1, len(part) - long)))
            yield from part[first : first + long].tolist()


def _states(lake: Lake, step: int) -> Iterator[tuple[int, str]]:
    for row in lake.dataset("candle_coverage").to_table().to_pylist():
        first, end = _seconds([row["start"], row["end"]])
        yield from ((time, row["state"]) for time in range(first, end, step))


def _seconds(times: Sequence[datetime]) -> list[int]:
    return [int(time.timestamp()) for time in times]


def _environment(folder: Path, account: str, url: str, granularity: str) -> dict[str, str]:
    return process_environment(
        quiet_instance(folder / "dagster"),
        AZURE_STORAGE_CONNECTION_STRING=account,
        COINBASE_API_URL=url,
        COINBASE_SERIES=f"{_PRODUCT}:{granularity}",
        COINBASE_START=str(FIRST),
        COINBASE_REQUESTS_PER_SECOND="1000",
    )
