"""
The sandbox's orders, and the filters of an export.

The orders are made up, and are the same on every machine and in every run. One order is created every 97 minutes
from 2017-01-01T00:00:00Z on. An order's number, and its age, determine everything about it, so no order is stored.

An order changes during its first days: its line items are unallocated, then allocated, then have tracking numbers; or
they are rejected (canceled) or backordered instead. So a file of recent orders is soon out of date.

Newer versions of the API describe a line item by two other words, which follow from its status and its pieces. See
:class:`LineItem`.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from hashlib import sha256
from typing import Any, TypeVar
from uuid import UUID

FIRST_ORDER_AT = datetime(2017, 1, 1, tzinfo=UTC)
# 97 has no divisor in common with 60 or 1440. So sooner or later there is an order in every minute of the day, also on
# the boundary of two data intervals, where filters go wrong.
ORDER_SPACING = timedelta(minutes=97)
STATUSES = ("unallocated", "allocated", "rejected", "has_tracking", "backordered")

# Hours after which a line item leaves a state, each picked from a range.
_HOURS_UNALLOCATED = range(2, 36)
_HOURS_UNTIL_FINAL = range(36, 120)
_CHANGES_FOR = timedelta(hours=_HOURS_UNTIL_FINAL.stop)
# before the first tracking number is in a file
SHIPPED_AFTER = timedelta(hours=_HOURS_UNTIL_FINAL.start)

T = TypeVar("T")


@dataclass(frozen=True)
class LineItem:
    """
    One line item of an order. Its cost is that of one piece, in cents; its quantity is the ordered pieces.

    The supplier accepts, rejects or backorders pieces. Of an ``allocated`` line item, or one that ``has_tracking``, all
    pieces are accepted, or half of them and the others are backordered.
    """

    uuid: str
    status: str
    sku_id: str
    quantity: int
    cost: int

    @property
    def accepted(self) -> int:
        """The pieces that the supplier will ship, or has shipped."""
        if self.status not in {"allocated", "has_tracking"}:
            return 0
        in_part = self.quantity > 1 and pick(f"{self.uuid} in part", range(4)) == 0
        return self.quantity // 2 if in_part else self.quantity

    @property
    def rejected(self) -> int:
        """The pieces that nobody will ship."""
        return self.quantity if self.status == "rejected" else 0

    @property
    def backordered(self) -> int:
        """The pieces that the supplier will ship when they are in stock again."""
        return self.quantity - self.accepted if self.accepted or self.status == "backordered" else 0

    @property
    def packages(self) -> tuple[int, ...]:
        """The pieces in each package. All that has tracking is in one package, or half of it in each of two."""
        if self.status != "has_tracking":
            return ()
        if self.accepted > 1 and pick(f"{self.uuid} packages", (1, 2)) == 2:
            return (self.accepted // 2, self.accepted - self.accepted // 2)
        return (self.accepted,)

    @property
    def allocation_status(self) -> str:
        """``Unallocated`` if no piece is accepted, ``Allocated`` if all are, and ``Partial`` otherwise."""
        if self.accepted == 0:
            return "Unallocated"
        return "Allocated" if self.accepted == self.quantity else "Partial"

    @property
    def designation(self) -> str | None:
        """``NeedsTracking`` if it is allocated and not shipped yet; half of what is rejected is ``Cancelled``."""
        if self.status == "rejected":
            return pick(f"{self.uuid} rejected", ("Rejected", "Cancelled"))
        names = {"allocated": "NeedsTracking", "has_tracking": "HasTracking", "backordered": "Backordered"}
        return names.get(self.status)


@dataclass(frozen=True)
class Order:
    """The part of an order that filters and sort keys read. Its number is its index in the order of creation."""

    number: int
    uuid: str
    created_at: datetime
    line_items: tuple[LineItem, ...]

    @property
    def total(self) -> int:
        """The cost of the whole order, in cents."""
        return sum(item.quantity * item.cost for item in self.line_items)


@dataclass(frozen=True)
class ExportQuery:
    """
    The filters of an export: a valid request body, typed. See :func:`filter_orders`.

    Its statuses are words for a line item's status, its allocation status or its designation: each word is in only one
    of the three.
    """

    start: int = 0
    limit: int | None = None
    sort: tuple[str, str] | None = None
    statuses: tuple[str, ...] = ()
    conjunction: str = "or"
    start_date: datetime | None = None
    end_date: datetime | None = None


# The keys that appear in the vendor's documentation, except for "date", which the numbers of orders follow. Line items
# are compared one by one, from the first.
_SORT_KEYS: dict[str, Callable[[Order], Any]] = {
    "uuid": lambda order: order.uuid,
    "status": lambda order: [item.status for item in order.line_items],
    "total": lambda order: order.total,
    "sku_id": lambda order: [item.sku_id for item in order.line_items],
}


def filter_orders(query: ExportQuery, now: datetime, checkpoint: Callable[[], None] = lambda: None) -> list[Order]:
    """
    Return the orders of an export that was requested at ``now``; ``checkpoint`` may raise to abandon the work.

    ``start_date`` and ``end_date`` are **both inclusive**. The specification does not say so, but it is the harder case
    for a client, which gets an order on the boundary of two data intervals twice. ``limit`` is the index of the last
    order, inclusive too: ``start`` 4 and ``limit`` 8 return the orders 4, 5, 6, 7 and 8. Orders are in the order of
    creation unless ``sort`` has a known key.
    """
    return filter_and_count_orders(query, now, checkpoint)[0]


def filter_and_count_orders(
    query: ExportQuery, now: datetime, checkpoint: Callable[[], None] = lambda: None
) -> tuple[list[Order], int]:
    """Return the same orders, and how many there are without ``start`` and ``limit``."""
    numbers = _numbers_between(query.start_date, now if query.end_date is None else min(now, query.end_date))
    page = slice(query.start, None if query.limit is None else query.limit + 1)
    key, direction = query.sort or ("date", "asc")
    if key == "date" and direction != "asc":
        numbers = numbers[::-1]

    def orders_with(some: range) -> Iterator[Order]:
        return with_checkpoint((make_order(number, now) for number in some), checkpoint)

    if not query.statuses and key not in _SORT_KEYS:
        return list(orders_with(numbers[page])), len(numbers)  # the orders of other pages need not be made
    orders = _filter_by_status(orders_with(numbers), query)
    if key in _SORT_KEYS:
        orders.sort(key=_SORT_KEYS[key], reverse=direction != "asc")
    return orders[page], len(orders)


def with_checkpoint(orders: Iterable[Order], checkpoint: Callable[[], None]) -> Iterator[Order]:
    """Yield the orders, and call ``checkpoint`` before each."""
    for order in orders:
        checkpoint()
        yield order


def make_order(number: int, now: datetime | None = None) -> Order:
    """Return the order with this number as it is at ``now``, or when it no longer changes (None)."""
    age = None if now is None else now - _created_at(number)
    return _make_order(number, age if age is not None and age < _CHANGES_FOR else None)


def _created_at(number: int) -> datetime:
    return FIRST_ORDER_AT + number * ORDER_SPACING


@lru_cache(2**14)  # the pages of a list need the same orders, if statuses select them
def _make_order(number: int, age: timedelta | None) -> Order:
    count = pick(f"{number} line items", (1, 2, 3))
    return Order(
        number=number,
        uuid=_uuid(f"{number} order"),
        created_at=_created_at(number),
        line_items=tuple(_line_item(f"{number}.{index}", age) for index in range(count)),
    )


def pick(label: str, choices: Sequence[T]) -> T:
    """Return a pseudorandom choice: always the same choice for the same label."""
    return choices[int.from_bytes(sha256(label.encode()).digest()[:8]) % len(choices)]


def _numbers_between(start: datetime | None, end: datetime) -> range:
    first = 0 if start is None else max(0, -((FIRST_ORDER_AT - start) // ORDER_SPACING))
    return range(first, (end - FIRST_ORDER_AT) // ORDER_SPACING + 1)


def count_orders(now: datetime) -> int:
    """Return the number of all orders so far."""
    return len(_numbers_between(None, now))


def _filter_by_status(orders: Iterable[Order], query: ExportQuery) -> list[Order]:
    wanted = set(query.statuses)
    if not wanted:
        return list(orders)
    matches: Callable[[list[set[str]]], bool] = {
        "and": lambda line_items: set().union(*line_items) == wanted,
        "or": any,
        "only": all,
        "all": all,
    }[query.conjunction]
    return [order for order in orders if matches([wanted & _words(item) for item in order.line_items])]


def _words(item: LineItem) -> set[str | None]:
    return {item.status, item.allocation_status, item.designation}


def _status(label: str, age: timedelta | None) -> str:
    final = pick(f"{label} status", STATUSES)
    if age is None or age >= timedelta(hours=pick(f"{label} final", _HOURS_UNTIL_FINAL)):
        return final
    was_allocated = final in {"allocated", "has_tracking"}
    if was_allocated and age >= timedelta(hours=pick(f"{label} allocated", _HOURS_UNALLOCATED)):
        return "allocated"
    return "unallocated"


def _line_item(label: str, age: timedelta | None) -> LineItem:
    return LineItem(
        uuid=_uuid(f"{label} line item"),
        status=_status(label, age),
        sku_id=f"SKU-{pick(f'{label} sku', range(1000, 10_000))}",
        quantity=pick(f"{label} quantity", range(1, 10)),
        cost=pick(f"{label} cost", range(199, 50_000)),
    )


def _uuid(label: str) -> str:
    return str(UUID(bytes=sha256(label.encode()).digest()[:16], version=4))
