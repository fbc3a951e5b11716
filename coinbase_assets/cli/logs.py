"""How the commands log and warn: in plain lines on standard error."""

import logging

import coinbase_assets
from coinbase_assets.environment.secrets import public_lines

_LEVELS = {
    "azure": logging.ERROR,
    "dagster": logging.ERROR,
    "matplotlib": logging.ERROR,
    "coinbase_assets.storage.azurite_program": logging.INFO,
}


class PlainFormatter(logging.Formatter):
    """Formats records, and exceptions, as `public_lines` returns them."""

    def format(self, record: logging.LogRecord) -> str:
        return public_lines(super().format(record))


def log_everything() -> None:
    """Log what this package does, with the time, for `--verbose`."""
    logging.getLogger(coinbase_assets.__name__).setLevel(logging.DEBUG)
    for handler in logging.getLogger().handlers:
        handler.setFormatter(PlainFormatter("%(asctime)s %(name)s: %(message)s"))


def prepare_logging() -> None:
    """Log to standard error, warnings of Python included."""
    handler = logging.StreamHandler()
    handler.setFormatter(PlainFormatter())
    logging.basicConfig(handlers=[handler])
    logging.captureWarnings(True)
    for name, level in _LEVELS.items():
        logging.getLogger(name).setLevel(level)
