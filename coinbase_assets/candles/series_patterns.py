"""Series as people type them: in lists, with wildcards, in lower case. Pure: no I/O."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase

from coinbase_assets.candles.series import Granularity, Series, is_product
from coinbase_assets.plain_text import quoted

_WILDCARDS = re.compile(r"[*?]")
_PRODUCT = re.compile(r"[A-Z0-9*?-]{1,80}")
_FORM = "write PRODUCT:GRANULARITY, for example ETH-EUR:15m, or 'ETH-*:1h,1d'"
_MOST_NAMED = 3


@dataclass(frozen=True)
class SeriesPattern:
    """A product, perhaps with the wildcards `*` and `?`, at a granularity."""

    product: str
    granularity: Granularity

    @property
    def has_wildcard(self) -> bool:
        return _WILDCARDS.search(self.product) is not None

    def __str__(self) -> str:
        return f"{self.product}:{self.granularity}"


def parse_patterns(texts: Iterable[str]) -> list[SeriesPattern]:
    """Return the patterns in texts such as `BTC-USD:1m` or `ETH-*:1h,5m,BTC-EUR:1d`.

    A granularity without a product belongs to the product before it. Letters may be of either case.
    Raises ValueError with the value and the rule.
    """
    found = list[SeriesPattern]()
    for text in texts:
        product = ""
        for part in filter(None, map(str.strip, text.split(","))):
            name, colon, granularity = part.rpartition(":")
            product = name.upper() if colon else product
            found.append(_pattern(part, product, granularity))
    return list(dict.fromkeys(found))


def _pattern(part: str, product: str, granularity: str) -> SeriesPattern:
    if not product:
        raise ValueError(f"{quoted(part)}: without a granularity; {_FORM}")
    if not _PRODUCT.fullmatch(product):
        raise ValueError(f"{quoted(part)}: {quoted(product)} is not a product; {_FORM}")
    # Elsewhere, 1M is a month.
    length = granularity if granularity.endswith("M") else granularity.lower()
    if not _WILDCARDS.search(product) and not is_product(product):
        raise ValueError(f"{quoted(part)}: {quoted(product)} is not a product; {_FORM}")
    if length not in set(Granularity):
        raise ValueError(
            f"{quoted(part)}: unknown granularity {quoted(granularity)};"
            f" allowed are {' '.join(Granularity)}"
        )
    return SeriesPattern(product, Granularity(length))


def expand(
    patterns: Iterable[SeriesPattern], products: Callable[[], Sequence[str]]
) -> list[Series]:
    """Return the series, each once; those of a wildcard in the order of `products`.

    `products` is called if there is a wildcard. Raises ValueError if a wildcard matches nothing.
    """
    found = list[Series]()
    for pattern in patterns:
        if not pattern.has_wildcard:
            found.append(Series(pattern.product, pattern.granularity))
            continue
        matches = [name for name in products() if fnmatchcase(name, pattern.product)]
        if not matches:
            raise ValueError(f"{pattern}: no product matches; {_like(pattern, products())}")
        found += [Series(name, pattern.granularity) for name in matches]
    return list(dict.fromkeys(found))


def without(series: Iterable[Series], excluded: Iterable[str]) -> list[Series]:
    """Return the series that match none of these products or series, such as `*-BTC`, `*:1m`.

    Raises ValueError for a pattern that matches nothing.
    """
    left = list(series)
    for pattern in (part.strip() for text in excluded for part in text.split(",")):
        kept = [each for each in left if not _matches(each, pattern.upper())]
        if len(kept) == len(left):
            raise ValueError(f"{quoted(pattern)}: matches none of the series")
        left = kept
    return left


def _matches(series: Series, pattern: str) -> bool:
    name = str(series) if ":" in pattern else series.product
    return fnmatchcase(name.upper(), pattern)


def _like(pattern: SeriesPattern, products: Sequence[str]) -> str:
    """Name products that are like the pattern."""
    plain = _WILDCARDS.sub("", pattern.product)
    close = get_close_matches(plain, products, _MOST_NAMED, cutoff=0.5) or products[:_MOST_NAMED]
    return f"there are {', '.join(close)}, ..." if close else "there are none"
