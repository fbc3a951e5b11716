"""Whole processes, each timed and measured until it ends; and the Azurite they use."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from coinbase_assets.storage.azurite import running_azurite
from coinbase_assets_tests.conftest import free_port

COMMAND = str(Path(sys.executable).with_name("coinbase-assets"))


@dataclass(frozen=True)
class Finished:
    """What a process took: seconds, of a processor too, and at its peak MB of resident memory."""

    seconds: float
    processor: float
    peak: float


def run(command: Sequence[str | Path], environment: Mapping[str, str], folder: Path) -> Finished:
    """Run it in the folder to its end. Raises CalledProcessError, with what it said."""
    with tempfile.TemporaryFile() as output:
        begin = time.perf_counter()
        process = subprocess.Popen(
            command,
            env=environment,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - begin
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            output.seek(0)
            said = output.read().decode(errors="replace")
            print(said, file=sys.stderr)
            raise subprocess.CalledProcessError(process.returncode, process.args, said)
    processor = usage.ru_utime + usage.ru_stime
    return Finished(seconds, processor, usage.ru_maxrss / 1024)


@contextmanager
def unlimited_exchange() -> Iterator[str]:
    """The URL of a stand-in exchange without a limit, in a process of its own."""
    module = "coinbase_assets_tests.stand_in.exchange"
    command = [sys.executable, "-m", module, "--port", "0", "--rate", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()
            process.communicate()


@contextmanager
def azurite(folder: Path) -> Iterator[str]:
    """The connection string of an Azurite of the benchmark's own, its data in the folder."""
    with running_azurite(folder / "azurite", free_port()) as connection_string:
        yield connection_string
