"""The rows of an export's file as Arrow tables of bytes, each checked to be a whole row of an order."""

from __future__ import annotations

import hashlib
import re
from array import array
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Final, TypeVar

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.compute as pc  # type: ignore[import-untyped]
import pyarrow.csv  # type: ignore[import-untyped]

from airflow_provider_crux.files.column_plan import ColumnPlan
from airflow_provider_crux.files.columns import Hashes
from airflow_provider_crux.files.order_details import RowDetails
from airflow_provider_crux.files.records import (
    BYTE_ORDER_MARK,
    MAX_RECORD_BYTES,
    RecordBlocks,
    repeated_header,
    row_of_other_width,
    row_without_order,
    values_of_headers,
)

_T = TypeVar("_T")

_TEXT: Final = pa.binary()
_DISTINCT: Final = pa.dictionary(pa.int32(), _TEXT)

_ASCII: Final = bytes(range(128)) + b"?" * 128
_BLANK_LINES: Final = re.compile(rb"[\r\n]*+")
_VALUE: Final = r'(?:"(?:[^"]|"")*"|[^",\r\n][^,\r\n]*)'
_RECORD: Final = rf"(?:,*{_VALUE}(?:,{_VALUE}?)*)"
# Some of the texts in which RecordCounter finds no fault and no line of nothing but commas, perhaps without the last
# line end. For RE2, which Arrow uses: it reads a text once, four times as fast, and without Python's lock.
_REGULAR: Final = rf"\A(?:{_RECORD}?(?:\r\n|\n|\r))*{_RECORD}?\z"


class ArrowRows:
    """
    The rows of a file, read once. A column is named after its position in the file: ``"0"`` is the first.

    :param others: positions of columns that are read although they are not stored.
    :param distinct: positions of columns whose values are read as dictionaries, because each is converted once.
    :param table_bytes: size of the tables, in bytes. Three are in memory at a time.
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
        self._block_bytes = min(table_bytes, MAX_RECORD_BYTES // 2)
        self._digest = hashlib.sha256()
        # eight bytes each, because a set of Python's integers needs ten times as much
        self._orders = array("q") if count_orders and plan.order_index is not None else None
        self._records = 0
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
        for table in prefetched(self._tables()):
            self._check_orders(table)
            if self._orders is not None:
                self._orders.extend(map(hash, pc.unique(table[str(self._plan.order_index)]).to_pylist()))
            yield table
            self.rows += len(table)

    def _tables(self) -> Iterator[pa.Table]:
        pending: list[pa.Table] = []
        size = 0
        for block in self._blocks():
            if _BLANK_LINES.fullmatch(block):
                continue
            table = self._parse(block)
            if not self._records:
                table = _without_header(table, self._types)
                self._records = 1
            self._records += len(table)
            if len(table):
                pending.append(table)
                size += max(len(block), table.nbytes)
            if size >= self._table_bytes:
                yield pa.concat_tables(pending)
                pending, size = [], 0
        if pending:
            yield pa.concat_tables(pending)

    def _blocks(self) -> Iterator[memoryview | bytes]:
        """Yield the file in blocks of whole records, without the byte-order mark and without lines of commas."""
        parts: list[bytes] = []
        size, enough, started = 0, self._block_bytes, False
        for chunk in self._digested():
            parts.append(chunk)
            size += len(chunk)
            if size > enough:
                text = b"".join(parts)
                block, rest = self._cut(text if started else text.removeprefix(BYTE_ORDER_MARK))
                parts, size, started = [rest], len(rest), True
                enough = size + self._block_bytes  # a long record is not scanned again for each small chunk
                if block:
                    yield block
        text = b"".join(parts)
        yield self._cut(text if started else text.removeprefix(BYTE_ORDER_MARK), at_end=True)[0]

    def _digested(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            self._digest.update(chunk)
            yield chunk

    def _cut(self, text: bytes, *, at_end: bool = False) -> tuple[memoryview | bytes, bytes]:
        """Return the whole records at the beginning of a text, and what follows them."""
        self.has_nul |= b"\0" in text
        end = len(text) if at_end else _probable_end(text)
        if 0 < end <= MAX_RECORD_BYTES and is_regular(block := memoryview(text)[:end]):
            return block, text[end:]
        # It may still be well-formed, for example with a quotation mark in an unquoted value before the end.
        scanner = RecordBlocks(records=self._records)
        records = scanner.feed(text)
        return (records + scanner.rest(), b"") if at_end else (records, scanner.pending)

    def _parse(self, block: memoryview | bytes) -> pa.Table:
        """Return the rows of whole records, with the header first if it is the first block."""
        width = len(self._plan.header)
        types = self._types if self._records else dict.fromkeys(self._types, _TEXT)
        with suppress(pa.ArrowInvalid):
            return _read(block, width, include_columns=list(types), column_types=types)
        # not in an except block, where Arrow's error would be the context
        rejected: list[Any] = []

        def reject(row: Any) -> str:
            rejected.append(row)
            return "error"

        with suppress(pa.ArrowInvalid):
            # Arrow calls no handler for a row that is not UTF-8, and says on stderr which byte it is
            _read(bytes(block).translate(_ASCII), width, handler=reject)
        raise row_of_other_width(self._records - 1 + rejected[0].number, rejected[0].actual_columns, width)

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


def _read(block: memoryview | bytes, width: int, *, handler: Any = None, **options: Any) -> pa.Table:
    """
    Parse whole records as bytes: values are checked later, because Arrow's own messages show them.

    Arrow gets a copy in its own memory. If it read from a Python object, its threads could still do so when the process
    exits, and would abort it or wait forever (after every third error on a busy machine).
    """
    copy = pa.allocate_buffer(len(block) + 1)
    with pa.FixedSizeBufferWriter(copy) as memory:
        memory.write(b"\n")  # Arrow skips the blank line; else it would skip a byte-order mark in the first value
        memory.write(block)
    names = [str(index) for index in range(width)]  # those of the file may repeat, or be no valid text
    return pa.csv.read_csv(
        pa.BufferReader(copy),
        read_options=pa.csv.ReadOptions(use_threads=False, block_size=copy.size, column_names=names),
        parse_options=pa.csv.ParseOptions(newlines_in_values=True, invalid_row_handler=handler),
        convert_options=pa.csv.ConvertOptions(check_utf8=False, strings_can_be_null=False, **options),
    )


def _without_header(table: pa.Table, types: dict[str, Any]) -> pa.Table:
    """Return the first rows as the later ones are read; no dictionary may contain a name of the header."""
    rows = table.slice(1)
    columns = [
        column.dictionary_encode() if types[name] == _DISTINCT else column
        for name, column in zip(rows.column_names, rows.columns, strict=True)
    ]
    return pa.table(columns, names=rows.column_names)


def _probable_end(text: bytes) -> int:
    """Return where the last record ends if each quotation mark is in a quoted value; 0 if none does."""
    quotes, end = text.count(b'"'), len(text)
    while (line_end := text.rfind(b"\n", 0, end) + 1) and (quotes := quotes - text.count(b'"', line_end, end)) % 2:
        end = line_end - 1
    return line_end


def is_regular(text: memoryview | bytes) -> bool:
    """Return whether a text is surely well-formed."""
    offsets = pa.array([0, len(text)], pa.int32()).buffers()[1]
    whole = pa.Array.from_buffers(_TEXT, 1, [None, offsets, pa.py_buffer(text)])
    return bool(pc.match_substring_regex(whole, _REGULAR)[0].as_py())


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
