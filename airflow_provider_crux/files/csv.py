"""Write the CSV file of an export as it is, or with other columns, while its bytes pass by."""

from __future__ import annotations

import csv
import io
import re
from array import array
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from operator import itemgetter
from typing import TYPE_CHECKING, Final

from airflow_provider_crux.files.column_plan import ColumnPlan
from airflow_provider_crux.files.columns import Hashes, UnusableFileError
from airflow_provider_crux.files.order_details import RowDetails
from airflow_provider_crux.files.records import (
    BYTE_ORDER_MARK,
    NoOrderError,
    RecordBlocks,
    RecordCounter,
    repeated_header,
    row_of_other_width,
    row_without_order,
    values_of_headers,
)

if TYPE_CHECKING:
    from _typeshed import SupportsWrite

SPECIAL: Final = '[",\r\n]'
"""What must be quoted, as a regular expression."""
_SPECIAL: Final = re.compile(SPECIAL)
_ROWS_AT_ONCE: Final = 500
_WHITESPACE: Final = " \t\n\r\v\f"


@dataclass(frozen=True)
class FileCounts:
    """
    The rows of a file without its header, and its distinct ``order_uuid``.

    They are ``None`` if they were not or cannot be counted; if they cannot be, ``warning`` says why.
    """

    rows: int | None
    orders: int | None = None
    warning: str | None = None


@contextmanager
def _fields_of_any_length() -> Iterator[None]:
    """Lift the parser's limit for the whole process: RecordBlocks limits the records."""
    previous = csv.field_size_limit(2**31 - 1)
    try:
        yield
    finally:
        csv.field_size_limit(previous)


class _CheckedRows:
    """
    The rows of a file as Python's parser reads them, block by block.

    :ivar order_index: the position of ``order_uuid``; ``None`` if the file has no such column.
    :ivar count: rows so far.
    """

    def __init__(self) -> None:
        self.order_index: int | None = None
        self.count = 0
        self._header: list[str] = []
        self._header_values: frozenset[str] = frozenset()

    def parse(self, block: bytes) -> Iterator[list[list[str]]]:
        """
        Yield the rows of the next block, some hundred at once; the first block begins with the header.

        :raises UnusableFileError: if one does not have as many values as the header, or is no row of an order.
        """
        text = io.StringIO(block.decode(errors="surrogateescape"), newline="")
        records = filter(None, csv.reader(text, strict=True))  # blank lines are none
        if not self._header:
            self._read_header(next(records, []))
        while rows := list(islice(records, _ROWS_AT_ONCE)):
            # no loop in Python, unless one of them may be wrong
            if (
                not {len(self._header)}.issuperset(map(len, rows))
                or not self._header_values.isdisjoint(self.keys(rows))
                or (self.order_index is not None and not all(key.strip(_WHITESPACE) for key in set(self.keys(rows))))
            ):
                self._find_fault(rows)
            self.count += len(rows)
            yield rows

    def keys(self, rows: Iterable[list[str]]) -> Iterator[str]:
        """Return the values of ``order_uuid``, or else of the first column, of rows that have the right width."""
        return map(itemgetter(self.order_index or 0), rows)

    def _find_fault(self, rows: Iterable[list[str]]) -> None:
        """Raise the error of the first row that is wrong, if there is one."""
        width, index = len(self._header), self.order_index
        for number, row in enumerate(rows, self.count + 1):
            if len(row) != width:
                raise row_of_other_width(number, len(row), width)
            if row[index or 0] in self._header_values and (index is not None or row[1:] == self._header[1:]):
                raise repeated_header(number)
            if index is not None and not row[index].strip(_WHITESPACE):
                raise row_without_order(number)

    def _read_header(self, names: list[str]) -> None:
        self._header = names
        self._header_values = values_of_headers(names)
        self.order_index = names.index("order_uuid") if "order_uuid" in names else None


def copy_csv(chunks: Iterable[bytes], sink: SupportsWrite[bytes], *, count_orders: bool = False) -> FileCounts:
    """Write a CSV file byte for byte. Nothing in it is an error. Counting the orders needs a parser."""
    counter = OrderCounter() if count_orders else RecordCounter()
    for chunk in chunks:
        sink.write(chunk)
        counter.feed(chunk)
    if isinstance(counter, OrderCounter):
        return counter.counts()
    counter.finish()
    return counts_of(counter.rows, None, counter.fault)


