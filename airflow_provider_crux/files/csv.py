"""Write the CSV file of an export as it is, or with other columns, while its bytes pass by."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import RLock
from typing import TYPE_CHECKING, Final

from airflow_provider_crux.files.columns import ColumnPlan, hash_value, unusable_file
from airflow_provider_crux.files.records import RecordCounter

if TYPE_CHECKING:
    from _typeshed import SupportsWrite, WriteableBuffer

MAX_RECORD_BYTES: Final = 1024 * 1024
"""Longest record that is parsed: a quote that is never closed must not fill the memory."""

_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_BUFFER_CHARACTERS: Final = 256 * 1024


@dataclass(frozen=True)
class FileCounts:
    """
    What a file contains.

    :param rows: rows without the header.
    :param orders: distinct ``order_uuid``; ``None`` if they were not counted.
    """

    rows: int
    orders: int | None = None


class ChunkReader(io.RawIOBase):
    """Let a parser read chunks of bytes like a file, in any thread; after :meth:`close` it reads no more of them."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._rest = b""
        # reentrant, because garbage collection may close it while it reads
        self._reading = RLock()

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Read some bytes; 0 at the end."""
        view = memoryview(buffer).cast("B")
        with self._reading:
            while not self._rest:
                chunk = None if self.closed else next(self._chunks, None)
                if chunk is None:
                    return 0
                self._rest = chunk
            count = min(len(view), len(self._rest))
            view[:count] = self._rest[:count]
            self._rest = self._rest[count:]
            return count

    def close(self) -> None:
        """Wait until nothing is being read, and read no more."""
        with self._reading:
            super().close()


class CountingSource:
    """
    Measure the chunks of a CSV file on their way to a parser.

    :param chunks: the bytes.
    """

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = chunks
        self._counter = RecordCounter()
        self._digest = hashlib.sha256()

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            self._counter.feed(chunk)
            self._digest.update(chunk)
            yield chunk

    def blocks(self) -> Iterator[bytes]:
        """
        Yield the file in blocks of whole records, for a parser that gets the blocks one by one.

        :raises CruxInvalidResponseError: if a record is longer than :data:`MAX_RECORD_BYTES`; one of up to twice that
            length may pass.
        """
        pending, complete = bytearray(), 0
        for chunk in self._chunks:
            self._digest.update(chunk)
            for start in range(0, len(chunk), MAX_RECORD_BYTES):
                part = chunk[start : start + MAX_RECORD_BYTES]
                ended = self._counter.feed_records(part)
                complete = len(pending) + ended if ended else complete
                pending += part
                if len(pending) - complete > MAX_RECORD_BYTES:
                    raise unusable_file(f"row {self._counter.rows} is longer than {MAX_RECORD_BYTES} bytes")
                if complete > MAX_RECORD_BYTES / 2:
                    yield bytes(pending[:complete])
                    del pending[:complete]
                    complete = 0
        if pending:
            yield bytes(pending)

    @property
    def sha256(self) -> str:
        """SHA-256 of the chunks so far, in hexadecimal digits."""
        return self._digest.hexdigest()

    @property
    def rows(self) -> int:
        """Rows so far without the header."""
        return self._counter.rows

    def check_rows(self, rows: int) -> None:
        """
        Compare a parser's count with that of a second one.

        :param rows: rows without the header.
        :raises CruxInvalidResponseError: if they differ.
        """
        if rows != self.rows:
            raise unusable_file(f"it has {self.rows} rows, but {rows} were read")


def parse_header(beginning: bytes) -> list[str]:
    """
    Return the names in the header of a file.

    :param beginning: at least the first line, in which no quoted name contains a line break.
    """
    text = beginning.removeprefix(_BYTE_ORDER_MARK).decode(errors="surrogateescape")
    return next(csv.reader([text.splitlines()[0]]), [])


@contextmanager
def _long_fields() -> Iterator[None]:
    previous = csv.field_size_limit(MAX_RECORD_BYTES)
    try:
        yield
    finally:
        csv.field_size_limit(previous)


def _read_rows(chunks: Iterable[bytes]) -> Iterator[list[str]]:
    """
    Yield the records with the header; blank lines are none.

    :raises csv.Error: if a field or a line is too long.
    """
    text = io.TextIOWrapper(
        io.BufferedReader(ChunkReader(chunks)), encoding="utf-8-sig", errors="surrogateescape", newline=""
    )
    return (row for row in csv.reader(_lines(text)) if row)


def _lines(text: io.TextIOBase) -> Iterator[str]:
    while line := text.readline(MAX_RECORD_BYTES + 1):
        if len(line) > MAX_RECORD_BYTES:  # csv measures a field only when it has the whole line
            raise csv.Error("line too long")
        yield line


def copy_csv(chunks: Iterable[bytes], sink: SupportsWrite[bytes], *, count_orders: bool = False) -> FileCounts:
    """
    Write a CSV file byte for byte. Nothing in it is an error.

    :param chunks: the file's bytes.
    :param sink: accepts the bytes.
    :param count_orders: whether to count the distinct orders, which needs a parser; default False.
    """
    counter = RecordCounter()

    def copied() -> Iterator[bytes]:
        for chunk in chunks:
            sink.write(chunk)
            counter.feed(chunk)
            yield chunk

    stream = copied()
    orders = _orders_of(stream) if count_orders else None
    for _ in stream:
        pass
    return FileCounts(counter.rows, orders)


def _orders_of(chunks: Iterable[bytes]) -> int | None:
    """Return the number of distinct orders; ``None`` if there is no such column, or the file cannot be parsed."""
    # hashes, because they need less memory
    orders: set[int] = set()
    with _long_fields():
        rows = _read_rows(chunks)
        try:
            header = next(rows, [])
            index = header.index("order_uuid") if "order_uuid" in header else len(header)
            for row in rows:
                if len(row) <= index:
                    return None
                orders.add(hash(row[index]))
        except csv.Error:  # too long a field
            return None
    return len(orders)


def convert_csv(
    chunks: Iterable[bytes],
    sink: SupportsWrite[bytes],
    plan: ColumnPlan,
    *,
    hash_key: str = "",
    added: Sequence[tuple[str, str]] = (),
) -> FileCounts:
    """
    Write a CSV file with other columns. The values that stay are unchanged.

    :param chunks: the file's bytes.
    :param sink: accepts the bytes: UTF-8 with a byte-order mark, like the file of an export.
    :param plan: the columns.
    :param hash_key: key of the hashes; only needed if a column is hashed.
    :param added: names and values of columns to add at the end.
    :raises CruxInvalidResponseError: if a row does not have as many values as the header.
    """
    rows = 0
    orders: set[int] = set()
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer)

    def flush() -> None:
        sink.write(buffer.getvalue().encode(errors="surrogateescape"))
        buffer.seek(0)
        buffer.truncate()

    sink.write(_BYTE_ORDER_MARK)
    writer.writerow([*(planned.column.name for planned in plan.columns), *(name for name, _ in added)])
    constants = [value for _, value in added]
    order_index = plan.header.index("order_uuid")
    with _long_fields():
        source = CountingSource(chunks)
        for row in _complete_rows(source, plan):
            rows += 1
            orders.add(hash(row[order_index]))
            values = [
                hash_value(row[planned.index], hash_key) if planned.hashed else row[planned.index]
                for planned in plan.columns
            ]
            writer.writerow(values + constants)
            if buffer.tell() > _BUFFER_CHARACTERS:
                flush()
    source.check_rows(rows)
    flush()
    return FileCounts(rows, len(orders))


def _complete_rows(chunks: Iterable[bytes], plan: ColumnPlan) -> Iterator[list[str]]:
    """Yield the rows without the header."""
    records = _read_rows(chunks)
    number = 0
    try:
        for number, row in enumerate(records):
            if len(row) != len(plan.header):
                raise unusable_file(f"row {number} has {len(row)} values instead of {len(plan.header)}")
            if number > 0:
                yield row
    except csv.Error:
        raise unusable_file(f"row {number + 1} is longer than {MAX_RECORD_BYTES} bytes") from None
