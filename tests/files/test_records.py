"""How the records of a CSV file are counted while its bytes pass by, held against the standard library's reader."""

from __future__ import annotations

import csv
import io
import tracemalloc
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_crux.files import arrow_blocks, arrow_rows, records
from airflow_provider_crux.files.column_plan import plan_columns
from airflow_provider_crux.files.columns import UnusableFileError
from airflow_provider_crux.files.csv import convert_csv
from airflow_provider_crux.files.records import RecordBlocks, RecordCounter
from airflow_provider_crux.files.rows import TypedRows
from tests.csv_reference import read_strictly
from tests.examples import examples

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


BOM = b"\xef\xbb\xbf"


def count_records(*chunks: bytes) -> int | None:
    counter = counted(chunks)
    return None if counter.fault else counter.rows


def counted(chunks: Iterable[bytes]) -> RecordCounter:
    counter = RecordCounter()
    for chunk in chunks:
        counter.feed(chunk)
    counter.finish()
    return counter


def split_at(content: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(content) + 1) for place in places), len(content)]
    return [content[begin:end] for begin, end in pairwise(edges)]


def wherever_chunks_end(content: bytes) -> Iterator[list[bytes]]:
    yield [content]
    yield [content[i : i + 1] for i in range(len(content))]
    for place in range(len(content)):
        yield [content[:place], b"", content[place:]]


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        (b"", 0),
        (b"\xef\xbb\xbf", 0),
        (b"\xef\xbb", 0),
        (b"a,b", 0),
        (b"a,b\r\n", 0),
        (b"\r\n\r\na,b\r\n\r\n1,2\r\n\r\n", 1),
        (b"a,b\r\n1,2", 1),
        (b"a\r1\r2\r", 2),
        (b'\xef\xbb\xbf"a\r\nb",c\r\n1,2\r\n', 1),
        (b'a\r\n"1\r\n\r\n""2""\r\n"\r\n3\r\n', 2),
        (b'a\n27" black\n""\n z "\n', 3),
        (b'a,b,c\r\n"x","y","z"\r\n"","",""\r\n"1","""","3"\r\n', 3),
        (b"a,b\r\n,,\r\n,\n,,,\r1,2\r\n,", 1),
        (b'a,b\r\n,"\r\n,\r\n",\r\n"",\r\n,,#\n#,\n', 4),
    ],
)
def test_records_are_counted_wherever_the_chunks_end(content: bytes, rows: int) -> None:
    assert read_strictly(content).rows == rows
    assert all(count_records(*chunks) == rows for chunks in wherever_chunks_end(content))


OPEN = "has a quotation mark that is not closed"
AFTER = "has text after a closing quotation mark"


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b'a\n1\n"never closed\n2\n3\n', f"row 2 {OPEN}"),
        (b'a\n"', f"row 1 {OPEN}"),
        (b'a\n"x""', f"row 1 {OPEN}"),
        (b'"a\n1\n', f"the header {OPEN}"),
        (b'"a"b\n1\n', f"the header {AFTER}"),
        (b'a,b\n1,2\n\n,,\n3,"x"y\n"', f"row 2 {AFTER}"),
        (b'a,b\n"x""" ,2\n', f"row 1 {AFTER}"),
        (b'a,b\n"x","y" ,2\n', f"row 1 {AFTER}"),
        # a stray quote opens a field that ends at the next one, rows later
        (b'a,b\n1,"Best mug\n2,"Best mug\n3,Lamp\n', f"row 1 {AFTER}"),
    ],
)
def test_the_first_fault_is_reported_with_its_row_wherever_the_chunks_end(content: bytes, fault: str) -> None:
    row = read_strictly(content).fault
    assert row is not None
    assert fault.startswith(f"row {row} " if row else "the header ")
    assert {counted(chunks).fault for chunks in wherever_chunks_end(content)} == {fault}


