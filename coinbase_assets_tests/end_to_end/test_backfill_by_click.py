"""A back-fill of 400 days, launched by click: its progress, an outage, a cancel, the rest."""

import re
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest

from coinbase_assets.candles.calendar import DAY, day_start
from coinbase_assets.candles.datasets import CANDLE_HISTORY, RAW_CANDLES
from coinbase_assets.candles.series import Series
from coinbase_assets.lake.status import series_status
from coinbase_assets.lake.stock import stored_partitions
from coinbase_assets.monitoring.kinds import RECOVERY, TROUBLE, Kind
from coinbase_assets.storage.parquet_store import ParquetStore
from coinbase_assets_tests.conftest import free_port
from coinbase_assets_tests.end_to_end.browser import BROWSER_TEST, PATIENCE, WebUi, dev
from coinbase_assets_tests.end_to_end.foreign_page import ask
from coinbase_assets_tests.stand_in.exchange import StandInExchange
from coinbase_assets_tests.stand_in.receivers import Webhook

pytestmark = [*BROWSER_TEST, pytest.mark.soak]

ETH = Series.parse("ETH-EUR:1m")
RAW = "/".join(RAW_CANDLES.asset_key(ETH))
COUNT = 400
# How long the exchange does not answer, in seconds.
OUTAGE = 60


def test_back_fill_goes_on_after_outage_and_cancel(tmp_path: Path, lake: ParquetStore) -> None:
    port, today = free_port(), datetime.now(UTC).date()
    days = [str(today - n * DAY) for n in range(COUNT, 0, -1)]
    with Webhook() as webhook:
        settings = {"COINBASE_START": days[0], "COINBASE_ALERT_URLS": webhook.url}
        with dev(tmp_path, f"http://127.0.0.1:{port}", ETH, **settings) as ui:
            with StandInExchange(port=port, rate=None) as exchange:
                first = _launch(ui, days)
                _see_events_of_a_run_in_progress(ui, first)
                _see_progress(ui, first, 10)
            time.sleep(OUTAGE)
            with exchange:
                _see_progress(ui, first, 30)
                _cancel(ui, first)
                _wait_for(webhook, "Back-fill canceled")
                stored = stored_partitions(lake, RAW_CANDLES, ETH)
                kept = {*days} & stored.keys()
                assert 0.3 * COUNT <= len(kept) < COUNT
                title = f"Back-fill canceled: {len(kept)} of {COUNT} partitions are stored"
                assert _reports(webhook) == [title]
                before = len(exchange.requests)
                second = _launch(ui, days, only_missing=True)
                _see_progress(ui, second, 100)
                _wait_for(webhook, "Back-fill success")
                rest = COUNT - len(kept)
                title = f"Back-fill success: {rest} of {rest} partitions are stored"
                assert _reports(webhook)[1:] == [title]
                asked = Counter(
                    request.params["start"][:10]
                    for request in exchange.requests[before:]
                    if request.params.get("granularity") == "60"
                )
                # A day has five windows; one that begins on the evening before reaches into it.
                assert all(asked[day] <= 1 for day in kept)
                _see_whole_history(lake)
    assert series_status(lake, ETH, today).complete


def _launch(ui: WebUi, days: list[str], *, only_missing: bool = False) -> str:
    ui.open(f"/assets/{RAW}?view=partitions")
    ui.page.get_by_role("button", name="Materialize").click()
    return ui.back_fill(days[0], days[-1], only_missing=only_missing)


def _see_events_of_a_run_in_progress(ui: WebUi, back_fill: str) -> None:
    """The page of a run shows events without being loaded again, before the run ends."""
    query = """{ runsOrError(filter: {statuses: [STARTED], tags: [{key: "dagster/backfill",
        value: "ID"}]}) { ... on Runs { results { runId } } } }""".replace("ID", back_fill)
    give_up = time.monotonic() + PATIENCE
    while not (runs := ask(ui.page, query)["data"]["runsOrError"]["results"]):
        assert time.monotonic() < give_up
        time.sleep(0.5)
    ui.open(f"/runs/{runs[0]['runId']}")
    ui.see_text("STEP_START")
    assert runs[0] in ask(ui.page, query)["data"]["runsOrError"]["results"]
    ui.picture("live-log")


def _see_progress(ui: WebUi, back_fill: str, percent: int) -> None:
    """The page of the back-fill says how much is done, and more each time, until `percent`."""
    ui.open(f"/runs/b/{back_fill}")
    seen, give_up = [0], time.monotonic() + 2 * PATIENCE
    while seen[-1] < percent:
        assert time.monotonic() < give_up, seen
        text = ui.page.get_by_text(re.compile("% completed"))
        ui.see(text)
        found = int(re.sub(r"\D.*", "", text.first.inner_text()))
        assert found >= seen[-1]
        seen += [found] if found > seen[-1] else []
        time.sleep(1)
    print("per cent completed:", seen)
    ui.picture(f"back-fill-at-{percent}")


def _cancel(ui: WebUi, back_fill: str) -> None:
    mutation = 'mutation { cancelPartitionBackfill(backfillId: "ID") { __typename } }'
    assert "CancelBackfillSuccess" in str(ask(ui.page, mutation.replace("ID", back_fill)))


def _wait_for(webhook: Webhook, title: str) -> None:
    give_up = time.monotonic() + 2 * PATIENCE
    while not any(each.startswith(title) for each in webhook.titles):
        assert time.monotonic() < give_up, webhook.titles
        time.sleep(0.5)
    print("\n".join([webhook.titles[-1], webhook.bodies[-1], ""]))


def _reports(webhook: Webhook) -> list[str]:
    """Return the titles about back-fills; the others are about days since COINBASE_START."""
    others = {TROUBLE[Kind.NOT_COLLECTED], RECOVERY[Kind.NOT_COLLECTED]}
    found = [title for title in webhook.titles if title.startswith("Back-fill")]
    assert {*webhook.titles} - {*found} <= {f"{ETH}: {words}" for words in others}
    return found


def _see_whole_history(lake: ParquetStore) -> None:
    """The history follows what landed."""
    give_up = time.monotonic() + 2 * PATIENCE
    while True:
        raw = stored_partitions(lake, RAW_CANDLES, ETH)
        months = stored_partitions(lake, CANDLE_HISTORY, ETH)
        closed = [key for key in raw if day_start(key) + 2 * DAY < datetime.now(UTC)]
        held = {month for month in months if int(months[month].fields["rows"])}
        if {key[:7] for key in closed} <= held:
            return
        assert time.monotonic() < give_up
        time.sleep(1)
