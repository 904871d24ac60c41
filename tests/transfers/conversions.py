"""Files that are converted, in this process or in one that a test can kill."""

from __future__ import annotations

import os
import resource
import sys
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import ObjectStoragePath

from airflow_provider_crux.api.exports import SubmittedExport
from airflow_provider_crux.files.store import FileOptions, store
from tests.files.places import MIB
from tests.transfers.transfer import csv_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

FORMATS: dict[str, dict[str, Any]] = {
    "gzip": {"compression": "gzip"},
    "converted csv": {"add_export_columns": True},
    "parquet": {"file_format": "parquet"},
}

HEADER = csv_file()
ROWS = csv_file(*[{"city": "x" * 1000}] * 1000).removeprefix(HEADER)


def large_file(format_: str) -> bytes:
    """Return a file that is more than a buffer: of Parquet more than a row group, which is 16 MiB."""
    return HEADER + ROWS * ((20 * MIB if format_ == "parquet" else 2 * MIB) // len(ROWS))


def save(chunks: Iterable[bytes], path: ObjectStoragePath, format_: str) -> None:
    store(chunks, path, options=FileOptions(**FORMATS[format_]), submitted=SubmittedExport("uuid", None, None))


def save_until_killed(path: str, format_: str) -> None:
    """Save a file that has no end, and print a line when more than one buffer was written."""

    def chunks() -> Iterator[bytes]:
        yield HEADER
        for _ in range(64 * MIB // len(ROWS)):  # more than is read ahead
            yield ROWS
        sys.stdout.write("written\n")
        sys.stdout.flush()
        sys.stdin.read()

    save(chunks(), ObjectStoragePath(path), format_)


def save_on_a_full_disk(path: str, format_: str) -> None:
    """Save a file while no file can be larger than 1 MiB, and print the error."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (MIB, MIB))
    rows = [csv_file(*({"city": os.urandom(500).hex()} for _ in range(1000))).removeprefix(HEADER) for _ in range(20)]
    try:
        save([HEADER, *rows], ObjectStoragePath(path), format_)
    except OSError as error:
        sys.stdout.write(f"error: {error}\n")


if __name__ == "__main__":
    {"killed": save_until_killed, "full": save_on_a_full_disk}[sys.argv[1]](*sys.argv[2:])
