"""Deployments behind several addresses, as shards of the products: one lake, a limit for each."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import chain, pairwise

import pyarrow as pa
import pytest

from coinbase_assets.candles.datasets import RAW_CANDLES
from coinbase_assets.candles.series import Series
from coinbase_assets.environment.shards import Shard
from coinbase_assets_tests.cli.users import NOON, NewUser, RunHere, User
from coinbase_assets_tests.processes import finish
from coinbase_assets_tests.stand_in.exchange import Request, StandInExchange
from coinbase_assets_tests.stand_in.forward_proxy import Proxy, forward_proxy
from coinbase_assets_tests.stand_in.markets import synthetic_markets

RATE = 5
SHARDS = [Shard(number, 3) for number in (1, 2, 3)]
NAMES = [f"COIN{number}-USD" for number in range(100)]
PRODUCTS = [name for shard in SHARDS for name in list(filter(shard.holds, NAMES))[:3]]
DAYS = [f"2023-12-{day}" for day in range(26, 32)]
COLLECT = ("collect", "--from", DAYS[0], "--to", DAYS[-1])


# The first is that of a deployment alone.
ADDRESSES = [f"127.0.0.{number}" for number in (9, 1, 2, 3)]


@pytest.fixture
def limited() -> Iterator[StandInExchange]:
    markets = synthetic_markets(PRODUCTS)
    with StandInExchange(rate=RATE, clock=NOON.timestamp, markets=markets) as exchange:
        yield exchange


@pytest.fixture
def proxies(limited: StandInExchange) -> Iterator[Sequence[Proxy]]:
    """Behind each, the exchange sees another address."""
    port = int(limited.url.rpartition(":")[2])
    with ExitStack() as stack:
        yield [stack.enter_context(forward_proxy(port, None, each)) for each in ADDRESSES]


@pytest.mark.soak
def test_three_shards_collect_three_times_as_fast(
    new_user: NewUser, limited: StandInExchange, proxies: Sequence[Proxy]
) -> None:
    settings = {
        "COINBASE_API_URL": "http://exchange.test",
        "COINBASE_SERIES": "*-USD:1m",
        "COINBASE_REQUESTS_PER_SECOND": str(RATE),
    }
    alone = new_user(**settings, **proxies[0].environment)
    assert finish(alone.start(*COLLECT)).returncode == 0
    first, *others = (new_user(**settings, **each.environment) for each in proxies[1:])
    container = first.environment["COINBASE_CONTAINER"]
    collecting = [
        user.start(*COLLECT, COINBASE_SHARD=str(shard), COINBASE_CONTAINER=container)
        for user, shard in zip((first, *others), SHARDS, strict=True)
    ]
    assert [finish(process).returncode for process in collecting] == [0, 0, 0]

    assert candles(first) == candles(alone)
    requests = [requests_of(limited, address) for address in ADDRESSES]
    asked = [{request.product for request in each} - {""} for each in requests[1:]]
    assert sorted(map(len, asked)) == [3, 3, 3]
    assert set().union(*asked) == set(PRODUCTS)
    assert not any(request.status == 429 for request in limited.requests)
    speeds = rate(requests[0]), rate(list(chain(*requests[1:])))
    print(f"requests a second: alone {speeds[0]:.1f}, as three shards {speeds[1]:.1f}")
    assert 2.4 < speeds[1] / speeds[0] < 3.3


def test_series_of_another_shard_is_named(new_user: NewUser, run_here: RunHere) -> None:
    ours, theirs = sorted(("BTC-USD:1h", "ETH-EUR:15m"), key=lambda each: not _is_in_first(each))
    assert _is_in_first(ours) > _is_in_first(theirs)
    user = new_user(COINBASE_SERIES=f"{ours},{theirs}", COINBASE_SHARD="1/2")
    done = run_here(user, "collect", theirs, "--days", "1", "--dry-run")
    part = "the part of COINBASE_SERIES that COINBASE_SHARD=1/2 has"
    assert f"{theirs} is not in {part}, so the schedules leave it out" in done.stdout.replace(
        "\n", " "
    )


def _is_in_first(series: str) -> bool:
    return Shard(1, 2).holds(Series.parse(series).product)


def requests_of(exchange: StandInExchange, address: str) -> Sequence[Request]:
    return [request for request in exchange.requests if request.address == address]


def rate(requests: Sequence[Request]) -> float:
    """Return the requests a second, from the first request to the last."""
    arrived = [request.arrived for request in requests]
    return len(arrived) / (max(arrived) - min(arrived))


def candles(user: User) -> dict[str, pa.Table]:
    """Return the stored candles of each product, after a look at their times."""
    found = {}
    with user.lake() as lake:
        for name in PRODUCTS:
            blobs = lake.find_partitions(RAW_CANDLES.path(Series.parse(f"{name}:1m")), DAYS)
            assert sorted(blobs) == DAYS
            days = [lake.get(blobs[day].path).replace_schema_metadata() for day in DAYS]
            found[name] = pa.concat_tables(days)
            times = found[name]["time"].to_pylist()
            assert times
            assert all(one < next_one for one, next_one in pairwise(times))
    return found
