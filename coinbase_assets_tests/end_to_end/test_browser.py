"""The web UI of `coinbase-assets dev` in a real browser, with a stand-in exchange."""

import re
import time
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, date, datetime
from io import BytesIO
from pathlib import Path

import pyarrow.compute as pc
import pytest
from PIL import Image

from coinbase_assets.candles.calendar import DAY
from coinbase_assets.candles.datasets import (
    CANDLE_CHART,
    CANDLE_COVERAGE,
    CANDLE_HISTORY,
    PRODUCTS,
    RAW_CANDLES,
)
from coinbase_assets.candles.series import Series
from coinbase_assets.lake.stock import stored_partitions
from coinbase_assets.storage.azurite import running_azurite
from coinbase_assets.storage.client import blob_service
from coinbase_assets.storage.parquet_store import ParquetStore
from coinbase_assets_tests.conftest import free_port
from coinbase_assets_tests.end_to_end import foreign_page
from coinbase_assets_tests.end_to_end.browser import BROWSER_TEST, PATIENCE, WebUi, dev
from coinbase_assets_tests.end_to_end.foreign_page import (
    ATTACK,
    LAUNCH,
    ask,
    foreign_site,
    launch,
    launched_from,
)
from coinbase_assets_tests.stand_in.azurite import batch_delete, public_sas
from coinbase_assets_tests.stand_in.exchange import StandInExchange

pytestmark = BROWSER_TEST

CONTAINER, KEPT = "candles", "kept.parquet"
ETH, BTC = map(Series.parse, ("ETH-EUR:15m", "BTC-USD:15m"))
RAW, HISTORY, CHART = (
    "/".join(dataset.asset_key(ETH)) for dataset in (RAW_CANDLES, CANDLE_HISTORY, CANDLE_CHART)
)


@pytest.mark.soak
def test_web_ui_refuses_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    azurite = running_azurite(tmp_path / "azurite", free_port())
    with StandInExchange(rate=None) as exchange, azurite as connection_string:
        monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", connection_string)
        monkeypatch.setenv("COINBASE_CONTAINER", CONTAINER)
        with blob_service(connection_string) as service:
            service.create_container(CONTAINER).upload_blob(KEPT, b"a file of the lake")
        with dev(tmp_path, exchange.url, ETH) as ui:
            _see_foreign_pages_change_nothing(ui, connection_string)


def _see_foreign_pages_change_nothing(ui: WebUi, connection_string: str) -> None:
    sas, statuses = public_sas(), list[int]()
    with blob_service(connection_string) as service, foreign_site() as site:
        azurite = f"{service.url}?comp=batch&{sas}"
        ui.page.goto(site)
        ui.page.on("response", lambda response: statuses.append(response.status))
        batch = batch_delete(sas, f"/{CONTAINER}/{KEPT}").decode()
        assert ui.page.evaluate(ATTACK, [ui.url, LAUNCH, azurite, batch]) == "refused"
        assert set(statuses) == {403}
        assert len(statuses) >= 7
        for rebound in (ui.url, f"{service.url}{CONTAINER}?restype=container&comp=list&{sas}"):
            answer = ui.page.goto(rebound.replace("127.0.0.1", foreign_page.HOST))
            assert answer
            assert answer.status == 403
        assert service.get_blob_client(CONTAINER, KEPT).exists()
    ui.open("/runs")
    assert launched_from(ui.page) == []
    assert "LaunchRunSuccess" in str(launch(ui.page, "our page"))
    assert launched_from(ui.page) == ["our page"]


@pytest.mark.soak
def test_web_ui_draws_fills_back_checks_and_watches(tmp_path: Path, lake: ParquetStore) -> None:
    port = free_port()
    settings = {
        "COINBASE_START": "2024-01-01",
        "COINBASE_FRESHNESS_WARN": "60s",
        "COINBASE_FRESHNESS_FAIL": "120s",
        "COINBASE_GIVE_UP_AFTER": "20",
    }
    with dev(tmp_path, f"http://127.0.0.1:{port}", ETH, BTC, **settings) as ui:
        with StandInExchange(port=port, rate=None):
            _collect_today(ui)
            _see_the_chart(ui)
            _see_the_automations(ui)
        # The exchange cannot be reached now.
        _see_a_failed_check(ui, lake)
        _see_the_badge(ui, "Warning")
        _see_the_age(ui)
        _see_the_cause_of_a_failed_run(ui)
        _see_the_badge(ui, "Failed")
        with StandInExchange(port=port, rate=None):
            # A live refresh may have failed in the meantime.
            ui.materialize_latest(RAW)
            _back_fill(ui, lake)
            _see_the_badge(ui, "Passing")


