"""What ``order_details`` must add to the rows of the sandbox's orders, from the sandbox's own truth."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from airflow_provider_crux.files.columns import DETAIL_COLUMNS
from airflow_provider_crux.sandbox.csv_file import COLUMN_LISTS, backorder_date, packages
from airflow_provider_crux.sandbox.orders import ExportQuery, LineItem, Order, filter_orders
from airflow_provider_crux.sandbox.versions import VERSIONS

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


DETAILS = [column.name for column in DETAIL_COLUMNS]
DAY = ExportQuery(start_date=datetime(2026, 1, 4, tzinfo=UTC), end_date=datetime(2026, 1, 5, tzinfo=UTC))
# the orders of that day are still changing: they are in all states
NOW = datetime(2026, 1, 6, 12, tzinfo=UTC)
HASH_KEY = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"
LIST_PATHS = {version.list_path for version in VERSIONS.values()}


def rows_of_day(version: str = "api") -> list[dict[str, Any]]:
    """Return the rows of the file with the details that they must get."""
    return [row for order in filter_orders(DAY, NOW) for row in detailed(order, version)]


def detailed(order: Order, version: str) -> Iterator[dict[str, Any]]:
    for row, item in zip(COLUMN_LISTS["2019"](order), order.line_items, strict=True):
        yield {**row, **expected_details(order, item, version)}
