"""Dagster's web UI in a headless Chromium: what a user clicks, and what the page then shows."""

import os
import re
import shutil
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Error, Locator, Page, expect, sync_playwright

from coinbase_assets.candles.series import Series
from coinbase_assets_tests.conftest import free_port
from coinbase_assets_tests.end_to_end import foreign_page
from coinbase_assets_tests.processes import (
    PROJECT,
    finish,
    process_environment,
    processes,
)

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
SCREENSHOTS = PROJECT / "test-artifacts" / "browser"
PATIENCE = 150.0
BROWSER_TEST = [
    pytest.mark.long,
    pytest.mark.skipif(not CHROMIUM, reason="no Chromium on the PATH: apt-get install chromium"),
]
_MILLISECONDS = 1000
# Without a graphics card, the processor draws every picture of an animation.
_NO_ANIMATION = """document.addEventListener("DOMContentLoaded", () => {
    const style = document.createElement("style");
    style.textContent = "* { animation: none !important; transition: none !important; }";
    document.head.append(style);
})"""


@dataclass(frozen=True)
class WebUi:
    """A page of the web UI at `url`."""

    page: Page
    url: str

    def open(self, path: str) -> None:
        self.page.goto(self.url + path)

    def see(self, what: Locator) -> None:
        """Wait until the page shows this element."""
        expect(what.first).to_be_visible(timeout=PATIENCE * _MILLISECONDS)

    def see_text(self, text: str) -> None:
        self.see(self.page.get_by_text(re.compile(text)))

    def see_times(self, text: str, times: int) -> None:
        self.see_count(self.page.get_by_text(text, exact=True), times)

    def see_count(self, what: Locator, count: int) -> None:
        expect(what).to_have_count(count, timeout=PATIENCE * _MILLISECONDS)

    def colour(self, what: Locator) -> Sequence[int]:
        """Return red, green and blue of an element's text."""
        found = what.evaluate("element => getComputedStyle(element).color")
        return [int(part) for part in re.findall(r"\d+", found)[:3]]

    def reload_until(self, what: Locator) -> None:
        """Reload until the page shows this element: an open page does not update all parts."""
        give_up = time.monotonic() + PATIENCE
        while True:
            self.page.reload()
            try:
                return expect(what.first).to_be_visible(timeout=10 * _MILLISECONDS)
            except AssertionError:
                if time.monotonic() > give_up:
                    raise

    def picture(self, step: str) -> Path:
        """Take a screenshot."""
        path = SCREENSHOTS / f"{step}.png"
        self.page.screenshot(path=path)
        return path

    def materialize_latest(self, asset: str) -> None:
        self.open(f"/assets/{asset}?view=partitions")
        self.page.get_by_role("button", name="Materialize").click()
        self._dialog.get_by_text("Latest", exact=True).click()
        self._launch("Launch 1 run")
        self.see_text("Launched")

    def back_fill(self, first: str, last: str, *, only_missing: bool = False) -> str:
        """Launch a back-fill of the chosen assets over these days; return its id."""
        # At first, the dialog offers only the last 90 days.
        self._dialog.get_by_text("Show all partitions").click()
        self._dialog.get_by_placeholder("ex: 20").last.fill(f"[{first}...{last}]")
        self.page.keyboard.press("Tab")
        if only_missing:
            self._dialog.get_by_text("Backfill only failed and missing partitions").click()
        self._launch("Launch backfill")
        message = self.page.get_by_text("Created backfill")
        self.see(message)
        return message.inner_text().split()[-1]

    @property
    def _dialog(self) -> Locator:
        return self.page.get_by_role("dialog")

    def _launch(self, button: str) -> None:
        self._dialog.get_by_role("button").filter(has_text=button).click()


@contextmanager
def web_ui(url: str) -> Iterator[WebUi]:
    """Open the web UI at `url`. A failure leaves a screenshot."""
    arguments = [f"--host-resolver-rules=MAP {foreign_page.HOST} 127.0.0.1"]
    # Chromium has no sandbox for root.
    arguments += ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.set_default_timeout(PATIENCE * _MILLISECONDS)
        page.add_init_script(_NO_ANIMATION)
        ui = WebUi(page, url)
        try:
            yield ui
        except (AssertionError, Error):
            ui.picture("failed")
            raise
        finally:
            browser.close()


@contextmanager
def dev(folder: Path, api_url: str, *series: Series, **settings: str) -> Iterator[WebUi]:
    """Run `coinbase-assets dev` on the lake of the environment, and open its web UI."""
    home, port = folder / "home", free_port()
    home.mkdir()
    names = ("AZURE_STORAGE_CONNECTION_STRING", "COINBASE_CONTAINER")
    kept = {name: os.environ[name] for name in names}
    environment = {
        **process_environment(
            home,
            **kept,
            COINBASE_API_URL=api_url,
            COINBASE_SERIES=",".join(map(str, series)),
            **settings,
        ),
        "FRESHNESS_DAEMON_INTERVAL_SECONDS": "3",
    }
    with processes(folder) as start:
        process = start("coinbase-assets", "dev", "--port", str(port), environment=environment)
        assert process.stdout
        assert "web UI: http://127.0.0.1:" in process.stdout.readline()
        with web_ui(f"http://127.0.0.1:{port}") as ui:
            yield ui
        process.send_signal(signal.SIGINT)
        done = finish(process)
        print(done.stdout, done.stderr)
        assert done.returncode == 0