def _collect_today(ui: WebUi) -> None:
    _see_the_assets(ui)
    ui.materialize_latest(RAW)
    _see_the_badge(ui, "Passing")
    _see_the_month_follow(ui)


def _back_fill(ui: WebUi, lake: ParquetStore) -> None:
    today = datetime.now(UTC).date()
    old = [date(2024, 1, 1) + n * DAY for n in range(60)]
    recent = [today - n * DAY for n in range(60, 0, -1)]
    of_one = _back_fill_from_the_asset_s_page(ui, old)
    of_both = _back_fill_from_a_selection(ui, recent)
    _see_it_end(ui, of_one, ETH)
    _see_it_end(ui, of_both, ETH, BTC)
    _see_every_day(ui, lake, {ETH: [*old, *recent, today], BTC: recent})
    _see_every_month(ui, {f"{day:%Y-%m}" for day in [*old, *recent, today]})
    ui.open(f"/locations/coinbase_assets/asset-groups/{ETH.group}/lineage")
    ui.see_text("Passed")
    ui.picture("graph")


def _see_the_assets(ui: WebUi) -> None:
    ui.open("/asset-groups")
    for group in (ETH.group, BTC.group, "catalogue"):
        ui.see_text(f"^{group}$")
    ui.picture("groups")
    for group in (ETH.group, BTC.group):
        ui.open(f"/locations/coinbase_assets/asset-groups/{group}/lineage")
        for dataset in (RAW_CANDLES, CANDLE_HISTORY, CANDLE_COVERAGE, CANDLE_CHART):
            title = re.compile(f"^{dataset.name}")
            ui.see_count(ui.page.locator("foreignObject").filter(has_text=title), 1)


def _see_the_automations(ui: WebUi) -> None:
    jobs = {
        RAW: ["live_candles", "settle_candles"],
        HISTORY: ["build_history"],
        CHART: ["draw_charts"],
        "/".join(PRODUCTS.asset_key()): ["list_products"],
    }
    for asset, names in jobs.items():
        ui.open(f"/assets/{asset}")
        for name in names:
            ui.see(ui.page.get_by_role("link", name=name))
        ui.see_count(ui.page.get_by_text("No automations found"), 0)
    ui.picture("automations")
    ui.open("/overview/activity/timeline")
    for name in ("build_history", "list_products", "live_candles"):
        ui.see(ui.page.get_by_role("link", name=name))


def _back_fill_from_the_asset_s_page(ui: WebUi, days: Sequence[date]) -> str:
    ui.open(f"/assets/{RAW}?view=partitions")
    ui.page.get_by_role("button", name="Materialize").click()
    return ui.back_fill(str(days[0]), str(days[-1]))


def _back_fill_from_a_selection(ui: WebUi, days: Sequence[date]) -> str:
    ui.open("/assets")
    for series in (ETH, BTC):
        box = ui.page.get_by_test_id(f"checkbox-{'/'.join(RAW_CANDLES.asset_key(series))}")
        ui.page.locator("label").filter(has=box).click()
    ui.picture("selection")
    ui.page.get_by_role("button", name="Materialize selected").click()
    return ui.back_fill(str(days[0]), str(days[-1]))


def _see_the_month_follow(ui: WebUi) -> None:
    ui.open(f"/assets/{HISTORY}?view=partitions")
    ui.see_text(r"^Materialized \([1-9]")
    ui.picture("month")
    ui.open("/runs")
    ui.see_text("candle_history_sensor")