@given(
    table=st.lists(
        st.lists(st.text(st.sampled_from('a",\r\n \ufeffé'), max_size=6), min_size=1, max_size=4), max_size=8
    ),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
    line_end=st.sampled_from(["\r\n", "\n"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig"]),
    places=st.lists(st.integers(0, 500), max_size=6),
)
def test_what_the_csv_module_writes_is_counted_as_it_reads_it(table, quoting, line_end, encoding, places) -> None:
    text = io.StringIO(newline="")
    csv.writer(text, quoting=quoting, lineterminator=line_end).writerows([["header"], *table])
    content = text.getvalue().encode(encoding)
    reading = read_strictly(content)
    assert count_records(*split_at(content, places)) == reading.rows
    if line_end == "\r\n":  # otherwise it leaves a lone \r unquoted, and does not read what it wrote
        written = table if quoting != csv.QUOTE_MINIMAL else [row for row in table if any(row) or len(row) == 1]
        assert reading.records == [["header"], *written]


@given(
    content=st.text(st.sampled_from('",\r\na\ufeff#'), max_size=40).map(str.encode),
    places=st.lists(st.integers(0, 100), max_size=6),
)
def test_any_text_is_counted_or_refused_as_by_the_csv_module(content: bytes, places: list[int]) -> None:
    reading = read_strictly(content)
    counter = counted(split_at(content, places))
    assert counter.rows == reading.rows
    assert (counter.fault is None) == (reading.fault is None)
    if counter.fault:
        assert counter.fault.startswith(f"row {reading.fault} " if reading.fault else "the header ")


RAW_FIELD = st.one_of(
    st.text('ab ,"\r\n\x1c\u2028\ufeff\N{SNOWMAN}', max_size=6).map(lambda text: '"' + text.replace('"', '""') + '"'),
    st.text('ab "\t\x1c\u2028\ufeff\N{SNOWMAN}', max_size=6).filter(lambda text: not text.startswith('"')),
    st.sampled_from(["", "", '""', '"', 'a"b', '"a"b', '"a" ', '" ', '"a""', '"\n,\n"', '"a\r\n,,\r\n']),
)
RECORDS = st.lists(
    st.tuples(
        st.lists(RAW_FIELD, min_size=3, max_size=3), st.sampled_from(["\r\n", "\n", "\r", "\n,,\r\n", "\r\n\r\n,\n"])
    ),
    max_size=10,
)


@examples(200)
@given(
    rows=RECORDS,
    mark=st.sampled_from([b"", BOM]),
    ended=st.booleans(),
    places=st.lists(st.integers(0, 300), max_size=8),
)
def test_every_parser_reads_the_records_that_were_counted_or_nothing(rows, mark, ended, places) -> None:
    """Of blocks of a few records, in chunks that end anywhere."""
    content = "a,b,c\r\n" + "".join(",".join(fields) + line_end for fields, line_end in rows)
    content = mark + (content if ended else content.rstrip("\r\n")).encode()
    chunks = split_at(content, places)
    reading = read_strictly(content)
    plan = plan_columns(["a", "b", "c"])
    sink = io.BytesIO()
    with pytest.MonkeyPatch.context() as patch:
        for module in (records, arrow_blocks, arrow_rows):
            patch.setattr(module, "MAX_RECORD_BYTES", 60)  # no record is longer
        patch.setattr(records, "_TAILS", (4, 16))
        read = [partial(convert_csv, chunks, sink, plan), lambda: list(TypedRows(chunks, plan, table_bytes=100))]
        if reading.fault is not None or any(len(record) != 3 for record in reading.records):
            for function in read:
                with pytest.raises(UnusableFileError, match=r"^(row \d+|the header) (has|is)"):
                    function()
            return
        counts, tables = (function() for function in read)
    assert counts.rows == reading.rows == count_records(*chunks)
    converted = io.StringIO(sink.getvalue().decode("utf-8-sig"), newline="")
    assert list(csv.reader(converted, strict=True)) == reading.records
    assert [list(row.values()) for table in tables for row in table.to_pylist()] == reading.records[1:]


@given(
    lengths=st.lists(st.integers(1, 25), max_size=30),
    quoted=st.booleans(),
    line_end=st.sampled_from([b"\r\n", b"\n", b"\r"]),
    mark=st.sampled_from([b"", BOM]),
    places=st.lists(st.integers(0, 700), max_size=12),
)
def test_the_limit_of_a_record_is_the_same_wherever_it_lies(lengths, quoted, line_end, mark, places) -> None:
    limit = 20
    rows = [b'"%s"' % (b"\n" * (length - 2)) if quoted and length > 1 else b"x" * length for length in lengths]
    content = mark + line_end.join([b"h", *rows])
    too_long = [number for number, row in enumerate(rows, 1) if len(row) > limit]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(records, "MAX_RECORD_BYTES", limit)
        patch.setattr(records, "_TAILS", (4, 16))
        if too_long:
            with pytest.raises(UnusableFileError, match=f"^row {too_long[0]} is longer than 20 bytes"):
                list(RecordBlocks().split(split_at(content, places)))
        else:
            blocks = list(RecordBlocks().split(split_at(content, places)))
            assert b"".join(blocks) == content.removeprefix(mark)
            assert [row for block in blocks for row in read_strictly(block).records] == read_strictly(content).records


@given(st.lists(st.binary(max_size=20)))
def test_no_bytes_are_an_error(chunks: list[bytes]) -> None:
    assert (count_records(*chunks) is None) == (read_strictly(b"".join(chunks)).fault is not None)


@pytest.mark.parametrize("pattern", [b"a", b'"', b'"",', b'x"', b'""x', b"\n", b"a\n", b',"'])
def test_memory_does_not_grow_with_the_file(pattern: bytes) -> None:
    chunk = pattern * (64 * 1024 // len(pattern))
    counter = RecordCounter()
    tracemalloc.start()
    try:
        counter.feed(b'h\n"')
        for _ in range(16):
            counter.feed(chunk)
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 16 * 1024
    assert peak < 64 * len(chunk)
