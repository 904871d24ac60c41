"""The pages of a list that changes while it is read, on servers with ways of their own."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_crux.api.orders import OrdersExportRequest
from airflow_provider_crux.api.paging import iter_pages
from airflow_provider_crux.api.responses import OrdersList
from airflow_provider_crux.exceptions import CruxInvalidResponseError


@dataclass
class ChangingList:
    """
    A list of orders, which come and leave before each page but the first. The order of all that ever come is fixed.

    :param random: decides which.
    :param size: how many orders there can be.
    :param most_changes: how many orders come and leave between two pages at most.
    :param most: how many orders a page has at most.
    :param excludes_end: whether the order at ``limit`` is not on the page.
    """

    random: Random
    size: int
    most_changes: int
    most: int = 1_000
    excludes_end: bool = False
    requests: list[tuple[int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        share = self.random.choice([0.3, 0.6, 0.9])
        self.orders = {number for number in range(self.size) if self.random.random() < share}
        self.always = set(self.orders)

    def list_orders(self, request: OrdersExportRequest) -> OrdersList:
        assert request.start is not None
        assert request.limit is not None
        # a list that changes forever may never end
        if self.requests and len(self.requests) < 300:
            self._change()
        self.always &= self.orders
        self.requests.append((request.start, request.limit))
        end = request.limit if self.excludes_end else request.limit + 1
        page = sorted(self.orders)[request.start : end][: self.most]
        return OrdersList(0, tuple({"uuid": f"order {number}"} for number in page))

    def _change(self) -> None:
        count = self.random.randint(0, self.most_changes)
        start = self.random.randrange(self.size)
        anywhere = [self.random.randrange(self.size) for _ in range(count)]
        neighbors = [(start + number) % self.size for number in range(count)]
        self.orders ^= {*self.random.choice([anywhere, neighbors])}


def read(orders: ChangingList, page_size: int, **fields: Any) -> Counter[str]:
    return Counter(order["uuid"] for order in iter_pages(OrdersExportRequest(**fields), orders.list_orders, page_size))


lists = {"random": st.randoms(use_true_random=True), "size": st.sampled_from([1, 2, 5, 30, 200])}
servers = {"most": st.sampled_from([2, 3, 5, 1_000]), "excludes_end": st.booleans()}


@given(**lists, **servers, page_size=st.integers(2, 8), changes=st.integers(0, 50))
def test_no_order_is_lost_silently_whatever_comes_and_leaves(page_size: int, changes: int, **options: Any) -> None:
    orders = ChangingList(**options, most_changes=changes)
    with suppress(CruxInvalidResponseError):  # as if the server returned the same page again and again
        yielded = read(orders, page_size)
        assert {f"order {number}" for number in orders.always} <= {*yielded}


@given(**lists, **servers, page_size=st.sampled_from([2, 3, 5, 8, 100]))
def test_no_order_comes_twice_if_fewer_than_half_a_page_come_and_leave(
    page_size: int, most: int, **options: Any
) -> None:
    orders = ChangingList(**options, most=most, most_changes=min(page_size, most) // 2)
    yielded = read(orders, page_size)
    assert {f"order {number}" for number in orders.always} <= {*yielded}
    assert set(yielded.values()) <= {1}


def test_the_memory_does_not_grow_with_the_list() -> None:
    def list_orders(request: OrdersExportRequest) -> OrdersList:
        assert request.start is not None
        numbers = range(request.start, min(request.start + 251, 20_000))
        return OrdersList(0, tuple({"uuid": f"order {number}"} for number in numbers))

    tracemalloc.start()
    try:
        assert sum(1 for _ in iter_pages(OrdersExportRequest(), list_orders, 250)) == 20_000
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()
