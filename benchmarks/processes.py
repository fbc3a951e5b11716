"""Whole processes, each timed and measured until it ends; and the Azurite they use."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from coinbase_assets.storage.azurite import running_azurite
from coinbase_assets_tests.conftest import free_port

COMMAND = str(Path(sys.executable).with_name("coinbase-assets"))


@dataclass(frozen=True)
class Finished:
    """What a process took: seconds, of a processor too, and at its peak MB of resident memory.

    `said` is what it wrote to standard output and standard error.
    """

    seconds: float
    processor: float
    peak: float
    said: str = ""


def run(
    command: Sequence[str | Path],
    environment: Mapping[str, str],
    folder: Path,
    statuses: Container[int] = (0,),
) -> Finished:
    """Run it in the folder to its end. Raises CalledProcessError if it ends with another status."""
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
        output.seek(0)
        said = output.read().decode(errors="replace")
    if process.returncode not in statuses:
        print(said, file=sys.stderr)
        raise subprocess.CalledProcessError(process.returncode, process.args, said)
    processor = usage.ru_utime + usage.ru_stime
    return Finished(seconds, processor, usage.ru_maxrss / 1024, said)


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
