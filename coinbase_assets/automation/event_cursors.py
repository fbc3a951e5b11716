"""Where a sensor is in Dagster's event log, if events with smaller ids may appear later.

PostgreSQL gives an event its id before the event can be read, so one with a smaller id may appear
after one with a greater id.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass

# An event is written by one statement, which takes far less.
SECONDS_TO_APPEAR = 60


@dataclass(frozen=True)
class EventCursor:
    """The storage ids that a sensor has handled: all up to `settled`, and those in `handled`.

    `settled` becomes `coming`, an id that existed at the time `since`, when events before it have
    had the time to appear. `newest` is the newest id known. `handled` has ranges of ids, both ends
    inclusive. `rows` is a digest of the assets' rows: each has the id of the event that was written
    last, also of one that appears late.
    """

    settled: int = 0
    coming: int = 0
    since: float = 0
    newest: int = 0
    handled: Sequence[Sequence[int]] = ()
    rows: str = ""

    @classmethod
    def parse(cls, text: str | None) -> "EventCursor":
        """Return the cursor in a text. A number alone is an id up to which all was handled."""
        value = json.loads(text or "0")
        return cls(value, value, newest=value) if isinstance(value, int) else cls(*value)

    def __str__(self) -> str:
        return json.dumps(astuple(self))

    def has_handled(self, storage_id: int) -> bool:
        ranges = self.handled
        return storage_id <= self.settled or any(a <= storage_id <= b for a, b in ranges)

    def after(
        self, storage_ids: Iterable[int], newest: int, rows: str, now: float
    ) -> "EventCursor":
        """Return the cursor after these ids were handled. `newest` is the newest id that exists."""
        kept = {each for first, last in self.handled for each in range(first, last + 1)}
        kept.update(storage_ids)
        newest = max(newest, self.newest)
        settled, coming, since = self.settled, self.coming, self.since
        if now - since >= SECONDS_TO_APPEAR:
            settled, coming, since = coming, newest, now
        handled = _ranges(each for each in kept if each > settled)
        return EventCursor(settled, coming, since, newest, handled, rows)


def _ranges(numbers: Iterable[int]) -> list[list[int]]:
    """Return the ranges of adjoining numbers, ascending."""
    ranges = list[list[int]]()
    for number in sorted(numbers):
        if ranges and ranges[-1][1] == number - 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return ranges
