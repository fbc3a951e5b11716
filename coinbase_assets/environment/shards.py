"""COINBASE_SHARD: the part of the products that a deployment collects."""

import re
from dataclasses import dataclass
from hashlib import sha256

_SHARD = re.compile(r"([1-9]\d{0,3})/([1-9]\d{0,3})", re.ASCII)


@dataclass(frozen=True)
class Shard:
    """One of `count` parts of all products, counted from 1. Each product falls to one of them."""

    number: int
    count: int

    def holds(self, product: str) -> bool:
        """Return whether the product falls to this shard: in every process and on every machine."""
        remainder = int.from_bytes(sha256(product.encode()).digest()) % self.count
        return remainder + 1 == self.number

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"


def parse_shard(text: str) -> Shard:
    """Return the shard in a text like `1/3`. Raises ValueError with the rule and a remedy."""
    if not (match := _SHARD.fullmatch(text)):
        raise ValueError("not a shard; write NUMBER/SHARDS: 1/3 is the first of three")
    shard = Shard(int(match[1]), int(match[2]))
    if shard.number > shard.count:
        raise ValueError(
            f"there are {shard.count} shards; write 1/{shard.count} to {shard.count}/{shard.count}"
        )
    return shard
