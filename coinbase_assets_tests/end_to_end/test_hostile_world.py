"""`coinbase-assets dev` on a hostile exchange, with a secret in each setting that may hold one."""

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import cycle
from pathlib import Path
from urllib.parse import parse_qs, quote, quote_plus

import dagster as dg
import pytest
from azure.storage.blob import AccountSasPermissions, ResourceTypes, generate_account_sas

from coinbase_assets.candles.datasets import PRODUCTS, RAW_CANDLES
from coinbase_assets.candles.series import Series
from coinbase_assets.storage.blob_metadata import shown_value
from coinbase_assets.storage.parquet_store import ParquetStore
from coinbase_assets_tests.end_to_end.browser import BROWSER_TEST, PATIENCE, WebUi, dev
from coinbase_assets_tests.end_to_end.foreign_page import ask
from coinbase_assets_tests.hostile_strings import HOSTILE
from coinbase_assets_tests.processes import instance_at
from coinbase_assets_tests.stand_in.answers import HttpAnswer, error_answer
from coinbase_assets_tests.stand_in.azurite import AZURITE_KEY
from coinbase_assets_tests.stand_in.exchange import LOOPBACK, StandInExchange
from coinbase_assets_tests.stand_in.receivers import TOKEN, Webhook
from coinbase_assets_tests.stand_in.servers import SERVERS, running_server

pytestmark = BROWSER_TEST

ETH = Series.parse("ETH-EUR:15m")
SCRIPT = '<img src=x onerror="window.hit=1"><script>window.hit=1</script> **bold** [a](http://b)'
SECRET = "pl4nted-S3cret"
LAUNCH = """mutation {
  launchRun(executionParams: {
    selector: {
      repositoryLocationName: "coinbase_assets", repositoryName: "__repository__",
      jobName: "__ASSET_JOB", assetSelection: [{path: KEY}]
    }
    executionMetadata: {tags: [{key: "dagster/partition", value: "PARTITION"}]}
  }) { __typename ... on PythonError { message } }
}"""
EVERYTHING = """{
  runsOrError { ... on Runs { results {
    runId status runConfigYaml tags { key value }
    eventConnection { events { ... on MessageEvent { message } ... on ErrorEvent { error {
      message stack causes { message } } } } }
  } } }
  instance { info }
  assetsOrError { ... on AssetConnection { nodes { assetMaterializations { metadataEntries {
    label description } } } } }
}"""


@dataclass(kw_only=True)
class HostileExchange(StandInExchange):
    """Answers every request with 400 and a hostile text, one after the other."""

    rate: float | None = None
    _texts: Iterator[str] = field(init=False, default_factory=lambda: cycle([SCRIPT, *HOSTILE]))

    def answer(self, target: str, address: str = LOOPBACK) -> tuple[HttpAnswer, float]:
        return error_answer(400, next(self._texts)), 0.0


def reading_sas() -> str:
    allowed = AccountSasPermissions(read=True, list=True)
    every = ResourceTypes(service=True, container=True, object=True)
    expiry = datetime.now(UTC) + timedelta(hours=1)
    return generate_account_sas("devstoreaccount1", AZURITE_KEY, every, allowed, expiry)


