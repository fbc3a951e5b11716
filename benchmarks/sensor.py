"""A tick of the history sensor after a large back-fill: 10,000 raw days of 10 series landed."""

import os
import tempfile
import time
from datetime import date
from pathlib import Path
from unittest.mock import patch

import dagster as dg
from dagster._core.events import (
    DagsterEvent,
    DagsterEventBatchMetadata,
    DagsterEventType,
    StepMaterializationData,
)
from dagster._core.instance.utils import RUNLESS_JOB_NAME, RUNLESS_RUN_ID

from benchmarks.tables import Measured, print_table
from coinbase_assets.automation.rebuild_sensors import CANDLE_HISTORY_SENSOR
from coinbase_assets.candles.calendar import DAY
from coinbase_assets.candles.datasets import RAW_CANDLES
from coinbase_assets.candles.series import Series
from coinbase_assets.definitions import build_definitions
from coinbase_assets.settings import load_settings
from coinbase_assets_tests.processes import (
    instance_at,
    process_environment,
    quiet_instance,
)

SERIES, DAYS = 10, 1_000
FIRST = date(2020, 1, 1)
LIMIT = 5.0


def main(runs: int) -> None:
    """Print the seconds of so many evaluations of the same tick."""
    series = [Series.parse(f"COIN{number}-USD:1m") for number in range(SERIES)]
    with tempfile.TemporaryDirectory() as folder:
        environment = process_environment(
            quiet_instance(Path(folder, "dagster")),
            COINBASE_SERIES=",".join(map(str, series)),
            AZURE_STORAGE_CONNECTION_STRING="UseDevelopmentStorage=true",
        )
        with (
            patch.dict(os.environ, environment),
            instance_at(environment["DAGSTER_HOME"]) as instance,
        ):
            definitions = build_definitions(load_settings())
            for one in series:
                _land(instance, dg.AssetKey(RAW_CANDLES.asset_key(one)))
            seconds = [_tick(instance, definitions) for _ in range(runs)]
    print_table(
        f"a sensor tick with {SERIES * DAYS:,} new raw partitions over {SERIES} series",
        Measured(CANDLE_HISTORY_SENSOR, seconds, limit=LIMIT),
    )


def _land(instance: dg.DagsterInstance, key: dg.AssetKey) -> None:
    """Record days of a series as collected, as the event log is given them by a long run."""
    for number in range(DAYS):
        day = dg.AssetMaterialization(key, partition=str(FIRST + number * DAY))
        event = DagsterEvent(
            event_type_value=DagsterEventType.ASSET_MATERIALIZATION.value,
            event_specific_data=StepMaterializationData(day),
            job_name=RUNLESS_JOB_NAME,
        )
        batch = DagsterEventBatchMetadata(key.to_user_string(), is_end=number == DAYS - 1)
        instance.report_dagster_event(event, RUNLESS_RUN_ID, batch_metadata=batch)


def _tick(instance: dg.DagsterInstance, definitions: dg.Definitions) -> float:
    """Seconds of the sensor's function on all of them, which must ask for all their months."""
    repository = definitions.get_repository_def()
    sensor = repository.get_sensor_def(CANDLE_HISTORY_SENSOR)
    begin = time.perf_counter()
    with dg.build_sensor_context(instance, repository_def=repository, cursor="0") as context:
        requests = sensor.evaluate_tick(context).run_requests
    seconds = time.perf_counter() - begin
    assert requests
    ends = {request.tags["dagster/asset_partition_range_end"] for request in requests}
    assert f"{FIRST + (DAYS - 1) * DAY:%Y-%m}" in ends
    return seconds
