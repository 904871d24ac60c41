"""
What a file is, by its beginning: an export of orders, another CSV file, or no CSV file at all.

The first line of a file without a header holds values. So it is shown and recorded only if it is surely a header.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from airflow_provider_crux.files.columns import COLUMNS, printable_name
from airflow_provider_crux.files.records import BYTE_ORDER_MARK

MAX_HEADER_BYTES: Final = 64 * 1024
"""Longest header that is read."""

_KNOWN: Final = frozenset(column.name for column in COLUMNS)
_MAX_SHOWN: Final = 10
# like an identifier: the name of a person or a city, an address, a number and a UUID do not match
_SURELY_A_NAME: Final = re.compile(r"[a-z][A-Za-z0-9_ ]{0,63}", re.ASCII)
# how the names of a file without rows look
_MAYBE_A_NAME: Final = re.compile(r"[^\W\d][\w .()#-]*")


@dataclass(frozen=True)
class OtherContent:
    """What a file is instead of a CSV file, for a message, and whether a proxy may have sent it."""

    description: str
    from_proxy: bool = True


_NOTHING: Final = OtherContent("an empty file")
_NO_CSV: Final = OtherContent("a file that is not CSV")
_TOO_LONG: Final = OtherContent(f"a file whose first line is longer than {MAX_HEADER_BYTES} bytes", from_proxy=False)
# lines of nothing but commas, and blank ones
_NO_RECORDS: Final = re.compile(rb"(?:,*+(?:[\r\n]++|\Z))*+")
# of the beginning in lower case, and in this order
_SIGNATURES: Final = (
    (re.compile(rb"pk(\x03\x04|\x05\x06)"), OtherContent("a ZIP file", from_proxy=False)),
    (re.compile(rb"\x1f\x8b"), OtherContent("a gzip file", from_proxy=False)),
    (re.compile(rb"\xff\xfe|\xfe\xff"), OtherContent("text in UTF-16", from_proxy=False)),
    (re.compile(rb"\s*<(.*<)?(!doctype html|html|head|body)\b", re.DOTALL), OtherContent("a web page (HTML)")),
    (re.compile(rb"\s*<"), OtherContent("XML")),
    (re.compile(rb"\s*[\[{]"), OtherContent("JSON")),
)


@dataclass(frozen=True)
class Header:
    """The names in the first record of a CSV file, or the values if it has no header."""

    names: tuple[str, ...]
    is_valid: bool = True
    """Whether it is valid CSV. Otherwise there are no names."""

    @property
    def problem(self) -> str | None:
        """What the file is instead of an export of orders; ``None`` if it is one."""
        if not self.is_valid:
            return "its header is not valid CSV: a quotation mark is not closed, or text follows the closing one"
        if not _KNOWN.isdisjoint(self.names):
            return None
        if _are_surely_names(self.names):
            shown, more = ", ".join(self.names[:_MAX_SHOWN]), len(self.names) - _MAX_SHOWN
            columns = f"other columns: {shown}{f', and {more} more' if more > 0 else ''}"
        else:
            columns = (
                f"{len(self.names)} columns, none of which an export of orders has (its first line is not shown, "
                "because it may contain values)"
            )
        return f"it is a CSV file with {columns}. Crux Connect may have changed its files, or this is another file"

    @property
    def columns(self) -> list[str] | None:
        """The names of an export's columns, for a record of the file; ``None`` if they may be values."""
        return [printable_name(name) for name in self.names] if self.problem is None else None


def _are_surely_names(names: tuple[str, ...]) -> bool:
    return len(set(names)) == len(names) and all(map(_SURELY_A_NAME.fullmatch, names))


def with_whole_header(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the chunks of a file. The first one, empty if there is none, is long enough for :func:`read_header`."""
    rest = iter(chunks)
    beginning = b""
    for chunk in rest:
        beginning += chunk
        if len(beginning) > MAX_HEADER_BYTES or (re.search(rb"[\r\n]", chunk) and _is_enough(beginning)):
            break
    yield beginning
    yield from rest


def read_header(beginning: bytes) -> Header | OtherContent:
    """Tell what a file is, from its beginning."""
    content = beginning.removeprefix(BYTE_ORDER_MARK)
    for signature, other in _SIGNATURES:
        if signature.match(content[:2000].lower()):
            return other
    if not content.strip():
        return _NOTHING
    content = content if len(content) <= MAX_HEADER_BYTES else _whole_lines(content)
    if not content:
        return _TOO_LONG
    header, *rows = _records(content) or [[]]
    if not header:
        return Header((), is_valid=False) if b"," in re.split(rb"[\r\n]", content.lstrip(), maxsplit=1)[0] else _NO_CSV
    # text that happens to contain a comma is no table: its next line has another number of values
    is_table = len(rows[0]) == len(header) if rows else all(map(_MAYBE_A_NAME.fullmatch, header))
    csv_header = Header(tuple(header))
    return csv_header if csv_header.problem is None or (len(header) > 1 and is_table) else _NO_CSV


def _is_enough(beginning: bytes) -> bool:
    records = _records(_whole_lines(beginning.removeprefix(BYTE_ORDER_MARK)))
    return len(records) > 1 or (len(records) == 1 and not _KNOWN.isdisjoint(records[0]))


def _whole_lines(content: bytes) -> bytes:
    content = content[:MAX_HEADER_BYTES]
    return content[: max(content.rfind(b"\n"), content.rfind(b"\r")) + 1]


def _records(content: bytes) -> list[list[str]]:
    """Return the first two records, as far as they are valid CSV. Lines of nothing but commas are none."""
    # not by their values: quoted nothings are a record, for those who count and those who convert
    content = _NO_RECORDS.sub(b"", content, count=1)
    text = io.StringIO(content.decode(errors="surrogateescape"), newline="")
    records: list[list[str]] = []
    with suppress(csv.Error):
        for record in filter(None, csv.reader(text, strict=True)):
            if not records or any(record):
                records.append(record)
            if len(records) == 2:
                break
    return records