@pytest.mark.soak
@pytest.mark.parametrize("server", SERVERS[1:])
def test_dev_renders_no_hostile_text_and_shows_no_secret(
    server: str,
    tmp_path: Path,
    lake: ParquetStore,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    sas, address = reading_sas(), lake.container_uri.rpartition("/")[0]
    account = f"BlobEndpoint={address};SharedAccessSignature={sas}"
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", account)
    with (
        running_server(server) as budget,
        HostileExchange() as exchange,
        Webhook(status=500) as webhook,
    ):
        settings = {
            "COINBASE_ALERT_URLS": webhook.url,
            "COINBASE_HEARTBEAT_URL": f"http://127.0.0.1:9/{SECRET}-heart",
            "COINBASE_BUDGET_URL": budget.url,
        }
        with dev(tmp_path, exchange.url, ETH, **settings) as ui:
            known = {"pages": _open_failed_runs(ui).encode()}
            _open_hostile_metadata(ui, tmp_path / "home")
            known["GraphQL"] = json.dumps(ask(ui.page, EVERYTHING)).encode()
            known["ps"] = _arguments_of_processes()
            _wait(lambda: webhook.asked > 1)
    output = capfd.readouterr()
    known["output"] = (output.out + output.err).encode()
    known["DAGSTER_HOME"] = _content(tmp_path / "home")
    for place, content in known.items():
        for secret in (SECRET, TOKEN, "correct-horse", parse_qs(sas)["sig"][0]):
            assert not [form for form in _forms(secret) if form in content], place
    assert b"alert not delivered" in known["output"]
    assert b"onerror" in known["pages"]
    assert b"onerror" in known["DAGSTER_HOME"]


def _open_failed_runs(ui: WebUi) -> str:
    """Let two runs fail, open their pages, and return them; no text in them may be executed."""
    dialogs = list[str]()
    ui.page.on("dialog", lambda dialog: dialogs.append(dialog.message))
    ui.open("/runs")
    today = f"{datetime.now(UTC):%F}"
    for key, tags in ((PRODUCTS.asset_key(), ""), (RAW_CANDLES.asset_key(ETH), today)):
        ask(ui.page, LAUNCH.replace("KEY", json.dumps(key)).replace("PARTITION", tags))
    pages = ""
    for run in _failed(ui, 2):
        ui.open(f"/runs/{run}")
        ui.see_text("answered 400")
        pages += ui.page.content()
        assert not ui.page.evaluate("window.hit")
    for key in (PRODUCTS.asset_key(), RAW_CANDLES.asset_key(ETH)):
        ui.open(f"/assets/{'/'.join(key)}?view=events")
        ui.see_text("^Events$")
        assert not ui.page.evaluate("window.hit")
    assert not dialogs
    return pages


def _open_hostile_metadata(ui: WebUi, home: Path) -> None:
    """Record every hostile text as the IO manager does, and open the page that shows it."""
    key = dg.AssetKey(PRODUCTS.asset_key())
    # The web UI hides what comes after the first entries of a long table.
    for first in range(0, len(HOSTILE), 50):
        texts = [shown_value("note", text).value for text in HOSTILE[first : first + 50]]
        metadata = {f"text {n}": str(text) for n, text in enumerate(texts, first)}
        with instance_at(str(home)) as instance:
            instance.report_runless_asset_event(dg.AssetMaterialization(key, metadata=metadata))
        ui.open(f"/assets/{'/'.join(key.path)}?view=events")
        ui.see_text(f"^text.{first}$")
        page = _words(ui.page.inner_text("body"))
        assert not [text for text in metadata.values() if _words(text[:100]) not in page]
        assert not ui.page.evaluate("window.hit || document.querySelector('img[src=x]')")
        ui.picture(f"hostile-{first}")


def _words(text: str) -> str:
    return " ".join(text.split())


def _failed(ui: WebUi, count: int) -> list[str]:
    """Return the ids of failed runs, once there are so many."""

    def failed() -> list[str]:
        answer = ask(ui.page, "{ runsOrError { ... on Runs { results { runId status } } } }")
        runs = answer["data"]["runsOrError"]["results"]
        return [run["runId"] for run in runs if run["status"] == "FAILURE"]

    _wait(lambda: len(failed()) >= count)
    return failed()


def _wait(until: Callable[[], bool]) -> None:
    give_up = time.monotonic() + PATIENCE
    while not until():
        assert time.monotonic() < give_up
        time.sleep(0.5)


def _arguments_of_processes() -> bytes:
    listing = subprocess.run(["ps", "-wweo", "args"], capture_output=True, check=True).stdout
    return b"\n".join(line for line in listing.splitlines() if b"redis-server" not in line)


def _content(folder: Path) -> bytes:
    """Return what all files below the folder hold: databases, output of runs, locks."""
    return b"".join(file.read_bytes() for file in folder.rglob("*") if file.is_file())


def _forms(secret: str) -> set[bytes]:
    return {form.encode() for form in (secret, quote(secret, safe=""), quote_plus(secret))}