def _see_it_end(ui: WebUi, back_fill: str, *series: Series) -> None:
    ui.open(f"/runs/b/{back_fill}")
    ui.see_times("100% completed", len(series))
    # The numbers of targeted partitions and of successful ones.
    ui.see_times("60", 2 * len(series))
    # The name of the column, and the state of the back-fill.
    ui.see_times("Succeeded", 2)
    ui.picture(f"back-fill-{len(series)}")


def _see_every_day(
    ui: WebUi, lake: ParquetStore, expected: Mapping[Series, Collection[date]]
) -> None:
    for series, days in expected.items():
        stored = stored_partitions(lake, RAW_CANDLES, series)
        assert set(map(str, days)) <= stored.keys()
    ui.open(f"/assets/{RAW}?view=partitions")
    # After midnight there is one more.
    ui.see_text(rf"^Materialized \(({len(expected[ETH])}|{len(expected[ETH]) + 1})\)$")
    ui.see_text(r"^Failed \(0\)$")
    ui.picture("partitions")


def _see_every_month(ui: WebUi, months: Collection[str]) -> None:
    ui.open(f"/assets/{HISTORY}?view=partitions")
    ui.see_text(rf"^Materialized \(({len(months)}|{len(months) + 1})\)$")


def _see_the_chart(ui: WebUi) -> None:
    ui.open(f"/assets/{CHART}")
    ui.page.get_by_role("button", name="Materialize").click()
    ui.see_text("Launched run")
    shown = ui.page.get_by_text("[Show Markdown]")
    ui.reload_until(shown)
    shown.click()
    chart = ui.page.get_by_role("dialog").get_by_role("img", name=str(ETH))
    ui.see(chart)
    assert chart.evaluate("image => image.complete && image.naturalWidth") >= 800
    pixels = Image.open(BytesIO(chart.screenshot())).convert("RGB")
    assert len(pixels.getcolors(pixels.width * pixels.height) or []) > 20
    ui.picture("chart")


def _see_a_failed_check(ui: WebUi, lake: ParquetStore) -> None:
    (blob,) = lake.list(CANDLE_HISTORY.folder(ETH)).values()
    table = lake.get(blob.path)
    low = table.schema.get_field_index("low")
    lake.put(blob.path, table.set_column(low, table.field(low), pc.add(table["high"], 1.0)), blob)
    ui.open(f"/assets/{HISTORY}?view=checks&checkDetail=low_never_exceeds_high")
    ui.page.get_by_role("button").filter(has_text=re.compile("^Execute$")).click()
    # The latest result may be that of a refresh that ended in the meantime.
    ui.page.get_by_text("Execution history").click()
    failed = ui.page.get_by_role("table").get_by_text("Failed", exact=True)
    ui.see(failed)
    red, green, blue = ui.colour(failed.first)
    assert red > 2 * max(green, blue)
    ui.picture("check")


def _see_the_age(ui: WebUi) -> None:
    """The page of a check shows the age that it plots."""
    ui.open(f"/assets/{RAW}?view=checks&checkDetail=answers_are_recent")
    ui.see_text("age_minutes")
    ui.picture("age")


def _see_the_cause_of_a_failed_run(ui: WebUi) -> None:
    """The first line of the error on a failed run's page names the exchange."""
    ui.materialize_latest(RAW)
    query = """{ runsOrError(filter: {statuses: [FAILURE]}) {
        ... on Runs { results { runId assetSelection { path } } } } }"""
    give_up, failed = time.monotonic() + PATIENCE, list[str]()
    while not failed:
        assert time.monotonic() < give_up
        time.sleep(1)
        runs = ask(ui.page, query)["data"]["runsOrError"]["results"]
        failed = [run["runId"] for run in runs if RAW_CANDLES.name in str(run["assetSelection"])]
    ui.open(f"/runs/{failed[0]}")
    ui.see_text("Exchange: ETH-EUR:15m|Exchange: BTC-USD:15m")
    ui.picture("failed-run")


def _see_the_badge(ui: WebUi, text: str) -> None:
    ui.open(f"/assets/{RAW}")
    ui.reload_until(ui.page.get_by_text(text, exact=True))
    ui.picture(text.lower())
