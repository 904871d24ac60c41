"""Whether there are orders: what the list says in whatever time zone it reads dates, and when it is believed."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_crux.api.orders import OrdersExportRequest
from airflow_provider_crux.api.orders_list import has_orders
from airflow_provider_crux.api.responses import OrdersList
from airflow_provider_crux.api.spelling import list_body
from airflow_provider_crux.api.versions import TIMP

# the clocks of London change at 01:00 UTC on March 29
NEAR = datetime(2026, 3, 29, tzinfo=UTC)
ZONES = ["UTC", "Europe/London", "America/Denver", "Etc/GMT+12", "Pacific/Kiritimati", "Asia/Kathmandu"]


class FakeTimp:
    """
    The list of orders, which reads dates in some time zone.

    :param orders: when each order was created.
    :param zone: the time zone.
    :param most: how many orders a page has at most.
    """

    def __init__(self, orders: list[datetime], zone: str = "UTC", most: int = 50, **fields: Any) -> None:
        self.orders = sorted(orders)
        self.zone = ZoneInfo(zone)
        self.most = most
        self.fields = fields
        self.bodies: list[dict[str, Any]] = []

    def list_orders(self, request: OrdersExportRequest) -> OrdersList:
        body = list_body(request, TIMP)
        self.bodies.append(body)
        start, end = (
            datetime.fromisoformat(body[name]).replace(tzinfo=self.zone) for name in ("start_date", "end_date")
        )
        orders = [order for order in self.orders if start <= order <= end][body["start"] : body["limit"] + 1]
        page = orders[: self.most]
        return OrdersList(len(self.orders), tuple({"created_date": o.isoformat()} | self.fields for o in page))


instants = st.integers(-72 * 60, 72 * 60).map(lambda minutes: NEAR + timedelta(minutes=minutes))


@given(st.lists(instants, max_size=12), st.sampled_from(ZONES), instants, st.integers(1, 48))
def test_timp_is_believed_whatever_its_time_zone(
    orders: list[datetime], zone: str, start: datetime, hours: int
) -> None:
    end = start + timedelta(hours=hours)
    fake = FakeTimp(orders, zone)
    result, doubt = has_orders(OrdersExportRequest(start_date=start, end_date=end), TIMP, fake.list_orders)
    exists = any(start <= order <= end for order in orders)
    assert doubt is None
    assert result or not exists, "a wrong 'no orders' is the worst result"
    # only the list itself may show an order of another interval
    assert result is exists or zone != "UTC"


@pytest.mark.parametrize(
    "fields", [{"created_date": None}, {"created_date": "yesterday"}, {"created_date": "2016-01-01T00:00:00Z"}]
)
def test_an_order_that_does_not_show_when_it_was_created_leaves_a_doubt(fields: dict[str, Any]) -> None:
    fake = FakeTimp([NEAR], **fields)
    later = OrdersExportRequest(start_date=NEAR + timedelta(hours=1), end_date=NEAR + timedelta(hours=2))
    result, doubt = has_orders(later, TIMP, fake.list_orders)
    assert result is True
    assert doubt is not None
    assert "api_version 'timp' has no orders, but its dates have no time zone" in doubt


@pytest.mark.parametrize(("count", "expected"), [(949, False), (1000, True)])
def test_the_days_around_are_listed_in_pages_up_to_a_limit(count: int, expected: bool) -> None:
    fake = FakeTimp([NEAR + timedelta(seconds=number) for number in range(count)])
    later = OrdersExportRequest(start_date=NEAR + timedelta(hours=1), end_date=NEAR + timedelta(hours=2))
    result, doubt = has_orders(later, TIMP, fake.list_orders)
    assert (result, doubt is not None) == (expected, expected)
    _, *pages = [(body["start"], body["limit"]) for body in fake.bodies]
    assert len(pages) == 20
    assert all(following[0] == min(page[1] + 1, count) for page, following in pairwise(pages))


@pytest.mark.parametrize("most", [49, 25, 3, 1])
def test_pages_that_are_shorter_than_requested_hide_no_order(most: int) -> None:
    before = [NEAR - timedelta(hours=5) + timedelta(minutes=number) for number in range(49)]
    fake = FakeTimp([*before, NEAR + timedelta(minutes=30)], "Pacific/Kiritimati", most)
    result, _ = has_orders(
        OrdersExportRequest(start_date=NEAR, end_date=NEAR + timedelta(hours=1)), TIMP, fake.list_orders
    )
    assert result is True


def test_a_list_that_ignores_start_leaves_a_doubt() -> None:
    fake = FakeTimp([NEAR, NEAR + timedelta(minutes=1)])
    later = OrdersExportRequest(start_date=NEAR + timedelta(hours=1), end_date=NEAR + timedelta(hours=2))
    result, doubt = has_orders(later, TIMP, lambda request: fake.list_orders(replace(request, start=0)))
    assert (result, doubt is not None) == (True, True)


def test_an_interval_at_the_end_of_time_leaves_a_doubt() -> None:
    last = OrdersExportRequest(
        start_date=datetime(9999, 12, 31, 20, tzinfo=UTC), end_date=datetime(9999, 12, 31, 23, tzinfo=UTC)
    )
    for request in (last, replace(last, start_date=datetime(1, 1, 1, tzinfo=UTC))):
        assert has_orders(request, TIMP, FakeTimp([]).list_orders)[0] is True
