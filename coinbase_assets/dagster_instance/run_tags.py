"""Tags of runs: Dagster's and this project's.

Dagster's documentation gives its tags as strings; its constants for them are private.
"""

from collections.abc import Mapping, Sequence

from coinbase_assets.candles.calendar import (
    DAY,
    day_start,
    days_between,
    month_range,
    months_between,
)

PARTITION_TAG = "dagster/partition"
PARTITION_RANGE_START_TAG = "dagster/asset_partition_range_start"
PARTITION_RANGE_END_TAG = "dagster/asset_partition_range_end"
PRIORITY_TAG = "dagster/priority"
MAX_RETRIES_TAG = "dagster/max_retries"
MAX_RUNTIME_SECONDS_TAG = "dagster/max_runtime"
RETRY_ON_ASSET_OR_OP_FAILURE_TAG = "dagster/retry_on_asset_or_op_failure"
BACKFILL_ID_TAG = "dagster/backfill"
PARENT_RUN_ID_TAG = "dagster/parent_run_id"
RETRY_NUMBER_TAG = "dagster/retry_number"
SCHEDULE_NAME_TAG = "dagster/schedule_name"
SENSOR_NAME_TAG = "dagster/sensor_name"
RUN_FAILURE_REASON_TAG = "dagster/failure_reason"
WILL_RETRY_TAG = "dagster/will_retry"

# Marks a live run: it asks only for the candles since the last answer. Live runs come first in the
# queue. They give up after this many seconds, because the next live run is soon.
LIVE = "coinbase_assets/live"
# Marks a run that mends days with unproven holes: it may send more requests for each.
HEALING = "coinbase_assets/healing"
# Its value if trades are asked for at every hole, not only where coarser candles leave a doubt.
WITH_TRADES = "trades"
LIVE_GIVE_UP_AFTER = 10.0

# Dagster retries a run with these tags up to three times, also if an asset failed.
RETRIED = {MAX_RETRIES_TAG: "3", RETRY_ON_ASSET_OR_OP_FAILURE_TAG: "true"}


def range_tags(first: str, last: str) -> dict[str, str]:
    """Returns the tags of a run over the partitions from the key `first` to the key `last`."""
    return {PARTITION_RANGE_START_TAG: first, PARTITION_RANGE_END_TAG: last}


def partitions_of(tags: Mapping[str, str]) -> Sequence[str]:
    """Returns the keys of the partitions, days or months, of a run with these tags."""
    only = tags.get(PARTITION_TAG)
    first = tags.get(PARTITION_RANGE_START_TAG, only)
    last = tags.get(PARTITION_RANGE_END_TAG, only)
    if not first or not last:
        return []
    if len(first) == len("2024-01"):
        return months_between(month_range(first)[0], month_range(last)[1])
    return days_between(day_start(first), day_start(last) + DAY)
