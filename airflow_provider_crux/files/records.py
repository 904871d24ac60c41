"""The header and the records of a CSV file, read while its bytes pass by."""

from __future__ import annotations

import re
from typing import Final

_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"

# A quoted field, up to its closing quote or the end of the chunk; a doubled quote closes nothing. Only a quote at the
# beginning of a field opens one. Possessive, so that no text makes the pattern read or remember a byte twice.
_QUOTED_FIELD: Final = re.compile(rb'"(?<![^,\r\n]")[^"]*+(?:""[^"]*+)*+(?:"|\Z)')
_CLOSED_AT_END: Final = re.compile(rb'[,\r\n]?"')
_TAILS: Final = (4 * 1024, 64 * 1024)

# two column names or more: neither XML nor JSON nor anything binary begins like this
_HEADER: Final = re.compile(rb'"?[A-Za-z][\w .-]*"?(?:,"?[A-Za-z][\w .-]*"?)+', re.ASCII)


def has_csv_header(beginning: bytes) -> bool:
    """
    Tell whether a file begins like an export: with a line of column names.

    :param beginning: at least the first line.
    """
    line = re.split(rb"[\r\n]", beginning.removeprefix(_BYTE_ORDER_MARK), maxsplit=1)[0]
    return _HEADER.fullmatch(line) is not None


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
        """
        Count the records that end in the next bytes of the file.

        :param chunk: the bytes.
        """
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

    def feed_records(self, chunk: bytes) -> int:
        """
        Count as :meth:`feed` does, and find the end of the last record.

        :param chunk: the bytes.
        :return: length of the part of the chunk that ends with a line end that is not quoted; 0 if there is none.
        """
        before = vars(self).copy()
        end = 0
        # records are short: the last one to end does so near the end of the chunk, where lines are fed one by one
        for tail in (*_TAILS, len(chunk)):
            vars(self).update(before)
            position = max(len(chunk) - tail, 0)
            self.feed(chunk[:position])
            for line in chunk[position:].splitlines(keepends=True):
                self.feed(line)
                position += len(line)
                if self._line_ended():
                    end = position
            if end:
                break
        return end

    def _line_ended(self) -> bool:
        return self._carry in (b"\r", b"\n")

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
