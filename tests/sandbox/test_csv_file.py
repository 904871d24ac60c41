"""The file of an export."""

import csv
import io
from collections import Counter

import pytest

from airflow_provider_crux.sandbox.csv_file import COLUMN_LISTS, COLUMNS, write_csv
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


OLDER_ORDERS = filter_orders(ExportQuery(end_date=FIRST_ORDER_AT + 100 * ORDER_SPACING), NOW)
# as the vendor published them
LISTS = {
    "2019-page": ("retailer_po", *COLUMNS[1:]),
    "2017-retailer": (
        *("retailer_po_number", "order_uuid", "requested_shipping_carrier", "requested_shipping_method", "supplier"),
        *("sku", "quantity", "price", "name", "address1", "address2", "city", "state", "postal_code"),
        *("quantity_accepted", "quantity_rejected", "quantity_backordered", "backorder_date"),
        *("estimated_shipping_cost", "dropship_fee", "per_order_fee", "estimated_tax", "tracking_number"),
        *("shipping_carrier", "shipping_method", "weight", "shipping_cost", "shipping_date"),
    ),
}
LISTS["2017-supplier"] = (
    *("order_uuid", "retailer_po_number", "supplier_po_number", "requested_shipping_carrier"),
    *("requested_shipping_method", "retailer_id", *LISTS["2017-retailer"][5:]),
)


def rows_of(columns: str) -> list[dict[str, str]]:
    text = write_csv(OLDER_ORDERS, columns).decode("utf-8-sig")
    return list(csv.DictReader(io.StringIO(text, newline=""), strict=True))


def test_every_list_has_its_published_columns_and_the_same_orders():
    assert {"2019", *LISTS} == {*COLUMN_LISTS}
    for columns, names in LISTS.items():
        rows = rows_of(columns)
        assert tuple(rows[0]) == names
        assert len(names) == {"2019-page": 27, "2017-retailer": 28, "2017-supplier": 29}[columns]
        assert all(None not in row and None not in row.values() for row in rows)
        assert list(dict.fromkeys(row["order_uuid"] for row in rows)) == [order.uuid for order in OLDER_ORDERS]
        values = [value for row in rows for value in row.values()]
        for text in ('"', ",", "\n", "ö", "山"):
            assert any(text in value for value in values)


def test_the_page_differs_from_the_sample_in_one_name_only():
    assert [list(row.values()) for row in rows_of("2019-page")] == [list(row.values()) for row in rows_of("2019")]


@pytest.mark.parametrize("columns", ["2017-retailer", "2017-supplier"])
def test_the_lists_of_2017_have_a_row_for_each_package_and_at_least_one_for_each_line_item(columns: str):
    rows = iter(rows_of(columns))
    package_counts = Counter()
    for item in (item for order in OLDER_ORDERS for item in order.line_items):
        package_counts[len(item.packages)] += 1
        for _ in item.packages or [None]:
            row = next(rows)
            assert (row["sku"], row["quantity"]) == (item.sku_id, str(item.quantity))
            accepted, rejected, backordered = (
                int(row[f"quantity_{name}"]) for name in ("accepted", "rejected", "backordered")
            )
            assert accepted + rejected + backordered in (0, item.quantity)
            assert bool(row["backorder_date"]) == (backordered > 0)
            filled = {bool(row[name]) for name in LISTS[columns][-6:]}
            assert filled == {bool(item.packages)}
    assert next(rows, None) is None
    assert set(package_counts) == {0, 1, 2}


def test_every_package_has_its_own_tracking_number():
    numbers = [row["tracking_number"] for row in rows_of("2017-retailer") if row["tracking_number"]]
    assert len(set(numbers)) == len(numbers)
    assert {row["retailer_po_number"] for row in rows_of("2017-retailer")} == {
        row["retailer_po_number"] for row in rows_of("2017-supplier")
    }
