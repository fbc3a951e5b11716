"""A day merged into a Delta table, partitioned by month, by its time.

The predicate is on the time alone, as Delta's guides have it, on the month's partition, too, or
names that and the day as constants, by which Delta leaves out all other files unread.
"""

from functools import cache
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable
from timed import serve


@cache
def loaded(file: str, month: str) -> Any:
    table = pq.read_table(file).replace_schema_metadata(None)
    return table.append_column("month", pa.array([month] * table.num_rows))


def add_day(
    delta: str,
    delta_options: dict[str, str],
    day: str,
    file: str,
    by: str,
    **_: str,
) -> None:
    month = day[:7]
    table = DeltaTable(delta, storage_options=delta_options)
    merge = table.merge(
        loaded(file, month), predicate=by, source_alias="s", target_alias="t"
    ).when_matched_update_all()
    done = merge.when_not_matched_insert_all().execute()
    assert done["num_target_rows_inserted"] == loaded(file, month).num_rows, done


serve(add_day)
