"""An order as JSON, in the response of ``POST /api/orders/``."""

from typing import Any

from airflow_provider_crux.sandbox.csv_file import address, dollars, fees, file_rows, tracking_numbers
from airflow_provider_crux.sandbox.orders import Order


def order_as_json(order: Order) -> dict[str, Any]:
    """Return an order as the list of orders contains it, with the values of its rows in the file."""
    row = next(file_rows(order))
    statuses = {item.status for item in order.line_items}
    return {
        "uuid": order.uuid,
        "status": statuses.pop() if len(statuses) == 1 else "mixed",
        "is_allocated": all(item.status in {"allocated", "has_tracking"} for item in order.line_items),
        "purchase_order_id": row["retailer_po_number"],
        "created_date": f"{order.created_at.replace(tzinfo=None).isoformat(timespec='microseconds')}Z",
        "notes": row["retailer_provided_notes"],
        "fees": fees(order),
        "retailer": {"uuid": None},
        "address": address(order),
        "requested_shipping": {
            "carrier": row["requested_shipping_carrier"],
            "method": row["requested_shipping_method"],
        },
        "line_items": [
            {
                "uuid": item.uuid,
                "sku_id": item.sku_id,
                "cost": dollars(item.cost),
                "supplier_uuid": row["supplier_org_uuid"],
                "tracking_numbers": tracking_numbers(item),
                "allocation": item.status,
            }
            for item in order.line_items
        ],
    }
