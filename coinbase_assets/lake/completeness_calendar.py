"""The calendar of a picture: a cell per day in the colour of the day's worst state.

Pure: no I/O. It loads matplotlib, so import it only to draw.
"""

from collections.abc import Mapping
from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from matplotlib.axes import Axes
from matplotlib.patches import Patch

from coinbase_assets.candles.calendar import DAY
from coinbase_assets.candles.table import epoch_microseconds
from coinbase_assets.completeness.ledger import State
from coinbase_assets.lake.palette import BACKGROUND, INK, NO_LEDGER, STATE_COLOURS

Calendar = Mapping[date, State | None]
"""The worst state of each day, ascending; None for days before the first ledger."""

DAYS = 365

_RANKED = list(STATE_COLOURS)
_DAY_MICROSECONDS = 86_400_000_000


def build_calendar(ledger: pa.Table, last: date) -> Calendar:
    """Return the worst state of each of the DAYS days up to `last`, ascending.

    A day without ledger rows is NOT_COLLECTED, or None if it is before all rows.
    """
    first = last - (DAYS - 1) * DAY
    begin = _days_after(first, ledger["start"])
    end = _days_after(first, ledger["end"], microseconds=-1)
    rank = pc.index_in(ledger["state"], pa.array(_RANKED, pa.string())).to_numpy()
    worst = np.full(DAYS, -1)
    for after in range(int((end - begin).max(initial=-1)) + 1):
        day = begin + after
        inside = (day <= end) & (day >= 0) & (day < DAYS)
        np.maximum.at(worst, day[inside], rank[inside])
    is_covered = np.arange(DAYS) >= begin.min(initial=DAYS)
    worst[is_covered & (worst < 0)] = _RANKED.index(State.NOT_COLLECTED)
    return {first + n * DAY: _RANKED[rank] if rank >= 0 else None for n, rank in enumerate(worst)}


def _days_after(first: date, times: pa.ChunkedArray, microseconds: int = 0) -> np.ndarray:
    """Return how many days after `first` each time is, shifted by `microseconds`."""
    days = (epoch_microseconds(times) + microseconds) // _DAY_MICROSECONDS
    return days - (first - date(1970, 1, 1)).days


def draw_calendar(axes: Axes, calendar: Calendar) -> None:
    """Draw a cell per day and a column per week, from Monday at the top to Sunday."""
    days = list(calendar)
    monday = days[0] - days[0].weekday() * DAY
    weeks = [(day - monday).days // 7 for day in days]
    colours = [STATE_COLOURS[state] if state else NO_LEDGER for state in calendar.values()]
    tops = [day.weekday() - 0.42 for day in days]
    axes.bar(weeks, 0.84, width=0.84, bottom=tops, color=colours)
    axes.set(xlim=(-0.6, weeks[-1] + 0.6), ylim=(6.6, -0.6), facecolor=BACKGROUND, aspect="equal")
    months = [(week, f"{day:%b}") for week, day in zip(weeks, days, strict=True) if day.day == 1]
    axes.set_xticks([week for week, _ in months], [name for _, name in months])
    axes.set_yticks([0, 2, 4, 6], ["Mon", "Wed", "Fri", "Sun"])
    axes.tick_params(length=0, labelsize=8, colors=INK)
    axes.spines[:].set_visible(False)
    axes.set_title(f"Completeness, {days[0]} to {days[-1]}", loc="left", fontsize=9, color=INK)
    _add_legend(axes)


def _add_legend(axes: Axes) -> None:
    names = {state.value.replace("_", " "): colour for state, colour in STATE_COLOURS.items()}
    names["no ledger"] = NO_LEDGER
    axes.legend(
        handles=[Patch(color=colour, label=name) for name, colour in names.items()],
        loc="upper center",
        bbox_to_anchor=(0.5, -0.12),
        ncols=len(names),
        frameon=False,
        fontsize=8,
        labelcolor=INK,
        handlelength=1,
        columnspacing=1.2,
    )
