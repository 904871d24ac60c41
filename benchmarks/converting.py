"""
Measures how our transfer converts a file: speed, CPU time and memory, compared with Polars and DuckDB.

All read the same file from a disk, a million rows of the sandbox, and write to a disk. They convert the same values:
amounts to decimals, quantities to integers, and everything else stays text. Polars and DuckDB may use both cores. A new
process measures each value: ``python -m benchmarks.converting KIND FILE TIMES FOLDER``; TIMES repeats the rows.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.loading import CHUNK_BYTES, ROWS, peak_memory, write_file
from benchmarks.results import Goal, Row
from benchmarks.subprocesses import run_python

MIB = 1024 * 1024
CPU = "MiB per CPU second"
SIZE = "MiB stored"
ROUNDS = 3
AMOUNTS = ("retailer_provided_sku_cost", "estimated_shipping_cost", "dropship_fee", "per_order_fee", "estimated_tax")
PERSONAL_DATA = {"csv": "drop", "hashed csv": "hash", "parquet": "keep", "hashed parquet": "hash"}


def chunks(file: str, times: int) -> Iterator[bytes]:
    """Yield a file in chunks, with its rows as often as that."""
    for turn in range(times):
        with Path(file).open("rb") as stream:
            if turn:
                stream.readline()  # the header
            while chunk := stream.read(CHUNK_BYTES):
                yield chunk


Convert = Callable[[str, int], "int | None"]
"""Converts a file, with its rows repeated, and returns how many rows it stored, if it knows."""


def our_transfer(kind: str, folder: str) -> Convert:
    """Return how our transfer stores a file."""
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    from airflow_provider_crux.api.exports import SubmittedExport
    from airflow_provider_crux.files.store import FileOptions, store

    options = FileOptions(
        file_format="csv" if "csv" in kind else "parquet", personal_data=PERSONAL_DATA[kind], on_unknown_column="fail"
    )

    def save(file: str, times: int) -> int | None:
        stored = store(
            chunks(file, times),
            ObjectStoragePath(f"file://{folder}/orders"),
            options=options,
            submitted=SubmittedExport("uuid", None, None),
            hash_key="of the benchmark",
        )
        return stored.rows

    return save


def polars(folder: str) -> Convert:
    """Return how Polars does the same."""
    import polars as pl

    def number(name: str, kind: Any) -> pl.Expr:
        return pl.col(name).str.strip_chars().replace("", None).cast(kind)

    def save(file: str, _: int) -> None:
        names = pl.scan_csv(file).collect_schema().names()
        texts = pl.scan_csv(file, schema_overrides=dict.fromkeys(names, pl.String), empty_string_is_null=False)
        amounts = [number(name, pl.Decimal(18, 2)) for name in AMOUNTS]
        texts.with_columns(*amounts, number("quantity", pl.Int64)).sink_parquet(f"{folder}/orders", compression="zstd")

    return save


def duckdb(folder: str) -> Convert:
    """Return how DuckDB does the same."""
    import duckdb as database

    def number(name: str, kind: str) -> str:
        return f"CAST(nullif(trim({name}), '') AS {kind}) AS {name}"

    def save(file: str, _: int) -> None:
        connection = database.connect()
        connection.execute("SET threads = 2")
        # without nullstr, an empty text is NULL
        source = f"read_csv('{file}', all_varchar = true, header = true, nullstr = '\\0')"
        numbers = [*(number(name, "DECIMAL(18, 2)") for name in AMOUNTS), number("quantity", "BIGINT")]
        connection.execute(
            f"COPY (SELECT * REPLACE ({', '.join(numbers)}) FROM {source}) "
            f"TO '{folder}/orders' (FORMAT parquet, COMPRESSION zstd)"
        )

    return save


def convert(kind: str, file: str, times: str, folder: str) -> None:
    """Convert a file, and print the times and the memory. A small file first loads what any size needs."""
    peers = {"polars": polars, "duckdb": duckdb}
    save = peers[kind](folder) if kind in peers else our_transfer(kind, folder)
    small = Path(folder) / "small.csv"
    write_file(small, 8_000)
    save(str(small), 1)
    memory_before, start, cpu = peak_memory(), time.monotonic(), time.process_time()
    rows = save(file, int(times))
    seconds, cpu_seconds = time.monotonic() - start, time.process_time() - cpu
    size = Path(file).stat().st_size * int(times) / MIB
    result = {"MiB/s": size / seconds, CPU: size / cpu_seconds, "MiB": peak_memory() - memory_before}
    print(json.dumps(result | {"rows": rows, SIZE: Path(f"{folder}/orders").stat().st_size / MIB}))


def measure(kind: str, file: Path, times: int) -> dict[str, float]:
    """Convert a file in a process of its own, into the folder of the file."""
    return run_python("-m", "benchmarks.converting", kind, str(file), str(times), str(file.parent))  # type: ignore[no-any-return]


def rows() -> list[Row]:
    """Measure and return the rows."""
    results: dict[str, list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "orders.csv"
        write_file(file, ROWS)

        for _ in range(ROUNDS):
            for kind in ("parquet", "polars", "duckdb", *PERSONAL_DATA):
                results.setdefault(kind, []).append(measure(kind, file, 1))
        large = measure("parquet", file, 5)

    def values(kind: str, unit: str) -> list[float]:
        return [result[unit] for result in results[kind]]

    def compared(what: str, unit: str, name: str, goal: float | None = None) -> Row:
        bound = Goal(goal, minimum=True) if goal else None
        what += ", per CPU second" if unit == CPU else ""
        return Row(what, unit, values("parquet", unit), name, values(name.lower(), unit), bound)

    to_parquet = "convert 435 MiB of CSV to Parquet"
    memory = "memory above the idle process"
    return [
        compared(to_parquet, "MiB/s", "Polars", 1.1),
        compared(to_parquet, CPU, "Polars", 0.9),
        compared(to_parquet, "MiB/s", "DuckDB", 1.1),
        compared(to_parquet, CPU, "DuckDB", 1.2),
        compared(f"{to_parquet}: {memory}", "MiB", "Polars"),
        compared(f"{to_parquet}: {memory}", "MiB", "DuckDB"),
        Row(f"{to_parquet}: {memory}", "MiB", values("parquet", "MiB"), goal=Goal(128)),
        Row(f"convert 2.1 GiB of CSV to Parquet: {memory}", "MiB", [large["MiB"]], goal=Goal(128)),
        compared(f"{to_parquet}: size of the file", SIZE, "Polars"),
        compared(f"{to_parquet}: size of the file", SIZE, "DuckDB"),
        Row(
            f"{to_parquet}, personal data hashed",
            CPU,
            values("hashed parquet", CPU),
            "not hashed",
            values("parquet", CPU),
            Goal(0.6, minimum=True),
        ),
        *(
            Row(f"{verb} the personal data of 435 MiB of CSV", unit, values(kind, unit))
            for verb, kind in (("hash", "hashed csv"), ("drop", "csv"))
            for unit in ("MiB/s", CPU)
        ),
        Row(f"hash the personal data of 435 MiB of CSV: {memory}", "MiB", values("hashed csv", "MiB"), goal=Goal(64)),
    ]


if __name__ == "__main__":
    convert(*sys.argv[1:])
