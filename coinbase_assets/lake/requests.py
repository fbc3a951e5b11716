"""The arguments of readers, in any of the forms that people write. Pure: no I/O."""

from collections.abc import Sequence
from typing import get_args

from coinbase_assets.candles.filling import FILLS, Fill
from coinbase_assets.candles.series import CandleSeries, Series, parse_candle_series
from coinbase_assets.candles.table import SCHEMA
from coinbase_assets.lake.errors import InvalidRequest
from coinbase_assets.lake.frames import Library

Products = str | CandleSeries | Sequence[str | CandleSeries]
"""A product, a series such as `BTC-USD:1h`, or several of them."""

_FORMS = 'write "BTC-USD:1h", or "BTC-USD" and the granularity "1h"'


def parse_series(product: object, granularity: object = None) -> CandleSeries:
    """Return the series of a product and a granularity, or of a text such as `BTC-USD:1h`.

    Raises InvalidRequest.
    """
    if isinstance(product, CandleSeries) and granularity is None:
        return product
    if not isinstance(product, str):
        raise InvalidRequest(f"product={product!r}: not a product; {_FORMS}")
    if not isinstance(granularity, str | None):
        raise InvalidRequest(f"granularity={granularity!r}: not a granularity; {_FORMS}")
    if ":" in product and granularity is not None:
        raise InvalidRequest(
            f"granularity={granularity!r}: the series {product!r} has its granularity;"
            " write start= and end= for a time range"
        )
    if ":" not in product and granularity is None:
        raise InvalidRequest(f"product={product!r}: without a granularity; {_FORMS}")
    try:
        return parse_candle_series(product if granularity is None else f"{product}:{granularity}")
    except ValueError as error:
        raise InvalidRequest(str(error)) from None


def parse_several(products: Products, granularity: object = None) -> list[CandleSeries]:
    """Return the series of several products, all of one granularity. Raises InvalidRequest."""
    several = products if isinstance(products, Sequence) else [products]
    each = [products] if isinstance(products, str) else several
    series = [parse_series(product, granularity) for product in each]
    lengths = sorted({str(each.granularity) for each in series})
    if len(lengths) != 1:
        raise InvalidRequest(
            f"several granularities: {', '.join(lengths)}; read each in a call of its own"
            if lengths
            else f"no product; {_FORMS}"
        )
    return list(dict.fromkeys(series))


def collected(series: CandleSeries) -> Series:
    """Return the series itself if the exchange has its granularity. Raises InvalidRequest."""
    if isinstance(series, Series):
        return series
    raise InvalidRequest(f"{series}: rolled up, not collected; name the series that it is made of")


def check_columns(columns: Sequence[str] | None) -> list[str]:
    """Return the names of the columns, by default all. Raises InvalidRequest for unknown names."""
    if isinstance(columns, str):
        raise InvalidRequest(f'columns={columns!r}: write a list, such as ["time", {columns!r}]')
    names = SCHEMA.names if columns is None else list(columns)
    if unknown := [name for name in names if name not in SCHEMA.names]:
        raise InvalidRequest(
            f"no column {', '.join(map(str, unknown))}; there are {', '.join(SCHEMA.names)}"
        )
    return names


def check_fill(fill: Fill | None) -> Fill | None:
    """Return how buckets are filled. Raises InvalidRequest for another text."""
    if fill not in (None, *FILLS):
        raise InvalidRequest(f"fill={fill!r}: unknown; there are {', '.join(FILLS)}")
    return fill


def check_library(library: Library) -> None:
    """Raise InvalidRequest for a library that candles cannot be returned in."""
    if library not in get_args(Library):
        raise InvalidRequest(f"as_={library!r}: unknown; there are {', '.join(get_args(Library))}")
