"""
The exported file: CSV with the values that break naive parsers, in any of the published lists of columns.

The lists of 2019 have one row for each line item. Those of 2017 do not identify the line item, and have one row for
each of its packages, or one row if there is none.

Names and addresses are made up, and the phone numbers are from the range reserved for fiction. Some values contain
quotes, commas and line breaks, and many contain non-ASCII letters.
"""

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import timedelta
from functools import partial
from typing import Any

from airflow_provider_crux.sandbox.orders import SHIPPED_AFTER, LineItem, Order, make_order, pick

SUPPLIERS = {
    "0d4f2f0a-9a53-4c3e-8f66-6f0f3a1c7b01": 'Example "Best" Supply, Inc.',
    "5b1f6a77-22c4-4d39-b6c5-91f1d2a8e402": "Lumière & Fils, S.à r.l.",
}
_SHIPPING = (("UPS", "Ground"), ("FedEx", "2Day"), ("USPS", "Priority Mail"), ("", ""))
_TITLES = ("Desk lamp, brass", 'Monitor 27" / black', "Café table — walnut", "Rug (160 x 230)", "Größe L, blau")
_NAMES = ("Zoë Faber", "José Núñez", "Łukasz Żak", "Sørine Æbelø", "山田 花子", 'Ann "Nan" O\'Dell', "Ada Okafor")
_BUSINESSES = ("", "Faber & Söhne", 'The "Corner" Shop, Inc.', "Lumière, S.à r.l.")
_STREETS = ("Elm Street", "Größe Allee", "Rue de l'Église", "Main St., Bldg. C")
_UNITS = ("", "Apt. 4, rear", "2nd floor\nring twice")
_CITIES = (
    ("Springfield", "IL", "US", "62701"),
    ("Montréal", "QC", "CA", "H2Y 1C6"),
    ("Salt Lake City", "UT", "US", "84101"),
    ("San José", "CA", "US", "95110"),
)
_INSTRUCTIONS = ("", 'Leave it at the "blue" door, please', "Fragile:\r\nthis side up", "Gift wrap; no prices")
_NOTES = ("", "Call ahead.\n\nThen knock, twice.", "Livraison après 18 h")


def write_csv(orders: Iterable[Order], columns: str = "2019") -> bytes:
    """Return the file of an export: UTF-8 with a byte-order mark, a header row, and the rows of the orders."""
    rows_of = COLUMN_LISTS[columns]
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(next(rows_of(make_order(0))))
    for order in orders:
        writer.writerows(row.values() for row in rows_of(order))
    return text.getvalue().encode("utf-8-sig")


def file_rows(order: Order) -> Iterator[dict[str, Any]]:
    """Yield the rows of an order in the default list of columns, a value by column."""
    number = order.number
    carrier, method = pick(f"{number} shipping", _SHIPPING)
    identity = {
        "retailer_po_number": f"PO-{number:07d}",
        "order_uuid": order.uuid,
        "supplier_org_uuid": supplier_uuid(order),
        "requested_shipping_carrier": carrier,
        "requested_shipping_method": method,
    }
    retailer_provided = {
        "retailer_provided_order_attributes": json.dumps(
            {"gift": pick(f"{number} gift", (True, False)), "channel": "web, mobile"}
        ),
        "retailer_provided_notes": pick(f"{number} notes", _NOTES),
    }
    for item in order.line_items:
        yield {
            **identity,
            "sku_id": item.sku_id,
            "sku_title_variants": pick(f"{item.sku_id} title", _TITLES),
            "retailer_provided_sku_cost": dollars(item.cost),
            "line_item_uuid": item.uuid,
            "line_item_special_instructions": pick(f"{item.uuid} instructions", _INSTRUCTIONS),
            "quantity": item.quantity,
            **address(order),
            **fees(order),
            **retailer_provided,
            # the only column that changes with time, see sandbox/orders.py
            "retailer_provided_line_item_attributes": json.dumps(
                {"bin": item.sku_id[-2:], "status": item.status, "tracking": _tracking_numbers(item)[:1]}
            ),
        }


def _page_rows(order: Order) -> Iterator[dict[str, Any]]:
    for row in file_rows(order):
        yield {"retailer_po": row.pop("retailer_po_number"), **row}


