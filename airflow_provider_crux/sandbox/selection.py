"""Which orders an export holds, and in which order: the filters of the call, in their documented meaning."""

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from airflow_provider_crux.sandbox.orders import Order, make_order, numbers_between
from airflow_provider_crux.sandbox.rules import Query

# the keys seen in the vendor's documents; an order with several line items sorts by its first, then the next
_SORT_KEYS: dict[str, Callable[[Order], Any]] = {
    "date": lambda order: order.created,
    "uuid": lambda order: order.uuid,
    "status": lambda order: [item.status for item in order.line_items],
    "total": lambda order: order.total,
    "sku_id": lambda order: [item.sku_id for item in order.line_items],
}


def select(query: Query, now: datetime) -> list[Order]:
    """Select the orders of an export.

    ``start_date`` and ``end_date`` are **both inclusive**. The vendor leaves open whether they are; this is
    the harder case for a client, which gets an order on the boundary of two intervals twice. ``limit`` is the
    index of the last order, inclusive as well: start 4 and limit 8 are the orders 4, 5, 6, 7 and 8.

    :param query: what was asked for
    :param now: when it was asked; later orders do not exist, whatever the end of the search
    :return: the orders, each with all its line items; by creation unless a known key to sort by was given
    """
    end = now if query.end_date is None else min(now, query.end_date)
    orders = _with_statuses(map(make_order, numbers_between(query.start_date, end)), query)
    if query.sort:
        key, direction = query.sort
        if key in _SORT_KEYS:
            orders.sort(key=_SORT_KEYS[key], reverse=direction == "des")
    return orders[query.start : None if query.limit is None else query.limit + 1]


def _with_statuses(orders: Iterable[Order], query: Query) -> list[Order]:
    asked = set(query.statuses)
    if not asked:
        return list(orders)
    keep: Callable[[set[str]], bool] = {
        "and": asked.issubset,
        "or": lambda found: not asked.isdisjoint(found),
        "only": asked.issuperset,
        "all": asked.issuperset,
    }[query.conjunction]
    return [order for order in orders if keep({item.status for item in order.line_items})]
