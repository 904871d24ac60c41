"""Store the file of an export in the requested format, and count what is in it, in one pass."""

from __future__ import annotations

import gzip
import hashlib
import io
import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, Final

from airflow_provider_crux.exceptions import CruxInvalidRequestError
from airflow_provider_crux.files.atomic_write import atomic_write
from airflow_provider_crux.files.column_plan import ColumnPlan, names_that_differ_in_case, plan_columns
from airflow_provider_crux.files.columns import EXPORT_COLUMNS, UnusableFileError
from airflow_provider_crux.files.csv import FileCounts, convert_csv, copy_csv
from airflow_provider_crux.files.header import Header, OtherContent, read_header, with_whole_header
from airflow_provider_crux.files.manifest import manifest_path
from airflow_provider_crux.files.order_details import ListedOrders, RowDetails

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, SupportsWrite
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    from airflow_provider_crux.api.exports import SubmittedExport

log = logging.getLogger(__name__)

_Write = Callable[[Iterable[bytes], "io.RawIOBase | io.BufferedIOBase"], FileCounts]

CSV: Final = "csv"
PARQUET: Final = "parquet"
GZIP: Final = "gzip"
_SMALL_FILE_CHUNKS: Final = 8
"""A chunk has 256 KiB at most."""
_OLDEST_PYARROW: Final = 17
"""As in pyproject.toml."""


@dataclass(frozen=True, kw_only=True)
class FileOptions:
    """How a file is stored, by default byte for byte: the arguments of ``CruxExportToObjectStorageOperator``."""

    file_format: str = CSV
    compression: str | None = None
    personal_data: str = "keep"
    on_unknown_column: str = "keep"
    add_export_columns: bool = False
    order_details: bool | str = False

    @property
    def converts(self) -> bool:
        """Whether the stored file differs from the one that Crux Connect serves."""
        changes = self.personal_data != "keep" or self.add_export_columns or bool(self.order_details)
        return self.file_format == PARQUET or changes

    @property
    def stored_compression(self) -> str | None:
        """The compression of the stored file."""
        return "zstd" if self.file_format == PARQUET else self.compression


@dataclass(frozen=True)
class StoredFile:
    """
    A stored file: its length, its rows without the header, its distinct orders, and the names of its columns.

    ``rows`` and ``orders`` are ``None`` if they were not or cannot be counted, ``columns`` if the file has no header.
    """

    path: str
    bytes: int
    rows: int | None
    sha256: str
    format: str = CSV
    orders: int | None = None
    columns: list[str] | None = None


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
    listed: ListedOrders | None = None,
    overwrite: bool = True,
    count_orders: bool = False,
) -> StoredFile:
    """
    Store a file. An older manifest beside it is removed before the file is replaced.

    :param chunks: the bytes of the CSV file. If they raise, nothing is stored, and the path keeps what it contained.
    :param listed: what the list tells of the orders; ``None`` if it is not known.
    :param count_orders: whether to count the distinct orders, which needs a parser.
    :raises CruxInvalidRequestError: if the file exists and must not be replaced.
    :raises UnusableFileError: if the file cannot be converted.
    """
    stream, header = _open(chunks)
    write: _Write = partial(copy_csv, count_orders=count_orders)
    columns = header.columns
    if options.converts or options.on_unknown_column != "keep":
        plan = _plan(
            header,
            personal_data=options.personal_data,
            on_unknown_column=options.on_unknown_column,
            order_details=options.order_details,
        )
        if options.converts:
            details = RowDetails(plan, listed, hash_key) if options.order_details else None
            write, columns = _conversion(
                plan, options, submitted=submitted, hash_key=hash_key, count_orders=count_orders, details=details
            )
    elif header.problem:
        log.warning("The file is stored as it is, although %s", header.problem)
    with atomic_write(path, overwrite=overwrite) as file:
        sink = _DigestingSink(file)
        if options.compression == GZIP:
            # without name and time: the same file has the same bytes
            with gzip.GzipFile(filename="", mode="wb", fileobj=sink, mtime=0) as compressed:
                counts = write(stream, compressed)
        else:
            counts = write(stream, sink)
        _remove_manifest(path, overwrite=overwrite)
    if counts.warning and (count_orders or counts.rows is None):
        log.warning(counts.warning)
    return StoredFile(
        path=str(path),
        bytes=sink.size,
        rows=counts.rows,
        sha256=sink.digest.hexdigest(),
        format=options.file_format,
        orders=counts.orders,
        columns=columns,
    )


