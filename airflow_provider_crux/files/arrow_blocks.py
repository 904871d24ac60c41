"""An export's file in blocks of whole records, proven to be well-formed, and each parsed with Arrow; two at a time."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Final, NamedTuple, TypeVar

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.compute as pc  # type: ignore[import-untyped]
import pyarrow.csv  # type: ignore[import-untyped]

from airflow_provider_crux.files.records import BYTE_ORDER_MARK, MAX_RECORD_BYTES, RecordBlocks, row_of_other_width

_T = TypeVar("_T")
_Result = TypeVar("_Result")

_ASCII: Final = bytes(range(128)) + b"?" * 128
_NO_RECORDS: Final = re.compile(rb"[,\r\n]*+")
_THREADS: Final = 2
_TAIL: Final = 16 * 1024
# A place of which the last quotation marks tell whether it is in a quoted value: those after a character of a value do
# not open one, and those before such a character do not close one.
_KNOWN_PLACE: Final = re.compile(rb'[^",\r\n](?P<marks>"++)|"[^",\r\n]')

_VALUE: Final = r'(?:"(?:[^"]|"")*"|[^",\r\n][^,\r\n]*)'
_RECORD: Final = rf"(?:,*{_VALUE}(?:,{_VALUE}?)*)"
# Some of the texts in which RecordCounter finds no fault and no line of nothing but commas, perhaps without the last
# line end. For RE2, which Arrow uses: it reads a text once, four times as fast, and without Python's lock.
_REGULAR: Final = rf"\A(?:{_RECORD}?(?:\r\n|\n|\r))*{_RECORD}?\z"


class Parsing(NamedTuple):
    """How blocks are parsed: the number of values in a record, and the types of the columns to read, by name."""

    width: int
    types: dict[str, pa.DataType]


class _Text(NamedTuple):
    """Some of a file: its records are probably whole, unless it has none that ends."""

    content: bytes
    has_end: bool
    has_header: bool


def parse_blocks(
    chunks: Iterable[bytes], parsing: Parsing, *, block_bytes: int, ahead: int
) -> Iterator[tuple[pa.Table, int]]:
    """
    Yield the records of a file in tables of bytes, without the byte-order mark, blank lines and lines of commas.

    With each table comes the size of its text, in bytes: columns that are not read, and dictionaries, make it larger.

    Two blocks at a time are proven and parsed where each probably begins and ends. The scanner in Python looks at those
    whose proof fails, and at what follows until one of its records ends where a block does.

    The first table begins with the header, and has no dictionaries, because those would contain its names.

    :param ahead: how many blocks to parse while the caller uses those before.
    :raises UnusableFileError: if a record is not well-formed or too long, or has not as many values as the header.
    """
    header_parsing = parsing._replace(types=dict.fromkeys(parsing.types, pa.binary()))
    scanner: RecordBlocks | None = None
    records = 0

    def parse(text: _Text) -> pa.Table | None:
        return _parse_if_regular(text, header_parsing if text.has_header else parsing)

    def parse_scanned(block: bytes) -> pa.Table | None:
        return _parse_scanned(block, parsing if records else header_parsing, records)

    for text, regular in _mapped_ahead(parse, _texts(chunks, block_bytes), ahead):
        table, block = regular, text.content
        if not scanner and text.has_end and _NO_RECORDS.fullmatch(block):
            continue
        if scanner or not table:
            # It may still be well-formed, for example with a quotation mark in an unquoted value before the end.
            scanner = scanner or _scanner_after(records)
            block = scanner.feed(block)
            if scanner.is_between_records:
                block, scanner = block + scanner.rest(), None
            table = parse_scanned(block)
        if table:
            records += len(table)
            yield table, len(block)
    if scanner and (table := parse_scanned(block := scanner.rest())):
        yield table, len(block)


def _scanner_after(records: int) -> RecordBlocks:
    scanner = RecordBlocks(records)
    if not records:
        scanner.feed(BYTE_ORDER_MARK)  # it removes one, and that of the file is gone
    return scanner


def _texts(chunks: Iterable[bytes], block_bytes: int) -> Iterator[_Text]:
    """Yield the file in texts that probably are whole records, without the byte-order mark."""
    parts: list[bytes] = []
    size, enough, started, has_header = 0, block_bytes, False, True
    for chunk in chunks:
        parts.append(chunk)
        size += len(chunk)
        if size > enough:
            text = b"".join(parts)
            if not started:
                text = text.removeprefix(BYTE_ORDER_MARK)
            end = probable_end(text)
            content, rest = (text[:end], text[end:]) if end else (text, b"")
            yield _Text(content, end > 0, has_header)
            has_header &= bool(_NO_RECORDS.fullmatch(content))
            parts, size, started = [rest], len(rest), True
            enough = size + block_bytes
    text = b"".join(parts)
    yield _Text(text if started else text.removeprefix(BYTE_ORDER_MARK), True, has_header)


def probable_end(text: bytes) -> int:
    """Return where the last record probably ends; 0 if none does."""
    return _end_in_tail(text, max(len(text) - _TAIL, 0)) or _end_in_tail(text, 0)


def _end_in_tail(text: bytes, start: int) -> int:
    """Return where the last record ends if a quoted value has each quotation mark; 0 if none ends after the start."""
    known = _KNOWN_PLACE.search(text, start) if start else None
    place = known.end() if known else 0
    is_open = known is not None and len(known["marks"] or "") % 2 == 0
    marks, end = is_open + text.count(b'"', place), len(text)
    while (line_end := text.rfind(b"\n", place, end) + 1) and (marks := marks - text.count(b'"', line_end, end)) % 2:
        end = text.rfind(b'"', place, line_end) + 1  # no record ends between that mark and this line end
    return line_end


def is_regular(text: bytes) -> bool:
    """Return whether a text is surely well-formed."""
    offsets = pa.array([0, len(text)], pa.int32()).buffers()[1]
    whole = pa.Array.from_buffers(pa.binary(), 1, [None, offsets, pa.py_buffer(text)])
    return bool(pc.match_substring_regex(whole, _REGULAR)[0].as_py())


def _parse_if_regular(text: _Text, parsing: Parsing) -> pa.Table | None:
    """Return the records of a text; ``None`` if they are not surely whole and well-formed."""
    if text.has_end and len(text.content) <= MAX_RECORD_BYTES and is_regular(text.content):
        return _parse(text.content, parsing)
    return None


def _parse(block: bytes, parsing: Parsing) -> pa.Table | None:
    """Return the records of a block; ``None`` if one has another width."""
    with suppress(pa.ArrowInvalid):
        return _read(block, parsing.width, include_columns=list(parsing.types), column_types=parsing.types)
    return None


def _parse_scanned(block: bytes, parsing: Parsing, records_before: int) -> pa.Table | None:
    """Return the records of a block that are whole and well-formed; ``None`` if there are none."""
    if _NO_RECORDS.fullmatch(block):
        return None
    if (table := _parse(block, parsing)) is not None:
        return table
    rejected: list[Any] = []

    def reject(row: Any) -> str:
        rejected.append(row)
        return "error"

    with suppress(pa.ArrowInvalid):
        # Arrow calls no handler for a row that is not UTF-8, and says on stderr which byte it is
        _read(block.translate(_ASCII), parsing.width, handler=reject)
    row = records_before - 1 + rejected[0].number
    raise row_of_other_width(row, rejected[0].actual_columns, parsing.width)


def _read(block: bytes, width: int, *, handler: Any = None, **options: Any) -> pa.Table:
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


def _mapped_ahead(function: Callable[[_T], _Result], items: Iterable[_T], ahead: int) -> Iterator[tuple[_T, _Result]]:
    """Yield items with their results, which threads make while the caller uses the items before."""
    threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="crux-parser")
    started: deque[tuple[_T, Future[_Result]]] = deque()
    try:
        for item in items:
            started.append((item, threads.submit(function, item)))
            if len(started) > ahead:
                first, result = started.popleft()
                yield first, result.result()
        for first, result in started:
            yield first, result.result()
    finally:
        threads.shutdown(wait=False, cancel_futures=True)
