"""Pictures, checked by their decoded pixels, and the chart asset, drawn by Dagster."""

import base64
import io
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import numpy as np
import pyarrow as pa
import pytest
from azure.storage.blob import BlobServiceClient
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from coinbase_assets.candles.calendar import month_of
from coinbase_assets.candles.datasets import CANDLE_CHART, CANDLE_COVERAGE, CANDLE_HISTORY, Dataset
from coinbase_assets.candles.days import first_and_last
from coinbase_assets.candles.rollups import coarsen_candles
from coinbase_assets.candles.series import Granularity, Series
from coinbase_assets.cli.main import main
from coinbase_assets.completeness.ledger import COVERAGE_SCHEMA, State
from coinbase_assets.dagster_instance.deployment import SILENT
from coinbase_assets.dagster_instance.run_tags import range_tags
from coinbase_assets.lake.charts import draw_days
from coinbase_assets.lake.completeness_calendar import Cell, build_calendar, shade
from coinbase_assets.lake.drawing import draw_candles, drawn_step, render
from coinbase_assets.lake.palette import BACKGROUND, DOWN, STATE_COLOURS, UP
from coinbase_assets.settings import Settings
from coinbase_assets.storage.parquet_store import ParquetStore
from coinbase_assets.table_metadata import with_fields
from coinbase_assets_tests.running import asset_job, collect_raw, partition_metadata, settings_for
from coinbase_assets_tests.stand_in.exchange import StandInExchange
from coinbase_assets_tests.stand_in.tables import candle_table

