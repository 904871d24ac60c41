"""Filters, sorting and the cut mean what the documents say."""

import csv
import io
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_crux.sandbox.csv_file import COLUMNS, write_csv
from airflow_provider_crux.sandbox.orders import FIRST_CREATED, INTERVAL, STATUSES
from airflow_provider_crux.sandbox.rules import Query
from airflow_provider_crux.sandbox.selection import select

NOW = FIRST_CREATED + 200 * INTERVAL
EVERYTHING = select(Query(), NOW)

instants = st.integers(0, 220 * 97).map(lambda minutes: FIRST_CREATED + timedelta(minutes=minutes))


def numbers(query: Query) -> list[int]:
    return [order.number for order in select(query, NOW)]


def statuses_of(number: int) -> set[str]:
    return {item.status for item in EVERYTHING[number].line_items}


@given(st.lists(instants, min_size=1, unique=True).map(sorted))
def test_adjoining_intervals_lose_no_order(boundaries):
    ends = [FIRST_CREATED, *boundaries, NOW + INTERVAL]
    found = [number for start, end in pairwise(ends) for number in numbers(Query(start_date=start, end_date=end))]
    assert set(found) == set(range(201))
    # twice only where an order lies exactly on a boundary: both ends are inclusive
    doubles = [number for number in set(found) if found.count(number) > 1]
    assert {EVERYTHING[number].created for number in doubles} <= set(boundaries) | {FIRST_CREATED}


def test_an_order_exactly_on_either_end_belongs_to_the_interval():
    assert numbers(Query(start_date=EVERYTHING[7].created, end_date=EVERYTHING[9].created)) == [7, 8, 9]
    second = timedelta(seconds=1)
    inside = Query(start_date=EVERYTHING[7].created + second, end_date=EVERYTHING[9].created - second)
    assert numbers(inside) == [8]


def test_no_order_is_of_the_future_or_before_the_first():
    assert numbers(Query(end_date=datetime(9999, 12, 31, tzinfo=UTC))) == list(range(201))
    assert numbers(Query(start_date=datetime(1, 1, 1, tzinfo=UTC))) == list(range(201))
    assert numbers(Query(end_date=FIRST_CREATED - timedelta(seconds=1))) == []


@given(st.lists(st.sampled_from(STATUSES), min_size=1, unique=True))
def test_or_keeps_orders_with_any_and_and_those_with_each_of_the_statuses(asked):
    assert numbers(Query(statuses=tuple(asked))) == [n for n in range(201) if statuses_of(n) & set(asked)]
    found = numbers(Query(statuses=tuple(asked), conjunction="and"))
    assert found == [n for n in range(201) if statuses_of(n) >= set(asked)]


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("conjunction", ["only", "all"])
def test_only_and_all_keep_orders_whose_every_line_item_matches(status, conjunction):
    found = numbers(Query(statuses=(status,), conjunction=conjunction))
    assert found == [n for n in range(201) if statuses_of(n) == {status}]
    assert found


def test_an_order_is_kept_with_its_other_line_items_too():
    kept = select(Query(statuses=("backordered",)), NOW)
    assert any(item.status != "backordered" for order in kept for item in order.line_items)


def test_limit_is_the_index_of_the_last_order():
    assert numbers(Query(start=4, limit=8)) == [4, 5, 6, 7, 8]
    assert numbers(Query(start=199)) == [199, 200]
    assert numbers(Query(start=10**30, limit=10**40)) == []


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
def test_sorting_by_a_known_key_comes_before_the_cut(key, value):
    ascending = [value(order) for order in select(Query(sort=(key, "asc")), NOW)]
    assert ascending == sorted(map(value, EVERYTHING))
    top = [value(order) for order in select(Query(sort=(key, "des"), limit=2), NOW)]
    assert top == ascending[:-4:-1]


def test_an_unknown_key_leaves_the_order_of_creation():
    assert numbers(Query(sort=("colour", "des"))) == list(range(201))


def test_the_file_has_a_row_for_each_line_item_and_everything_a_parser_stumbles_over():
    content = write_csv(EVERYTHING)
    assert content == write_csv(select(Query(), NOW))
    assert content.startswith(b"\xef\xbb\xbfretailer_po_number,order_uuid,")
    rows = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True))
    assert tuple(rows[0]) == COLUMNS
    assert [row["line_item_uuid"] for row in rows] == [item.uuid for o in EVERYTHING for item in o.line_items]
    assert len({row["line_item_uuid"] for row in rows}) == len(rows)
    values = [value for row in rows for value in row.values()]
    for hard in ('"', ",", "\n", "\r\n", "ö", "山"):
        assert any(hard in value for value in values)
    assert all(None not in row and len(row) == len(COLUMNS) == 27 for row in rows)
