"""The rows of an export's file as typed Arrow tables, while its bytes pass by."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any, Final

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.compute as pc  # type: ignore[import-untyped]

from airflow_provider_crux.files.arrow_rows import ArrowRows, distinct_values, hashed, keys_of, prefetched
from airflow_provider_crux.files.column_plan import ColumnPlan, PlannedColumn
from airflow_provider_crux.files.columns import (
    INTEGER_DECORATION_PATTERN,
    INTEGER_PATTERN,
    MONEY_DECORATION_PATTERN,
    MONEY_PATTERN,
    Column,
    ColumnType,
    Hashes,
    UnusableFileError,
    nul_in_value,
    unreadable_value,
)
from airflow_provider_crux.files.order_details import RowDetails

TYPES: Final = {
    ColumnType.TEXT: pa.string(),
    ColumnType.INTEGER: pa.int64(),
    ColumnType.MONEY: pa.decimal128(18, 2),
    ColumnType.INSTANT: pa.timestamp("us", tz="UTC"),
    ColumnType.BOOLEAN: pa.bool_(),
}
_DETAILS_AT_ONCE: Final = 5_000
_TABLE_BYTES: Final = 2 * 1024 * 1024


class TypedRows:
    """
    The rows of a file, read once.

    :param details: columns to add, by row.
    :param constants: columns to add at the end, with the one value of each.
    :param table_bytes: size of the tables, in bytes; default 2 MiB. Four are in memory at a time.
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
        self._reject_nul = reject_nul
        self._plan = plan
        self._details = details
        self._constants = tuple(constants)
        self._hashes = Hashes(hash_key)
        self._read = ArrowRows(
            chunks,
            plan,
            others=details.keys if details else (),
            distinct=[planned.index for planned in plan.columns if _is_converted(planned)],
            table_bytes=table_bytes,
            count_orders=count_orders,
        )
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
        return self._read.csv_sha256

    @property
    def orders(self) -> int | None:
        """Distinct ``order_uuid`` so far; ``None`` if they are not counted, or the file has no such column."""
        return self._read.orders

    def __iter__(self) -> Iterator[pa.Table]:
        """
        Yield the rows in tables.

        :raises UnusableFileError: as :class:`ArrowRows` does, or if a value is not of its column's type. The message
            names row and column, and never shows a value.
        """
        for group, arrays in prefetched(self._converted_groups()):
            if self._details is not None:
                arrays.extend(details_of(group, self._details))  # in this thread, as SQLite wants it
            constants = (pa.scalar(value, TYPES[column.type]) for column, value in self._constants)
            arrays.extend(pa.repeat(constant, len(group)) for constant in constants)
            self.rows += len(group)
            yield pa.table(arrays, schema=self.schema)

    def _converted_groups(self) -> Iterator[tuple[pa.Table, list[Any]]]:
        """Yield some rows, and the converted values of each of their columns."""
        for group in self._read:
            arrays = [
                _converted(group[str(planned.index)], planned, self._read.rows, self._hashes)
                for planned in self._plan.columns
            ]
            if self._reject_nul and self._read.has_nul:
                _check_nul(arrays, self._plan.columns, self._read.rows)
            yield group, arrays


def details_of(group: pa.Table, details: RowDetails) -> list[pa.ChunkedArray]:
    """Return the columns that the list of orders adds to some rows of :class:`ArrowRows`."""
    # some rows at once: Python's objects need much more memory than Arrow's
    starts = range(0, len(group), _DETAILS_AT_ONCE)
    parts = [_some_details(group.slice(start, _DETAILS_AT_ONCE), details) for start in starts]
    return [pa.chunked_array(arrays) for arrays in zip(*parts, strict=True)]


def _some_details(group: pa.Table, details: RowDetails) -> list[pa.Array]:
    rows = map(details.of, *keys_of(group, details))
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


def _is_converted(planned: PlannedColumn) -> bool:
    return planned.hashed or planned.column.type is not ColumnType.TEXT


def _converted(values: pa.ChunkedArray, planned: PlannedColumn, rows_before: int, hashes: Hashes) -> pa.ChunkedArray:
    """Return the values of a column with their type, or hashed."""
    column = planned.column
    if not _is_converted(planned):
        return _as_text(values, lambda index: unreadable_value(column, rows_before + index + 1))
    distinct, positions = distinct_values(values)

    def unreadable(index: int) -> UnusableFileError:
        return unreadable_value(column, rows_before + pc.index(positions, pa.scalar(index, pa.int32())).as_py() + 1)

    text = _as_text(distinct, unreadable)
    converted = hashed(distinct, hashes) if planned.hashed else _as_numbers(text, column.type, unreadable)
    return pc.take(converted, positions)


def _as_text(values: Any, unreadable: Callable[[int], UnusableFileError]) -> Any:
    with suppress(pa.ArrowInvalid):
        return values.cast(pa.string())
    # not in an except block, where the error of the failed decoding would be the context
    raise unreadable([value.decode(errors="ignore").encode() == value for value in values.to_pylist()].index(False))


def _as_numbers(text: pa.Array, kind: ColumnType, unreadable: Callable[[int], UnusableFileError]) -> pa.Array:
    # most columns have only digits and dots: it is faster to look at their bytes at once
    data = text.buffers()[2]
    is_plain = data is None or not data.to_pybytes().translate(None, b"0123456789.")
    trimmed = text if is_plain else pc.utf8_trim_whitespace(text)
    valid = pc.match_substring_regex(trimmed, MONEY_PATTERN if kind is ColumnType.MONEY else INTEGER_PATTERN)
    if (first := pc.index(valid, value=False).as_py()) >= 0:
        raise unreadable(first)
    if kind is ColumnType.INTEGER or not is_plain:
        decoration = MONEY_DECORATION_PATTERN if kind is ColumnType.MONEY else INTEGER_DECORATION_PATTERN
        trimmed = pc.replace_substring_regex(trimmed, decoration, "")
    return pc.if_else(pc.equal(trimmed, ""), pa.scalar(None, pa.string()), trimmed).cast(TYPES[kind])
