"""An order as JSON, in the response of the list of orders."""

from typing import Any

from airflow_provider_crux.sandbox.csv_file import (
    SUPPLIERS,
    address,
    backorder_date,
    dollars,
    fees,
    file_rows,
    packages,
    supplier_uuid,
)
from airflow_provider_crux.sandbox.orders import LineItem, Order
from airflow_provider_crux.sandbox.versions import VERSIONS, ApiVersion


def order_as_json(order: Order, version: ApiVersion = VERSIONS["api"]) -> dict[str, Any]:
    """Return an order as the list of orders contains it, with the values of its rows in the file."""
    row = next(file_rows(order))
    statuses = {item.status for item in order.line_items}
    line_items = [_line_item_values(order, item) for item in order.line_items]
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
        "line_items": [{name: values[key] for name, key in version.line_item.items()} for values in line_items],
    }


def _line_item_values(order: Order, item: LineItem) -> dict[str, Any]:
    """Return what the versions of the API call by different names."""
    tracking = [
        {"shipping_weight": package.pop("weight"), **package, "quantity": pieces}
        for package, pieces in zip(packages(order, item), item.packages, strict=True)
    ]
    supplier = supplier_uuid(order)
    return {
        "uuid": item.uuid,
        "status": item.status,
        "allocation_status": item.allocation_status,
        "designation": item.designation,
        "sku_id": item.sku_id,
        "cost": dollars(item.cost),
        "supplier_uuid": supplier,
        "supplier": {"uuid": supplier, "organization_name": SUPPLIERS[supplier]},
        "tracking_numbers": [package["tracking_number"] for package in tracking],
        "packages": tracking,
        "allocation": {
            "quantity_ordered": item.quantity,
            "quantity_allocated": item.accepted,
            "quantity_backordered": item.backordered,
            "quantity_rejected": item.rejected,
            "backorder_date": backorder_date(order, item) or None,
        },
    }
