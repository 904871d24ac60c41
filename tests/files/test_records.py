"""How the records of a CSV file are counted while its bytes pass by, held against the standard library's reader."""

from __future__ import annotations

import csv
import io
import tracemalloc
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_crux.files import records
from airflow_provider_crux.files.records import RecordBlocks, RecordCounter


def count_records(*chunks: bytes) -> int:
    counter = RecordCounter()
    for chunk in chunks:
        counter.feed(chunk)
    return counter.rows


def count_with_csv_module(content: bytes) -> int:
    """Count with :mod:`csv`, which reads the complete file at once."""
    text = io.StringIO(content.decode("utf-8-sig"), newline="")
    return max(sum(1 for record in csv.reader(text) if record) - 1, 0)


def split_at(content: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(content) + 1) for place in places), len(content)]
    return [content[begin:end] for begin, end in pairwise(edges)]


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
        (b'a\n27" black\n""\n"x"y"\n z "\n', 4),
        (b'a\n1\n"never closed\n2\n3\n', 2),
    ],
)
def test_records_are_counted_wherever_the_chunks_end(content: bytes, rows: int) -> None:
    assert count_records(content) == rows
    assert count_records(*(content[i : i + 1] for i in range(len(content)))) == rows
    for place in range(len(content)):
        assert count_records(content[:place], b"", content[place:]) == rows


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
    assert count_records(*split_at(content, places)) == count_with_csv_module(content)
    if line_end == "\r\n":  # otherwise it leaves a lone \r unquoted, and does not read what it wrote
        assert count_with_csv_module(content) == len(table)


@given(
    table=st.lists(
        st.lists(st.text(st.sampled_from("ab é"), min_size=1, max_size=6), min_size=1, max_size=4), max_size=8
    ),
    places=st.lists(st.integers(0, 500), max_size=6),
)
def test_a_file_without_any_quotes_is_counted_too(table, places) -> None:
    text = io.StringIO(newline="")
    csv.writer(text, quoting=csv.QUOTE_NONE).writerows([["header"], *table])
    assert count_records(*split_at(text.getvalue().encode(), places)) == len(table)


@given(
    content=st.text(st.sampled_from('",\r\na\ufeff'), max_size=40).map(str.encode),
    places=st.lists(st.integers(0, 100), max_size=6),
)
def test_invalid_csv_is_counted_as_the_csv_module_reads_it(content: bytes, places: list[int]) -> None:
    assert count_records(*split_at(content, places)) == count_with_csv_module(content)


@given(
    table=st.lists(
        st.lists(st.text('ab,"\r\n \N{SNOWMAN}', max_size=8), min_size=2, max_size=3), min_size=1, max_size=8
    ),
    line_end=st.sampled_from(["\r\n", "\n", "\r"]),
    mark=st.sampled_from([b"", b"\xef\xbb\xbf"]),
    places=st.lists(st.integers(0, 400), max_size=12),
)
def test_a_block_ends_where_a_record_ends(table, line_end: str, mark: bytes, places: list[int]) -> None:
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator=line_end).writerows(table)
    content = mark + text.getvalue().encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(records, "MAX_RECORD_BYTES", 120)  # the longest record of these tables
        patch.setattr(records, "_TAILS", (4, 16))
        blocks = list(RecordBlocks().split(split_at(content, places)))
    assert b"".join(blocks) == content
    rows = [row for block in blocks for row in csv.reader(io.StringIO(block.decode("utf-8-sig"), newline="")) if row]
    assert rows == table


@given(st.lists(st.binary(max_size=20)))
def test_no_bytes_are_an_error(chunks: list[bytes]) -> None:
    assert count_records(*chunks) >= 0


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
