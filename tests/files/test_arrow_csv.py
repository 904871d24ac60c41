"""Large files are converted with Arrow: what is written or refused is the same as without it, to the byte."""

from __future__ import annotations

import csv as csv_of_python
import io
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
from airflow.providers.common.compat.sdk import ObjectStoragePath
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_crux.api.exports import SubmittedExport
from airflow_provider_crux.api.order_details import LineItemDetails, OrderDetails
from airflow_provider_crux.files import arrow_blocks, arrow_csv, csv, records
from airflow_provider_crux.files.arrow_blocks import is_regular, probable_end
from airflow_provider_crux.files.arrow_rows import ArrowRows, prefetched
from airflow_provider_crux.files.column_plan import plan_columns
from airflow_provider_crux.files.columns import UnusableFileError
from airflow_provider_crux.files.order_details import ListedOrders, RowDetails
from airflow_provider_crux.files.rows import TypedRows
from airflow_provider_crux.files.store import FileOptions, plan_file, store
from tests.examples import examples
from tests.odd_files import ODD_FILES

CONVERSIONS: dict[str, dict[str, Any]] = {
    "hashed": {"plan": {"personal_data": "hash"}},
    "dropped": {"plan": {"personal_data": "drop"}},
    "more columns": {"plan": {"personal_data": "keep"}, "added": [("crux_export_uuid", "uuid"), ("more", 'a "b", c')]},
}


def outcome(convert: Callable[..., Any], chunks: Iterable[bytes], plan: dict[str, Any], **options: Any) -> Any:
    """Return what was written and counted, or the error."""
    sink = io.BytesIO()
    try:
        stream, columns = plan_file(chunks, on_unknown_column="keep", **plan)
        counts = convert(stream, sink, columns, hash_key="0123456789abcdef", count_orders=True, **options)
    except UnusableFileError as error:
        return str(error)
    return sink.getvalue(), counts


@pytest.mark.parametrize(
    "conversion",
    [
        CONVERSIONS["hashed"],
        pytest.param(CONVERSIONS["dropped"], marks=pytest.mark.slow),
        pytest.param(CONVERSIONS["more columns"], marks=pytest.mark.slow),
    ],
    ids=CONVERSIONS,
)
def test_every_odd_file_is_converted_or_refused_as_without_arrow(conversion) -> None:
    for name, file in ODD_FILES.items():
        size = max(file.chunk_bytes, len(file.content) // 1000)
        chunks = [file.content[start : start + size] for start in range(0, len(file.content), size)]
        assert outcome(arrow_csv.convert_csv, chunks, **conversion) == outcome(csv.convert_csv, chunks, **conversion), (
            name
        )


FIELDS = st.one_of(
    st.text('ab ,"\r\n\0é\ufeff', max_size=5).map(lambda text: '"' + text.replace('"', '""') + '"'),
    st.sampled_from(["", "a", 'a"b', '6" x', "é", "NULL", "\udcff", '""', '"a"b', '"']),
)


@examples(300)
@given(
    rows=st.lists(st.tuples(FIELDS, FIELDS, st.sampled_from(["\r\n", "\n", "\n\n", "\n,\n"])), max_size=12),
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=4),
    tail=st.integers(1, 40),
    conversion=st.sampled_from(list(CONVERSIONS.values())),
)
def test_any_text_in_small_blocks_is_converted_or_refused_as_without_arrow(
    rows: Sequence[tuple[str, str, str]], sizes: list[int], tail: int, conversion: dict[str, Any]
) -> None:
    text = "sku_id,name\r\n" + "".join(f"{sku},{name}{end}" for sku, name, end in rows)
    content = text.encode(errors="surrogateescape")
    cuts = [0]
    while cuts[-1] < len(content):
        cuts.append(cuts[-1] + sizes[len(cuts) % len(sizes)])
    chunks = [content[start:end] for start, end in pairwise(cuts)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arrow_csv, "_TABLE_BYTES", 20)
        patch.setattr(arrow_blocks, "_TAIL", tail)
        converted = outcome(arrow_csv.convert_csv, chunks, **conversion)
    expected = outcome(csv.convert_csv, chunks, **conversion)
    if isinstance(expected, str):
        assert isinstance(converted, str)  # of two faults, the block decides which one is seen first
    else:
        assert converted == expected


