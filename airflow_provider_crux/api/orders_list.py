"""Whether a request selects any order: which lists to request, and which of them are believed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from airflow_provider_crux.api.instants import parse_utc
from airflow_provider_crux.api.orders import OrdersExportRequest
from airflow_provider_crux.api.responses import OrdersList
from airflow_provider_crux.api.spelling import split_for_list
from airflow_provider_crux.api.versions import WITHOUT_ZONE, ApiVersion

ListOrders = Callable[[OrdersExportRequest], OrdersList]

# So much are the clocks of the world behind UTC and ahead of it at most.
_BEHIND, _AHEAD = timedelta(hours=12), timedelta(hours=14)

_PAGE: Final = 50
_MAX_PAGES: Final = 20


def has_orders(request: OrdersExportRequest, version: ApiVersion, list_orders: ListOrders) -> tuple[bool, str | None]:
    """
    Return whether a request may select any order, and a warning if nobody knows.

    ``start``, ``limit`` and ``sort`` do not count. A list with an order is always believed: at worst it leads to an
    export without orders. A list without one is believed only if it cannot have misread its filters, because orders
    would be missing otherwise:

    - ``api``: believed, because the list accepts the very body of the export.
    - ``v1`` and ``timp`` with statuses: believed. Allocation statuses are the same array as in the export. The list
      accepts one designation, so each is listed by itself, and no list may have an order; several mean "or" there.
    - ``timp`` with dates: not believed by itself. Its dates have no time zone, and the documentation does not say which
      one applies. So the orders of the days around are listed too, and their ``created_date`` decides, which is in UTC.

    :raises CruxInvalidRequestError: if the version cannot say what the request does.
    """
    parts = split_for_list(replace(request, start=0, limit=1, sort=None), version)
    if any(list_orders(part).orders for part in parts):
        return True, None
    if version.list_dates != WITHOUT_ZONE or (request.start_date is None and request.end_date is None):
        return False, None
    results = [_has_orders_in_utc(part, list_orders) for part in parts]
    if None in results and True not in results:
        return True, (
            f"The list of api_version {version.name!r} has no orders, but its dates have no time zone, and the orders "
            "around them do not show that there are none"
        )
    return True in results, None


def _has_orders_in_utc(part: OrdersExportRequest, list_orders: ListOrders) -> bool | None:
    """Return whether there are orders in the interval, whatever time zone the list applies; ``None`` if unknown."""
    start, end = part.start_date, part.end_date
    try:
        around = replace(part, start_date=start and start - _BEHIND, end_date=end and end + _AHEAD)
        # the most that a list of the days around may contain
        earliest, latest = start and start - _BEHIND - _AHEAD, end and end + _AHEAD + _BEHIND
    except OverflowError:  # in the year 1 or 9999
        return None
    for order in _pages(around, list_orders):
        created = None if order is None else _created(order)
        if created is None or not _within(created, earliest, latest):  # too many orders, or another date decides
            return None
        if _within(created, start, end):
            return True
    return False


def _pages(request: OrdersExportRequest, list_orders: ListOrders) -> Iterator[Mapping[str, Any] | None]:
    """Yield the orders of a list, and ``None`` if there are too many."""
    start = 0
    for _ in range(_MAX_PAGES):
        # `limit` is the index of the last order
        page = list_orders(replace(request, start=start, limit=start + _PAGE - 1))
        if not page.orders:
            return
        yield from page.orders
        start += len(page.orders)  # a page may have a limit of its own
    yield None


def _created(order: Mapping[str, Any]) -> datetime | None:
    try:
        return parse_utc(order.get("created_date"))
    except ValueError:
        return None


def _within(moment: datetime, start: datetime | None, end: datetime | None) -> bool:
    return (start is None or start <= moment) and (end is None or moment <= end)
