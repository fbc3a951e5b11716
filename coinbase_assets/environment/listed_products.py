"""The products that wildcards in COINBASE_SERIES match, in a file of the Dagster instance's folder.

So definitions load without asking the exchange. A product stays in the file when it is delisted,
and so its assets stay, too.
"""

import json
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from coinbase_assets.candles.series import Series, is_product
from coinbase_assets.candles.series_patterns import expand, parse_patterns
from coinbase_assets.environment.setting_values import parse_series

FILE = "products.json"


def has_wildcard(text: str) -> bool:
    return re.search(r"[*?]", text) is not None


def parse_configured_series(text: str, home: Path) -> tuple[Series, ...]:
    """Return the series in a text like `ETH-*:15m,BTC-USD:1m`; wildcards match the file in `home`.

    Raises ValueError.
    """
    if not has_wildcard(text):
        return parse_series(text)
    if not (home / FILE).exists():
        raise ValueError(
            "the products for its wildcards are not known yet; run coinbase-assets collect or dev,"
            " which ask the exchange for them"
        )
    return tuple(expand(parse_patterns([text]), lambda: read_products(home / FILE)))


def write_products(file: Path, *products: Iterable[str]) -> None:
    """Write the products of all lists, each once, ascending. Processes may do so at once."""
    names = sorted(set().union(*products))
    part = file.with_name(f"{file.name}.{os.getpid()}")
    part.write_text(json.dumps({"products": names}, indent=0) + "\n")
    part.replace(file)


def read_products(file: Path) -> Sequence[str]:
    """Return the products in the file. Raises ValueError if it holds anything else."""
    try:
        names = json.loads(file.read_text())["products"]
        if not all(is_product(name) for name in names):
            raise ValueError("names something else than products")
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{file}: cannot be read as a list of products ({error})") from None
    return names
