"""
Measures how our transfer converts a file while its chunks arrive: speed, and memory above the idle process.

A new process measures each value: ``python -m benchmarks.converting KIND MIB``. The chunks are in memory, so that no
network and no server count.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.results import Goal, Row
from benchmarks.subprocesses import run_python

MIB = 1024 * 1024
CHUNK_BYTES = 256 * 1024
KINDS: dict[str, dict[str, Any]] = {
    "raw": {},
    "raw with manifest": {},
    "gzip": {"compression": "gzip"},
    "hashed csv": {"personal_data": "hash"},
    "parquet": {"file_format": "parquet"},
    "hashed parquet": {"file_format": "parquet", "personal_data": "hash"},
}


def chunks(blocks: list[bytes], size: int) -> Iterator[bytes]:
    """
    Yield a file with a header.

    :param blocks: the header, and rows.
    :param size: how many bytes of rows.
    """
    header, *rows = blocks
    yield header
    sent = 0
    while sent < size:
        for block in rows:
            for start in range(0, len(block), CHUNK_BYTES):
                chunk = block[start : start + CHUNK_BYTES]
                sent += len(chunk)
                yield chunk
            if sent >= size:
                return


def some_blocks() -> list[bytes]:
    """Return the header, and eight times 4 MiB of different rows."""
    from airflow_provider_crux.sandbox.csv_file import write_csv
    from airflow_provider_crux.sandbox.orders import make_order

    header, line_end, rows = write_csv(make_order(number) for number in range(5_000)).partition(b"\r\n")
    # other orders, buyers and line items in each
    return [header + line_end, *(rows.replace(b"-4", b"-4%d" % n).replace(b"PO-", b"PO-%d-" % n) for n in range(8))]


def convert(kind: str, mebibytes: str) -> None:
    """Store a file, and print speed, memory and rows. A small file first loads what any size needs."""
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    from airflow_provider_crux.api.exports import SubmittedExport
    from airflow_provider_crux.files.store import FileOptions, StoredFile, store

    def peak_memory() -> float:
        # ru_maxrss would include the memory of the parent process.
        return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) / 1024

    def save(size: int) -> StoredFile:
        return store(
            chunks(blocks, size),
            ObjectStoragePath(f"file://{folder}/orders"),
            options=FileOptions(**KINDS[kind]),
            submitted=SubmittedExport("uuid", None, None),
            hash_key="of the benchmark",
            count_orders="manifest" in kind,
        )

    blocks, size = some_blocks(), int(mebibytes) * MIB
    with tempfile.TemporaryDirectory() as folder:
        save(1)
        memory_before, start = peak_memory(), time.monotonic()
        stored = save(size)
        seconds = time.monotonic() - start
        print(json.dumps({"MiB/s": size / MIB / seconds, "MiB": peak_memory() - memory_before, "rows": stored.rows}))


def measure(kind: str, mebibytes: int) -> dict[str, float]:
    """Convert a file in a process of its own."""
    return run_python("-m", "benchmarks.converting", kind, str(mebibytes))  # type: ignore[no-any-return]


def rows() -> list[Row]:
    """Measure and return the rows."""
    parquet = [measure("parquet", 2048) for _ in range(3)]
    hashed = [measure("hashed csv", 256) for _ in range(3)]
    return [
        Row("convert 2 GiB to Parquet", "MiB/s", [result["MiB/s"] for result in parquet]),
        Row(
            "convert 2 GiB to Parquet: memory above the idle process",
            "MiB",
            [result["MiB"] for result in parquet],
            goal=Goal(256),
        ),
        Row("hash the personal data of 256 MiB of CSV", "MiB/s", [result["MiB/s"] for result in hashed]),
        Row(
            "hash the personal data of 256 MiB of CSV: memory above the idle process",
            "MiB",
            [result["MiB"] for result in hashed],
            goal=Goal(64),
        ),
    ]


if __name__ == "__main__":
    convert(*sys.argv[1:])
