"""Commands that are killed at any moment leave a lake that the plain command completes."""

import os
import random
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from coinbase_assets.candles.series import Series
from coinbase_assets.lake.status import series_status
from coinbase_assets.storage.parquet_store import ParquetStore
from coinbase_assets_tests.processes import process_environment, quiet_instance
from coinbase_assets_tests.stand_in.exchange import StandInExchange

BIN = Path(sys.executable).parent
CLI, DAGSTER = str(BIN / "coinbase-assets"), str(BIN / "dagster")
SERIES = Series.parse("ETH-EUR:15m")
COLLECT = (CLI, "collect", "--from", "2024-01-25", "--to", "2024-02-05")
AT_NIGHT = (DAGSTER, "job", "execute", "-m", "coinbase_assets.definitions", "-j", "heal_candles")
COMMANDS = (COLLECT, (*COLLECT, "--again"), (CLI, "heal", "--verify"), AT_NIGHT)
KILLS = 30


@dataclass(frozen=True)
class Commands:
    """Commands in processes of their own."""

    environment: Mapping[str, str]
    folder: Path

    def start(self, command: Sequence[str]) -> subprocess.Popen[str]:
        return subprocess.Popen(
            command,
            env=self.environment,
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def kill_after(self, seconds: float, command: Sequence[str]) -> None:
        with self.start(command) as process:
            with suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=seconds)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

    def run(self, command: Sequence[str]) -> tuple[int, str]:
        with self.start(command) as process:
            output, _ = process.communicate(timeout=120)
            return process.returncode, output


@pytest.mark.soak
def test_killed_commands_lose_nothing(lake: ParquetStore, tmp_path: Path) -> None:
    """The seed is new each time: the moments are those of real life."""
    seed = random.randrange(10**6)
    moments = random.Random(seed)
    with StandInExchange(rate=None) as exchange:
        commands = Commands(environment_of(exchange.url, tmp_path), tmp_path)
        for number in range(KILLS):
            commands.kill_after(moments.uniform(1, 12), COMMANDS[number % len(COMMANDS)])
        status, output = commands.run(COLLECT)
        assert status == 0, (seed, output)
        asked = len(exchange.requests)
        status, output = commands.run(COLLECT)
        assert (status, len(exchange.requests)) == (0, asked), (seed, output)
    found = series_status(lake, SERIES, datetime(2024, 2, 6, tzinfo=UTC).date())
    assert (found.complete, found.damage, len(found.days)) == (True, [], 12), seed


def environment_of(url: str, folder: Path) -> Mapping[str, str]:
    account = ("AZURE_STORAGE_CONNECTION_STRING", "COINBASE_CONTAINER")
    return process_environment(
        quiet_instance(folder / "dagster"),
        **{name: os.environ[name] for name in account},
        COINBASE_API_URL=url,
        COINBASE_SERIES=str(SERIES),
        COINBASE_ROLLUPS=f"{SERIES}>4h",
        COINBASE_START="2024-01-25",
        COINBASE_REQUESTS_PER_SECOND="50",
    )
