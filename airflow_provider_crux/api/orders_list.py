"""The orders that a request selects, and whether there are any: which lists to request, and what they say."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from itertools import chain, islice
from typing import Any, Final

from airflow_provider_crux.api.order_details import created_at
from airflow_provider_crux.api.orders import OrdersExportRequest, Sort, describe
from airflow_provider_crux.api.paging import ListOrders, iter_pages, order_key
from airflow_provider_crux.api.spelling import split_for_list
from airflow_provider_crux.api.versions import WITHOUT_ZONE, ApiVersion
from airflow_provider_crux.exceptions import (
    CruxInvalidRequestError,
    CruxInvalidResponseError,
    CruxRequestRejectedError,
    CruxUnsupportedMediaTypeError,
)

Pages = Callable[[OrdersExportRequest], Iterator[Mapping[str, Any]]]

# So much are the clocks of the world behind UTC and ahead of it at most.
_BEHIND, _AHEAD = timedelta(hours=12), timedelta(hours=14)

_MAX_ORDERS_AROUND: Final = 1_000

_BY_CREATION: Final = Sort("date", "asc")

# An order passes through these in this order, so one that moves while they are listed is found later, if not before.
_DESIGNATIONS: Final = ("backordered", "needs_tracking", "has_tracking", "rejected", "cancelled")


def iter_orders(
    request: OrdersExportRequest, version: ApiVersion, list_orders: ListOrders, page_size: int
) -> Iterator[Mapping[str, Any]]:
    """
    Yield every order of a request once; see :meth:`airflow_provider_crux.hooks.crux.CruxHook.iter_orders`.

    - ``v1`` and ``timp`` with several designations: the list accepts one, so each is listed by itself.
    - ``timp`` with dates: they have no time zone in the list, and the documentation does not say which one applies. So
      the orders of the days around are listed, and their ``created_date`` decides, which is in UTC.

    :raises CruxInvalidRequestError: immediately, if ``page_size`` is invalid, or the version cannot say what the
        request does.
    """
    if not isinstance(request, OrdersExportRequest):
        raise CruxInvalidRequestError(f"request: {describe(request)} is not an OrdersExportRequest; use one")
    if type(page_size) is not int or page_size < 1:  # a bool is an int, too
        raise CruxInvalidRequestError(f"page_size: {describe(page_size)} is not a number of orders; use 1 or more")
    parts = split_for_list(request, version)
    pages = partial(iter_pages, list_orders=list_orders, page_size=page_size)
    if len(parts) == 1:
        return _iter_part(request, version, pages)
    if request.selects_by_index:
        name, index = ("limit", request.limit) if request.limit is not None else ("start", request.start)
        raise CruxInvalidRequestError(
            f"{name}: {index} applies to one list, but api_version {version.name!r} lists each of "
            f"{list(request.line_item_status or ())!r} by itself; leave {name} out, or use one status"
        )
    parts.sort(key=lambda part: _DESIGNATIONS.index((part.line_item_status or ())[0]))
    return _without_repeats(chain.from_iterable(_iter_part(part, version, pages) for part in parts))


def _without_repeats(orders: Iterator[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """Yield the orders of several lists once. An order may be anywhere in each, so all UUIDs must be remembered."""
    known = set()
    for order in orders:
        key = order_key(order)
        if key not in known or isinstance(key, int):
            yield order
        known.add(key)


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
    try:
        around, earliest, latest = _days_around(part)
    except OverflowError:
        return None
    count = 0
    try:
        for order in islice(iter_pages(around, list_orders, page_size=49), _MAX_ORDERS_AROUND):
            count += 1
            created = created_at(order)
            if created is None or not _within(created, earliest, latest):  # another date decides
                return None
            if _within(created, part.start_date, part.end_date):
                return True
    except CruxInvalidResponseError:  # of these days only: the list of the interval was read
        return None
    return None if count == _MAX_ORDERS_AROUND else False


def _iter_part(request: OrdersExportRequest, version: ApiVersion, pages: Pages) -> Iterator[Mapping[str, Any]]:
    """Yield the orders of one list; see :func:`iter_orders`."""
    has_dates = request.start_date is not None or request.end_date is not None
    # an index counts from the first order of a list, and the list of the days around has another one
    if version.list_dates != WITHOUT_ZONE or not has_dates or request.selects_by_index:
        return _iter_by_creation(request, pages)
    try:
        around, earliest, latest = _days_around(request)
    except OverflowError:
        return _iter_by_creation(request, pages)

    def selects(order: Mapping[str, Any]) -> bool:
        created = created_at(order)
        if created is None or _within(created, request.start_date, request.end_date):
            return True
        return not _within(created, earliest, latest)  # no time zone explains it: another date decides

    return filter(selects, _iter_by_creation(around, pages))


def _iter_by_creation(request: OrdersExportRequest, pages: Pages) -> Iterator[Mapping[str, Any]]:
    """Yield the orders of one list, by creation unless the request depends on another order: new ones come last."""
    orders = pages(request)
    if request.sort is None and not request.selects_by_index:
        by_creation = pages(replace(request, sort=_BY_CREATION))
        try:
            first = next(by_creation, None)
        except (CruxRequestRejectedError, CruxUnsupportedMediaTypeError):
            pass  # no specification promises the key "date"
        else:
            orders = by_creation if first is None else chain([first], by_creation)
    yield from orders


def _days_around(request: OrdersExportRequest) -> tuple[OrdersExportRequest, datetime | None, datetime | None]:
    """
    Return the request for all orders that may be in the interval, whatever time zone the list applies.

    Also return the most that such a list may contain.

    :raises OverflowError: in the year 1 or 9999.
    """
    start, end = request.start_date, request.end_date
    around = replace(
        request, start=None, limit=None, start_date=start and start - _BEHIND, end_date=end and end + _AHEAD
    )
    return around, start and start - _BEHIND - _AHEAD, end and end + _AHEAD + _BEHIND


def _within(moment: datetime, start: datetime | None, end: datetime | None) -> bool:
    return (start is None or start <= moment) and (end is None or moment <= end)
