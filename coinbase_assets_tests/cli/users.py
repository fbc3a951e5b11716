"""Users of the command line, each with settings, a container and a Dagster instance."""

import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from subprocess import CompletedProcess

import pytest
from azure.storage.blob import BlobServiceClient

from coinbase_assets.cli.main import main
from coinbase_assets.storage.azure_blobs import AzureBlobs
from coinbase_assets.storage.parquet_store import ParquetStore
from coinbase_assets_tests.processes import Process, Start, finish, instance_at

# The exchange's time in most tests: the 3rd is settled, the 4th is not, the 5th is open.
NOON = datetime(2024, 1, 5, 12, tzinfo=UTC)

Result = CompletedProcess[str]


@dataclass(frozen=True)
class User:
    """A user with settings, a container and a Dagster instance."""

    start_process: Start
    environment: Mapping[str, str]

    def start(self, *arguments: str, **settings: str) -> Process:
        environment = {**self.environment, **settings}
        return self.start_process("coinbase-assets", *arguments, environment=environment)

    def run(self, *arguments: str, **settings: str) -> Result:
        return finish(self.start(*arguments, **settings))

    def run_in_process(self, patch: pytest.MonkeyPatch, *arguments: str) -> int:
        """Run a command in this process, and return its exit status."""
        handler = signal.getsignal(signal.SIGTERM)
        for name, value in self.environment.items():
            patch.setenv(name, value)
        patch.setattr(sys, "argv", ["coinbase-assets", *arguments])
        try:
            return exit_status()
        finally:
            signal.signal(signal.SIGTERM, handler)

    @contextmanager
    def lake(self) -> Iterator[ParquetStore]:
        connection = self.environment["AZURE_STORAGE_CONNECTION_STRING"]
        with BlobServiceClient.from_connection_string(connection) as service:
            yield ParquetStore(AzureBlobs(service, self.environment["COINBASE_CONTAINER"]))

    def runs(self) -> dict[str, str]:
        """Return the status of each run in the Dagster instance."""
        with instance_at(self.environment["DAGSTER_HOME"]) as instance:
            return {run.run_id: run.status.value for run in instance.get_runs()}


NEVER_STALE = {"COINBASE_FRESHNESS_WARN": "9998d", "COINBASE_FRESHNESS_FAIL": "9999d"}
NewUser = Callable[..., User]
RunHere = Callable[..., Result]


def exit_status() -> int:
    """Run the command line on `sys.argv`, and return its exit status."""
    try:
        main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0
