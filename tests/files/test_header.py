"""What a file is by its beginning, however it arrives, and what no message shows of it."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_crux.files.header import Header, OtherContent, read_header, with_whole_header

BOM = b"\xef\xbb\xbf"


def header_of(content: bytes) -> Header:
    header = read_header(next(with_whole_header([content])))
    assert isinstance(header, Header)
    return header


@pytest.mark.parametrize("beginning", [b"", BOM, b"\r\n\n", BOM + b"\n"])
@pytest.mark.parametrize("end", [b"", b"\n", b"\r", b"\r\n", b"\r\n1,2,3,4\r\n"])
def test_one_known_name_makes_a_file_an_export(beginning: bytes, end: bytes) -> None:
    header = header_of(beginning + b'"a ""b"", c\r\nd",order_uuid,,cost (USD)' + end)
    assert header.problem is None
    assert header.columns == ['a "b", c\r\nd', "order_uuid", "", "cost (USD)"]


def test_a_single_column_can_be_an_export() -> None:
    assert header_of(b"order_uuid\n1\n").columns == ["order_uuid"]


@pytest.mark.parametrize(
    ("content", "columns"),
    [
        (b"a,b,c\r\n", "other columns: a, b, c."),
        (b"order id,unit_price,shipTo\r\n1,2,3\r\n", "other columns: order id, unit_price, shipTo."),
        (
            ",".join(f"c{index}" for index in range(12)).encode(),
            "other columns: c0, c1, c2, c3, c4, c5, c6, c7, c8, c9, and 2",
        ),
        (b"ORDER_UUID,NAME\r\n1,Ada\r\n", "2 columns, none of which"),
        ("Größe,Zoë\n1,2\n".encode(), "2 columns, none of which"),
        (b"a,a\n1,2\n", "2 columns, none of which"),
        (b"a,\n1,2\n", "2 columns, none of which"),
    ],
)
def test_another_csv_file_is_named_by_its_columns(content: bytes, columns: str) -> None:
    header = header_of(content)
    assert f"it is a CSV file with {columns}" in str(header.problem)
    assert header.columns is None


@pytest.mark.parametrize(
    "row",
    [
        b"Ada Okafor,Lehi,Utah",
        b"PO-1,00000000-0000-4000-8000-000000000001,,Ground",
        b"5550100001,1 Example St.",
        b"14.65,31337",
        b"ada,okafor@files.example",
        b'lamp,"{cut off\r\nhere}"',
    ],
)
def test_the_first_row_of_a_file_without_a_header_is_not_shown(row: bytes) -> None:
    header = header_of(row + b"\r\n" + row + b"\r\n")
    assert header.columns is None
    message = str(header.problem)
    assert message.startswith("it is a CSV file with ")
    assert not [
        value for (*values,) in csv.reader(io.StringIO(row.decode())) for value in values if value and value in message
    ]


@pytest.mark.parametrize("header", [b'order_uuid,"sku"x,city', b'order_uuid,"sku,city\r\n1,Ada', b'"order_uuid" ,sku'])
def test_a_header_that_is_not_valid_csv_has_no_names(header: bytes) -> None:
    broken = header_of(header + b"\r\n1,2,3\r\n")
    assert "its header is not valid CSV" in str(broken.problem)
    assert broken.columns is None


FIELD = st.sampled_from(["order_uuid", "name", "a b", "a,b", 'a"b', "a\r\nb", "", "Ada", "é", "1"])


@given(
    st.lists(st.lists(FIELD, min_size=1, max_size=4), max_size=4),
    st.sampled_from(["\r\n", "\n", "\r"]),
    st.sampled_from([b"", BOM]),
    st.integers(1, 9),
)
def test_the_chunks_do_not_matter(records: list[list[str]], line_end: str, beginning: bytes, size: int) -> None:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator=line_end).writerows(records)
    content = beginning + text.getvalue().encode()
    chunks = [content[index : index + size] for index in range(0, len(content), size)]
    assert b"".join(with_whole_header(chunks)) == content
    assert read_header(next(with_whole_header(chunks))) == read_header(content)


@pytest.mark.parametrize("names", [9_000, 5_000])
def test_a_header_longer_than_64_kibibytes_is_no_header(names: int) -> None:
    content = b"order_uuid" + b",column1" * names + b"\n"
    read = read_header(next(with_whole_header([content])))
    assert isinstance(read, OtherContent) == (len(content) > 64 * 1024)
