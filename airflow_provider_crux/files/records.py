"""
Where the records of a CSV file end, and whether they are well-formed, found while its bytes pass by.

What is in them is for parsers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from copy import copy
from typing import Final

from airflow_provider_crux.files.columns import COLUMNS, UnusableFileError

MAX_RECORD_BYTES: Final = 1024 * 1024
"""Longest record that is parsed, without its line end."""

BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"

# Quoted fields that follow each other, up to the quote that closes the last one and must end it. Only a quote at the
# beginning of a field opens one, and a doubled quote closes nothing. If no quote closes the last one, the group is all
# that follows, that is, nothing; if text follows the closing quote, the group is this quote and all that follows.
# Possessive, so that no text makes the pattern read or remember a byte twice.
_QUOTED_FIELDS: Final = re.compile(rb'"(?<![^,\r\n]")[^"]*+(?:",?"[^"]*+)*+(?:"(?![^,\r\n])|("?.*+))', re.DOTALL)
# what is in the group stays
_COMMAS_ONLY: Final = re.compile(rb'("(?<![^,\r\n]")[^"]*+(?:",?"[^"]*+)*+")|(?<![^\r\n]),++(?![^\r\n])')
_TAILS: Final = (4 * 1024, 64 * 1024)


class RecordCounter:
    """
    Count the records of a CSV file in chunks that may end anywhere.

    It accepts what :mod:`csv` accepts in strict mode, as RFC 4180 says: quoted line breaks and commas, doubled quotes,
    a quote within an unquoted field, any line end, a last line without one. A byte-order mark, blank lines and lines of
    nothing but commas are no records. Memory stays within a few times the chunk, however long a field is.

    :mod:`csv` itself does not fit: it needs whole lines, holds whole fields, and rejects long ones.

    :param records: those before the first chunk, with the header; 0 at the beginning of the file.
    :ivar fault: what is wrong with the first record that is not well-formed; nothing is counted after it.
    :ivar skips_commas: whether a line of nothing but commas was skipped.
    """

    def __init__(self, records: int = 0) -> None:
        self.fault: str | None = None
        self.skips_commas = False
        self._records = records
        self._started = records > 0
        # The bytes that put the next chunk into the state in which the last one ended: nothing or a line end before a
        # record, a comma if the record is nothing but commas yet, a full stop in a field, both before another one, a
        # quote in a quoted one, two quotes if that may have ended.
        self._carry = b""

    def feed(self, chunk: bytes) -> None:
        """Count the records that end in the next bytes of the file."""
        if self.fault:
            return
        text = self._carry + chunk
        if not self._started:
            if BYTE_ORDER_MARK.startswith(text) and text != BYTE_ORDER_MARK:
                self._carry = text
                return
            self._started = True
            text = text.removeprefix(BYTE_ORDER_MARK)
        # quoted fields become a full stop; what is between them, and after each what the group took
        parts = _QUOTED_FIELDS.split(text) if b'"' in text else [text]
        line = self._count_lines(b".".join(parts[::2]))
        last = parts[-2] if len(parts) > 1 else None
        if last:
            self.fault = f"{describe_row(self.row)} has text after a closing quotation mark"
        elif last is not None:
            self._carry = b'"'
        elif len(parts) > 1 and not parts[-1]:
            self._carry = b'""'
        elif line.endswith(b","):
            self._carry = b".," if line.strip(b",") else b","
        else:
            self._carry = b"." if line else text[-1:]

    def _count_lines(self, bare: bytes) -> bytes:
        """Count the lines that have an end and are more than commas, and return the one that has none."""
        lines = bare.splitlines()
        unended = lines.pop() if lines and not bare.endswith((b"\r", b"\n")) else b""
        # almost every line begins with a letter, a digit or a quoted field: all of them are greater
        blank = []
        if lines and min(lines) < b"-":
            blank = [line for line in lines if line < b"-" and not line.strip(b",")]
            self.skips_commas |= any(blank)
        self._records += len(lines) - len(blank)
        return unended

    def finish(self) -> None:
        """Check the last record when the file has ended."""
        if self._carry == b'"' and not self.fault:
            self.fault = f"{describe_row(self.row)} has a quotation mark that is not closed"
        self.skips_commas |= self._carry == b","

    def last_end(self, chunk: bytes) -> int:
        """Return where the last record ends in the next bytes, before they are fed; 0 if none does."""
        text = self._carry + chunk
        if not self._started:
            text = text.removeprefix(BYTE_ORDER_MARK)
        quoted = [field.span() for field in _QUOTED_FIELDS.finditer(text)]
        stop = len(text)
        for start, end in reversed([(0, 0), *quoted]):
            line_end = max(text.rfind(b"\n", end, stop), text.rfind(b"\r", end, stop))
            if line_end >= 0:
                return max(line_end + 1 - (len(text) - len(chunk)), 0)
            stop = start
        return 0

    @property
    def row(self) -> int:
        """The row in which the next byte is, unless it is blank; the header is 0."""
        return self._records

    @property
    def rows(self) -> int | None:
        """Records so far without the header, also the last one without its line end; ``None`` after a fault."""
        unended = self._carry not in (b"", b"\r", b"\n", b",")
        return None if self.fault else max(self._records + unended - 1, 0)


def describe_row(number: int) -> str:
    """Return how a message names a row; rows count from 1, and the header is 0."""
    return f"row {number}" if number else "the header"


class NoOrderError(UnusableFileError):
    """A record is no row of an order, so nobody knows how many rows the file has."""


def values_of_headers(header: Sequence[str]) -> frozenset[str]:
    """
    Return the values that make a row a second header: in ``order_uuid``, or else in the first column.

    The header of another list of columns has another name there. A byte-order mark may precede it, and then a parser
    does not see that the name is quoted.
    """
    names = [column.name for column in COLUMNS] if "order_uuid" in header else header[:1]
    return frozenset(text for name in names for text in (name, f"\ufeff{name}", f'\ufeff"{name}"'))


def repeated_header(row: int) -> NoOrderError:
    """Return the error for a row that is a header again."""
    return NoOrderError(f"row {row} repeats the header: the file may be two files in one")


def row_without_order(row: int) -> NoOrderError:
    """Return the error for a row that belongs to no order."""
    return NoOrderError(f"row {row} has no order_uuid: it may be a line of totals")


def row_of_other_width(row: int, values: int, width: int) -> UnusableFileError:
    """Return the error for a row that does not have as many values as the header."""
    return UnusableFileError(f"row {row} has {values} values instead of {width}")


class RecordBlocks:
    """
    Cut a CSV file into blocks of whole records for a parser, without the byte-order mark and without lines of commas.

    A record that is not well-formed is an error, and so is one that is longer than :data:`MAX_RECORD_BYTES`: a record
    that never ends must not fill the memory.

    :param records: those before the first block, with the header; 0 at the beginning of the file.
    """

    def __init__(self, records: int = 0) -> None:
        self._counter = RecordCounter(records)
        self._pending = bytearray()
        self._complete = 0
        self._started = records > 0

    @property
    def rows(self) -> int | None:
        """Records so far without the header; ``None`` if one is not well-formed."""
        return self._counter.rows

    @property
    def is_between_records(self) -> bool:
        """Whether the last record has ended."""
        return self._complete == len(self._pending)

    def split(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """Yield the whole file in blocks; raise UnusableFileError as :meth:`feed` does."""
        for chunk in chunks:
            if block := self.feed(chunk):
                yield block
        if block := self.rest():
            yield block

    def feed(self, chunk: bytes) -> bytes:
        """
        Return the next block; nothing while it is small.

        :raises UnusableFileError: if a record is too long, or not well-formed.
        """
        position = 0
        while position < len(chunk):
            # up to the first byte that is too much for a record without an end
            room = MAX_RECORD_BYTES + 1 - (len(self._pending) - self._complete)
            piece = chunk[position : position + room]
            position += len(piece)
            self._append(piece)
            if len(self._pending) - self._complete > MAX_RECORD_BYTES:
                row = self._counter.row
                self.skip(chunk[position:])
                raise UnusableFileError(f"{describe_row(row)} is longer than {MAX_RECORD_BYTES} bytes")
        return self._take(self._complete) if self._complete > MAX_RECORD_BYTES / 2 else b""

    def skip(self, chunk: bytes) -> None:
        """Only count the records in the next chunk: no more blocks are needed."""
        self._pending.clear()
        self._counter.feed(chunk)

    def rest(self) -> bytes:
        """Return what is left when the file has ended; raise UnusableFileError if that is not well-formed."""
        self._counter.finish()
        self._raise_fault()
        return self._take(len(self._pending))

    def _append(self, chunk: bytes) -> None:
        """Count the records in a chunk, and find out where the last one ends."""
        # records are short: the last one to end does so near the end of the chunk
        for tail in (*_TAILS, len(chunk)):  # pragma: no branch - the last one is the whole chunk
            counter = copy(self._counter)
            position = max(len(chunk) - tail, 0)
            counter.feed(chunk[:position])
            end = counter.last_end(chunk[position:])
            if end or not position:
                break
        counter.feed(chunk[position:])
        self._counter = counter
        self._raise_fault()
        if end:
            self._complete = len(self._pending) + position + end
        self._pending += chunk

    def _raise_fault(self) -> None:
        if self._counter.fault:
            raise UnusableFileError(self._counter.fault)

    def _take(self, size: int) -> bytes:
        block = bytes(self._pending[:size])
        del self._pending[:size]
        self._complete = 0
        if not self._started:
            self._started = True
            block = block.removeprefix(BYTE_ORDER_MARK)
        return _COMMAS_ONLY.sub(rb"\1", block) if self._counter.skips_commas else block
