"""How many requests a run may send beyond those for its candles. Pure: no I/O."""

from dataclasses import dataclass, field
from threading import Lock

SHARE = 0.15
# A run of a single day has five requests of its own at most, and may need more than one to mend.
LEAST = 20


@dataclass
class Allowance:
    """The extra requests of a run that sends `own` requests for candles: a share, at least LEAST.

    `own` is None for a run without a limit.
    """

    own: int | None
    spent: int = 0
    _lock: Lock = field(default_factory=Lock, repr=False)

    @property
    def total(self) -> float:
        return float("inf") if self.own is None else max(LEAST, int(SHARE * self.own))

    def take(self, requests: int = 1) -> bool:
        """Return whether so many requests are left, and count them as spent if they are."""
        with self._lock:
            if self.spent + requests > self.total:
                return False
            self.spent += requests
            return True
