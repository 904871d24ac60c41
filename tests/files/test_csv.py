"""What is written as CSV is the same, to the byte, as what Python's own writer makes of the values."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_crux.files.column_plan import plan_columns
from airflow_provider_crux.files.csv import convert_csv, copy_csv

values = st.text(st.sampled_from('a,"\r\n \t;\0é€😀') | st.characters(exclude_categories=["Cs"]), max_size=6)


def written(rows: list[list[str]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return text.getvalue().encode("utf-8-sig")


@given(
    st.integers(1, 4).flatmap(lambda width: st.lists(st.lists(values, min_size=width, max_size=width), max_size=6)),
    st.integers(1, 2_000),
)
def test_values_are_quoted_as_the_standard_library_does(rows: list[list[str]], repeats: int) -> None:
    header = ["sku_id", "quantity", "name", "city"][: len(rows[0]) if rows else 1]
    # a line of nothing but commas is no record, and neither is a second header
    rows = [row for row in rows if any(row) and row[0] != "sku_id"] * repeats
    content = written([header, *rows])
    sink = io.BytesIO()
    counts = convert_csv([content], sink, plan_columns(header))
    assert sink.getvalue() == content
    assert counts.rows == len(rows)


def test_an_empty_value_in_the_only_column_is_not_a_blank_line() -> None:
    sink = io.BytesIO()
    convert_csv([b'sku_id,name\r\n"",Ada\r\n'], sink, plan_columns(["sku_id", "name"], personal_data="drop"))
    assert sink.getvalue() == written([["sku_id"], [""]])


@pytest.mark.parametrize("row", [3, 499, 500, 501, 1300])
@pytest.mark.parametrize(("damage", "rows"), [("sku_id,quantity", None), ("1,2,3", 1400)])
def test_each_row_of_a_file_without_orders_is_checked(row: int, damage: str, rows: int | None) -> None:
    lines = ["sku_id,quantity", *["1,2"] * 1400]
    lines[row] = damage
    counts = copy_csv(["\r\n".join(lines).encode()], io.BytesIO(), count_orders=True)
    assert (counts.rows, counts.orders) == (rows, None)
    assert f"row {row} " in str(counts.warning)