def _package_rows(columns: tuple[str, ...], order: Order) -> Iterator[dict[str, Any]]:
    for item in order.line_items:
        carrier, method = pick(f"{order.number} shipping", _SHIPPING)
        values = {
            "retailer_po_number": f"PO-{order.number:07d}",
            "order_uuid": order.uuid,
            "supplier_po_number": f"SO-{order.number:07d}",
            "requested_shipping_carrier": carrier,
            "requested_shipping_method": method,
            "supplier": SUPPLIERS[supplier_uuid(order)],
            "retailer_id": "00017",
            "sku": item.sku_id,
            "quantity": item.quantity,
            "price": dollars(item.cost),
            **address(order),
            "quantity_accepted": item.accepted,
            "quantity_rejected": item.rejected,
            "quantity_backordered": item.backordered,
            "backorder_date": backorder_date(order, item),
            **fees(order),
            "estimated_tax": f"US${fees(order)['estimated_tax']}",
        }
        for package in packages(order, item) or [dict.fromkeys(_PACKAGE_COLUMNS, "")]:
            yield {name: (values | package)[name] for name in columns}


def packages(order: Order, item: LineItem) -> list[dict[str, str]]:
    """Return the packages of a line item, a value by column."""
    carrier, method = pick(f"{order.number} shipping", _SHIPPING)
    shipping_date = str((order.created_at + SHIPPED_AFTER).date())
    return [
        {
            "tracking_number": number,
            "shipping_carrier": carrier or "UPS",
            "shipping_method": method or "Ground",
            "weight": f"{pick(f'{number} weight', range(5, 500)) / 10} lb",
            "shipping_cost": dollars(pick(f"{number} cost", range(300, 3000))),
            "shipping_date": shipping_date,
        }
        for number in _tracking_numbers(item)
    ]


def backorder_date(order: Order, item: LineItem) -> str:
    """Return the day on which the backordered pieces are in stock again; empty if there are none."""
    if not item.backordered:
        return ""
    return str((order.created_at + timedelta(days=pick(f"{item.uuid} backorder", range(14, 90)))).date())


def supplier_uuid(order: Order) -> str:
    """Return who supplies an order."""
    return pick(f"{order.number} supplier", tuple(SUPPLIERS))


def address(order: Order) -> dict[str, str]:
    """Return who receives an order, and where."""
    number = order.number
    city, state, country, postal_code = pick(f"{number} city", _CITIES)
    return {
        "business_name": pick(f"{number} business", _BUSINESSES),
        "name": pick(f"{number} name", _NAMES),
        "phone": f"+1 801 555 {pick(f'{number} phone', range(100, 200)):04d}",
        "address1": f"{pick(f'{number} house', range(1, 1000))} {pick(f'{number} street', _STREETS)}",
        "address2": pick(f"{number} unit", _UNITS),
        "city": city,
        "state": state,
        "country": country,
        "postal_code": postal_code,
    }


def fees(order: Order) -> dict[str, str]:
    """Return what an order costs besides its line items."""
    return {
        "estimated_shipping_cost": dollars(995),
        "dropship_fee": dollars(150),
        "per_order_fee": dollars(75),
        "estimated_tax": dollars(order.total * 7 // 100),
    }


def _tracking_numbers(item: LineItem) -> list[str]:
    digits = item.uuid.upper()
    return [f"1Z{digits[:8]}", f"1Z{digits[-8:]}"][: len(item.packages)]


def dollars(cents: int) -> str:
    """Return an amount of money as text."""
    return f"{cents // 100}.{cents % 100:02d}"


COLUMNS = tuple(next(file_rows(make_order(0))))
"""The names of the columns of the default list, in their order."""

_PACKAGE_COLUMNS = (
    "tracking_number",
    "shipping_carrier",
    "shipping_method",
    "weight",
    "shipping_cost",
    "shipping_date",
)
_COLUMNS_OF_2017 = (
    *("sku", "quantity", "price", "name", "address1", "address2", "city", "state", "postal_code"),
    *("quantity_accepted", "quantity_rejected", "quantity_backordered", "backorder_date"),
    *("estimated_shipping_cost", "dropship_fee", "per_order_fee", "estimated_tax"),
    *_PACKAGE_COLUMNS,
)
_RETAILER_COLUMNS = (
    *("retailer_po_number", "order_uuid", "requested_shipping_carrier", "requested_shipping_method", "supplier"),
    *_COLUMNS_OF_2017,
)
_SUPPLIER_COLUMNS = (
    *("order_uuid", "retailer_po_number", "supplier_po_number"),
    *("requested_shipping_carrier", "requested_shipping_method", "retailer_id"),
    *_COLUMNS_OF_2017,
)

COLUMN_LISTS: Mapping[str, Callable[[Order], Iterator[dict[str, Any]]]] = {
    "2019": file_rows,
    "2019-page": _page_rows,
    "2017-retailer": partial(_package_rows, _RETAILER_COLUMNS),
    "2017-supplier": partial(_package_rows, _SUPPLIER_COLUMNS),
}
"""The functions that yield the rows of an order, by the name of the list of columns. ``2019`` is the default."""
