"""What the page of a run says that failed because of the exchange."""

from collections.abc import Iterator
from contextlib import contextmanager

from coinbase_assets.dagster_instance.failures import failure_of
from coinbase_assets.exchange.errors import (
    ExchangeError,
    ExchangeUnavailable,
    ExchangeUnreachable,
    ProductNotFound,
    ProductRemoved,
    RateLimited,
    RequestRefused,
)

# The remedy of the first class that fits. ProductRemoved names its own.
_REMEDIES = {
    ProductRemoved: "",
    ProductNotFound: "correct COINBASE_SERIES",
    RateLimited: "lower COINBASE_REQUESTS_PER_SECOND, or stop what else asks from this address",
    ExchangeUnreachable: "check the network, HTTPS_PROXY and COINBASE_API_URL",
    ExchangeUnavailable: "launch the run again when the exchange works; stored days are kept",
}
_OTHER = "launch the run again; stored days are kept"
_LASTING = (ProductNotFound, RequestRefused)


@contextmanager
def exchange_failures(asked: str, url: str) -> Iterator[None]:
    """Raise a dg.Failure in place of an ExchangeError; `asked` says what the run asked `url`."""
    try:
        yield
    except ExchangeError as error:
        fitting = (text for kind, text in _REMEDIES.items() if isinstance(error, kind))
        is_lasting = isinstance(error, _LASTING)
        remedy = next(fitting, _OTHER)
        raise failure_of(
            "Exchange", error, remedy, is_lasting=is_lasting, asked=asked, exchange=url
        ) from error
