"""The details of an order, in every spelling, and of what is no order."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_crux.api.order_details import read_order_details

PUBLISHED = {
    "uuid": "299FC593-04f0-424d-9847-e359b9dfde56",
    "status": "New",
    "is_allocated": False,
    "created_date": "2017-10-23T18:29:24.716079Z",
}
ALLOCATION = {"quantity_allocated": 3, "quantity_backordered": 2, "quantity_rejected": 1}


def line_item(**fields: Any) -> Any:
    details = read_order_details({**PUBLISHED, "line_items": [fields]})
    assert details is not None
    (item,) = details.line_items
    return item


def test_an_order_as_it_is_published() -> None:
    details = read_order_details(PUBLISHED)
    assert details is not None
    assert details.uuid == PUBLISHED["uuid"].lower()
    assert details.created_at == datetime(2017, 10, 23, 18, 29, 24, 716079, UTC)
    assert (details.status, details.is_allocated, details.line_items) == ("New", False, [])


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"uuid": "A", "status": "has_tracking"}, "has_tracking"),
        ({"line_item_uuid": "a", "uuid": "b", "status": "Partial"}, "partial"),
        ({"uuid": "a", "status": "Allocated", "line_item_designation": "HasTracking"}, "has_tracking"),
        ({"uuid": "a", "status": "Allocated", "line_item_designation": None}, "allocated"),
        ({"uuid": "a", "status": "Unallocated", "line_item_designation": []}, "unallocated"),
        ({"uuid": "a", "line_item_designation": ["Backordered", "HasTracking"]}, "backordered,has_tracking"),
        ({"uuid": "a", "status": "Something New"}, "Something New"),
        ({"uuid": "a", "status": 7}, None),
        ({"uuid": "a"}, None),
    ],
)
def test_the_status_of_a_line_item_has_the_words_of_the_argument(fields: dict[str, Any], expected: str | None) -> None:
    item = line_item(**fields)
    assert (item.uuid, item.status) == ("a", expected)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"tracking_numbers": ["1Z1", "1Z2"]}, ["1Z1", "1Z2"]),
        ({"tracking_numbers": []}, []),
        ({"tracking_numbers": [{"tracking_number": "1Z1", "shipping_cost": "1"}]}, ["1Z1"]),
        ({"tracking": [{"tracking_number": "1Z1"}, {"tracking_number": None}, {}]}, ["1Z1"]),
        ({"tracking_numbers": [], "tracking": [{"tracking_number": "1Z1"}]}, ["1Z1"]),
        ({"tracking_numbers": [9400110898825022]}, ["9400110898825022"]),
        ({"tracking": "1Z1"}, None),
        ({}, None),
    ],
)
def test_tracking_numbers_in_every_spelling(fields: dict[str, Any], expected: list[str] | None) -> None:
    assert line_item(**fields).tracking_numbers == expected


@pytest.mark.parametrize("name", ["backorder_date", "backordered_date"])
def test_what_the_supplier_has_allocated(name: str) -> None:
    assert line_item(allocation={**ALLOCATION, name: "2017-08-31"})[3:7] == (3, 2, 1, "2017-08-31")
    assert line_item(allocation={**dict.fromkeys(ALLOCATION, True), name: None})[3:7] == (None,) * 4
    assert line_item(allocation={**dict.fromkeys(ALLOCATION, 2**63), name: ""})[3:7] == (None,) * 4


def test_identifiers_and_quantities_in_other_types() -> None:
    item = line_item(uuid=847654, sku_id=1000, allocation={"quantity_allocated": 2.0, "quantity_rejected": "1"})
    assert item[:2] == ("847654", "1000")
    assert item[3:6] == (2, None, 1)


def test_a_date_without_a_zone_is_in_utc() -> None:
    details = read_order_details({**PUBLISHED, "created_date": "2017-10-23T18:29:24.716079"})
    assert details is not None
    assert details.created_at == datetime(2017, 10, 23, 18, 29, 24, 716079, UTC)


@pytest.mark.parametrize("date", ["2017-10-23", 5, None, "0001-01-01T00:00:00+14:00"])
def test_a_date_that_is_no_instant_is_unknown(date: object) -> None:
    details = read_order_details({**PUBLISHED, "created_date": date})
    assert details is not None
    assert details.created_at is None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
names = ("uuid", "status", "is_allocated", "created_date", "line_items")
item_names = ("uuid", "line_item_uuid", "sku_id", "status", "line_item_designation", "tracking_numbers", "allocation")
items = st.fixed_dictionaries({}, optional=dict.fromkeys(item_names, json_values))


fields_of_orders = {**dict.fromkeys(names, json_values), "line_items": st.lists(items | json_values)}


@given(st.fixed_dictionaries({}, optional=fields_of_orders))
def test_no_order_is_an_error_and_every_text_can_be_stored(order: dict[str, Any]) -> None:
    details = read_order_details(order)
    uuid = order.get("uuid")
    assert (details is None) is (type(uuid) is not int and not (isinstance(uuid, str) and uuid.strip()))
    if details is not None:
        text = json.dumps(details[2:], ensure_ascii=False)
        assert text.encode().decode() == text
        assert "\\u0000" not in text
