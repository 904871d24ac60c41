"""
The exported file: CSV with one row for each line item, and with the values that break naive parsers.

Names and addresses are made up, and the phone numbers are from the range reserved for fiction. Some values contain
quotes, commas and line breaks, and many contain non-ASCII letters.
"""

import csv
import io
import json
from collections.abc import Iterable, Iterator
from typing import Any

from airflow_provider_crux.sandbox.orders import LineItem, Order, make_order, pick

_SUPPLIERS = ("0d4f2f0a-9a53-4c3e-8f66-6f0f3a1c7b01", "5b1f6a77-22c4-4d39-b6c5-91f1d2a8e402")
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


def write_csv(orders: Iterable[Order]) -> bytes:
    """Return the file of an export: UTF-8 with a byte-order mark, a header row, and a row for each line item."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    for order in orders:
        writer.writerows(row.values() for row in file_rows(order))
    return text.getvalue().encode("utf-8-sig")


def file_rows(order: Order) -> Iterator[dict[str, Any]]:
    """Yield the rows of an order, a value by column."""
    number = order.number
    carrier, method = pick(f"{number} shipping", _SHIPPING)
    identity = {
        "retailer_po_number": f"PO-{number:07d}",
        "order_uuid": order.uuid,
        "supplier_org_uuid": pick(f"{number} supplier", _SUPPLIERS),
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
                {"bin": item.sku_id[-2:], "status": item.status, "tracking": tracking_numbers(item)}
            ),
        }


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


def tracking_numbers(item: LineItem) -> list[str]:
    """Return the tracking numbers of a line item."""
    return [f"1Z{item.uuid[:8].upper()}"] if item.status == "has_tracking" else []


def dollars(cents: int) -> str:
    """Return an amount of money as text."""
    return f"{cents // 100}.{cents % 100:02d}"


COLUMNS = tuple(next(file_rows(make_order(0))))
"""The names of the columns, in their order."""
