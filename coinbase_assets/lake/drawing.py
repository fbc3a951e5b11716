"""Pictures of a series: its candles with their volume, and a calendar of its ledger.

No Dagster, no I/O. It loads matplotlib, so it is imported only where something is drawn.
"""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from io import BytesIO
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
from matplotlib.figure import Figure
from matplotlib.gridspec import SubplotSpec
from matplotlib.patches import Patch

from coinbase_assets.candles.calendar import DAY
from coinbase_assets.candles.rollups import coarsen_candles
from coinbase_assets.candles.series import Series
from coinbase_assets.candles.table import SCHEMA, clip_candles, epoch_microseconds
from coinbase_assets.completeness.ledger import State

Calendar = Mapping[date, State | None]
"""The state of each day, None where it is before all ledgers."""

MOST_CANDLES = 240
CALENDAR_DAYS = 365
# An own background, so that the picture reads the same on a light and on a dark page.
BACKGROUND = "#fafbfc"
UP, DOWN = "#1f8a70", "#c8435a"
# From the best to the worst; a day has the colour of its worst bucket.
COLOURS: Final = {
    State.BEFORE_LISTING: "#c3c8cf",
    State.AFTER_DELISTING: "#959ca6",
    State.TRADED: "#2e8b57",
    State.NO_TRADES: "#9ad0a9",
    State.OPEN: "#6aaed6",
    State.NOT_COLLECTED: "#f2a33c",
    State.UNCONFIRMED: "#d62728",
}
NO_LEDGER = "#e6e9ed"

_INK, _GRID = "#3c434d", "#dfe3e8"
_RANKED = list(COLOURS)
_DAY_SECONDS = 86_400
_WEEK = 7 * _DAY_SECONDS
_STEPS = (60, 300, 900, 1_800, 3_600, 7_200, 14_400, 21_600, 43_200, _DAY_SECONDS, _WEEK)
_UNITS = ((_WEEK, "w"), (_DAY_SECONDS, "d"), (3_600, "h"), (60, "m"))


