"""COINBASE_SHARD: every product falls to exactly one shard, and always to the same."""

from collections import Counter

import pytest

from coinbase_assets.environment.shards import Shard, parse_shard

PRODUCTS = [f"COIN{number}-USD" for number in range(700)]


def test_every_product_falls_to_one_shard() -> None:
    shards = [parse_shard(f"{number}/3") for number in (1, 2, 3)]
    held = Counter(str(shard) for name in PRODUCTS for shard in shards if shard.holds(name))
    assert sum(held.values()) == len(PRODUCTS)
    assert min(held.values()) > 200


def test_shard_of_product_is_the_same_in_every_version() -> None:
    """Another hash would collect most products a second time, elsewhere."""
    names = ("BTC-USD", "ETH-EUR", "ETH-USD", "LTC-EUR", "SOL-USD", "ADA-EUR")
    found = [number for name in names for number in (1, 2, 3) if Shard(number, 3).holds(name)]
    assert found == [2, 1, 3, 1, 3, 2]


@pytest.mark.parametrize("text", ["", "1", "0/3", "1/0", "-1/3", "1/3/5", "a/b", "1 / 3", "٣/٣"])
def test_parse_shard_refuses_other_texts(text: str) -> None:
    with pytest.raises(ValueError, match="not a shard; write NUMBER/SHARDS"):
        parse_shard(text)


def test_parse_shard_refuses_number_above_count() -> None:
    with pytest.raises(ValueError, match="there are 3 shards; write 1/3 to 3/3"):
        parse_shard("4/3")
