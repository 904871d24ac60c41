"""The rows of an export's file as typed Arrow tables, and as Parquet, while its bytes pass by."""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.compute as pc  # type: ignore[import-untyped]
import pyarrow.csv  # type: ignore[import-untyped]
import pyarrow.parquet  # type: ignore[import-untyped]

from airflow_provider_crux.files.column_plan import ColumnPlan, PlannedColumn
from airflow_provider_crux.files.columns import (
    EXPORT_COLUMNS,
    INTEGER_DECORATION_PATTERN,
    INTEGER_PATTERN,
    MONEY_DECORATION_PATTERN,
    MONEY_PATTERN,
    Column,
    ColumnType,
    Hashes,
    nul_in_value,
    unreadable_value,
)
from airflow_provider_crux.files.csv import FileCounts, counts_of
from airflow_provider_crux.files.order_details import RowDetails
from airflow_provider_crux.files.records import (
    RecordBlocks,
    repeated_header,
    row_of_other_width,
    row_without_order,
    values_of_headers,
)

if TYPE_CHECKING:
    import io

    from airflow_provider_crux.api.exports import SubmittedExport

TYPES: Final = {
    ColumnType.TEXT: pa.string(),
    ColumnType.INTEGER: pa.int64(),
    ColumnType.MONEY: pa.decimal128(18, 2),
    ColumnType.INSTANT: pa.timestamp("us", tz="UTC"),
    ColumnType.BOOLEAN: pa.bool_(),
}
_DETAILS_AT_ONCE: Final = 5_000
_TABLE_BYTES: Final = 8 * 1024 * 1024
# large enough for readers, which skip row groups, and small enough for the memory of a worker
_ROW_GROUP_BYTES: Final = 16 * 1024 * 1024


class TypedRows:
    """
    The rows of a file, read once.

    :param details: columns to add, by row.
    :param constants: columns to add at the end, with the one value of each.
    :param table_bytes: size of the tables, in bytes; default 8 MiB. Three are in memory at a time.
    :param reject_nul: whether a text that contains the character NUL is an error, because no database has to hold it.
    :ivar rows: rows so far.
    """

    def __init__(
        self,
        chunks: Iterable[bytes],
        plan: ColumnPlan,
        *,
        details: RowDetails | None = None,
        constants: Iterable[tuple[Column, Any]] = (),
        hash_key: str = "",
        table_bytes: int = _TABLE_BYTES,
        count_orders: bool = False,
        reject_nul: bool = False,
    ) -> None:
        self.rows = 0
        # eight bytes each, because a set of Python's integers needs ten times as much
        self._orders = array("q")
        self._order_index = plan.order_index if count_orders else None
        self._chunks = chunks
        self._digest = hashlib.sha256()
        self._reject_nul = reject_nul
        self._has_nul = False
        self._plan = plan
        self._details = details
        self._constants = tuple(constants)
        self._hashes = Hashes(hash_key)
        self._table_bytes = table_bytes
        nullable = [planned.column for planned in plan.details]
        added = [*nullable, *(column for column, _ in self._constants)]
        self.columns = (*(planned.column for planned in plan.columns), *added)
        self.schema = pa.schema(
            [
                # a text of the file is never missing; a reader may need to know it, for example to take it as a key
                pa.field(
                    column.name,
                    TYPES[column.type],
                    nullable=column.type is not ColumnType.TEXT or column in nullable,
                    metadata={"description": column.meaning},
                )
                for column in self.columns
            ]
        )

    @property
    def csv_sha256(self) -> str:
        """SHA-256 of the bytes that were read, in hexadecimal digits."""
        return self._digest.hexdigest()

    @property
    def orders(self) -> int | None:
        """Distinct ``order_uuid`` so far; ``None`` if they are not counted, or the file has no such column."""
        if self._order_index is None:
            return None
        return count_distinct(self._orders)

    def __iter__(self) -> Iterator[pa.Table]:
        """
        Yield the rows in tables.

        :raises UnusableFileError: if a row is not well-formed or too long, does not have as many values as the header,
            or is no row of an order, or if a value is not of its column's type. The message names row and column, and
            never shows a value.
        """
        for group in _prefetched(self._unconverted()):
            _check_orders(group, self._plan, self.rows)
            if self._order_index is not None:
                self._orders.extend(map(hash, pc.unique(group[self._order_index]).to_pylist()))
            arrays = [
                _convert(group[planned.index], planned, self.rows, self._hashes) for planned in self._plan.columns
            ]
            if self._reject_nul and self._has_nul:
                _check_nul(arrays, self._plan.columns, self.rows)
            if self._details is not None:
                arrays += _details_of(group, self._details)
            arrays += [pa.repeat(pa.scalar(value, TYPES[column.type]), len(group)) for column, value in self._constants]
            self.rows += len(group)
            yield pa.table(arrays, schema=self.schema)

    def _unconverted(self) -> Iterator[pa.Table]:
        """Yield the rows in tables of about the size, with values as bytes."""
        pending: list[pa.Table] = []
        rows, size = -1, 0  # the first record is the header
        for block in RecordBlocks().split(self._digested()):
            if not block.strip(b"\r\n"):
                continue
            self._has_nul |= b"\0" in block
            table = _parse(block, self._plan, rows)
            records = table.slice(1) if rows < 0 else table
            rows += len(table)
            if len(records):
                pending.append(records)
                size += records.nbytes
            if size >= self._table_bytes:
                yield pa.concat_tables(pending)
                pending, size = [], 0
        if pending:
            yield pa.concat_tables(pending)

    def _digested(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            self._digest.update(chunk)
            yield chunk


def _parse(block: bytes, plan: ColumnPlan, rows_before: int) -> pa.Table:
    """
    Parse whole records as bytes: values are checked later, because Arrow's own messages show them.

    Arrow gets a copy in its own memory. If it read from a Python object, its threads could still do so when the process
    exits, and would abort it or wait forever (after every third error on a busy machine).
    """
    widths: list[tuple[int, int]] = []

    def reject(row: Any) -> str:
        widths.append((row.number, row.actual_columns))
        return "error"

    memory = pa.BufferOutputStream()
    memory.write(b"\n" + block)  # Arrow skips the blank line; else it would skip a byte-order mark in the first value
    copy = memory.getvalue()
    names = [str(index) for index in range(len(plan.header))]  # those of the file may repeat, or be no valid text
    with suppress(pa.ArrowInvalid):
        return pa.csv.read_csv(
            pa.BufferReader(copy),
            read_options=pa.csv.ReadOptions(use_threads=False, block_size=copy.size, column_names=names),
            parse_options=pa.csv.ParseOptions(newlines_in_values=True, invalid_row_handler=reject),
            convert_options=pa.csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.binary()), check_utf8=False, strings_can_be_null=False
            ),
        )
    # not in an except block, where Arrow's error would be the context
    row, width = widths[0]
    raise row_of_other_width(rows_before + row, width, len(plan.header))


