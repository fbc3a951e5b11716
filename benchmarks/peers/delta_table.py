"""Writes a Parquet file as a Delta table, partitioned by its month column."""

import json
import sys

import pyarrow.parquet as pq
from deltalake import write_deltalake

uri, file, options = sys.argv[1:]
table = pq.read_table(file)
write_deltalake(uri, table, partition_by=["month"], storage_options=json.loads(options))
