"""The file of an export."""

import csv
import io

from airflow_provider_crux.sandbox.csv_file import COLUMNS, write_csv
from airflow_provider_crux.sandbox.orders import FIRST_ORDER_AT, ORDER_SPACING, ExportQuery, filter_orders

NOW = FIRST_ORDER_AT + 200 * ORDER_SPACING


def test_the_file_has_a_row_for_each_line_item_and_the_values_that_break_parsers():
    orders = filter_orders(ExportQuery(), NOW)
    content = write_csv(orders)
    assert content == write_csv(filter_orders(ExportQuery(), NOW))
    assert content.startswith(b"\xef\xbb\xbfretailer_po_number,order_uuid,")
    rows = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True))
    assert tuple(rows[0]) == COLUMNS
    assert [row["line_item_uuid"] for row in rows] == [item.uuid for order in orders for item in order.line_items]
    assert len({row["line_item_uuid"] for row in rows}) == len(rows)
    values = [value for row in rows for value in row.values()]
    for text in ('"', ",", "\n", "\r\n", "ö", "山"):
        assert any(text in value for value in values)
    assert all(None not in row and len(row) == len(COLUMNS) == 27 for row in rows)
