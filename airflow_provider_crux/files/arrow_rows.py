"""The rows of an export's file as Arrow tables of bytes, each checked to be a whole row of an order."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.compute as pc  # type: ignore[import-untyped]

from airflow_provider_crux.files.arrow_blocks import Parsing, parse_blocks
from airflow_provider_crux.files.column_plan import ColumnPlan
from airflow_provider_crux.files.columns import Hashes
from airflow_provider_crux.files.order_details import RowDetails
from airflow_provider_crux.files.records import (
    MAX_RECORD_BYTES,
    repeated_header,
    row_without_order,
    values_of_headers,
)

_T = TypeVar("_T")

_TEXT: Final = pa.binary()
_DISTINCT: Final = pa.dictionary(pa.int32(), _TEXT)


class ArrowRows:
    """
    The rows of a file, read once. A column is named after its position in the file: ``"0"`` is the first.

    :param others: positions of columns that are read although they are not stored.
    :param distinct: positions of columns whose values are read as dictionaries, because each is converted once.
    :param table_bytes: size of the tables, in bytes.
    :ivar rows: rows before the table that was yielded last; all rows when the file has ended.
    :ivar has_nul: whether one of the tables so far may contain the character NUL.
    """

    def __init__(
        self,
        chunks: Iterable[bytes],
        plan: ColumnPlan,
        *,
        table_bytes: int,
        others: Iterable[int | None] = (),
        distinct: Collection[int] = (),
        count_orders: bool = False,
    ) -> None:
        self.rows = 0
        self.has_nul = False
        self._chunks = chunks
        self._plan = plan
        self._table_bytes = table_bytes
        self._digest = hashlib.sha256()
        # eight bytes each, because a set of Python's integers needs ten times as much
        self._orders = array("q") if count_orders and plan.order_index is not None else None
        indices = {planned.index for planned in plan.columns} | {index for index in others if index is not None}
        # without order_uuid, all values of a row tell whether it repeats the header
        indices |= set(range(len(plan.header))) if plan.order_index is None else {plan.order_index}
        self._types = {str(index): _DISTINCT if index in distinct else _TEXT for index in sorted(indices)}
        names = [name.encode(errors="surrogateescape") for name in values_of_headers(plan.header)]
        self._header_values = pa.array(names, _TEXT)

    @property
    def csv_sha256(self) -> str:
        """SHA-256 of the bytes that were read, in hexadecimal digits."""
        return self._digest.hexdigest()

    @property
    def orders(self) -> int | None:
        """Distinct ``order_uuid`` so far; ``None`` if they are not counted, or the file has no such column."""
        return None if self._orders is None else count_distinct(self._orders)

    def __iter__(self) -> Iterator[pa.Table]:
        """
        Yield the rows in tables.

        :raises UnusableFileError: if a row is not well-formed or too long, does not have as many values as the header,
            or is no row of an order. The message names the row, and never shows a value.
        """
        for table in self._tables():
            self._check_orders(table)
            if self._orders is not None:
                self._orders.extend(map(hash, pc.unique(table[str(self._plan.order_index)]).to_pylist()))
            yield table
            self.rows += len(table)

    def _tables(self) -> Iterator[pa.Table]:
        pending: list[pa.Table] = []
        size = 0
        for block, block_bytes in self._blocks():
            pending.append(block)
            size += max(block_bytes, block.nbytes)  # few columns may be read, and hashes are longer than dictionaries
            if size >= self._table_bytes:
                yield pa.concat_tables(pending)
                pending, size = [], 0
        if pending:
            yield pa.concat_tables(pending)

    def _blocks(self) -> Iterator[tuple[pa.Table, int]]:
        """Yield the rows in small tables, each with the size of its text."""
        blocks = parse_blocks(
            self._passing_by(),
            Parsing(len(self._plan.header), self._types),
            block_bytes=min(self._table_bytes, MAX_RECORD_BYTES // 2),
            ahead=max(2, self._table_bytes // (2 * MAX_RECORD_BYTES)),  # the longer a table is used, the more
        )
        for number, (block, block_bytes) in enumerate(blocks):
            table = block if number else _without_header(block, self._types)
            if len(table):
                yield table, block_bytes

    def _passing_by(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            self._digest.update(chunk)
            self.has_nul |= b"\0" in chunk
            yield chunk

    def _check_orders(self, table: pa.Table) -> None:
        """Raise UnusableFileError if one of the rows is no row of an order."""
        index = self._plan.order_index
        keys = table[str(index or 0)]
        others = [name.encode(errors="surrogateescape") for name in self._plan.header[1:]]
        for row in pc.indices_nonzero(pc.is_in(keys, value_set=self._header_values)).to_pylist():
            if index is not None or [column[row].as_py() for column in table.columns[1:]] == others:
                raise repeated_header(self.rows + row + 1)
        if index is None:
            return
        orders = pc.ascii_trim_whitespace(keys.cast(pa.string(), safe=False))  # they need not be UTF-8
        if (row := pc.index(orders, "").as_py()) >= 0:
            raise row_without_order(self.rows + row + 1)


def _without_header(table: pa.Table, types: dict[str, Any]) -> pa.Table:
    """Return the first rows as the later ones are read; no dictionary may contain a name of the header."""
    rows = table.slice(1)
    columns = [
        column.dictionary_encode() if types[name] == _DISTINCT else column
        for name, column in zip(rows.column_names, rows.columns, strict=True)
    ]
    return pa.table(columns, names=rows.column_names)


def prefetched(items: Iterator[_T]) -> Iterator[_T]:
    """Make the next item in a thread while the caller uses this one: neither holds Python's lock for long."""
    end: Any = object()
    thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="crux-reader")
    try:
        following = thread.submit(next, items, end)
        while (item := following.result()) is not end:
            following = thread.submit(next, items, end)
            yield item
    finally:
        thread.shutdown(wait=False)  # a task that is killed or times out does not wait for a source that stalls


def count_distinct(hashes: array[int]) -> int:
    """Count the distinct ones of some integers; Arrow's own function needs ten times the memory."""
    values = pa.Array.from_buffers(pa.int64(), len(hashes), [None, pa.py_buffer(hashes)])
    ordered = values.take(pc.sort_indices(values))
    return len(values) and 1 + (pc.sum(pc.not_equal(ordered[1:], ordered[:-1])).as_py() or 0)


def each_once(values: pa.Array, function: Callable[[pa.Array], pa.Array]) -> pa.Array:
    """Apply a function to the distinct values only."""
    encoded = values.dictionary_encode()
    return function(encoded.dictionary).take(encoded.indices)


def distinct_values(column: pa.ChunkedArray) -> tuple[pa.Array, pa.ChunkedArray]:
    """Return the distinct values of a column that was read as dictionaries, oldest first, and which of them each is."""
    chunks = column.unify_dictionaries().chunks
    return chunks[0].dictionary, pa.chunked_array([chunk.indices for chunk in chunks])


def hashed(values: pa.Array, hashes: Hashes) -> pa.Array:
    """Return the hashes of values."""
    return pa.array(map(hashes.__getitem__, _texts(values)), pa.string(), size=len(values))


def keys_of(rows: pa.Table | pa.RecordBatch, details: RowDetails) -> list[list[str]]:
    """Return the values by which :class:`RowDetails` finds each row, by column."""
    return [[""] * len(rows) if index is None else _texts(rows[str(index)]) for index in details.keys]


def _texts(values: pa.Array | pa.ChunkedArray) -> list[str]:
    return [value.decode(errors="surrogateescape") for value in values.to_pylist()]