def _check_orders(group: pa.Table, plan: ColumnPlan, rows_before: int) -> None:
    """Raise UnusableFileError if one of the rows is no row of an order."""
    names = pa.array((name.encode(errors="surrogateescape") for name in values_of_headers(plan.header)), pa.binary())
    others = [name.encode(errors="surrogateescape") for name in plan.header[1:]]
    for index in pc.indices_nonzero(pc.is_in(group[plan.order_index or 0], value_set=names)).to_pylist():
        if plan.order_index is not None or [column[index].as_py() for column in group.columns[1:]] == others:
            raise repeated_header(rows_before + index + 1)
    if plan.order_index is None:
        return
    with suppress(pa.ArrowInvalid):  # what is not UTF-8 is an error later
        orders = pc.ascii_trim_whitespace(group[plan.order_index].cast(pa.string()))
        if (index := pc.index(orders, "").as_py()) >= 0:
            raise row_without_order(rows_before + index + 1)


def _details_of(group: pa.Table, details: RowDetails) -> list[pa.ChunkedArray]:
    """Return the columns that the list of orders adds to these rows."""
    # some rows at once: Python's objects need much more memory than Arrow's
    starts = range(0, len(group), _DETAILS_AT_ONCE)
    parts = [_some_details(group.slice(start, _DETAILS_AT_ONCE), details) for start in starts]
    return [pa.chunked_array(arrays) for arrays in zip(*parts, strict=True)]


def _some_details(group: pa.Table, details: RowDetails) -> list[pa.Array]:
    keys = [
        [""] * len(group) if index is None else [key.decode(errors="replace") for key in group[index].to_pylist()]
        for index in details.keys
    ]
    rows = [details.of(*row_keys) for row_keys in zip(*keys, strict=True)]
    return [
        pa.array(values, TYPES[planned.column.type])
        for planned, values in zip(details.columns, zip(*rows, strict=True), strict=True)
    ]


