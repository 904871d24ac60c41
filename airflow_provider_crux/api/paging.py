"""The pages of a list of orders that changes meanwhile: no order is lost, and none comes twice."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from airflow_provider_crux.api import errors
from airflow_provider_crux.api.orders import MAX_INDEX, OrdersExportRequest
from airflow_provider_crux.api.responses import OrdersList

ListOrders = Callable[[OrdersExportRequest], OrdersList]
Key = str | int

_PAGES_REMEMBERED: Final = 10
"""A simulation needs six, if at most half a page of orders come and leave between two pages."""

_MAX_REPEATS: Final = 10
"""A page may have nothing new by chance, if as many orders have come before it as it has."""

_MAX_STALLED: Final = 100
"""So many pages are listed again at most, because orders have left, before the next new page."""


def iter_pages(request: OrdersExportRequest, list_orders: ListOrders, page_size: int) -> Iterator[Mapping[str, Any]]:
    """
    Yield the orders of one list, from the request's ``start`` to its ``limit``.

    ``limit`` is the index of the last order, but a server may exclude it, or return fewer orders than requested. So a
    page begins where the orders ended that came, and the list ends where no new one comes.

    Orders come and leave between two pages, and all that follow them move. So a page begins with the last order of the
    page before. If more of its orders are known, others have come before them: the known ones are left out. If none is
    known, some have left, and others may have moved to before this page: earlier pages are listed again, back to one
    with a known order, because whatever precedes a known order was on a page already.

    :param page_size: the orders of a page besides the one that it shares with the page before; halved whenever a page
        is too long.
    """
    first, last = request.start or 0, MAX_INDEX if request.limit is None else request.limit
    known: OrderedDict[Key, None] = OrderedDict()
    previous: list[Key] = []
    begin, furthest, shared, longest, repeats, stalled = first, first, 0, 0, 0, 0
    while begin + shared <= last:
        try:
            page = list_orders(replace(request, start=begin, limit=min(begin + page_size, last))).orders
        except errors.PageTooLongError:
            if page_size == 1:
                raise
            page_size //= 2
            continue
        keys = [order_key(order) for order in page]
        if shared and begin > first and known.keys().isdisjoint(keys):
            begin = max(first, begin - min(longest - 1, page_size))
            continue
        any_new = yield from _new_orders(page, keys, known)
        del page  # two at once would outlive garbage collections, and lead to slow ones
        if not any_new and len(keys) <= shared:
            return
        repeats = repeats + 1 if keys == previous or not any_new else 0
        stalled = stalled + 1 if begin + len(keys) <= furthest else 0
        if repeats == _MAX_REPEATS or stalled == _MAX_STALLED:
            raise errors.repeated_page(begin)
        furthest = max(furthest, begin + len(keys))
        previous, longest = keys, max(longest, len(keys))
        while len(known) > _PAGES_REMEMBERED * longest:
            known.popitem(last=False)
        # an order without a UUID cannot be recognized; a single one is the last, or all that this server returns
        shared = int(len(keys) > 1 and isinstance(keys[-1], str))
        begin += len(keys) - shared


def _new_orders(
    page: Sequence[Mapping[str, Any]], keys: Sequence[Key], known: OrderedDict[Key, None]
) -> Generator[Mapping[str, Any], None, bool]:
    """Yield the orders of a page that are not known, and return whether there are any."""
    any_new = False
    for key, order in zip(keys, page, strict=True):
        if key not in known or isinstance(key, int):
            any_new = True
            yield order
        known[key] = None
    return any_new


def order_key(order: Mapping[str, Any]) -> Key:
    """Return the UUID of an order; if it has none, a number, which suffices to recognize a whole page."""
    uuid = order.get("uuid")
    return uuid if isinstance(uuid, str) and uuid else hash(repr(order))
