"""How many requests a run may send beyond those for its candles. Pure: no I/O."""

from dataclasses import dataclass, field
from threading import Lock

SHARE = 0.15
HEALING_A_DAY = 100
# A run of a single day has five requests of its own at most, and may need more than one to mend.
LEAST = 20


@dataclass
class Allowance:
    """At most `total` extra requests of a run."""

    total: int
    spent: int = 0
    _lock: Lock = field(default_factory=Lock, repr=False)

    @classmethod
    def of_collection(cls, own: int) -> "Allowance":
        """Return that of a run with so many requests for candles: a share of them."""
        return cls(max(LEAST, int(SHARE * own)))

    @classmethod
    def of_healing(cls, days: int) -> "Allowance":
        """Return that of a run that is there to mend so many days."""
        return cls(HEALING_A_DAY * days)

    def take(self, requests: int = 1) -> bool:
        """Return whether so many requests are left, and count them as spent if they are."""
        with self._lock:
            if self.spent + requests > self.total:
                return False
            self.spent += requests
            return True
