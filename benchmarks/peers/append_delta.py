"""A day merged into a Delta table, partitioned by month, by its time.

The predicate names the month and the day in figures, by which Delta leaves out all other files.
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


def add_day(delta: str, delta_options: dict[str, str], day: str, file: str, **_: str) -> None:
    month = day[:7]
    of_day = f"t.month = '{month}' AND t.time >= '{day}T00:00:00Z'"
    merge = DeltaTable(delta, storage_options=delta_options).merge(
        loaded(file, month),
        predicate=f"{of_day} AND t.time = s.time",
        source_alias="s",
        target_alias="t",
    )
    done = merge.when_matched_update_all().when_not_matched_insert_all().execute()
    assert done["num_target_rows_inserted"] == loaded(file, month).num_rows, done


serve(add_day)