def _check_nul(arrays: Iterable[Any], columns: Iterable[PlannedColumn], rows_before: int) -> None:
    """Raise UnusableFileError if a text contains the character NUL."""
    for values, column in zip(arrays, (planned.column for planned in columns), strict=True):
        if column.type is ColumnType.TEXT and (
            (index := pc.index(pc.match_substring(values, "\0"), value=True).as_py()) >= 0
        ):
            raise nul_in_value(column, rows_before + index + 1)


def _prefetched(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """Parse the next rows in a thread while the caller writes these: neither holds Python's lock for long."""
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="crux-parser") as thread:
        following = thread.submit(next, tables, None)
        while (table := following.result()) is not None:
            following = thread.submit(next, tables, None)
            yield table


def _convert(values: Any, planned: PlannedColumn, rows_before: int, hashes: Hashes) -> Any:
    """Return the values of a column with their type, or hashed."""
    column = planned.column
    text = _as_text(values, column, rows_before)

    def hashed(distinct: Any) -> Any:
        return pa.array(map(hashes.__getitem__, distinct.to_pylist()), pa.string(), size=len(distinct))

    def numbers(distinct: Any) -> Any:
        trimmed = pc.utf8_trim_whitespace(distinct)
        valid = pc.match_substring_regex(trimmed, MONEY_PATTERN if column.type is ColumnType.MONEY else INTEGER_PATTERN)
        if (first := pc.index(valid, value=False).as_py()) >= 0:
            raise unreadable_value(column, rows_before + pc.index(text, distinct[first]).as_py() + 1)
        decoration = MONEY_DECORATION_PATTERN if column.type is ColumnType.MONEY else INTEGER_DECORATION_PATTERN
        trimmed = pc.replace_substring_regex(trimmed, decoration, "")
        return pc.if_else(pc.equal(trimmed, ""), pa.scalar(None, pa.string()), trimmed).cast(TYPES[column.type])

    if planned.hashed:
        return each_once(text, hashed)
    return text if column.type is ColumnType.TEXT else each_once(text, numbers)


def count_distinct(hashes: array[int]) -> int:
    """Count the distinct ones of some integers; Arrow's own function needs ten times the memory."""
    values = pa.Array.from_buffers(pa.int64(), len(hashes), [None, pa.py_buffer(hashes)])
    ordered = values.take(pc.sort_indices(values))
    return len(values) and 1 + (pc.sum(pc.not_equal(ordered[1:], ordered[:-1])).as_py() or 0)


def each_once(values: Any, function: Callable[[Any], Any]) -> Any:
    """Apply a function to the distinct values only, in the order in which they first occur."""
    distinct = pc.unique(values)
    return function(distinct).take(pc.index_in(values, value_set=distinct))


def _as_text(values: Any, column: Column, rows_before: int) -> Any:
    with suppress(pa.ArrowInvalid):
        return values.cast(pa.string())
    # not in an except block, where the error of the failed decoding would be the context
    row = [value.decode(errors="ignore").encode() == value for value in values.to_pylist()].index(False)
    raise unreadable_value(column, rows_before + row + 1)


def convert_to_parquet(
    chunks: Iterable[bytes],
    sink: io.RawIOBase | io.BufferedIOBase,
    plan: ColumnPlan,
    *,
    submitted: SubmittedExport,
    hash_key: str = "",
    count_orders: bool = False,
    details: RowDetails | None = None,
) -> FileCounts:
    """
    Write the rows of a CSV file as Parquet, compressed with zstd, with the columns that say where a row comes from.

    :raises UnusableFileError: as :class:`TypedRows` does.
    """
    values = (
        submitted.export_uuid,
        submitted.interval_start,
        submitted.interval_end,
        submitted.requested_at,
    )
    constants = zip(EXPORT_COLUMNS, values, strict=True)
    rows = TypedRows(
        chunks,
        plan,
        details=details,
        constants=constants,
        hash_key=hash_key,
        table_bytes=_ROW_GROUP_BYTES,
        count_orders=count_orders,
    )
    with pyarrow.parquet.ParquetWriter(sink, rows.schema, compression="zstd") as writer:
        for table in rows:
            writer.write_table(table, row_group_size=len(table))
        writer.add_key_value_metadata(
            {
                "crux_export_uuid": submitted.export_uuid,
                "crux_request": json.dumps(submitted.as_xcom()["request"]),
                "crux_csv_sha256": rows.csv_sha256,
            }
        )
    return counts_of(rows.rows, rows.orders)
