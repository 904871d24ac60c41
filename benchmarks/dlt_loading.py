"""
Loads an export into PostgreSQL with dlt, the fast way: Arrow tables, written as Parquet and copied by ADBC.

It merges as we do, by order: ``python -m benchmarks.dlt_loading ADDRESS FILE FOLDER``. All values but the quantity are
texts, so it converts less than we do.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import dlt
import pyarrow as pa
import pyarrow.csv

BLOCK_BYTES = 8 * 1024 * 1024


def load(address: str, file: str, folder: str) -> None:
    """Load a file, and print the seconds. The folder keeps what dlt knows from one load to the next."""
    with Path(file).open(encoding="utf-8-sig") as text:
        columns = text.readline().strip().split(",")
    types = {name: pa.int64() if name == "quantity" else pa.string() for name in columns}

    @dlt.resource(name="orders", write_disposition="merge", merge_key="order_uuid")
    def orders() -> Iterator[pa.Table]:
        batches = pyarrow.csv.open_csv(
            file,
            read_options=pyarrow.csv.ReadOptions(block_size=BLOCK_BYTES),
            parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True),
            convert_options=pyarrow.csv.ConvertOptions(column_types=types, strings_can_be_null=False),
        )
        yield from (pa.Table.from_batches([batch]) for batch in batches)

    start = time.monotonic()
    # a password must be there; the server needs none
    destination = dlt.destinations.postgres(f"postgresql://{address.replace('@', ':unused@')}")
    pipeline = dlt.pipeline("orders", pipelines_dir=folder, destination=destination, dataset_name="dlt_orders")
    pipeline.run(orders(), loader_file_format="parquet")
    print(json.dumps({"s": time.monotonic() - start}))


if __name__ == "__main__":
    os.environ |= {"RUNTIME__DLTHUB_TELEMETRY": "false", "RUNTIME__LOG_LEVEL": "ERROR"}
    load(*sys.argv[1:])
