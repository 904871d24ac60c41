"""Write the CSV file of an export as it is, or with other columns, while its bytes pass by."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from airflow_provider_crux.files.columns import ColumnPlan, UnusableFileError, hash_value
from airflow_provider_crux.files.records import RecordBlocks, RecordCounter

if TYPE_CHECKING:
    from _typeshed import SupportsWrite

_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_UNCOUNTABLE: Final = (UnusableFileError, csv.Error, IndexError, ValueError)


@dataclass(frozen=True)
class FileCounts:
    """The rows of a file without its header, and its distinct ``order_uuid``: ``None`` if they were not counted."""

    rows: int | None
    orders: int | None = None


@contextmanager
def _fields_of_any_length() -> Iterator[None]:
    """Lift the parser's limit for the whole process: RecordBlocks limits the records."""
    previous = csv.field_size_limit(2**31 - 1)
    try:
        yield
    finally:
        csv.field_size_limit(previous)


def _parse(block: bytes, *, is_first: bool) -> Iterator[list[str]]:
    """Yield the records of a block, that is, in the first one also the header; blank lines are none."""
    text = block.decode("utf-8-sig" if is_first else "utf-8", errors="surrogateescape")
    return filter(None, csv.reader(io.StringIO(text, newline="")))


def copy_csv(chunks: Iterable[bytes], sink: SupportsWrite[bytes], *, count_orders: bool = False) -> FileCounts:
    """Write a CSV file byte for byte. Nothing in it is an error. Counting the orders needs a parser."""
    counter = OrderCounter() if count_orders else RecordCounter()
    for chunk in chunks:
        sink.write(chunk)
        counter.feed(chunk)
    return FileCounts(counter.rows, counter.orders() if isinstance(counter, OrderCounter) else None)


class OrderCounter:
    """Count the rows and the distinct orders of a CSV file, in chunks that may end anywhere. Nothing is an error."""

    def __init__(self) -> None:
        self._blocks = RecordBlocks()
        self._index: int | None = None
        # hashes, because they need less memory; None if the orders cannot be counted
        self._orders: set[int] | None = set()

    def feed(self, chunk: bytes) -> None:
        """Read the next bytes of the file."""
        if self._orders is None:
            self._blocks.skip(chunk)
            return
        try:
            self._add(self._blocks.feed(chunk), self._orders)
        except _UNCOUNTABLE:
            self._orders = None

    @property
    def rows(self) -> int:
        """Rows so far without the header."""
        return self._blocks.rows

    def orders(self) -> int | None:
        """Return the distinct orders when the file has ended; ``None`` if a row has none, or is too long to parse."""
        if self._orders is None:
            return None
        try:
            self._add(self._blocks.rest(), self._orders)
        except _UNCOUNTABLE:
            return None
        return len(self._orders)

    def _add(self, block: bytes, orders: set[int]) -> None:
        if not block:
            return
        with _fields_of_any_length():
            rows = _parse(block, is_first=self._index is None)
            if self._index is None:
                self._index = next(rows, []).index("order_uuid")
            orders.update(hash(row[self._index]) for row in rows)


def convert_csv(
    chunks: Iterable[bytes],
    sink: SupportsWrite[bytes],
    plan: ColumnPlan,
    *,
    hash_key: str = "",
    added: Sequence[tuple[str, str]] = (),
) -> FileCounts:
    """
    Write a CSV file with other columns, in UTF-8 with a byte-order mark. The values that stay are unchanged.

    :param added: names and values of columns to add at the end.
    :raises UnusableFileError: if a row does not have as many values as the header, or is too long.
    """
    names = [*(planned.column.name for planned in plan.columns), *(name for name, _ in added)]
    constants = [value for _, value in added]
    order_index = plan.order_index
    orders: set[int] = set()
    rows = -1  # the first record is the header
    blocks = RecordBlocks()
    sink.write(_BYTE_ORDER_MARK)
    with _fields_of_any_length():
        for block in blocks.split(chunks):
            converted = io.StringIO(newline="")
            writer = csv.writer(converted)
            for row in _parse(block, is_first=rows < 0):
                rows += 1
                if len(row) != len(plan.header):
                    raise UnusableFileError(f"row {rows} has {len(row)} values instead of {len(plan.header)}")
                if rows == 0:
                    writer.writerow(names)
                    continue
                if order_index is not None:
                    orders.add(hash(row[order_index]))
                values = [
                    hash_value(row[planned.index], hash_key) if planned.hashed else row[planned.index]
                    for planned in plan.columns
                ]
                writer.writerow(values + constants)
            sink.write(converted.getvalue().encode(errors="surrogateescape"))
    blocks.check_rows(rows)
    return FileCounts(rows, None if order_index is None else len(orders))
