"""What a run finds recorded that continues a failed or cancelled run."""

from collections.abc import Sequence

import dagster as dg

_UNSUCCESSFUL = (dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)
# The most records that Dagster returns at once.
_A_PAGE = 1000


def recorded_since_first_try(
    instance: dg.DagsterInstance, run: dg.DagsterRun, asset: dg.AssetKey, keys: Sequence[str]
) -> set[str]:
    """Return which of these partitions were recorded since the first run began that `run` retries.

    The result is empty if `run` retries no failed or cancelled run.
    """
    began = None
    while parent := run.parent_run_id and instance.get_run_record_by_id(run.parent_run_id):
        run = parent.dagster_run
        if run.status not in _UNSUCCESSFUL:
            break
        began = parent.create_timestamp.timestamp()
    if began is None:
        return set()
    since = dg.AssetRecordsFilter(asset, asset_partitions=keys, after_timestamp=began)
    recorded, page = set[str](), None
    while page is None or page.has_more:
        page = instance.fetch_materializations(since, _A_PAGE, page and page.cursor)
        recorded |= {str(record.partition_key) for record in page.records}
    return recorded
