"""How often the daemon looks at back-fills."""

import logging
from types import SimpleNamespace
from typing import Any, cast

import dagster as dg
import pytest
from dagster._daemon import controller
from dagster._daemon.backfill import execute_backfill_iteration_loop

from coinbase_assets.dagster_instance.daemon import look_often


class Waits(list[float]):
    """In place of the event that ends the daemon: notes for how long the loop waits."""

    def wait(self, seconds: float) -> None:
        self.append(seconds)


def test_daemon_looks_at_backfills_every_five_seconds(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = controller.DEFAULT_DAEMON_INTERVAL_SECONDS
    monkeypatch.setattr(controller, "DEFAULT_DAEMON_INTERVAL_SECONDS", usual)
    look_often()
    waits = Waits()
    context = cast("Any", SimpleNamespace(instance=instance))
    loop = execute_backfill_iteration_loop(context, logging.getLogger(__name__), cast("Any", waits))
    while not waits:
        next(loop)
    assert waits[0] <= 5
