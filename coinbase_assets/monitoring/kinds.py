"""The kinds of problems that alerts report, and the words for them."""

from enum import StrEnum


class Kind(StrEnum):
    """A kind of problem. A subject has at most one incident of each kind at a time."""

    STALE = "stale"
    INCOMPLETE = "incomplete"
    CHANGED = "changed"
    INVALID = "invalid"
    RUN_FAILED = "run_failed"
    NOT_COLLECTED = "not_collected"
    DELISTED = "delisted"

    @property
    def is_news(self) -> bool:
        """Whether this is a fact to know of, rather than something to mend."""
        return self == Kind.DELISTED


# What is wrong, as the title of a message has it.
TROUBLE = {
    Kind.STALE: "no recent candles",
    Kind.INCOMPLETE: "unexplained holes",
    Kind.CHANGED: "the exchange changed closed candles",
    Kind.INVALID: "a check fails",
    Kind.RUN_FAILED: "a run failed",
    Kind.NOT_COLLECTED: "days are not collected",
    Kind.DELISTED: "delisted by the exchange",
}

# What is right again when the problem is over.
RECOVERY = {
    Kind.STALE: "recent candles arrive again",
    Kind.INCOMPLETE: "every hole is explained",
    Kind.CHANGED: "the stored candles are those of the newest answers",
    Kind.INVALID: "the check passes again",
    Kind.RUN_FAILED: "what the failed run left out is stored",
    Kind.NOT_COLLECTED: "all days since COINBASE_START are collected",
    Kind.DELISTED: "the exchange lists it again",
}

# The kinds of the problems that failed checks report; those of other checks are INVALID.
OF_CHECKS = {
    "answers_are_recent": Kind.STALE,
    "latest_candle_is_recent": Kind.STALE,
    "every_hole_is_explained": Kind.INCOMPLETE,
    "closed_candles_do_not_change": Kind.CHANGED,
}
