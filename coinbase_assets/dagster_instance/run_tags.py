"""Tags of runs: Dagster's own, which its documentation names, and this project's.

Dagster documents these strings, but its constants for them are private.
"""

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

# The tag of runs that ask only for what came since the last answer. They are served first, and give
# up after so many seconds, since the next one is soon.
LIVE = "coinbase_assets/live"
LIVE_GIVE_UP_AFTER = 10.0

# The tags of runs that Dagster runs again, up to three times, also where an asset failed.
RETRIED = {MAX_RETRIES_TAG: "3", RETRY_ON_ASSET_OR_OP_FAILURE_TAG: "true"}


def range_tags(first: str, last: str) -> dict[str, str]:
    """The tags of a run over the partitions from the first key to the last."""
    return {PARTITION_RANGE_START_TAG: first, PARTITION_RANGE_END_TAG: last}
