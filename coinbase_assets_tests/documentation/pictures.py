"""`make pictures`: the pictures of the documentation, from a running demo in a browser.

It takes some minutes, needs `chromium`, and writes into `docs/pictures/`.
"""

import html
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from unittest.mock import patch

from coinbase_assets.candles.datasets import CANDLE_CHART
from coinbase_assets.candles.series import Series
from coinbase_assets.storage.azurite import running_azurite
from coinbase_assets_tests.conftest import free_port
from coinbase_assets_tests.end_to_end.browser import CHROMIUM, WebUi, web_ui
from coinbase_assets_tests.processes import (
    PROJECT,
    Start,
    finish,
    process_environment,
    processes,
    quiet_instance,
)
from coinbase_assets_tests.stand_in.exchange import StandInExchange

PICTURES = PROJECT / "docs" / "pictures"
ETH = Series.parse("ETH-EUR:15m")
SERIES = "ETH-EUR:15m,BTC-USD:1h"
DAYS = "90"
_MOST_BYTES = 200_000
# How a terminal shows a command and its output.
_TERMINAL = """<body style="margin: 0; background: #1e1e2e"><pre style="margin: 0; padding: 20px;
color: #e4e4ef; font: 15px/1.5 monospace; width: fit-content">{}</pre></body>"""


def draw_pictures(folder: Path, exchange: StandInExchange, connection_string: str) -> None:
    """Collect, run `coinbase-assets dev`, and take each picture."""
    environment = process_environment(
        quiet_instance(folder / "dagster"),
        AZURE_STORAGE_CONNECTION_STRING=connection_string,
        COINBASE_API_URL=exchange.url,
        COINBASE_CONTAINER="demo",
        COINBASE_REQUESTS_PER_SECOND="1000",
        COINBASE_SERIES=SERIES,
    )
    port = free_port()
    with processes(folder) as start:
        _run(start, environment, "collect", "--days", DAYS)
        dev = start("coinbase-assets", "dev", "--port", str(port), environment=environment)
        assert dev.stdout
        assert "web UI: " in dev.stdout.readline()
        with web_ui(f"http://127.0.0.1:{port}") as ui:
            _take_chart(ui)
            _take_graph(ui)
            _take_status(ui, _run(start, environment, "status"))


def _run(start: Start, environment: Mapping[str, str], *arguments: str) -> str:
    """Return what a command prints. It succeeds."""
    done = finish(
        start("coinbase-assets", *arguments, environment={**environment, "COLUMNS": "110"})
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _take_chart(ui: WebUi) -> None:
    ui.open(f"/assets/{'/'.join(CANDLE_CHART.asset_key(ETH))}")
    button = ui.page.get_by_text("Show Markdown")
    # `dev` draws the first chart within a minute.
    ui.reload_until(button)
    button.first.click()
    # The dialog is as high as the page allows, and the chart ends with the calendar's legend.
    ui.page.set_viewport_size({"width": 1280, "height": 960})
    ui.see(ui.page.get_by_role("dialog").get_by_role("img", name=str(ETH)))
    ui.page.screenshot(path=PICTURES / "chart.png")


def _take_graph(ui: WebUi) -> None:
    ui.page.set_viewport_size({"width": 1280, "height": 800})
    ui.open(f"/locations/coinbase_assets/asset-groups/{ETH.group}/lineage")
    ui.see_text("Passed")
    ui.page.wait_for_load_state("networkidle")
    ui.page.screenshot(path=PICTURES / "graph.png")


def _take_status(ui: WebUi, output: str) -> None:
    # The address of this run's Azurite says nothing to a reader.
    lines = [line for line in output.splitlines() if not line.startswith("Container ")]
    text = "\n".join(["$ coinbase-assets status", *lines])
    ui.page.set_content(_TERMINAL.format(html.escape(text)))
    ui.page.locator("pre").screenshot(path=PICTURES / "status.png")


def main() -> None:
    if not CHROMIUM:
        sys.exit("Error: no Chromium on the PATH; install it: apt-get install chromium")
    PICTURES.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as name,
        StandInExchange(rate=None) as exchange,
        running_azurite(Path(name) / "azurite", free_port()) as connection_string,
        patch.dict(os.environ),
    ):
        draw_pictures(Path(name), exchange, connection_string)
    for picture in PICTURES.glob("*.png"):
        size = picture.stat().st_size
        print(f"{picture.relative_to(PROJECT)}: {size:,} bytes")
        assert size <= _MOST_BYTES, f"{picture}: larger than {_MOST_BYTES:,} bytes"


if __name__ == "__main__":
    main()
