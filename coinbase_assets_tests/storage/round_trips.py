"""Values that go through the IO manager, all as partitions of one asset: each run takes long."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from coinbase_assets_tests.storage.prices import Reader, Runner, prices


def round_trip(
    run: Runner, values: Mapping[str, object], kind: Any = Any, **metadata: object
) -> dict[str, Any]:
    """Store each value, and return what an input of this kind is for it, by the same names."""
    partitions = dg.StaticPartitionsDefinition(list(values))
    reader = Reader(Mapping[str, kind], partitions, **metadata)
    first, *_, last = [*values, *values]
    run(prices(lambda context: dict(values), partitions), reader.asset, keys=(first, last))
    return reader.value
