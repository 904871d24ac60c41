"""Whether a request selects any order: which lists to request, and which of them are believed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from airflow_provider_crux.api.instants import parse_utc
from airflow_provider_crux.api.orders import OrdersExportRequest
from airflow_provider_crux.api.responses import OrdersList
from airflow_provider_crux.api.spelling import split_for_list
from airflow_provider_crux.api.versions import WITHOUT_ZONE, ApiVersion

ListOrders = Callable[[OrdersExportRequest], OrdersList]

_SECOND: Final = timedelta(seconds=1)
# The clocks of the world are at most so much behind UTC, and ahead of it.
_MAX_BEHIND, _MAX_AHEAD = timedelta(hours=12), timedelta(hours=14)


def has_orders(request: OrdersExportRequest, version: ApiVersion, list_orders: ListOrders) -> tuple[bool, str | None]:
    """
    Return whether a request may select any order, and a warning if nobody knows.

    ``start``, ``limit`` and ``sort`` do not count. An order in the list is always believed: at worst it leads to an
    export without orders. No order in it is believed only if the list cannot have misread its filters, because else
    orders would be missing without a sign:

    - ``api``: believed, because the list accepts the very body of the export.
    - ``v1`` and ``timp`` with statuses: believed. Allocation statuses are the same array as for the export. Of the
      designations the list accepts one, so each is listed by itself, and each list must be empty. (Several of them mean
      "or": these versions have nothing else.)
    - ``timp`` with dates: believed only if the list proves that it reads them in UTC. They have no time zone there, and
      the documentation does not say which one applies.

    :raises CruxInvalidRequestError: if the version cannot say what the request does.
    """
    probe = replace(request, start=0, limit=1, sort=None)
    if any(list_orders(part).orders for part in split_for_list(probe, version)):
        return True, None
    has_dates = probe.start_date is not None or probe.end_date is not None
    if version.list_dates == WITHOUT_ZONE and has_dates and not _is_certain_in_utc(probe, list_orders):
        return True, (
            f"The list of api_version {version.name!r} does not confirm that it reads dates in UTC, so there may be "
            "orders although it lists none"
        )
    return False, None


def _is_certain_in_utc(probe: OrdersExportRequest, list_orders: ListOrders) -> bool:
    """
    Tell whether an empty list is empty for the interval in UTC.

    It is if there is no order in any time zone's reading of the interval, or if the list finds an order of that time by
    its date in UTC. That order is from about the same day, because a zone may be UTC in winter only.
    """
    everything = replace(probe, line_item_status=None, status_conjunction=None)
    start, end = probe.start_date, probe.end_date
    try:
        nearby = list_orders(
            replace(everything, start_date=start and start - _MAX_BEHIND, end_date=end and end + _MAX_AHEAD)
        )
        if not nearby.orders:
            return True
        created = _created(nearby)
        if created is None:
            return False
        second = created.replace(microsecond=0)
        found_again = _created(list_orders(replace(everything, start_date=second, end_date=second + _SECOND)))
    except OverflowError:  # in the year 1 or 9999
        return False
    return found_again is not None and second <= found_again <= second + _SECOND


def _created(page: OrdersList) -> datetime | None:
    """Return when the first order of a page was created, if it says so."""
    try:
        return parse_utc(page.orders[0].get("created_date")) if page.orders else None
    except ValueError:
        return None