@examples(2_000)
@given(st.text('",\r\na', max_size=30).map(str.encode))
def test_what_is_regular_has_no_fault_and_no_line_of_commas(text: bytes) -> None:
    counter = records.RecordCounter(1)
    counter.feed(text)
    counter.finish()
    if is_regular(text):
        assert counter.fault is None
        assert not counter.skips_commas
    else:
        assert counter.fault or counter.skips_commas


@examples(300)
@given(rows=st.lists(st.tuples(*[st.text('ab ,"\n', max_size=5)] * 2), max_size=8), data=st.data())
def test_a_block_ends_with_the_last_record_that_has_ended(rows: list[tuple[str, str]], data: st.DataObject) -> None:
    lines = io.StringIO()
    csv_of_python.writer(lines, lineterminator="\n").writerows(rows)
    text = lines.getvalue()[: data.draw(st.integers(0, len(lines.getvalue())))].encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arrow_blocks, "_TAIL", data.draw(st.integers(1, 20)))
        end = probable_end(text)
    ends = [index + 1 for index, byte in enumerate(text) if byte == ord("\n") and text.count(b'"', 0, index) % 2 == 0]
    assert end == max(ends, default=0)


def test_a_second_byte_order_mark_is_part_of_the_first_name() -> None:
    chunks = [2 * b"\xef\xbb\xbf" + b'"a,b",name\r\n', b",,\r\n1,2,Ada\r\n"]
    expected = outcome(csv.convert_csv, chunks, {})
    assert outcome(arrow_csv.convert_csv, chunks, {}) == expected
    assert expected[1].rows == 1


def test_no_name_of_the_header_is_read_as_a_number_after_a_line_of_commas() -> None:
    chunks = [b",\norder_uuid,quantity\ro1,1\r", b"o1,2\n"]  # only the line of commas ends in the first chunk
    rows = TypedRows(chunks, plan_columns(["order_uuid", "quantity"]), table_bytes=20)
    assert [row["quantity"] for table in rows for row in table.to_pylist()] == [1, 2]


def test_lines_that_are_no_records_need_no_scanner_in_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrow_blocks, "RecordBlocks", None)  # its use would be an error
    monkeypatch.setattr(arrow_csv, "_TABLE_BYTES", 20)
    chunks = [b"order_uuid,city\r\no1,Lehi\r\n", *[b"\n" * 30, b",\r\n" * 30] * 5, b"o2,Provo\r\n"]
    assert outcome(arrow_csv.convert_csv, chunks, {})[1].rows == 2


def test_a_table_has_no_more_rows_if_dictionaries_make_them_small() -> None:
    line = b"o1," + b"a" * 97 + b"\r\n"
    plan = plan_columns(["order_uuid", "name"], personal_data="hash")
    rows = ArrowRows([b"order_uuid,name\r\n", *[line * 10] * 100], plan, table_bytes=10_000, distinct=[1])
    assert max(map(len, rows)) < 300
    assert rows.rows == 1000


def test_details_are_the_same_as_without_arrow() -> None:
    listed = ListedOrders()
    item = LineItemDetails("l1", "S-1", 'accepted, "early"', 3, 0, None, None, ["1Z", "2Z"])
    listed.read([OrderDetails("o1", datetime(2026, 1, 2, tzinfo=UTC), "open", True, [item])])
    content = b'order_uuid,line_item_uuid,name\r\no1,l1,"A\nda"\r\no1,l2,Bo\r\n\xff,l1,C\r\no2,"",D\r\n'
    plan = plan_columns(["order_uuid", "line_item_uuid", "name"], personal_data="hash", order_details=True)
    written = []
    for convert in (csv.convert_csv, arrow_csv.convert_csv):
        sink = io.BytesIO()
        counts = convert([content], sink, plan, hash_key="key", details=RowDetails(plan, listed, "key"))
        written.append((sink.getvalue(), counts))
    listed.close()
    assert written[0] == written[1]
    assert b'"accepted, ""early"""' in written[0][0]


