"""Store the file of an export in the requested format, and count what is in it, in one pass."""

from __future__ import annotations

import gzip
import hashlib
import io
import logging
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import chain
from typing import TYPE_CHECKING, Final

from airflow_provider_crux.exceptions import CruxInvalidRequestError
from airflow_provider_crux.files.atomic_write import atomic_write
from airflow_provider_crux.files.columns import EXPORT_COLUMNS, ColumnPlan, plan_columns
from airflow_provider_crux.files.csv import FileCounts, convert_csv, copy_csv, parse_header
from airflow_provider_crux.files.manifest import manifest_path

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, SupportsWrite
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    from airflow_provider_crux.api.exports import SubmittedExport

log = logging.getLogger(__name__)

CSV: Final = "csv"
PARQUET: Final = "parquet"
GZIP: Final = "gzip"


@dataclass(frozen=True, kw_only=True)
class FileOptions:
    """How a file is stored, by default byte for byte: the arguments of ``CruxExportToObjectStorageOperator``."""

    file_format: str = CSV
    compression: str | None = None
    personal_data: str = "keep"
    on_unknown_column: str = "keep"
    add_export_columns: bool = False

    @property
    def converts(self) -> bool:
        """Whether the stored file differs from the one that Crux Connect serves."""
        return self.file_format == PARQUET or self.personal_data != "keep" or self.add_export_columns

    @property
    def stored_compression(self) -> str | None:
        """The compression of the stored file."""
        return "zstd" if self.file_format == PARQUET else self.compression


@dataclass(frozen=True)
class StoredFile:
    """A stored file: its length, its rows without the header, and its distinct orders, ``None`` if not counted."""

    path: str
    bytes: int
    rows: int
    sha256: str
    format: str = CSV
    orders: int | None = None


class _DigestingSink(io.RawIOBase):
    """Measure what is written to a file."""

    def __init__(self, file: SupportsWrite[bytes]) -> None:
        self._file = file
        self.size = 0
        self.digest = hashlib.sha256()

    def writable(self) -> bool:
        """Return True."""
        return True

    def write(self, data: ReadableBuffer) -> int:
        """Write all of the data."""
        content = bytes(data)
        self._file.write(content)
        self.digest.update(content)
        self.size += len(content)
        return len(content)


def store(
    chunks: Iterable[bytes],
    path: ObjectStoragePath,
    *,
    options: FileOptions,
    submitted: SubmittedExport,
    hash_key: str = "",
    overwrite: bool = True,
    count_orders: bool = False,
) -> StoredFile:
    """
    Store a file. An older manifest beside it is removed before the file is replaced.

    :param chunks: the bytes of the CSV file. If they raise, nothing is stored, and the path keeps what it contained.
    :param count_orders: whether to count the distinct orders, which needs a parser.
    :raises CruxInvalidRequestError: if the file exists and must not be replaced.
    :raises UnusableFileError: if the file cannot be converted.
    """
    stream, plan = iter(chunks), None
    if options.converts or options.on_unknown_column != "keep":
        stream, plan = plan_file(
            stream, personal_data=options.personal_data, on_unknown_column=options.on_unknown_column
        )

    def write(sink: io.RawIOBase | io.BufferedIOBase) -> FileCounts:
        if plan is None or not options.converts:
            return copy_csv(stream, sink, count_orders=count_orders)
        if options.file_format == PARQUET:
            # here, so that only those who store Parquet need pyarrow
            from airflow_provider_crux.files.rows import convert_to_parquet

            return convert_to_parquet(
                stream, sink, plan, submitted=submitted, hash_key=hash_key, count_orders=count_orders
            )
        added: list[tuple[str, str]] = []
        if options.add_export_columns:
            record = submitted.as_xcom()
            names = ("export_uuid", "interval_start", "interval_end", "requested_at")
            added = [(column.name, record[name] or "") for column, name in zip(EXPORT_COLUMNS, names, strict=True)]
        return convert_csv(stream, sink, plan, hash_key=hash_key, added=added)

    with atomic_write(path, overwrite=overwrite) as file:
        sink = _DigestingSink(file)
        if options.compression == GZIP:
            # without name and time: the same file has the same bytes
            with gzip.GzipFile(filename="", mode="wb", fileobj=sink, mtime=0) as compressed:
                counts = write(compressed)
        else:
            counts = write(sink)
        _remove_manifest(path, overwrite=overwrite)
    return StoredFile(
        path=str(path),
        bytes=sink.size,
        rows=counts.rows,
        sha256=sink.digest.hexdigest(),
        format=options.file_format,
        orders=counts.orders,
    )


def _remove_manifest(path: ObjectStoragePath, *, overwrite: bool) -> None:
    """
    Remove the manifest of the file that is about to be replaced.

    Before, not after: if the task is killed in between, a file without a manifest is only exported again, but an older
    manifest would describe another file, which may have the same length and lack orders.
    """
    fs, manifest = path.fs, manifest_path(path).path
    fs.invalidate_cache()
    if overwrite or not fs.exists(path.path):  # a file that another task has just stored keeps its manifest
        with suppress(FileNotFoundError):
            if fs.exists(manifest):
                fs.rm_file(manifest)


def plan_file(
    chunks: Iterator[bytes], *, personal_data: str, on_unknown_column: str
) -> tuple[Iterator[bytes], ColumnPlan]:
    """Read the header of a file; return all chunks, and what :func:`plan_columns` stores of its columns."""
    beginning = next(chunks, b"")
    plan = plan_columns(parse_header(beginning), personal_data=personal_data, on_unknown_column=on_unknown_column)
    for warning in plan.warnings:
        log.warning(warning)
    return chain([beginning], chunks), plan


def check_pyarrow_is_installed(purpose: str, extra: str) -> None:
    """Raise CruxInvalidRequestError, before anything is downloaded, if pyarrow is missing."""
    if find_spec("pyarrow") is None:
        raise CruxInvalidRequestError(
            f"{purpose} needs pyarrow; run pip install 'airflow-provider-crux[{extra}]' on every worker"
        )
