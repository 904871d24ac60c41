"""The exported file: CSV, one row a line item, with what a parser has to cope with in real files.

Names and addresses are made up, and the phone numbers lie in the range that is kept for fiction. Some values
hold quotes, commas and line breaks, and many hold letters outside of ASCII.
"""

import csv
import io
import json
from collections.abc import Iterable, Iterator

from airflow_provider_crux.sandbox.orders import LineItem, Order, draw

COLUMNS = (
    "retailer_po_number",
    "order_uuid",
    "supplier_org_uuid",
    "requested_shipping_carrier",
    "requested_shipping_method",
    "sku_id",
    "sku_title_variants",
    "retailer_provided_sku_cost",
    "line_item_uuid",
    "line_item_special_instructions",
    "quantity",
    "business_name",
    "name",
    "phone",
    "address1",
    "address2",
    "city",
    "state",
    "country",
    "postal_code",
    "estimated_shipping_cost",
    "dropship_fee",
    "per_order_fee",
    "estimated_tax",
    "retailer_provided_order_attributes",
    "retailer_provided_notes",
    "retailer_provided_line_item_attributes",
)

_SUPPLIERS = ("0d4f2f0a-9a53-4c3e-8f66-6f0f3a1c7b01", "5b1f6a77-22c4-4d39-b6c5-91f1d2a8e402")
_SHIPPING = (("UPS", "Ground"), ("FedEx", "2Day"), ("USPS", "Priority Mail"), ("", ""))
_TITLES = (
    "Desk lamp, brass",
    'Monitor 27" / black',
    "Café table — walnut",
    "Rug (160 x 230)",
    "Größe L, blau",
)
_NAMES = (
    "Zoë Faber",
    "José Núñez",
    "Łukasz Żak",
    "Sørine Æbelø",
    "山田 花子",
    'Ann "Nan" O\'Dell',
    "Ada Okafor",
)
_BUSINESSES = ("", "Faber & Söhne", 'The "Corner" Shop, Inc.', "Lumière, S.à r.l.")
_STREETS = ("Elm Street", "Größe Allee", "Rue de l'Église", "Main St., Bldg. C")
_UNITS = ("", "Apt. 4, rear", "2nd floor\nring twice")
_CITIES = (
    ("Springfield", "IL", "US", "62701"),
    ("Montréal", "QC", "CA", "H2Y 1C6"),
    ("Salt Lake City", "UT", "US", "84101"),
    ("San José", "CA", "US", "95110"),
)
_INSTRUCTIONS = (
    "",
    'Leave it at the "blue" door, please',
    "Fragile:\r\nthis side up",
    "Gift wrap; no prices",
)
_NOTES = ("", "Call ahead.\n\nThen knock, twice.", "Livraison après 18 h")


def write_csv(orders: Iterable[Order]) -> bytes:
    """Write the file of an export.

    :param orders: in the order in which they are to stand in the file
    :return: UTF-8 with a byte-order mark, a header row, and a row for each line item
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    for order in orders:
        writer.writerows(_rows(order))
    return text.getvalue().encode("utf-8-sig")


def _rows(order: Order) -> Iterator[tuple[object, ...]]:
    for_buyer = _buyer(order.number)
    carrier, method = draw(f"{order.number} shipping", _SHIPPING)
    attributes = json.dumps({"gift": draw(f"{order.number} gift", (True, False)), "channel": "web, mobile"})
    for item in order.line_items:
        yield (
            f"PO-{order.number:07d}",
            order.uuid,
            draw(f"{order.number} supplier", _SUPPLIERS),
            carrier,
            method,
            *_line(item),
            *for_buyer,
            *map(_dollars, (995, 150, 75, order.total * 7 // 100)),
            attributes,
            draw(f"{order.number} notes", _NOTES),
            json.dumps({"bin": item.sku_id[-2:]}),
        )


def _line(item: LineItem) -> tuple[object, ...]:
    return (
        item.sku_id,
        draw(f"{item.sku_id} title", _TITLES),
        _dollars(item.cost),
        item.uuid,
        draw(f"{item.uuid} instructions", _INSTRUCTIONS),
        item.quantity,
    )


def _buyer(number: int) -> tuple[str, ...]:
    return (
        draw(f"{number} business", _BUSINESSES),
        draw(f"{number} name", _NAMES),
        f"+1 801 555 {draw(f'{number} phone', range(100, 200)):04d}",
        f"{draw(f'{number} house', range(1, 1000))} {draw(f'{number} street', _STREETS)}",
        draw(f"{number} unit", _UNITS),
        *draw(f"{number} city", _CITIES),
    )


def _dollars(cents: int) -> str:
    return f"{cents // 100}.{cents % 100:02d}"
