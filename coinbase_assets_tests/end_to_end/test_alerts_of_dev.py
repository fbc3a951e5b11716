"""`coinbase-assets dev` reports each kind of problem once at its begin and once at its end."""

import os
import signal
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from coinbase_assets.candles.datasets import CANDLE_COVERAGE, RAW_CANDLES
from coinbase_assets.candles.series import Series
from coinbase_assets.monitoring.kinds import RECOVERY, TROUBLE, Kind
from coinbase_assets_tests.conftest import free_port
from coinbase_assets_tests.processes import (
    Process,
    Start,
    finish,
    instance_at,
    process_environment,
    processes,
    quiet_instance,
)
from coinbase_assets_tests.running import collect_raw, materialize, settings_for
from coinbase_assets_tests.stand_in.exchange import StandInExchange
from coinbase_assets_tests.stand_in.markets import Row, SyntheticMarket, synthetic_markets
from coinbase_assets_tests.stand_in.receivers import Webhook

ETH, BTC = map(Series.parse, ("ETH-EUR:1m", "BTC-EUR:1m"))
# A live series is refreshed once a minute.
WINDOWS = {"COINBASE_FRESHNESS_WARN": "180s", "COINBASE_FRESHNESS_FAIL": "1h"}
PATIENCE = 300.0


@dataclass
class LosingMarket:
    """A market whose 1m candles lack the minutes `lost`, in epoch seconds."""

    truth: SyntheticMarket
    lost: Collection[int]

    @property
    def listing(self) -> int:
        return self.truth.listing

    def candles(self, granularity: int, first: int, last: int, now: float) -> list[Row]:
        rows = self.truth.candles(granularity, first, last, now)
        return [row for row in rows if granularity > 60 or row[0] not in self.lost]


@dataclass(frozen=True)
class World:
    """The exchange, the receiver of alerts, and the environment of `coinbase-assets dev`."""

    exchange: StandInExchange
    webhook: Webhook
    environment: dict[str, str]
    start: Start
    seen: list[str] = field(default_factory=list)

    @contextmanager
    def dev(self) -> Iterator[Process]:
        arguments = ("dev", "--port", str(free_port()))
        process = self.start("coinbase-assets", *arguments, environment=self.environment)
        assert process.stdout
        assert "web UI: http://127.0.0.1:" in process.stdout.readline()
        yield process
        process.send_signal(signal.SIGINT)
        finish(process)

    def wait_for(self, what: Callable[[], object]) -> None:
        give_up = time.monotonic() + PATIENCE
        while not what():
            assert time.monotonic() < give_up, self.messages
            time.sleep(0.2)

    @property
    def messages(self) -> list[str]:
        pairs = zip(self.webhook.kinds, self.webhook.titles, strict=True)
        return [f"{kind}: {title}" for kind, title in pairs]

    def expect(self, *messages: str) -> None:
        """Wait until these messages have come, in any order, and no others."""
        before = len(self.seen)
        self.wait_for(lambda: len(self.webhook.kinds) >= before + len(messages))
        assert sorted(self.messages[before:]) == sorted(messages)
        self.seen.extend(messages)


@pytest.fixture
def world(tmp_path: Path, lost: LosingMarket) -> Iterator[World]:
    home = quiet_instance(tmp_path / "home")
    markets = {**synthetic_markets(["BTC-EUR"]), "ETH-EUR": lost}
    names = ("AZURE_STORAGE_CONNECTION_STRING", "COINBASE_CONTAINER")
    with (
        StandInExchange(rate=None, markets=markets) as exchange,
        Webhook() as webhook,
        processes(tmp_path) as start,
    ):
        environment = process_environment(
            home,
            **{name: os.environ[name] for name in names},
            **WINDOWS,
            COINBASE_SERIES=f"{ETH},{BTC}",
            COINBASE_API_URL=exchange.url,
            COINBASE_ALERT_URLS=webhook.url,
        )
        yield World(exchange, webhook, environment, start)


@pytest.fixture
def day() -> str:
    return f"{datetime.now(UTC) - timedelta(days=3):%F}"


@pytest.fixture
def lost(day: str) -> LosingMarket:
    """The exchange has lost half an hour of the day."""
    start = int(datetime.fromisoformat(f"{day}T12:00+00:00").timestamp())
    return LosingMarket(SyntheticMarket("ETH-EUR", price=1_900.0), range(start, start + 1_800, 60))


@pytest.mark.soak
@pytest.mark.usefixtures("lake")
def test_dev_reports_three_problems_of_a_series(world: World, lost: LosingMarket, day: str) -> None:
    begins = [f"{ETH}: {TROUBLE[kind]}" for kind in (Kind.INCOMPLETE, Kind.STALE, Kind.RUN_FAILED)]
    incomplete, stale, failed = begins
    settings = settings_for(world.exchange.url, str(ETH))
    with instance_at(world.environment["DAGSTER_HOME"]) as instance:
        with world.dev():
            for series in (ETH, BTC):
                key = dg.AssetKey(CANDLE_COVERAGE.asset_key(series))
                world.wait_for(lambda: instance.get_latest_materialization_event(key))  # noqa: B023
            collect_raw(settings, instance, day)
            world.expect(f"warning: {incomplete}")
            world.exchange.latency = 600
        with world.dev():
            world.expect(f"warning: {stale}", f"warning: {BTC}: {TROUBLE[Kind.STALE]}")
            lines = world.webhook.bodies[-1].splitlines()
            assert "no answer from" in next(line for line in lines if line.startswith("Cause: "))
            assert lines[-1].startswith("http://127.0.0.1:")
            unreachable = settings.model_copy(update={"give_up_after": 0.2})
            other = _next_day(day)
            run = materialize(
                unreachable, instance, RAW_CANDLES, other, raise_on_error=False, checks=True
            )
            assert not run.success
            world.expect(f"failure: {failed}")
            world.exchange.latency = 0
            recovered = RECOVERY[Kind.STALE]
            world.expect(f"success: {ETH}: {recovered}", f"success: {BTC}: {recovered}")
            collect_raw(settings, instance, other)
            world.expect(f"success: {ETH}: {RECOVERY[Kind.RUN_FAILED]}")
            lost.lost = ()
            collect_raw(settings, instance, day)
            world.expect(f"success: {ETH}: {RECOVERY[Kind.INCOMPLETE]}")
    for title, body in zip(world.messages, world.webhook.bodies, strict=True):
        print(f"{title}\n{body}\n")


def _next_day(day: str) -> str:
    return f"{datetime.fromisoformat(day) + timedelta(days=1):%F}"
