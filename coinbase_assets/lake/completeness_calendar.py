"""The calendar of a picture: a cell per day in the colour of the day's worst state, by its share.

Pure: no I/O. It loads matplotlib, so import it only to draw.
"""

from collections.abc import Mapping
from datetime import date
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.patches import Patch

from coinbase_assets.candles.calendar import DAY
from coinbase_assets.candles.table import epoch_microseconds
from coinbase_assets.completeness.ledger import State
from coinbase_assets.lake.palette import (
    BACKGROUND,
    INK,
    MIXED_WITH,
    QUIET_SHADES,
    SHADES,
    STATE_COLOURS,
)

DAYS = 365

_RANKED = list(STATE_COLOURS)
_DAY_MICROSECONDS = 86_400_000_000


class Cell(NamedTuple):
    """A day's worst state, and the share of the day that is in it, above 0 and up to 1."""

    state: State
    share: float


Calendar = Mapping[date, Cell | None]
"""The cell of each day, ascending; None for days before the first ledger."""


def build_calendar(ledger: pa.Table, last: date) -> Calendar:
    """Return the cells of the DAYS days up to `last`, ascending.

    A day without ledger rows is NOT_COLLECTED, or None if it is before all rows.
    """
    first = last - (DAYS - 1) * DAY
    spent, begin = _time_in_states(ledger, first)
    cells: dict[date, Cell | None] = {}
    for number, times in enumerate(spent):
        present = np.flatnonzero(times)
        cell = Cell(State.NOT_COLLECTED, 1.0) if number >= begin else None
        if len(present):
            cell = Cell(_RANKED[present[-1]], float(times[present[-1]] / times.sum()))
        cells[first + number * DAY] = cell
    return cells


def _time_in_states(ledger: pa.Table, first: date) -> tuple[np.ndarray, int]:
    """Return the microseconds of each day in each state, and the number of the first day with any.

    The array has a row for each of the DAYS days from `first` on, and a column for each state.
    """
    origin = (first - date(1970, 1, 1)).days * _DAY_MICROSECONDS
    starts, ends = (epoch_microseconds(ledger[name]) - origin for name in ("start", "end"))
    rank = pc.index_in(ledger["state"], pa.array(_RANKED, pa.string())).to_numpy()
    spent = np.zeros((DAYS, len(_RANKED)))
    for number in range(DAYS):
        midnight = number * _DAY_MICROSECONDS
        inside = np.minimum(ends, midnight + _DAY_MICROSECONDS) - np.maximum(starts, midnight)
        np.add.at(spent[number], rank, inside.clip(0))
    return spent, int(starts.min(initial=DAYS * _DAY_MICROSECONDS)) // _DAY_MICROSECONDS


def shade(cell: Cell) -> tuple[float, float, float]:
    """Return the colour of a day, as red, green and blue from 0 to 1."""
    full = np.array(to_rgb(STATE_COLOURS[cell.state]))
    if cell.state not in MIXED_WITH:
        return tuple(full)
    shades = QUIET_SHADES if cell.state == State.NO_TRADES else SHADES
    part = next(part for most, part in shades.items() if cell.share <= most)
    return tuple(part * full + (1 - part) * np.array(to_rgb(MIXED_WITH[cell.state])))


def draw_calendar(axes: Axes, calendar: Calendar) -> None:
    """Draw a cell per day and a column per week, from Monday at the top to Sunday.

    Where there is no cell, the background shows.
    """
    first, last = min(calendar), max(calendar)
    cells = {day: cell for day, cell in calendar.items() if cell}
    days, colours = list(cells), list(map(shade, cells.values()))
    monday = first - first.weekday() * DAY
    weeks = [(day - monday).days // 7 for day in days]
    tops = [day.weekday() - 0.42 for day in days]
    axes.bar(weeks, 0.84, width=0.84, bottom=tops, color=colours)
    width = (last - monday).days // 7
    axes.set(xlim=(-0.6, width + 0.6), ylim=(6.6, -0.6), facecolor=BACKGROUND, aspect="equal")
    months = [(week, f"{day:%b}") for week, day in zip(weeks, days, strict=True) if day.day == 1]
    axes.set_xticks([week for week, _ in months], [name for _, name in months])
    axes.set_yticks([0, 2, 4, 6], ["Mon", "Wed", "Fri", "Sun"])
    axes.tick_params(length=0, labelsize=8, colors=INK)
    axes.spines[:].set_visible(False)
    begin = min(days, default=first)
    axes.set_title(f"Completeness, {begin} to {last}", loc="left", fontsize=9, color=INK)
    axes.set_title(
        "shades: up to 1 %, up to 10 %, or more of the day", loc="right", fontsize=8, color=INK
    )
    _add_legend(axes)


def _add_legend(axes: Axes) -> None:
    names = {state.value.replace("_", " "): colour for state, colour in STATE_COLOURS.items()}
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
