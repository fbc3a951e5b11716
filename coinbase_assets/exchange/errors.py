"""Why the exchange gave no candles.

ExchangeError
├── RateLimited           it kept answering 429
├── ProductNotFound       it does not know the product
├── InvalidAnswer         what it sent is not what its documentation promises
└── ExchangeUnavailable   it kept failing
    └── ExchangeUnreachable   no answer came back
"""


class ExchangeError(Exception):
    """The exchange gave no answer that can be used."""


class RateLimited(ExchangeError):
    """The exchange answered 429: more requests than it allows this address."""

    def __init__(self, message: str, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ProductNotFound(ExchangeError):
    """The exchange does not know the product."""


class InvalidAnswer(ExchangeError):
    """The answer breaks a rule: no JSON, another shape, or candles that cannot be."""


class ExchangeUnavailable(ExchangeError):
    """The exchange could not be reached, or failed on its side."""


class ExchangeUnreachable(ExchangeUnavailable):
    """No answer came back: no such host, no connection, or none in time."""
