"""The sandbox's orders: made up, and the same on every machine and in every run.

One order is created every 97 minutes from 2017-01-01T00:00:00Z on. Everything about an order follows from its
number, so none is stored, and a stretch of time is found by arithmetic.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import TypeVar
from uuid import UUID

FIRST_CREATED = datetime(2017, 1, 1, tzinfo=UTC)
# 97 has no divisor in common with 60 or 1440: in time an order falls on each minute of the day, hence also
# exactly on the boundary of two intervals, where filters go wrong
INTERVAL = timedelta(minutes=97)
STATUSES = ("unallocated", "allocated", "rejected", "has_tracking", "backordered")

T = TypeVar("T")


@dataclass(frozen=True)
class LineItem:
    """One line of an order, which is one row of the file.

    :param uuid: of the line item
    :param status: one of :data:`STATUSES`
    :param sku_id: what was ordered
    :param quantity: how many, 1 to 9
    :param cost: what one costs, in cents
    """

    uuid: str
    status: str
    sku_id: str
    quantity: int
    cost: int


@dataclass(frozen=True)
class Order:
    """One order, as far as filters and sorting look at it.

    :param number: counts from 0, in the order of creation
    :param uuid: of the order
    :param created: when, in UTC
    :param line_items: one to three
    """

    number: int
    uuid: str
    created: datetime
    line_items: tuple[LineItem, ...]

    @property
    def total(self) -> int:
        """What the whole order costs, in cents."""
        return sum(item.quantity * item.cost for item in self.line_items)


def draw(label: str, choices: Sequence[T]) -> T:
    """Choose as if by chance, but the same for the same label.

    :param label: names what is drawn, with the number of the order in it
    :param choices: what there is to choose from
    :return: one of them
    """
    return choices[int.from_bytes(sha256(label.encode()).digest()[:8]) % len(choices)]


def make_order(number: int) -> Order:
    """Make one order.

    :param number: 0 or more
    :return: the same order for the same number, always
    """
    count = draw(f"{number} line items", (1, 2, 3))
    return Order(
        number=number,
        uuid=_uuid(f"{number} order"),
        created=FIRST_CREATED + number * INTERVAL,
        line_items=tuple(_line_item(f"{number}.{index}") for index in range(count)),
    )


def numbers_between(start: datetime | None, end: datetime) -> range:
    """Find the orders created in a stretch of time, both ends included.

    :param start: the first instant, None for the first order there is
    :param end: the last instant
    :return: their numbers
    """
    first = 0 if start is None else max(0, -((FIRST_CREATED - start) // INTERVAL))
    return range(first, (end - FIRST_CREATED) // INTERVAL + 1)


def _line_item(label: str) -> LineItem:
    return LineItem(
        uuid=_uuid(f"{label} line item"),
        status=draw(f"{label} status", STATUSES),
        sku_id=f"SKU-{draw(f'{label} sku', range(1000, 10_000))}",
        quantity=draw(f"{label} quantity", range(1, 10)),
        cost=draw(f"{label} cost", range(199, 50_000)),
    )


def _uuid(label: str) -> str:
    return str(UUID(bytes=sha256(label.encode()).digest()[:16], version=4))
