"""The process of an embedded Azurite: started detached, and signalled only if it is Azurite."""

import os
import re
import signal
import subprocess
from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import IO

# The arguments of this shell script: the log file, the file for the process id, and the command.
_LAUNCH = 'pid=$1; shift; "$@" </dev/null >>"$0" 2>&1 & echo $! >"$pid"'
# No other program has this option.
_PORT_OPTION = "--blobPort"


def azurite_options(port: int, data: Path) -> list[str]:
    options = [
        "--silent",
        "--skipApiVersionCheck",
        "--disableTelemetry",
        "--disableProductStyleUrl",
    ]
    options += ["--blobHost", "127.0.0.1", _PORT_OPTION, str(port), "--location", str(data)]
    return options


def launch(
    command: Sequence[str],
    log: Path,
    pid_file: Path,
    locks: Collection[IO[bytes]],
    environment: Mapping[str, str],
) -> None:
    """Start the command, which holds the locks until it ends.

    A shell starts it and exits at once, so that it is not a child of this process.
    """
    subprocess.run(
        ["sh", "-c", _LAUNCH, str(log), str(pid_file), *command],
        start_new_session=True,
        pass_fds=[lock.fileno() for lock in locks],
        env=environment,
        check=True,
    )


def signal_azurite(pid_file: Path, port: int, number: signal.Signals) -> bool:
    """Send the signal to the Azurite of this port whose id the file holds.

    Returns False, and sends nothing, if the file holds no id of such a process: the file may be
    damaged, or written in another container, where the id means another process.
    """
    text = pid_file.read_text().strip() if pid_file.exists() else ""
    if not re.fullmatch(r"[1-9]\d{0,9}", text) or not _is_azurite(int(text), port):
        return False
    os.kill(int(text), number)
    return True


def _is_azurite(pid: int, port: int) -> bool:
    arguments = _command_line(pid)
    return (_PORT_OPTION, str(port)) in pairwise(arguments)


def _command_line(pid: int) -> list[str]:
    """Return the arguments of a process, empty if there is no such process."""
    file = Path(f"/proc/{pid}/cmdline")
    if Path("/proc/self/cmdline").exists():
        return file.read_text().split("\0") if file.exists() else []
    listed = subprocess.run(
        ["ps", "-ww", "-o", "args=", "-p", str(pid)], capture_output=True, text=True
    )
    return listed.stdout.split()
