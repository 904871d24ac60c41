"""Filters, sort keys, ``start`` and ``limit`` do what the vendor's documentation says."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_crux.sandbox.orders import FIRST_ORDER_AT, ORDER_SPACING, STATUSES, ExportQuery, filter_orders

NOW = FIRST_ORDER_AT + 200 * ORDER_SPACING
ALL_ORDERS = filter_orders(ExportQuery(), NOW)

times = st.integers(0, 220 * 97).map(lambda minutes: FIRST_ORDER_AT + timedelta(minutes=minutes))


def numbers(query: ExportQuery) -> list[int]:
    return [order.number for order in filter_orders(query, NOW)]


def statuses_of(number: int) -> set[str]:
    return {item.status for item in ALL_ORDERS[number].line_items}


@pytest.mark.slow
@given(st.lists(times, min_size=1, unique=True).map(sorted))
def test_adjacent_intervals_lose_no_order(boundaries):
    ends = [FIRST_ORDER_AT, *boundaries, NOW + ORDER_SPACING]
    exported = [
        number for start, end in pairwise(ends) for number in numbers(ExportQuery(start_date=start, end_date=end))
    ]
    assert set(exported) == set(range(201))
    # both ends are inclusive, so only an order exactly on a boundary appears twice
    duplicates = [number for number in set(exported) if exported.count(number) > 1]
    assert {ALL_ORDERS[number].created_at for number in duplicates} <= set(boundaries) | {FIRST_ORDER_AT}


def test_an_interval_includes_the_orders_exactly_on_its_ends():
    start, end = ALL_ORDERS[7].created_at, ALL_ORDERS[9].created_at
    assert numbers(ExportQuery(start_date=start, end_date=end)) == [7, 8, 9]
    second = timedelta(seconds=1)
    assert numbers(ExportQuery(start_date=start + second, end_date=end - second)) == [8]


def test_no_order_is_in_the_future_or_before_the_first():
    assert numbers(ExportQuery(end_date=datetime(9999, 12, 31, tzinfo=UTC))) == list(range(201))
    assert numbers(ExportQuery(start_date=datetime(1, 1, 1, tzinfo=UTC))) == list(range(201))
    assert numbers(ExportQuery(end_date=FIRST_ORDER_AT - timedelta(seconds=1))) == []


@pytest.mark.slow
@given(st.lists(st.sampled_from(STATUSES), min_size=1, unique=True))
def test_or_returns_orders_with_any_of_the_statuses_and_and_those_with_all_of_them(statuses):
    any_of_them = numbers(ExportQuery(statuses=tuple(statuses)))
    assert any_of_them == [number for number in range(201) if statuses_of(number) & set(statuses)]
    all_of_them = numbers(ExportQuery(statuses=tuple(statuses), conjunction="and"))
    assert all_of_them == [number for number in range(201) if statuses_of(number) >= set(statuses)]


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("conjunction", ["only", "all"])
def test_only_and_all_return_orders_whose_line_items_all_have_the_status(status, conjunction):
    exported = numbers(ExportQuery(statuses=(status,), conjunction=conjunction))
    assert exported == [number for number in range(201) if statuses_of(number) == {status}]
    assert exported


def test_an_order_that_matches_keeps_its_other_line_items():
    orders = filter_orders(ExportQuery(statuses=("backordered",)), NOW)
    assert any(item.status != "backordered" for order in orders for item in order.line_items)


def test_limit_is_the_index_of_the_last_order():
    assert numbers(ExportQuery(start=4, limit=8)) == [4, 5, 6, 7, 8]
    assert numbers(ExportQuery(start=199)) == [199, 200]
    assert numbers(ExportQuery(start=10**30, limit=10**40)) == []


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("date", lambda order: order.number),
        ("uuid", lambda order: order.uuid),
        ("total", lambda order: sum(item.cost * item.quantity for item in order.line_items)),
        ("status", lambda order: [item.status for item in order.line_items]),
        ("sku_id", lambda order: [item.sku_id for item in order.line_items]),
    ],
)
def test_orders_are_sorted_by_a_known_key_before_start_and_limit_apply(key, value):
    ascending = [value(order) for order in filter_orders(ExportQuery(sort=(key, "asc")), NOW)]
    assert ascending == sorted(map(value, ALL_ORDERS))
    top = [value(order) for order in filter_orders(ExportQuery(sort=(key, "des"), limit=2), NOW)]
    assert top == ascending[:-4:-1]


def test_an_unknown_sort_key_keeps_the_order_of_creation():
    assert numbers(ExportQuery(sort=("colour", "des"))) == list(range(201))
