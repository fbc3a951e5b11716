"""An Azurite as a user starts it by hand, with the key that Microsoft publishes."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
from azure.storage.blob import AccountSasPermissions, ResourceTypes, generate_account_sas

from coinbase_assets.storage.azurite_program import installed_azurite, installed_node

AZURITE_KEY = (
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)
_EVERYTHING = AccountSasPermissions(read=True, write=True, delete=True, list=True, create=True)
_SECONDS = 60.0


@contextmanager
def azurite_by_hand(data: Path, port: int, **environment: str) -> Iterator[str]:
    """Run Azurite at both forms of address, and yield its connection string."""
    command = [str(installed_node()), str(installed_azurite()), "--silent", "--skipApiVersionCheck"]
    command += ["--disableTelemetry", "--blobPort", str(port), "--location", str(data)]
    nothing = subprocess.DEVNULL
    with subprocess.Popen(command, env=environment, stdin=nothing, stdout=nothing) as process:
        try:
            _wait_for(f"http://127.0.0.1:{port}/devstoreaccount1?comp=list", process)
            yield (
                f"AccountName=devstoreaccount1;AccountKey={AZURITE_KEY};"
                f"BlobEndpoint=http://127.0.0.1:{port}/devstoreaccount1;"
            )
        finally:
            process.kill()


def public_sas() -> str:
    """Return a SAS that allows everything, signed with the published key."""
    everything = ResourceTypes(service=True, container=True, object=True)
    expiry = datetime.now(UTC) + timedelta(hours=1)
    return generate_account_sas("devstoreaccount1", AZURITE_KEY, everything, _EVERYTHING, expiry)


def batch_delete(sas: str, path: str) -> bytes:
    """Return the body of a batch request that deletes the blob at /CONTAINER/PATH."""
    return (
        "--b\r\nContent-Type: application/http\r\nContent-ID: 0\r\n\r\n"
        f"DELETE {path}?{sas} HTTP/1.1\r\nContent-Length: 0\r\n\r\n--b--\r\n"
    ).encode()


def _wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    give_up = time.monotonic() + _SECONDS
    while True:
        try:
            httpx.get(url, trust_env=False)
        except httpx.TransportError:
            assert process.poll() is None
            assert time.monotonic() < give_up
            time.sleep(0.05)
        else:
            return