def drawn_step(series: Series, start: datetime, end: datetime) -> int:
    """The seconds of the candles drawn, so that at most MOST_CANDLES fit from start to end."""
    least = max(series.granularity.seconds, (end - start).total_seconds() / MOST_CANDLES)
    return next(
        (step for step in _STEPS if step >= least and step % series.granularity.seconds == 0),
        int(-(-least // _WEEK)) * _WEEK,
    )


def build_calendar(ledger: pa.Table, last: date) -> Calendar:
    """The worst state of each of the CALENDAR_DAYS days up to `last`, ascending.

    A day that no row tells of was not collected, or is None if it is before all rows.
    """
    first = last - (CALENDAR_DAYS - 1) * DAY
    begin = _days_after(first, ledger["start"])
    end = _days_after(first, ledger["end"], microseconds=-1)
    rank = pc.index_in(ledger["state"], pa.array(_RANKED, pa.string())).to_numpy()
    worst = np.full(CALENDAR_DAYS, -1)
    for after in range(int((end - begin).max(initial=-1)) + 1):
        day = begin + after
        inside = (day <= end) & (day >= 0) & (day < CALENDAR_DAYS)
        np.maximum.at(worst, day[inside], rank[inside])
    is_told = np.arange(CALENDAR_DAYS) >= begin.min(initial=CALENDAR_DAYS)
    worst[is_told & (worst < 0)] = _RANKED.index(State.NOT_COLLECTED)
    return {first + n * DAY: _RANKED[code] if code >= 0 else None for n, code in enumerate(worst)}


def _days_after(first: date, times: pa.ChunkedArray, microseconds: int = 0) -> np.ndarray:
    """The days from `first` to those that hold the times, moved by so many microseconds."""
    days = (epoch_microseconds(times) + microseconds) // (_DAY_SECONDS * 1_000_000)
    return days - (first - date(1970, 1, 1)).days


def draw_candles(
    candles: pa.Table,
    series: Series,
    start: datetime,
    end: datetime,
    calendar: Calendar | None = None,
) -> Figure:
    """Candlesticks and volume from `start` to before `end`, UTC; below them the calendar.

    If there are more than fit, they are summed up to coarser ones. Where there are no candles,
    nothing is drawn: the axis is time.
    """
    step = drawn_step(series, start, end)
    drawn = coarsen_candles(clip_candles(candles, start, end), step)
    figure = Figure(
        (10, 7.2 if calendar else 5.4), dpi=100, facecolor=BACKGROUND, layout="constrained"
    )
    ratios = (5, 1.4, 2.2) if calendar else (5, 1.4)
    price, volume, *rest = (figure.add_subplot(one) for one in _rows(figure, ratios))
    summed = f", summed up to {_name(step)}" if step > series.granularity.seconds else ""
    days = dict.fromkeys([str(start.date()), str((end - timedelta(microseconds=1)).date())])
    price.set_title(f"{series.product}, {series.granularity} candles{summed}", loc="left")
    price.set_title(f"{' to '.join(days)}, UTC", loc="right", fontsize=9)
    base, quote = series.product.split("-")
    _draw_prices(price, drawn, step)
    _draw_volumes(volume, drawn, step)
    for axes, label in ((price, quote), (volume, f"volume, {base}")):
        _style(axes, label, start, end)
    price.tick_params(labelbottom=False)
    for axes in rest:
        draw_calendar(axes, calendar or {})
    return figure


def draw_calendar(axes: Axes, calendar: Calendar) -> None:
    """A cell a day, a column a week from Monday on top to Sunday, in the colour of its state."""
    days = list(calendar)
    monday = days[0] - days[0].weekday() * DAY
    weeks = [(day - monday).days // 7 for day in days]
    colours = [COLOURS[state] if state else NO_LEDGER for state in calendar.values()]
    tops = [day.weekday() - 0.42 for day in days]
    axes.bar(weeks, 0.84, width=0.84, bottom=tops, color=colours)
    axes.set(xlim=(-0.6, weeks[-1] + 0.6), ylim=(6.6, -0.6), facecolor=BACKGROUND, aspect="equal")
    firsts = [(week, f"{day:%b}") for week, day in zip(weeks, days, strict=True) if day.day == 1]
    axes.set_xticks([week for week, _ in firsts], [name for _, name in firsts])
    axes.set_yticks([0, 2, 4, 6], ["Mon", "Wed", "Fri", "Sun"])
    axes.tick_params(length=0, labelsize=8, colors=_INK)
    axes.spines[:].set_visible(False)
    axes.set_title(f"Completeness, {days[0]} to {days[-1]}", loc="left", fontsize=9, color=_INK)
    names = [(colour, state.value.replace("_", " ")) for state, colour in COLOURS.items()]
    handles = [
        Patch(color=colour, label=name) for colour, name in [*names, (NO_LEDGER, "no ledger")]
    ]
    axes.legend(
        handles=handles,
        loc="upper center",
        bbox_to_anchor=(0.5, -0.12),
        ncols=len(handles),
        frameon=False,
        fontsize=8,
        labelcolor=_INK,
        handlelength=1,
        columnspacing=1.2,
    )


def render(figure: Figure, kind: str = "png") -> bytes:
    """The picture's file; `kind` is png, svg or pdf."""
    buffer = BytesIO()
    figure.savefig(buffer, format=kind)
    return buffer.getvalue()


def _rows(figure: Figure, ratios: tuple[float, ...]) -> list[SubplotSpec]:
    grid = figure.add_gridspec(len(ratios), 1, height_ratios=ratios)
    return [grid[row] for row in range(len(ratios))]


def _draw_prices(axes: Axes, drawn: pa.Table, step: int) -> None:
    open_, high, low, close = (drawn[name].to_numpy() for name in SCHEMA.names[1:5])
    middle, colours = _middles(drawn, step), _colours(drawn)
    axes.vlines(middle, low, high, colors=colours, linewidth=0.8)
    axes.bar(
        middle,
        np.abs(close - open_),
        _width(step),
        bottom=np.minimum(open_, close),
        color=colours,
        edgecolor=colours,
        linewidth=0.5,
    )
    if drawn.num_rows:
        # By itself the axis would fit the bodies, and cut off the wicks.
        margin = 0.04 * (high.max() - low.min()) or 0.01 * high.max() or 1.0
        axes.set_ylim(low.min() - margin, high.max() + margin)


def _draw_volumes(axes: Axes, drawn: pa.Table, step: int) -> None:
    heights = drawn["volume"].to_numpy()
    axes.bar(_middles(drawn, step), heights, _width(step), color=_colours(drawn), alpha=0.75)


def _middles(drawn: pa.Table, step: int) -> np.ndarray:
    """Where the candles stand on the axis, in days."""
    return epoch_microseconds(drawn["time"]) / 1e6 / _DAY_SECONDS + step / _DAY_SECONDS / 2


def _width(step: int) -> float:
    return 0.7 * step / _DAY_SECONDS


def _colours(drawn: pa.Table) -> list[str]:
    rising = drawn["close"].to_numpy() >= drawn["open"].to_numpy()
    return [UP if one else DOWN for one in rising]


def _style(axes: Axes, label: str, start: datetime, end: datetime) -> None:
    locator = AutoDateLocator(UTC)
    axes.xaxis_date(UTC)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator, UTC))
    axes.set(xlim=date2num([start, end]), facecolor=BACKGROUND)
    axes.set_ylabel(label, color=_INK, fontsize=9)
    axes.tick_params(colors=_INK, labelsize=8)
    axes.grid(color=_GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(_GRID)
    axes.title.set_color(_INK)


def _name(seconds: int) -> str:
    size, unit = next((size, unit) for size, unit in _UNITS if seconds % size == 0)
    return f"{seconds // size}{unit}"
