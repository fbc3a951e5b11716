"""Whether a run is alive, known on every host: its process changes a tag, which others watch.

Clocks of different hosts are not compared: a watcher measures for how long it saw no change.
"""

import itertools
import logging
import os
import platform
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

import dagster as dg

log = logging.getLogger(__name__)

# The web UI does not show tags that begin so.
HEARTBEAT_TAG = ".dagster/coinbase_assets/heartbeat"
SECONDS_BETWEEN_BEATS = 10.0
SILENT_AFTER = 60.0

# The longest time that counts between two looks: a watcher that slept may have slept with the run.
_MOST_SECONDS_BETWEEN_LOOKS = 45.0


@contextmanager
def beating(
    instance: dg.DagsterInstance, run_id: str, seconds: float = SECONDS_BETWEEN_BEATS
) -> Iterator[None]:
    """Change the run's heartbeat during the block, for the first time after so many seconds."""
    ended = threading.Event()
    thread = threading.Thread(
        target=_beat, args=(instance, run_id, seconds, ended), name="heartbeat", daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _beat(
    instance: dg.DagsterInstance, run_id: str, seconds: float, ended: threading.Event
) -> None:
    for count in itertools.count(1):
        if ended.wait(seconds):
            return
        beat = f"{run_id}: {platform.node()}, process {os.getpid()}, heartbeat {count}"
        try:
            instance.add_run_tags(run_id, {HEARTBEAT_TAG: beat})
        except Exception as error:  # noqa: BLE001
            # Each storage has errors of its own, and a run whose heartbeat ends is taken for dead.
            log.warning("Run %s: its heartbeat was not recorded (%s)", run_id, type(error).__name__)


def heartbeat_of(run: dg.DagsterRun) -> str | None:
    """Return the run's last heartbeat. A retry begins with the tags of the run that it retries."""
    owner, _, beat = run.tags.get(HEARTBEAT_TAG, "").partition(": ")
    return beat if owner == run.run_id else None


class Heard(NamedTuple):
    """The last heartbeat of a run (None before its first), and the seconds it has not changed."""

    beat: str | None
    seconds: float

    @property
    def is_silent(self) -> bool:
        return self.seconds >= SILENT_AFTER


def listen(
    before: Mapping[str, Heard], beats: Mapping[str, str | None], elapsed: float
) -> dict[str, Heard]:
    """Return what is heard of runs, by id, `elapsed` seconds after `before` was heard."""
    step = min(max(elapsed, 0.0), _MOST_SECONDS_BETWEEN_LOOKS)
    return {
        run_id: Heard(beat, heard.seconds + step)
        if (heard := before.get(run_id)) and heard.beat == beat
        else Heard(beat, 0.0)
        for run_id, beat in beats.items()
    }
