"""The peak memory of each process that collects 1m candles, or fills them back, over 5 years.

Every process is measured by itself, as the kernel counts its resident memory. The stand-in exchange
answers at once and without a limit, so that all that may be held is held. Runs of a back-fill are
started as Dagster's run launcher starts them, over as many partitions as one may have.
"""

import statistics
import tempfile
from collections.abc import Mapping
from datetime import date
from pathlib import Path

import dagster as dg

from benchmarks.launched_runs import launch
from benchmarks.processes import COMMAND, Finished, azurite, run, unlimited_exchange
from benchmarks.tables import Measured, print_table
from coinbase_assets.assets.partitions import MONTHS_PER_RUN, days_per_run
from coinbase_assets.candles.calendar import DAY
from coinbase_assets.candles.datasets import CANDLE_COVERAGE, CANDLE_HISTORY, RAW_CANDLES
from coinbase_assets.candles.series import Series
from coinbase_assets.dagster_instance.run_tags import range_tags
from coinbase_assets_tests.processes import (
    process_environment,
    quiet_instance,
)

SERIES = Series.parse("BTC-USD:1m")
YEARS = (2018, 2023)
MONTH, YEAR, FIVE_YEARS = "collect 1 month", "collect 1 year", "collect 5 years"
LIMIT, BACKFILL_LIMIT = 220.0, 400.0
# Of the peak of five years, as a part of that of a month: the memory does not grow.
FLAT = 1.1


def main(runs: int) -> None:
    """Print the tables: of so many runs the highest peak counts, since once is too high."""
    taken = [_peaks() for _ in range(runs)]
    rows = [
        Measured(
            f"{what}, {statistics.median(one[what].seconds for one in taken):.0f} s",
            [one[what].peak for one in taken],
            limit=LIMIT if what.startswith("collect") else BACKFILL_LIMIT,
        )
        for what in taken[0]
    ]
    print_table("peak memory of a process, 1m", *rows, unit="MB")
    five_years, month = ([one[what].peak for one in taken] for what in (FIVE_YEARS, MONTH))
    print_table(
        "the same, of 5 years beside 1 month",
        Measured(FIVE_YEARS, five_years),
        Measured(MONTH, month, at_most=FLAT),
        unit="MB",
    )


def _peaks() -> dict[str, Finished]:
    with (
        tempfile.TemporaryDirectory() as name,
        azurite(Path(name)) as storage,
        unlimited_exchange() as url,
    ):
        folder = Path(name)
        environment = process_environment(
            quiet_instance(folder / "dagster"),
            AZURE_STORAGE_CONNECTION_STRING=storage,
            COINBASE_API_URL=url,
            COINBASE_REQUESTS_PER_SECOND="1000",
            COINBASE_SERIES=str(SERIES),
            COINBASE_START=f"{YEARS[0]}-01-01",
        )
        peaks = {
            what: _collect(first, last, environment, folder)
            for what, first, last in (
                (MONTH, f"{YEARS[1]}-12-01", f"{YEARS[1]}-12-31"),
                (YEAR, f"{YEARS[1]}-01-01", f"{YEARS[1]}-11-30"),
                (FIVE_YEARS, f"{YEARS[0]}-01-01", f"{YEARS[1] - 1}-12-31"),
            )
        }
        return peaks | _backfill_runs(environment)


def _collect(first: str, last: str, environment: Mapping[str, str], folder: Path) -> Finished:
    arguments = ["collect", "--series", str(SERIES), "--from", first, "--to", last]
    return run([COMMAND, *arguments], environment, folder)


def _backfill_runs(environment: Mapping[str, str]) -> dict[str, Finished]:
    """The longest run of each kind, over days and months that were collected."""
    year, end = YEARS[0], YEARS[0] + MONTHS_PER_RUN // 12 - 1
    most = days_per_run(SERIES.granularity)
    days = [str(date(year, 1, 1) + number * DAY) for number in range(most)]
    months = (f"{year}-01", f"{end}-12")
    wanted = {
        f"back-fill run of {len(days)} days": ([RAW_CANDLES], (days[0], days[-1])),
        f"back-fill run of {MONTHS_PER_RUN} months": (
            [CANDLE_HISTORY, CANDLE_COVERAGE],
            months,
        ),
    }
    return {
        what: launch(
            [dg.AssetKey(kind.asset_key(SERIES)) for kind in kinds], range_tags(*keys), environment
        )
        for what, (kinds, keys) in wanted.items()
    }
