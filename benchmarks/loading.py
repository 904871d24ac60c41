r"""
Measures how our transfer loads exports into PostgreSQL: time compared with dlt and with psql's ``\copy``, and memory.

The second export has the same orders, of which a tenth has changed. All read the files from a disk, so that no network
counts. A new process measures each load: ``python -m benchmarks.loading ADDRESS FILE REQUESTED_AT``. Needs PostgreSQL;
``scripts/install_services.sh`` installs it on Debian and Ubuntu.
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
TABLE = "orders"
CHUNK_BYTES = 256 * 1024
DLT_SCHEMAS = ("dlt_orders", "dlt_orders_staging")


def write_file(path: Path, rows: int, *, changed: bool = False) -> list[str]:
    """Write an export of the sandbox's first orders, and return the names of its columns."""
    from airflow_provider_crux.sandbox.csv_file import COLUMNS, file_rows
    from airflow_provider_crux.sandbox.orders import make_order

    with path.open("w", newline="", encoding="utf-8-sig") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        all_rows = chain.from_iterable(file_rows(make_order(number)) for number in count())
        for number, row in enumerate(islice(all_rows, rows)):
            change = {"retailer_provided_notes": "changed"} if changed and number % 10 == 0 else {}
            writer.writerow((row | change).values())
    return list(COLUMNS)


def psql(address: str, statement: str) -> float:
    """Run a statement, and return the seconds that it took."""
    start = time.monotonic()
    subprocess.run(["psql", "--quiet", "-c", statement, f"postgresql://{address}"], check=True)
    return time.monotonic() - start


def peak_memory() -> float:
    """Return the largest memory of this process so far, in MiB; ``ru_maxrss`` would include that of its parent."""
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) / 1024


def load(address: str, file: str, requested_at: str) -> None:
    """Load a file, and print seconds, keys and memory."""
    from airflow.models import Connection
    from airflow.providers.postgres.hooks.postgres import PostgresHook

    from airflow_provider_crux.api.instants import parse_utc
    from airflow_provider_crux.files.rows import TypedRows
    from airflow_provider_crux.files.store import plan_file
    from airflow_provider_crux.tables.postgres import PostgresTable

    def chunks() -> Iterator[bytes]:
        with Path(file).open("rb") as stream:
            while chunk := stream.read(CHUNK_BYTES):
                yield chunk

    hook = PostgresHook(connection=Connection(uri=f"postgresql://{address}"))
    memory_before, start = peak_memory(), time.monotonic()
    instants = map(parse_utc, ("2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z", requested_at))
    stream, plan = plan_file(chunks(), personal_data="keep", on_unknown_column="keep")
    rows = TypedRows(stream, plan)
    loaded = PostgresTable(
        hook, TABLE, columns=rows.columns, origin=("benchmark", *instants), key=("order_uuid",), create=True
    ).load(rows)
    seconds = time.monotonic() - start
    assert loaded.rows == ROWS
    assert not loaded.unchanged
    print(json.dumps({"s": seconds, "MiB": peak_memory() - memory_before}))


def rows() -> list[Row]:
    """Measure and return the rows. The tables of psql and of dlt have no index."""
    from tests.postgres.server import running_postgres

    copied, memory = [], []
    ours: tuple[list[float], list[float]] = ([], [])
    theirs: tuple[list[float], list[float]] = ([], [])
    with tempfile.TemporaryDirectory() as folder, running_postgres() as address:
        files = [Path(folder) / name for name in ("first.csv", "second.csv")]
        columns = write_file(files[0], ROWS)
        write_file(files[1], ROWS, changed=True)
        definitions = ", ".join(f"{name} {'bigint' if name == 'quantity' else 'text'}" for name in columns)
        for _ in range(3):
            psql(address, f"CREATE TABLE raw ({definitions})")
            copied.append(psql(address, f"\\copy raw FROM '{files[0]}' WITH (FORMAT csv, HEADER)"))
            psql(address, "DROP TABLE raw")
            for number, file in enumerate(files):
                result = run_python("-m", "benchmarks.loading", address, str(file), f"2026-01-0{4 + number}T00:00:00Z")
                ours[number].append(result["s"])
                memory.append(result["MiB"])
                theirs[number].append(run_python("-m", "benchmarks.dlt_loading", address, str(file), folder)["s"])
            psql(address, f"DROP TABLE {TABLE}; DROP SCHEMA {', '.join(DLT_SCHEMAS)} CASCADE")
    what = "load 1,000,000 rows into PostgreSQL"
    return [
        Row(f"{what}, a new table", "s", ours[0], "`\\copy`", copied, goal=Goal(3)),
        Row(f"{what}, a new table", "s", ours[0], "dlt", theirs[0], goal=Goal(0.6)),
        Row(f"{what}, a tenth of them changed", "s", ours[1], "dlt", theirs[1], goal=Goal(0.9)),
        Row(f"{what}: memory above the idle process", "MiB", memory, goal=Goal(128)),
    ]


if __name__ == "__main__":
    load(*sys.argv[1:])
