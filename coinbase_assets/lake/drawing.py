"""Pictures of a series: candlesticks with their volume, and below them the calendar.

Pure: no I/O. It loads matplotlib, so import it only to draw.
"""

from datetime import UTC, datetime, timedelta
from io import BytesIO

import numpy as np
import pyarrow as pa
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
from matplotlib.figure import Figure

from coinbase_assets.candles.rollups import MONDAY, coarsen_candles
from coinbase_assets.candles.series import Series
from coinbase_assets.candles.table import SCHEMA, clip_candles, epoch_microseconds
from coinbase_assets.lake.completeness_calendar import Calendar, draw_calendar
from coinbase_assets.lake.palette import BACKGROUND, DOWN, GRID, INK, UP

MOST_CANDLES = 240

_DAY_SECONDS = 86_400
_WEEK = 7 * _DAY_SECONDS
_STEPS = (60, 300, 900, 1_800, 3_600, 7_200, 14_400, 21_600, 43_200, _DAY_SECONDS, _WEEK)
# Labels by the distance of ticks: years, months, days, hours, minutes, seconds. Each label says
# all, because the note at the axis' end would name the day after the last.
_TICKS = ("%Y", "%b %Y", "%-d %b", "%H:%M", "%H:%M", "%H:%M:%S")
_FIRST_TICKS = ("%Y", "%b %Y", "%-d %b", "%-d %b", "%H:%M", "%H:%M")
_UNITS = ((_WEEK, "w"), (_DAY_SECONDS, "d"), (3_600, "h"), (60, "m"))


def drawn_step(series: Series, start: datetime, end: datetime) -> int:
    """Return the seconds of the candles to draw: the shortest that need at most MOST_CANDLES."""
    least = max(series.granularity.seconds, (end - start).total_seconds() / MOST_CANDLES)
    return next(
        (step for step in _STEPS if step >= least and step % series.granularity.seconds == 0),
        int(-(-least // _WEEK)) * _WEEK,
    )


def whole_buckets(start: datetime, end: datetime, step: int) -> tuple[datetime, datetime]:
    """Return the start of the bucket that holds `start`, and the end of the last before `end`."""
    first = (start.timestamp() - MONDAY) // step * step + MONDAY
    last = -((MONDAY - end.timestamp()) // step) * step + MONDAY
    return datetime.fromtimestamp(first, UTC), datetime.fromtimestamp(last, UTC)


def draw_candles(
    candles: pa.Table,
    series: Series,
    start: datetime,
    end: datetime,
    calendar: Calendar | None = None,
    step: int | None = None,
) -> Figure:
    """Draw candlesticks and volume from `start` until `end`, UTC, and the calendar below.

    The candles drawn have `step` seconds, by default what `drawn_step` returns. The axis is time,
    so that missing candles leave gaps. It ends with the last candle's bucket, that may end later.
    """
    step = step or drawn_step(series, start, end)
    first, last = whole_buckets(start, end, step)
    drawn = coarsen_candles(clip_candles(candles, first, last), step)
    figure = _new_figure(with_calendar=bool(calendar))
    price, volume, *below = figure.axes
    _add_titles(price, series, start, end, step)
    _draw_prices(price, drawn, step)
    _draw_volumes(volume, drawn, step)
    base, quote = series.product.split("-")
    for axes, label in ((price, quote), (volume, f"volume, {base}")):
        _style(axes, label, first, last)
    price.tick_params(labelbottom=False)
    for axes in below:
        draw_calendar(axes, calendar or {})
    return figure


def render(figure: Figure, kind: str = "png") -> bytes:
    """Return the picture's file; `kind` is png, svg or pdf."""
    buffer = BytesIO()
    figure.savefig(buffer, format=kind)
    return buffer.getvalue()


def _new_figure(with_calendar: bool) -> Figure:
    """Return a figure with panels for the prices, the volume and, if wanted, the calendar."""
    ratios = (5, 1.4, 2.2) if with_calendar else (5, 1.4)
    size = (10, 7.2 if with_calendar else 5.4)
    figure = Figure(size, dpi=100, facecolor=BACKGROUND, layout="constrained")
    grid = figure.add_gridspec(len(ratios), 1, height_ratios=ratios)
    for row in range(len(ratios)):
        figure.add_subplot(grid[row])
    return figure


def _add_titles(axes: Axes, series: Series, start: datetime, end: datetime, step: int) -> None:
    summed = f", summed up to {_name(step)}" if step > series.granularity.seconds else ""
    days = dict.fromkeys([str(start.date()), str((end - timedelta(microseconds=1)).date())])
    axes.set_title(f"{series.product}, {series.granularity} candles{summed}", loc="left")
    axes.set_title(f"{' to '.join(days)}, UTC", loc="right", fontsize=9)


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
        # matplotlib would fit the axis to the bodies and cut off the wicks.
        margin = 0.04 * (high.max() - low.min()) or 0.01 * high.max() or 1.0
        axes.set_ylim(low.min() - margin, high.max() + margin)


def _draw_volumes(axes: Axes, drawn: pa.Table, step: int) -> None:
    heights = drawn["volume"].to_numpy()
    axes.bar(_middles(drawn, step), heights, _width(step), color=_colours(drawn), alpha=0.75)


def _middles(drawn: pa.Table, step: int) -> np.ndarray:
    """Return the middles of the candles' buckets, in days since 1970, the unit of the axis."""
    return epoch_microseconds(drawn["time"]) / 1e6 / _DAY_SECONDS + step / _DAY_SECONDS / 2


def _width(step: int) -> float:
    return 0.7 * step / _DAY_SECONDS


def _colours(drawn: pa.Table) -> list[str]:
    rising = drawn["close"].to_numpy() >= drawn["open"].to_numpy()
    return [UP if is_rising else DOWN for is_rising in rising]


def _style(axes: Axes, label: str, start: datetime, end: datetime) -> None:
    locator = AutoDateLocator(UTC)
    axes.xaxis_date(UTC)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(
        ConciseDateFormatter(locator, UTC, _TICKS, zero_formats=_FIRST_TICKS, show_offset=False)
    )
    axes.set(xlim=date2num([start, end]), facecolor=BACKGROUND)
    axes.set_ylabel(label, color=INK, fontsize=9)
    axes.tick_params(colors=INK, labelsize=8)
    axes.grid(color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(GRID)
    axes.title.set_color(INK)


def _name(seconds: int) -> str:
    """Return the name of a granularity of so many seconds: 4h for 14,400."""
    size, unit = next((size, unit) for size, unit in _UNITS if seconds % size == 0)
    return f"{seconds // size}{unit}"
