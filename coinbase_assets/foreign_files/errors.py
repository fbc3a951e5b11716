"""The error of the readers of files that other programs wrote."""


class CandleFileError(Exception):
    """A file of candles cannot be read. The message names the value, the rule and the remedy."""
