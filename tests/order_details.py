"""What ``order_details`` must add to the rows of the sandbox's orders, from the sandbox's own truth."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from airflow_provider_crux.sandbox.csv_file import backorder_date, packages

if TYPE_CHECKING:
    from airflow_provider_crux.sandbox.orders import LineItem, Order

WORDS = {
    "Unallocated": "unallocated",
    "Partial": "partial",
    "Allocated": "allocated",
    "Rejected": "rejected",
    "HasTracking": "has_tracking",
    "Backordered": "backordered",
    "Cancelled": "cancelled",
    "NeedsTracking": "needs_tracking",
}


def expected_details(order: Order, item: LineItem, version: str = "api") -> dict[str, Any]:
    """Return the details of a line item, by column."""
    statuses = {one.status for one in order.line_items}
    return {
        "order_created_at": order.created_at,
        "order_status": statuses.pop() if len(statuses) == 1 else "mixed",
        "is_allocated": all(one.status in {"allocated", "has_tracking"} for one in order.line_items),
        "line_item_status": WORDS[item.designation or item.allocation_status] if version == "timp" else item.status,
        "quantity_allocated": item.accepted,
        "quantity_backordered": item.backordered,
        "quantity_rejected": item.rejected,
        "backorder_date": backorder_date(order, item) or None,
        "tracking_numbers": json.dumps([package["tracking_number"] for package in packages(order, item)]),
    }