class _DistinctOrders:
    """
    Count distinct orders by their hashes, in at most nine bytes for each row.

    A set of Python's integers needs a hundred, so there is only one of a small part of them at a time.
    """

    def __init__(self) -> None:
        self._parts = [array("q") for _ in range(256)]

    def add(self, orders: Iterable[str]) -> None:
        for key in set(map(hash, orders)):
            self._parts[key & 255].append(key)

    def count(self) -> int:
        return sum(len(set(part)) for part in self._parts)


class OrderCounter:
    """Count the rows and the distinct orders of a CSV file, in chunks that may end anywhere. Nothing is an error."""

    def __init__(self) -> None:
        self._blocks = RecordBlocks()
        self._rows = _CheckedRows()
        self._orders = _DistinctOrders()
        self._fault: UnusableFileError | None = None

    def feed(self, chunk: bytes) -> None:
        """Read the next bytes of the file."""
        if self._fault:
            self._blocks.skip(chunk)
            return
        try:
            self._add(self._blocks.feed(chunk))
        except UnusableFileError as error:
            self._fault = error

    def counts(self) -> FileCounts:
        """Return what was counted when the file has ended."""
        try:
            block = self._blocks.rest()
            if not self._fault:
                self._add(block)
        except UnusableFileError as error:
            self._fault = error
        if self._fault is None and self._rows.order_index is not None:
            return counts_of(self._blocks.rows, self._orders.count())
        rows = None if isinstance(self._fault, NoOrderError) else self._blocks.rows
        return counts_of(rows, None, str(self._fault) if self._fault else None)

    def _add(self, block: bytes) -> None:
        if not block:
            return
        with _fields_of_any_length():
            for rows in self._rows.parse(block):
                if self._rows.order_index is not None:
                    self._orders.add(self._rows.keys(rows))


def counts_of(rows: int | None, orders: int | None, fault: str | None = None) -> FileCounts:
    """Return the counts with a warning of what they lack, by default a column to count."""
    what = "rows" if rows is None else "orders"
    problem = fault or ("it has no column order_uuid" if orders is None else None)
    return FileCounts(rows, orders, problem and f"The {what} of the file cannot be counted: {problem}")


def convert_csv(
    chunks: Iterable[bytes],
    sink: SupportsWrite[bytes],
    plan: ColumnPlan,
    *,
    hash_key: str = "",
    added: Sequence[tuple[str, str]] = (),
    count_orders: bool = False,
    details: RowDetails | None = None,
) -> FileCounts:
    """
    Write a CSV file with other columns, in UTF-8 with a byte-order mark. The values that stay are unchanged.

    :param added: names and values of columns to add at the end.
    :param details: more columns to add before those.
    :raises UnusableFileError: if a row is not well-formed or too long, does not have as many values as the header, or
        is no row of an order.
    """
    count_orders = count_orders and plan.order_index is not None
    hashes = Hashes(hash_key)
    orders = _DistinctOrders()
    checked = _CheckedRows()
    sink.write(header_line(plan, added))
    with _fields_of_any_length():
        for rows in chain.from_iterable(map(checked.parse, RecordBlocks().split(chunks))):
            if count_orders:
                orders.add(checked.keys(rows))
            # column by column, because few of them need a call for each value
            values = list(zip(*rows, strict=True))
            columns: list[Sequence[str]] = [
                list(map(hashes.__getitem__, values[planned.index])) if planned.hashed else values[planned.index]
                for planned in plan.columns
            ]
            if details is not None:
                keys = ([""] * len(rows) if index is None else values[index] for index in details.keys)
                columns += zip(*map(details.texts_of, *keys), strict=True)
            columns += [[value] * len(rows) for _, value in added]
            sink.write(_as_csv(columns))
    return counts_of(checked.count, orders.count() if count_orders else None)


def header_line(plan: ColumnPlan, added: Iterable[tuple[str, str]]) -> bytes:
    """Return the beginning of a converted file."""
    names = [*(planned.column.name for planned in (*plan.columns, *plan.details)), *(name for name, _ in added)]
    return BYTE_ORDER_MARK + _as_csv([[name] for name in names])


def _as_csv(columns: Sequence[Sequence[str]]) -> bytes:
    """
    Return rows, given by column, as :func:`csv.writer` writes them.

    It takes half of the time of a conversion, because it checks each character of each value by itself.
    """
    values = [map(quoted, column) if _SPECIAL.search("".join(column)) else column for column in columns]
    lines: Iterable[str] = map(",".join, zip(*values, strict=True))
    if len(columns) == 1:
        lines = (line or '""' for line in lines)  # a blank line is no row
    return "".join(f"{line}\r\n" for line in lines).encode(errors="surrogateescape")


def quoted(value: str) -> str:
    """Return a value as a file has it."""
    return '"' + value.replace('"', '""') + '"' if _SPECIAL.search(value) else value
