"""Processor time of commands that ask the exchange for nothing, and of imports.

The lake has four months of a 1m series, and five years of ten 1h series. One of these is collected;
the others are copies of its blobs, which are made in the storage.
"""

import sys
import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from azure.storage.blob import BlobProperties, BlobServiceClient, ContainerClient

from benchmarks.light import SERIES, SPAN, environment_of
from benchmarks.processes import COMMAND, Finished, azurite, run, unlimited_exchange
from benchmarks.tables import Measured, print_table
from coinbase_assets.storage.concurrency import map_concurrently

CONTAINER = "commands"
ORIGINAL, *COPIES = PRODUCTS = ["ETH-USD", *(f"COIN{number}-USD" for number in range(9))]
YEARS = ("--from", "2019-01-01", "--to", "2023-12-31")
SQL = "SELECT count(*) > 40_000 FROM candle_history WHERE month = '2023-12' AND granularity = '1m'"
# `status` ends so, since the candles are not recent.
_STALE = 1


def main(runs: int) -> None:
    """Print the table, of so many runs of each command."""
    with (
        tempfile.TemporaryDirectory() as name,
        azurite(Path(name)) as storage,
        unlimited_exchange() as url,
    ):
        variables = environment_of(Path(name), storage, url, CONTAINER)
        _fill(storage, variables, Path(name))
        print_table("processor time of commands", *_rows(variables, Path(name), runs))


def _rows(variables: Mapping[str, str], folder: Path, runs: int) -> list[Measured]:
    series = [f"{product}:1h" for product in PRODUCTS]
    work: list[tuple[str, list[str], float | None]] = [
        ("collect of settled days", [COMMAND, "collect", SERIES, *SPAN], 1.6),
        ("status of 10 series over 5 years", [COMMAND, "status", *series], 1.5),
        ("query of a month of 1m", [COMMAND, "query", SQL], 1.2),
        ("import coinbase_assets", _python("import coinbase_assets"), 0.15),
        ("import dagster", _python("import dagster"), None),
        ("python -c pass", _python("pass"), None),
    ]
    taken: dict[str, list[float]] = {name: [] for name, *_ in work}
    for _ in range(runs):
        for name, command, _ in work:
            finished = run(command, variables, folder, (0, _STALE))
            _check(name, finished)
            taken[name].append(finished.processor)
    return [Measured(name, taken[name], limit=limit) for name, _, limit in work]


def _python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def _check(name: str, finished: Finished) -> None:
    """Raise AssertionError if the command did not find what is in the lake."""
    wanted = {"status": (" complete", len(PRODUCTS)), "query": ("true", 1)}
    if found := wanted.get(name.split()[0]):
        assert finished.said.count(found[0]) == found[1], finished.said


def _fill(storage: str, variables: Mapping[str, str], folder: Path) -> None:
    """Collect one series of 1m and one of 1h, and copy that."""
    for series, span in ((SERIES, SPAN), (f"{ORIGINAL}:1h", YEARS)):
        run([COMMAND, "collect", series, *span], variables, folder)
    with (
        BlobServiceClient.from_connection_string(storage) as service,
        service.get_container_client(CONTAINER) as container,
    ):
        stored = container.list_blobs(include=["metadata"])
        originals = [one for one in stored if f"={ORIGINAL}/" in one.name]
        for product in COPIES:
            for _ in map_concurrently(partial(_copy, container, product), originals):
                pass


def _copy(container: ContainerClient, product: str, blob: BlobProperties) -> None:
    """Copy a blob of the original product to where the project stores the other one's."""
    metadata = {key: text.replace(ORIGINAL, product) for key, text in blob.metadata.items()}
    copy = container.get_blob_client(blob.name.replace(ORIGINAL, product))
    original = container.get_blob_client(blob.name)
    done = copy.start_copy_from_url(original.url, metadata=metadata)
    assert done["copy_status"] == "success", done
