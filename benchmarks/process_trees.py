"""Processes that run until they are ended, and what each of them takes with all its children."""

import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil


@contextmanager
def started(command: Sequence[str], environment: Mapping[str, str], folder: Path) -> Iterator[int]:
    """The id of a process that runs in the folder, silently, and is ended as by Ctrl-C."""
    silent = subprocess.DEVNULL
    process = subprocess.Popen(
        command,
        env=environment,
        cwd=folder,
        stdin=silent,
        stdout=silent,
        stderr=silent,
        start_new_session=True,
    )
    try:
        yield process.pid
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()


def tree(pid: int) -> list[psutil.Process]:
    """The process and all below it; none if it has ended."""
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    return []


def processor_seconds(pid: int) -> float:
    """Of all its processes, and of those that have ended."""
    seconds = 0.0
    for one in tree(pid):
        with suppress(psutil.NoSuchProcess):
            times = one.cpu_times()
            seconds += times.user + times.system + times.children_user + times.children_system
    return seconds


def megabytes(pid: int) -> float:
    """Of all its processes; of what they share, each one's part (PSS)."""
    size = 0.0
    for one in tree(pid):
        with suppress(psutil.NoSuchProcess):
            size += one.memory_full_info().pss
    return size / 1024**2
