"""The response of ``POST /api/orders/``: the orders that an export would contain, as JSON."""

from collections.abc import Iterable
from typing import Any

from airflow_provider_crux.sandbox.csv_file import file_rows, tracking_numbers
from airflow_provider_crux.sandbox.orders import Order


def orders_list(orders: Iterable[Order], total_results: int) -> dict[str, Any]:
    """Return the body of the response.

    :param orders: the orders of the page
    :param total_results: what the sandbox's setting ``total_results`` says
    """
    return {"total_results": total_results, "orders": [_as_json(order) for order in orders]}


def _as_json(order: Order) -> dict[str, Any]:
    row: dict[str, Any] = next(iter(file_rows(order)))
    address = ("business_name", "name", "phone", "address1", "address2", "city", "state", "country", "postal_code")
    fees = ("estimated_shipping_cost", "dropship_fee", "per_order_fee", "estimated_tax")
    statuses = {item.status for item in order.line_items}
    return {
        "uuid": order.uuid,
        "status": statuses.pop() if len(statuses) == 1 else "mixed",
        "is_allocated": all(item.status in {"allocated", "has_tracking"} for item in order.line_items),
        "purchase_order_id": row["retailer_po_number"],
        "created_date": f"{order.created_at.replace(tzinfo=None).isoformat(timespec='microseconds')}Z",
        "notes": row["retailer_provided_notes"],
        "fees": {name: row[name] for name in fees},
        "retailer": {"uuid": None},
        "address": {name: row[name] for name in address},
        "requested_shipping": {
            "carrier": row["requested_shipping_carrier"],
            "method": row["requested_shipping_method"],
        },
        "line_items": [
            {
                "uuid": item.uuid,
                "sku_id": item.sku_id,
                "cost": f"{item.cost // 100}.{item.cost % 100:02d}",
                "supplier_uuid": row["supplier_org_uuid"],
                "tracking_numbers": tracking_numbers(item),
                "allocation": item.status,
            }
            for item in order.line_items
        ],
    }