def _conversion(
    plan: ColumnPlan,
    options: FileOptions,
    *,
    submitted: SubmittedExport,
    hash_key: str,
    count_orders: bool,
    details: RowDetails | None,
) -> tuple[_Write, list[str]]:
    """Return what writes a converted file, and the names of its columns."""
    added = {}
    if options.file_format == PARQUET or options.add_export_columns:
        record = submitted.as_xcom()
        names = ("export_uuid", "interval_start", "interval_end", "requested_at")
        added = {column.name: record[name] or "" for column, name in zip(EXPORT_COLUMNS, names, strict=True)}
    columns = [*(planned.column.name for planned in (*plan.columns, *plan.details)), *added]
    for warning in names_that_differ_in_case(columns):
        log.warning(warning)
    if options.file_format == PARQUET:
        # here, so that only those who store Parquet need pyarrow
        from airflow_provider_crux.files.parquet import convert_to_parquet

        to_parquet = partial(convert_to_parquet, submitted=submitted)
        return partial(to_parquet, plan=plan, hash_key=hash_key, count_orders=count_orders, details=details), columns
    to_csv = partial(_convert_csv, added=list(added.items()))
    return partial(to_csv, plan=plan, hash_key=hash_key, count_orders=count_orders, details=details), columns


def _convert_csv(chunks: Iterable[bytes], sink: SupportsWrite[bytes], **options: Any) -> FileCounts:
    """Convert a large file with Arrow, if it is installed: its import takes as long as a small file without it."""
    stream = iter(chunks)
    beginning = list(islice(stream, _SMALL_FILE_CHUNKS))
    convert = (len(beginning) == _SMALL_FILE_CHUNKS and _arrow_conversion()) or convert_csv
    return convert(chain(beginning, stream), sink, **options)


def _arrow_conversion() -> Callable[..., FileCounts] | None:
    """Return the conversion with Arrow; ``None`` without pyarrow, or with one that other packages have brought."""
    with suppress(ImportError):
        import pyarrow as pa  # type: ignore[import-untyped]

        if int(pa.__version__.partition(".")[0]) >= _OLDEST_PYARROW:
            from airflow_provider_crux.files.arrow_csv import convert_csv as convert

            return convert
    return None


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
    chunks: Iterable[bytes],
    *,
    fit: Callable[[ColumnPlan], ColumnPlan] | None = None,
    **options: Any,
) -> tuple[Iterator[bytes], ColumnPlan]:
    """
    Read the header of a file; return all chunks, and what :func:`plan_columns` stores of its columns.

    :param fit: leaves out what the target cannot have.
    :param options: the arguments of :func:`plan_columns`.
    :raises UnusableFileError: if it is no export of orders, or its columns cannot be stored.
    """
    stream, header = _open(chunks)
    return stream, _plan(header, fit=fit, **options)


def _open(chunks: Iterable[bytes]) -> tuple[Iterator[bytes], Header]:
    stream = with_whole_header(chunks)
    beginning = next(stream)
    header = read_header(beginning)
    if isinstance(header, OtherContent):  # what is downloaded never is
        raise UnusableFileError(f"it is {header.description}")
    return chain([beginning], stream), header


def _plan(header: Header, *, fit: Callable[[ColumnPlan], ColumnPlan] | None = None, **options: Any) -> ColumnPlan:
    if header.problem:
        raise UnusableFileError(header.problem)
    plan = plan_columns(header.names, **options)
    plan = fit(plan) if fit else plan
    for warning in plan.warnings:
        log.warning(warning)
    return plan


def check_pyarrow_is_installed(purpose: str, extra: str) -> None:
    """Raise CruxInvalidRequestError, before anything is downloaded, if pyarrow is missing."""
    if find_spec("pyarrow") is None:
        raise CruxInvalidRequestError(
            f"{purpose} needs pyarrow; run pip install 'airflow-provider-crux[{extra}]' on every worker"
        )
