"""The reasons why the exchange gave no candles.

ExchangeError
├── RateLimited           the exchange kept answering 429
├── ProductNotFound       the exchange does not know the product
│   └── ProductRemoved    the product is removed; the lake has its candles
├── RequestRefused        the exchange refused the request
│   └── TradesNotOffered  the exchange knows the product, but does not answer its trades
├── InvalidAnswer         the answer is not as the documentation promises
│   └── GarbledAnswer     the answer was damaged on the way
└── ExchangeUnavailable   the exchange kept failing
    └── ExchangeUnreachable   no answer came back
"""

from coinbase_assets.environment.secrets import public


class ExchangeError(Exception):
    """The exchange gave no usable answer. The message is one line, without secrets."""

    def __init__(self, message: str) -> None:
        super().__init__(public(message))


class RateLimited(ExchangeError):
    """The exchange answered 429: this IP address sent too many requests.

    `retry_after` is the pause that the exchange asks for, in seconds.
    """

    def __init__(self, message: str, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ProductNotFound(ExchangeError):
    """The exchange does not know the product."""


class ProductRemoved(ProductNotFound):
    """The exchange has removed the product, whose earlier candles are in the lake."""


class RequestRefused(ExchangeError):
    """The exchange refused the request: an answer 400 to 499, except 404 and 429."""


class TradesNotOffered(RequestRefused):
    """The exchange knows the product, but does not answer its trades."""


class InvalidAnswer(ExchangeError):
    """The answer breaks a rule: it is not JSON, has another shape, or holds impossible values."""


class GarbledAnswer(InvalidAnswer):
    """The answer was damaged on the way: another request may give an intact answer."""


class ExchangeUnavailable(ExchangeError):
    """The exchange could not be reached, or answered with a server error."""


class ExchangeUnreachable(ExchangeUnavailable):
    """No answer came back: the host is unknown, refuses the connection, or took too long."""
