"""Where the header and the records of a CSV file end, found while its bytes pass by. What is in them is for parsers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from copy import copy
from typing import Final

from airflow_provider_crux.files.columns import UnusableFileError

MAX_RECORD_BYTES: Final = 1024 * 1024
"""Longest record that is parsed."""

_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"

# A quoted field, up to its closing quote or the end of the chunk; a doubled quote closes nothing. Only a quote at the
# beginning of a field opens one. Possessive, so that no text makes the pattern read or remember a byte twice.
_QUOTED_FIELD: Final = re.compile(rb'"(?<![^,\r\n]")[^"]*+(?:""[^"]*+)*+(?:"|\Z)')
_CLOSED_AT_END: Final = re.compile(rb'[,\r\n]?"')
_TAILS: Final = (4 * 1024, 64 * 1024)


class RecordCounter:
    """
    Count the records of a CSV file in chunks that may end anywhere.

    It accepts what :mod:`csv` accepts: quoted line breaks and commas, doubled quotes, a quote within an unquoted field,
    any line end, a last line without one. A byte-order mark and blank lines are no records. Nothing is an error. Memory
    stays within a few times the chunk, however long a field is.

    :mod:`csv` itself does not fit: it needs whole lines, holds whole fields, and rejects long ones.
    """

    def __init__(self) -> None:
        self._records = 0
        self._started = False
        # The bytes that put the next chunk into the state in which the last one ended: nothing or a line end before a
        # record, a comma before a field, a full stop in a field, a quote in a quoted one, two quotes if that may have
        # ended.
        self._carry = b""

    def feed(self, chunk: bytes) -> None:
        """Count the records that end in the next bytes of the file."""
        text = self._carry + chunk
        if not self._started:
            if _BYTE_ORDER_MARK.startswith(text) and text != _BYTE_ORDER_MARK:
                self._carry = text
                return
            self._started = True
            text = text.removeprefix(_BYTE_ORDER_MARK)
        # each quoted field becomes one quote; a field that is still open swallows the full stop
        bare = _QUOTED_FIELD.sub(b'"', text + b".")
        in_quotes = bare.endswith(b'"')
        bare = bare if in_quotes else bare[:-1]
        self._records += _ended_lines(bare)
        if in_quotes:
            self._carry = b'"'
        elif _CLOSED_AT_END.fullmatch(bare[-2:]):
            self._carry = b'""'
        else:
            self._carry = bare[-1:] if bare[-1:] in (b"", b",", b"\r", b"\n") else b"."

    def last_end(self, chunk: bytes) -> int:
        """Return where the last record ends in the next bytes, before they are fed; 0 if none does."""
        text = self._carry + chunk
        if not self._started:
            text = text.removeprefix(_BYTE_ORDER_MARK)
        quoted = [field.span() for field in _QUOTED_FIELD.finditer(text)]
        stop = len(text)
        for start, end in reversed([(0, 0), *quoted]):
            line_end = max(text.rfind(b"\n", end, stop), text.rfind(b"\r", end, stop))
            if line_end >= 0:
                return max(line_end + 1 - (len(text) - len(chunk)), 0)
            stop = start
        return 0

    @property
    def rows(self) -> int:
        """Records so far without the header. The last one counts even without its line end."""
        unended = self._carry not in (b"", b"\r", b"\n")
        return max(self._records + unended - 1, 0)


def _ended_lines(text: bytes) -> int:
    """Count the lines that have an end and are not blank."""
    lines = text.splitlines()
    unended = bool(lines) and not text.endswith((b"\r", b"\n"))
    return len(lines) - lines.count(b"") - unended


class RecordBlocks:
    """
    Cut a CSV file into blocks of whole records for a parser.

    A record that never ends must not fill the memory: one that is longer than :data:`MAX_RECORD_BYTES` by more than a
    chunk is an error.
    """

    def __init__(self) -> None:
        self._counter = RecordCounter()
        self._pending = bytearray()
        self._complete = 0

    @property
    def rows(self) -> int:
        """Records so far without the header."""
        return self._counter.rows

    def split(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """Yield the whole file in blocks; raise UnusableFileError if a record is too long."""
        for chunk in chunks:
            if block := self.feed(chunk):
                yield block
        if block := self.rest():
            yield block

    def feed(self, chunk: bytes) -> bytes:
        """Return the next block; nothing while it is small. Raise UnusableFileError if a record is too long."""
        if ended := self._count(chunk):
            self._complete = len(self._pending) + ended
        self._pending += chunk
        if len(self._pending) - self._complete > MAX_RECORD_BYTES:
            raise UnusableFileError(f"row {self.rows} is longer than {MAX_RECORD_BYTES} bytes")
        if self._complete <= MAX_RECORD_BYTES / 2:
            return b""
        block = bytes(self._pending[: self._complete])
        del self._pending[: self._complete]
        self._complete = 0
        return block

    def skip(self, chunk: bytes) -> None:
        """Only count the records in the next chunk: no more blocks are needed."""
        self._counter.feed(chunk)

    def rest(self) -> bytes:
        """Return what is left when the file has ended."""
        return bytes(self._pending)

    def _count(self, chunk: bytes) -> int:
        """Count the records in a chunk, and return where the last one ends; 0 if none does."""
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
        return position + end if end else 0

    def check_rows(self, rows: int) -> None:
        """Raise UnusableFileError if a parser has read another number of rows."""
        if rows != self.rows:
            raise UnusableFileError(f"it has {self.rows} rows, but {rows} were read")
