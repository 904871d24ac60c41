r"""
Measures how our transfer loads an export into PostgreSQL: time compared with psql's ``\copy``, and memory.

A new process measures each load: ``python -m benchmarks.loading ADDRESS FILE REQUESTED_AT``. Both read the file from a
disk, so that no network counts. Needs PostgreSQL; ``scripts/install_services.sh`` installs it on Debian and Ubuntu.
"""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import chain, count, islice
from pathlib import Path

from benchmarks.results import Goal, Row
from benchmarks.subprocesses import run_python

ROWS = 1_000_000
TABLE = "order_lines"
CHUNK_BYTES = 256 * 1024


def write_file(path: Path, rows: int) -> list[str]:
    """Write an export of the sandbox's first orders, and return the names of its columns."""
    from airflow_provider_crux.sandbox.csv_file import COLUMNS, file_rows
    from airflow_provider_crux.sandbox.orders import make_order

    with path.open("w", newline="", encoding="utf-8-sig") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        all_rows = chain.from_iterable(file_rows(make_order(number)) for number in count())
        writer.writerows(row.values() for row in islice(all_rows, rows))
    return list(COLUMNS)


def psql(address: str, statement: str) -> float:
    """Run a statement, and return the seconds that it took."""
    start = time.monotonic()
    subprocess.run(["psql", "--quiet", "-c", statement, f"postgresql://{address}"], check=True)
    return time.monotonic() - start


def load(address: str, file: str, requested_at: str) -> None:
    """Load a file, and print seconds, rows and memory."""
    from airflow.models import Connection
    from airflow.providers.postgres.hooks.postgres import PostgresHook

    from airflow_provider_crux.api.instants import parse_utc
    from airflow_provider_crux.files.columns import EXPORT_COLUMNS, REQUESTED_AT, plan_columns
    from airflow_provider_crux.files.csv import parse_header
    from airflow_provider_crux.files.rows import TypedRows
    from airflow_provider_crux.tables.postgres import PostgresTable

    def chunks() -> Iterator[bytes]:
        with Path(file).open("rb") as stream:
            while chunk := stream.read(CHUNK_BYTES):
                yield chunk

    def peak_memory() -> float:
        # ru_maxrss would include the memory of the parent process.
        return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) / 1024

    hook = PostgresHook(connection=Connection(uri=f"postgresql://{address}"))
    memory_before, start = peak_memory(), time.monotonic()
    instants = map(parse_utc, ("2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z", requested_at))
    rows = TypedRows(
        chunks(),
        plan_columns(parse_header(next(chunks()))),
        constants=zip((*EXPORT_COLUMNS, REQUESTED_AT), ("benchmark", *instants), strict=True),
    )
    table = PostgresTable(hook, TABLE, columns=rows.columns, key=("line_item_uuid",), create=True)
    loaded = table.load(rows)
    seconds = time.monotonic() - start
    result = {"s": seconds, "MiB": peak_memory() - memory_before, "changed": loaded.inserted + loaded.updated}
    print(json.dumps(result))


def rows() -> list[Row]:
    """Measure and return the rows. The table of psql has neither key nor index."""
    from tests.postgres.server import running_postgres

    copied, loaded, merged, memory = [], [], [], []
    with tempfile.TemporaryDirectory() as folder, running_postgres() as address:
        file = Path(folder) / "orders.csv"
        columns = write_file(file, ROWS)
        definitions = ", ".join(f"{name} {'bigint' if name == 'quantity' else 'text'}" for name in columns)
        for _ in range(3):
            psql(address, f"CREATE TABLE raw ({definitions})")
            copied.append(psql(address, f"\\copy raw FROM '{file}' WITH (FORMAT csv, HEADER)"))
            for seconds, requested_at in ((loaded, "2026-01-04T00:00:00Z"), (merged, "2026-01-05T00:00:00Z")):
                result = run_python("-m", "benchmarks.loading", address, str(file), requested_at)
                assert result["changed"] == ROWS
                seconds.append(result["s"])
                memory.append(result["MiB"])
            psql(address, f"DROP TABLE raw, {TABLE}")
    what = "load 1,000,000 rows into PostgreSQL"
    return [
        Row(f"{what}, a new table", "s", loaded, "`\\copy` without a key", copied, goal=Goal(3)),
        Row(f"{what}, each replaces one", "s", merged, "`\\copy` without a key", copied),
        Row(f"{what}: memory above the idle process", "MiB", memory, goal=Goal(256)),
    ]


if __name__ == "__main__":
    load(*sys.argv[1:])