SERIES = Series("ETH-EUR", Granularity.ONE_HOUR)
# A Monday.
START = datetime(2024, 1, 1, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
PATH = "candle_chart/product=ETH-EUR/granularity=1h/chart.png"


def hourly(hours: Sequence[int]) -> pa.Table:
    """Candles, rising and falling in turn, in these hours from START."""
    first, last = [10.0, 13.0], [13.0, 10.0]
    return candle_table(
        [START + n * HOUR for n in hours],
        open=[first[n % 2] for n in hours],
        high=14.0,
        low=9.0,
        close=[last[n % 2] for n in hours],
        volume=5.0,
    )


def ledger_of(*rows: tuple[datetime, datetime, State]) -> pa.Table:
    columns = [list(column) for column in zip(*rows, strict=True)]
    start, end, states = columns or ([], [], [])
    buckets = [(b - a) // HOUR for a, b in zip(start, end, strict=True)]
    return pa.table([start, end, buckets, states, [""] * len(rows)], COVERAGE_SCHEMA)


def pixels(picture: bytes) -> np.ndarray:
    """Return the picture as an array: rows from the top, columns, and red, green, blue."""
    with Image.open(io.BytesIO(picture)) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def has_colour(rgb: np.ndarray, colour: str) -> np.ndarray:
    wanted = np.round(np.array(to_rgb(colour)) * 255)
    return np.abs(rgb - wanted).max(axis=-1) <= 2


def pixel_of(figure: Figure, panel: int, x: float, y: float) -> tuple[int, int]:
    """Return the row and the column of a point that is given in the units of a panel's axes."""
    across, up = figure.axes[panel].transData.transform((x, y))
    return int(figure.bbox.height - up), int(across)


# Candles


def test_coarsen_sums_up_buckets() -> None:
    candles = candle_table(
        [START + n * HOUR for n in (1, 2, 3, 9)],
        open=[5.0, 6.0, 3.0, 7.0],
        high=[8.0, 7.0, 9.0, 7.0],
        low=[4.0, 2.0, 3.0, 7.0],
        close=[6.0, 3.0, 7.0, 7.0],
        volume=[1.5, 2.5, 1.0, 0.25],
    )
    assert coarsen_candles(candles, 4 * 3600) == candle_table(
        [START, START + 8 * HOUR],
        open=[5.0, 7.0],
        high=[9.0, 7.0],
        low=[2.0, 7.0],
        close=[7.0, 7.0],
        volume=[5.0, 0.25],
    )
    assert coarsen_candles(candles, 3600) == candles
    assert coarsen_candles(candles.slice(0, 0), 3600) == candles.slice(0, 0)


@pytest.mark.parametrize("seconds", [7200, 14_400, 86_400, 7 * 86_400])
def test_coarsen_in_parts_equals_at_once(seconds: int) -> None:
    candles = hourly([n for n in range(500) if n % 7])
    parts = [coarsen_candles(candles.slice(n, 97), seconds) for n in range(0, 500, 97)]
    whole = coarsen_candles(candles, seconds)
    assert coarsen_candles(pa.concat_tables(parts), seconds) == whole
    assert whole["time"].to_pylist()[0] == START


@pytest.mark.parametrize(
    ("granularity", "days", "step"),
    [
        ("1m", 0.1, 60),
        ("1m", 1, 900),
        ("15m", 1, 900),
        ("15m", 30, 14_400),
        ("1h", 10, 3600),
        ("6h", 61, 43_200),
        ("1d", 240, 86_400),
        ("1d", 241, 7 * 86_400),
        ("1m", 365 * 10, 21 * 86_400),
    ],
)
def test_drawn_step_fits_candles(granularity: str, days: float, step: int) -> None:
    series = Series("ETH-EUR", Granularity(granularity))
    assert drawn_step(series, START, START + days * DAY) == step


def test_draw_candles_coarsens_long_range() -> None:
    month = draw_candles(hourly(range(31 * 24)), SERIES, START, START + 31 * DAY)
    assert len(month.axes[1].patches) == 31 * 6
    assert "summed up to 4h" in month.axes[0].get_title("left")
    day = draw_candles(hourly(range(31 * 24)), SERIES, START, START + DAY)
    assert len(day.axes[1].patches) == 24
    assert day.axes[0].get_title("left") == "ETH-EUR, 1h candles"


def test_draw_candles_first_and_last_are_whole() -> None:
    """A range from a Wednesday until a Tuesday, in weekly candles."""
    start, end = START + 2 * DAY, START + 50 * DAY
    candles = hourly(range(60 * 24))
    figure = draw_candles(candles, SERIES, start, end, step=7 * 86_400)
    left, right = figure.axes[1].get_xlim()
    assert (left, right) == (START.timestamp() / 86_400, START.timestamp() / 86_400 + 56)
    heights = [
        bar.get_bbox().height for bar in figure.axes[1].patches if isinstance(bar, Rectangle)
    ]
    assert heights == [5.0 * 24 * 7] * 8
    assert "2024-01-03 to 2024-02-19" in figure.axes[0].get_title("right")


@pytest.mark.parametrize(
    ("days", "first", "last"),
    [(1, "1 Jan", "2 Jan"), (30, "1 Jan", "29 Jan"), (200, "Jan 2024", "Jul 2024")],
)
def test_draw_candles_ticks_name_their_days(days: int, first: str, last: str) -> None:
    figure = draw_candles(hourly(range(24 * days)), SERIES, START, START + days * DAY)
    render(figure)
    axis = figure.axes[1].xaxis
    labels = [label.get_text() for label in axis.get_ticklabels()]
    assert (labels[0], labels[-1]) == (first, last)
    assert axis.get_offset_text().get_text() == ""


def test_draw_candles_leaves_gaps() -> None:
    traded = [n for n in range(24) if not 6 <= n < 18]
    figure = draw_candles(hourly(traded), SERIES, START, START + DAY)
    rgb = pixels(render(figure))
    top, bottom = (pixel_of(figure, 0, 0, price)[0] for price in (14, 9))
    is_candle = has_colour(rgb, UP) | has_colour(rgb, DOWN)
    midnight = START.timestamp() / 86_400
    for hour in range(24):
        edges = [pixel_of(figure, 0, midnight + (hour + part) / 24, 9)[1] for part in (0.1, 0.9)]
        drawn = is_candle[top:bottom, edges[0] : edges[1]].any()
        assert drawn == (hour in traded), hour


def test_draw_candles_body_wicks_and_colour() -> None:
    figure = draw_candles(hourly([6, 13]), SERIES, START, START + DAY)
    rgb = pixels(render(figure))
    midnight = START.timestamp() / 86_400
    for hour, colour in ((6, UP), (13, DOWN)):
        for price, beside, drawn in ((11.5, 0.2, True), (9.5, 0.2, False), (13.5, 0.2, False)):
            at = pixel_of(figure, 0, midnight + (hour + 0.5 + beside) / 24, price)
            assert has_colour(rgb[at], colour) == drawn, (hour, price)
        for price in (9.3, 13.7):
            row, column = pixel_of(figure, 0, midnight + (hour + 0.5) / 24, price)
            wick = rgb[row, column - 2 : column + 3].min(axis=0)
            assert np.abs(wick - np.round(np.array(to_rgb(BACKGROUND)) * 255)).max() > 40


@pytest.mark.soak
def test_render_is_opaque_and_small() -> None:
    states = [(START - n * DAY, START - (n - 1) * DAY, State.TRADED) for n in range(300)]
    calendar = build_calendar(ledger_of(*states), date(2024, 1, 30))
    picture = render(draw_candles(hourly(range(240)), SERIES, START, START + 10 * DAY, calendar))
    assert len(picture) < 150_000
    with Image.open(io.BytesIO(picture)) as image:
        assert image.format == "PNG"
        assert np.asarray(image.convert("RGBA"))[..., 3].min() == 255
    rgb = pixels(picture)
    for colour in (UP, DOWN, STATE_COLOURS[State.TRADED]):
        assert has_colour(rgb, colour).sum() > 100, colour
    assert has_colour(rgb, BACKGROUND).mean() > 0.4


@pytest.mark.parametrize(
    ("kind", "begin"), [("svg", b"<?xml"), ("pdf", b"%PDF"), ("png", b"\x89P")]
)
def test_render_kinds(kind: str, begin: bytes) -> None:
    figure = draw_candles(hourly([1]), SERIES, START, START + DAY)
    assert render(figure, kind).startswith(begin)


# The calendar


def test_calendar_day_has_worst_state_and_its_share() -> None:
    """Days 0 to 5: listed, a hole, unconfirmed, no ledger rows, and two that hold open buckets."""
    ledger = ledger_of(
        (START - 40 * DAY, START + 5 * HOUR, State.BEFORE_LISTING),
        (START + 5 * HOUR, START + DAY + 3 * HOUR, State.TRADED),
        (START + DAY + 3 * HOUR, START + DAY + 4 * HOUR, State.NO_TRADES),
        (START + DAY + 4 * HOUR, START + 2 * DAY, State.TRADED),
        (START + 2 * DAY, START + 2 * DAY + HOUR, State.NOT_COLLECTED),
        (START + 2 * DAY + HOUR, START + 2 * DAY + 2 * HOUR, State.UNCONFIRMED),
        (START + 2 * DAY + 2 * HOUR, START + 3 * DAY, State.TRADED),
        (START + 4 * DAY, START + 4 * DAY + HOUR, State.TRADED),
        (START + 4 * DAY + HOUR, START + 31 * DAY, State.OPEN),
    )
    last = (START + 5 * DAY).date()
    calendar = build_calendar(ledger, last)
    assert list(calendar) == [last - n * DAY for n in reversed(range(365))]
    assert list(calendar.values())[-6:] == [
        Cell(State.TRADED, 19 / 24),
        Cell(State.NO_TRADES, 1 / 24),
        Cell(State.UNCONFIRMED, 1 / 24),
        Cell(State.NOT_COLLECTED, 1.0),
        Cell(State.OPEN, 23 / 24),
        Cell(State.OPEN, 1.0),
    ]
    assert list(calendar.values())[-46:-6] == [Cell(State.BEFORE_LISTING, 1.0)] * 40
    assert set(list(calendar.values())[:-46]) == {None}


def test_calendar_after_old_ledger_is_not_collected() -> None:
    ledger = ledger_of((START - 400 * DAY, START - 363 * DAY, State.TRADED))
    states = list(build_calendar(ledger, START.date()).values())
    assert states == [Cell(State.TRADED, 1.0)] + [Cell(State.NOT_COLLECTED, 1.0)] * 364


def test_calendar_without_ledger_has_no_state() -> None:
    assert set(build_calendar(ledger_of(), START.date()).values()) == {None}


def test_calendar_cells_have_state_colours() -> None:
    """Each day of the calendar's last week has another state; the week ends on a Sunday."""
    states = [*State][:7]
    rows = [(START + n * DAY, START + (n + 1) * DAY, state) for n, state in enumerate(states)]
    calendar = build_calendar(ledger_of(*rows), (START + 6 * DAY).date())
    figure = draw_candles(hourly([1]), SERIES, START, START + DAY, calendar)
    rgb = pixels(render(figure))
    for weekday, state in enumerate(states):
        assert has_colour(rgb[pixel_of(figure, 2, 52, weekday)], STATE_COLOURS[state]), state
        assert has_colour(rgb[pixel_of(figure, 2, 51, weekday)], BACKGROUND)
    assert figure.axes[2].get_title("left") == "Completeness, 2024-01-01 to 2024-01-07"


@pytest.mark.parametrize("state", [State.UNCONFIRMED, State.NOT_COLLECTED, State.PENDING])
def test_calendar_shades_doubt_in_steps_by_share(state: State) -> None:
    background, full = np.array(to_rgb(BACKGROUND)), np.array(to_rgb(STATE_COLOURS[state]))
    shades = [np.array(shade(Cell(state, share))) for share in (1 / 1440, 0.01, 0.05, 0.2, 1.0)]
    distances = [round(float(np.abs(each - background).sum()), 6) for each in shades]
    assert distances == sorted(distances)
    assert len(set(distances)) == 3
    assert distances[0] > 0.1
    assert np.allclose(shades[-1], full)


def test_calendar_quiet_minute_leaves_day_traded() -> None:
    minute = shade(Cell(State.NO_TRADES, 1 / 1440))
    assert minute == pytest.approx(to_rgb(STATE_COLOURS[State.TRADED]))
    quiet = shade(Cell(State.NO_TRADES, 0.5))
    assert quiet == pytest.approx(to_rgb(STATE_COLOURS[State.NO_TRADES]))
    assert shade(Cell(State.NO_TRADES, 0.05)) not in (minute, quiet)


def test_calendar_legend_names_every_colour() -> None:
    assert set(STATE_COLOURS) == set(State)
    assert len({*STATE_COLOURS.values(), BACKGROUND}) == len(State) + 1
    figure = draw_candles(
        hourly([1]), SERIES, START, START + DAY, build_calendar(ledger_of(), START.date())
    )
    legend = figure.axes[2].get_legend()
    assert legend
    shown = {
        text.get_text(): patch.get_facecolor()[:3]
        for text, patch in zip(legend.get_texts(), legend.get_patches(), strict=True)
    }
    wanted = {
        state.value.replace("_", " "): to_rgb(colour) for state, colour in STATE_COLOURS.items()
    }
    assert shown == wanted


# The days drawn


def store_month(lake: ParquetStore, month: str, hours: Sequence[int]) -> None:
    candles = hourly(hours)
    table = with_fields(candles, first_and_last(candles))
    lake.put(CANDLE_HISTORY.path(SERIES).format(partition=month), table, None)


def test_draw_days_leaves_out_days_before_and_after_candles(lake: ParquetStore) -> None:
    store_month(lake, "2024-01", range(10 * 24 + 5, 12 * 24))
    store_month(lake, "2024-02", range(33 * 24, 40 * 24))
    first, last = date(2018, 1, 1), date(2026, 12, 31)
    figure = draw_days(lake, SERIES, first, last, last)
    assert figure
    assert figure.axes[0].get_title("right") == "2024-01-11 to 2024-02-09, UTC"
    assert "summed up to 4h" in figure.axes[0].get_title("left")
    figure = draw_days(lake, SERIES, date(2024, 1, 12), date(2024, 2, 4), last)
    assert figure
    assert figure.axes[0].get_title("right") == "2024-01-12 to 2024-02-04, UTC"
    assert draw_days(lake, SERIES, date(2024, 3, 1), last, last) is None


@pytest.mark.parametrize(("step", "bars"), [(3_600, 168), (7_200, 84), (86_400, 7), (604_800, 1)])
def test_draw_days_in_wanted_candles(lake: ParquetStore, step: int, bars: int) -> None:
    store_month(lake, "2024-01", range(7 * 24))
    first, last = date(2024, 1, 1), date(2024, 1, 31)
    figure = draw_days(lake, SERIES, first, last, last, step)
    assert figure
    assert len(figure.axes[1].patches) == bars


# The asset


def run_assets(
    instance: dg.DagsterInstance, settings: Settings, *datasets: Dataset, **tags: str
) -> dg.ExecuteInProcessResult:
    keys = [dg.AssetKey(dataset.asset_key(SERIES)) for dataset in datasets]
    return asset_job(settings).execute_in_process(
        instance=instance, asset_selection=keys, run_config=SILENT, tags=tags
    )


def draw(instance: dg.DagsterInstance, settings: Settings) -> dict[str, object]:
    """Materialise the chart and return the metadata that the run recorded."""
    return partition_metadata(run_assets(instance, settings, CANDLE_CHART))["None"]


@pytest.mark.soak
def test_chart_asset_stores_picture_and_metadata(
    lake: ParquetStore, instance: dg.DagsterInstance, azurite: str
) -> None:
    """Draw before a day is collected, after the first day, and after the third."""
    today = datetime.now(UTC).date()
    days = [str(today - n * DAY) for n in (3, 1)]
    pictures = []
    with (
        StandInExchange(rate=None) as exchange,
        BlobServiceClient.from_connection_string(azurite) as service,
    ):
        blob = service.get_blob_client(lake.container_uri.rpartition("/")[2], PATH)
        settings = settings_for(exchange.url, str(SERIES))
        assert "Nothing to draw yet" in str(draw(instance, settings)["chart"])
        assert not lake.list("candle_chart/")
        for last in days:
            collect_raw(settings, instance, days[0], last)
            months = range_tags(month_of(days[0]), month_of(last))
            run_assets(instance, settings, CANDLE_HISTORY, CANDLE_COVERAGE, **months)
            metadata = draw(instance, settings)
            download = blob.download_blob()
            assert download.properties.content_settings.content_type == "image/png"
            pictures.append(download.readall())
            encoded = base64.b64encode(pictures[-1]).decode()
            assert metadata["chart"] == f"![{SERIES}](data:image/png;base64,{encoded})"
            assert (metadata["last_day"], metadata["dagster/uri"]) == (last, lake.uri(PATH))
            assert set(lake.list("candle_chart/")) == {PATH}
    traded = [
        int(has_colour(pixels(picture), STATE_COLOURS[State.TRADED]).sum()) for picture in pictures
    ]
    assert traded[1] > traded[0] + 300


def test_plot_follows_no_link(lake: ParquetStore, tmp_path: Path) -> None:
    last = with_fields(hourly(range(5)), {"last_candle": "2024-01-01T04:00:00Z"})
    lake.put(CANDLE_HISTORY.path(SERIES).format(partition="2024-01"), last, None)
    (tmp_path / "theirs").write_text("theirs")
    (tmp_path / "eth.png").symlink_to(tmp_path / "theirs")
    main(["plot", "--series", str(SERIES), "--out", str(tmp_path / "eth.png")])
    assert (tmp_path / "theirs").read_text() == "theirs"
    assert pixels((tmp_path / "eth.png").read_bytes()).size