def test_a_file_of_one_column_has_no_blank_lines() -> None:
    content = b'sku_id,name\r\n"",Ada\r\nS-1,Bo\r\n'
    sink = io.BytesIO()
    arrow_csv.convert_csv([content], sink, plan_columns(["sku_id", "name"], personal_data="drop"))
    assert sink.getvalue() == b'\xef\xbb\xbfsku_id\r\n""\r\nS-1\r\n'


def test_without_the_columns_of_a_row_there_are_no_details() -> None:
    plan = plan_columns(["city", "state"], order_details="if_available")
    written = []
    for convert in (csv.convert_csv, arrow_csv.convert_csv):
        sink = io.BytesIO()
        convert([b"city,state\r\nLehi,UT\r\n"], sink, plan, details=RowDetails(plan, None, "key"))
        written.append(sink.getvalue())
    assert written[0] == written[1]
    assert written[0].endswith(b"\r\nLehi,UT,,,,,,,,,\r\n")


@pytest.mark.parametrize("convert", [csv.convert_csv, arrow_csv.convert_csv])
@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        (b"\xff,Bo\r\n,TOTAL\r\n", "row 2 has no order_uuid"),
        (b" ,TOTAL\r\n\xff,Bo\r\n", "row 1 has no order_uuid"),
        (b"o1,A\xff\r\no2,B\xff,C\r\n", "row 2 has 3 values instead of 2"),
    ],
)
def test_bytes_that_are_not_utf_8_hide_no_fault(convert, rows: bytes, problem: str, capfd) -> None:
    plan = plan_columns(["order_uuid", "city"])
    with pytest.raises(UnusableFileError, match=f"^{problem}"):
        convert([b"order_uuid,city\r\n" + rows], io.BytesIO(), plan)
    assert capfd.readouterr().err == ""


def test_short_rows_with_long_columns_take_little_memory() -> None:
    rows = b"L\r\n" * 500_000
    added = [("crux_export_uuid", "0" * 36), ("crux_interval_start", "0" * 36), ("crux_interval_end", "0" * 36)]

    class Sink(io.BytesIO):
        largest = 0

        def write(self, data) -> int:
            Sink.largest = max(Sink.largest, len(data))
            return len(data)

    arrow_csv.convert_csv([b"city\r\n", *[rows] * 2], Sink(), plan_columns(["city"]), added=added)
    assert Sink.largest < 2 * 1024 * 1024


@pytest.mark.parametrize("chunks", [7, 8])
@pytest.mark.parametrize(
    ("pyarrow", "supported"),
    [(pa, True), (None, False), (SimpleNamespace(__version__="16.1.0"), False)],
    ids=["supported", "missing", "too old"],
)
def test_arrow_converts_what_has_many_chunks_if_it_is_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, chunks: int, pyarrow: Any, supported: bool
) -> None:
    used = []

    def convert_with_arrow(*arguments: Any, **options: Any) -> Any:
        used.append(True)
        return convert(*arguments, **options)

    convert = arrow_csv.convert_csv
    monkeypatch.setattr(arrow_csv, "convert_csv", convert_with_arrow)
    monkeypatch.setitem(sys.modules, "pyarrow", pyarrow)
    stored = store(
        [b"order_uuid,name\r\n", *[b"o1,Ada\r\n"] * (chunks - 1)],
        ObjectStoragePath(f"file://{tmp_path}/orders.csv"),
        options=FileOptions(personal_data="drop"),
        submitted=SubmittedExport("uuid", None, None),
    )
    assert bool(used) == (supported and chunks == 8)
    assert stored.rows == chunks - 1
    assert (tmp_path / "orders.csv").read_bytes() == b"\xef\xbb\xbforder_uuid\r\n" + b"o1\r\n" * (chunks - 1)


def test_a_conversion_that_ends_does_not_wait_for_a_source_that_stalls() -> None:
    resumed, ended = threading.Event(), threading.Event()

    def source() -> Iterator[bytes]:
        yield b"first"
        resumed.wait(30)
        ended.set()
        yield b"second"

    items = prefetched(source())
    assert next(items) == b"first"
    items.close()
    assert not ended.is_set()
    resumed.set()
