"""The list of orders as a client sees it, and orders that change while they are young."""

import csv
import io
import json
from datetime import UTC, datetime, timedelta

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_crux.sandbox.csv_file import write_csv
from airflow_provider_crux.sandbox.orders import FIRST_ORDER_AT, ORDER_SPACING, STATUSES, make_order
from airflow_provider_crux.sandbox.server import running_sandbox
from airflow_provider_crux.sandbox.state import ManualClock, Sandbox, SandboxSettings

DAY = {"start_date": "2024-12-30T00:00:00.000Z", "end_date": "2024-12-31T00:00:00.000Z"}
OLD_DAYS = {"start_date": "2024-11-01T00:00:00.000Z", "end_date": "2024-11-04T00:00:00.000Z"}
NO_ORDERS = {"start_date": "1970-01-01T00:00:00.000Z", "end_date": "1970-01-01T00:00:01.000Z"}
CHANGE_HOURS = 120


def list_orders(sandbox: Sandbox, crux: requests.Session, **fields) -> dict:
    response = crux.post(f"{sandbox.url}/api/orders/", json=fields)
    assert response.status_code == 200
    return response.json()


def export_rows(sandbox: Sandbox, crux: requests.Session, **fields) -> list[dict[str, str]]:
    uuid = crux.post(f"{sandbox.url}/api/orders/export/", json=fields).json()["uuid"]
    sandbox.finish_export(uuid)
    url = crux.get(f"{sandbox.url}/api/data/export/{uuid}/").json()["url"]
    content = requests.get(url, proxies={"http": ""}, timeout=10).content
    return list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline="")))


@pytest.mark.parametrize(
    "filters",
    [
        {},
        {"line_item_status": ["allocated", "rejected"]},
        {"line_item_status": ["has_tracking", "unallocated"], "status_conjunction": "and"},
        {"line_item_status": ["unallocated"], "status_conjunction": "only"},
        {"sort": {"key": "total", "dir": "des"}, "start": 2, "limit": 6},
        {"start": 99},
    ],
)
def test_the_list_holds_the_orders_of_an_export_with_the_same_filters(sandbox: Sandbox, crux, filters):
    rows = export_rows(sandbox, crux, **DAY, **filters)
    orders = list_orders(sandbox, crux, **DAY, **filters)["orders"]
    in_file = list(dict.fromkeys(row["order_uuid"] for row in rows))
    assert [order["uuid"] for order in orders] == in_file
    listed_items = {(order["uuid"], item["uuid"], item["sku_id"]) for order in orders for item in order["line_items"]}
    assert listed_items == {(row["order_uuid"], row["line_item_uuid"], row["sku_id"]) for row in rows}
    assert {order["address"]["name"] for order in orders} == {row["name"] for row in rows}
    assert len(sandbox.exports) == 1


def test_the_list_needs_a_token_and_no_permission_to_export(sandbox: Sandbox, http: requests.Session):
    assert http.post(f"{sandbox.url}/api/orders/", json={}).status_code == 401
    http.headers["Authorization"] = f"Token {sandbox.settings.viewer_token}"
    assert len(list_orders(sandbox, http, **DAY)["orders"]) == 15
    assert sandbox.exports == []


@pytest.mark.parametrize(
    "filters",
    [
        {},
        {"line_item_status": ["allocated", "rejected"]},
        *({"sort": {"key": key, "dir": "des"}} for key in ("date", "status", "total", "colour")),
    ],
)
def test_pages_are_parts_of_the_whole_list(sandbox: Sandbox, crux, filters):
    whole = list_orders(sandbox, crux, **DAY, **filters)
    assert whole["total_results"] == len(whole["orders"])
    for start in range(0, 15, 4):
        page = list_orders(sandbox, crux, **DAY, **filters, start=start, limit=start + 3)
        assert page == {**whole, "orders": whole["orders"][start : start + 4]}


@pytest.mark.parametrize("body", [{"limit": "1"}, {"start": None}, {"total": 1}, [], {"start": 2, "limit": 1}])
def test_the_list_validates_like_the_export(sandbox: Sandbox, crux, body):
    for path in ("/api/orders/", "/api/orders/export/"):
        assert crux.post(sandbox.url + path, json=body).status_code == 400


def test_total_results_counts_the_filtered_orders_and_not_the_page(sandbox: Sandbox, crux):
    page = list_orders(sandbox, crux, **DAY, start=0, limit=1)
    assert len(page["orders"]) == 2
    assert page["total_results"] == len(list_orders(sandbox, crux, **DAY)["orders"]) == 15
    assert list_orders(sandbox, crux, **NO_ORDERS) == {"total_results": 0, "orders": []}


def test_total_results_may_count_every_order_of_the_organization(crux, clock: ManualClock):
    with running_sandbox(SandboxSettings(total_results="organization"), clock=clock) as sandbox:
        everything = (clock() - FIRST_ORDER_AT) // ORDER_SPACING + 1
        assert list_orders(sandbox, crux, **NO_ORDERS) == {"total_results": everything, "orders": []}
        assert list_orders(sandbox, crux, **DAY, limit=0)["total_results"] == everything
        clock.advance(ORDER_SPACING.total_seconds())
        assert list_orders(sandbox, crux, **NO_ORDERS)["total_results"] == everything + 1


def test_an_allocation_has_the_pieces_of_the_file_under_the_names_of_the_list(crux, clock: ManualClock):
    with running_sandbox(SandboxSettings(columns="2017-retailer"), clock=clock) as sandbox:
        rows = export_rows(sandbox, crux, **OLD_DAYS)
        orders = list_orders(sandbox, crux, **OLD_DAYS)["orders"]
    in_list = set()
    for order in orders:
        for item in order["line_items"]:
            allocation = item["allocation"]
            ordered, allocated = allocation.pop("quantity_ordered"), allocation.pop("quantity_allocated")
            backordered, rejected = allocation.pop("quantity_backordered"), allocation.pop("quantity_rejected")
            assert backordered > 0 or allocation["backorder_date"] is None
            backorder_date = allocation.pop("backorder_date") or ""
            assert allocation == {}
            pieces = tuple(map(str, (ordered, allocated, backordered, rejected)))
            in_list.add((order["uuid"], item["sku_id"], *pieces, backorder_date))
    names = ("quantity", "quantity_accepted", "quantity_backordered", "quantity_rejected", "backorder_date")
    assert in_list == {(row["order_uuid"], row["sku"], *(row[name] for name in names)) for row in rows}
    assert {bool(backorder_date) for *_, backorder_date in in_list} == {True, False}


@given(st.integers(0, 30_000), st.lists(st.integers(0, CHANGE_HOURS * 3600 + 10_000), min_size=2).map(sorted))
def test_an_order_passes_from_unallocated_to_its_final_state_and_changes_nothing_else(number, ages):
    final = make_order(number)
    created_at = FIRST_ORDER_AT + number * ORDER_SPACING
    orders = [make_order(number, created_at + timedelta(seconds=age)) for age in (0, *ages, CHANGE_HOURS * 3600)]
    for index, item in enumerate(final.line_items):
        was_allocated = item.status in {"allocated", "has_tracking"}
        states = ["unallocated", *(["allocated"] if was_allocated else []), item.status]
        path = [states.index(order.line_items[index].status) for order in orders]
        assert path == sorted(path)
        assert path[0] == 0
        assert orders[-1].line_items[index].status == item.status
    without_status = {
        (order.uuid, order.created_at, order.total, *(item.uuid for item in order.line_items)) for order in orders
    }
    assert len(without_status) == 1


def test_every_status_is_reached_and_orders_of_all_ages_are_in_different_states():
    now = datetime(2025, 1, 1, tzinfo=UTC)
    last = (now - FIRST_ORDER_AT) // ORDER_SPACING
    young = {item.status for number in range(last - 10, last) for item in make_order(number, now).line_items}
    recent = {item.status for number in range(last - 100, last) for item in make_order(number, now).line_items}
    assert young == {"unallocated", "allocated"}
    assert recent == set(STATUSES)


def test_a_file_shows_the_state_at_its_request_so_that_an_early_one_is_stale(sandbox: Sandbox, crux, clock):
    hour = {"start_date": "2024-12-31T20:00:00.000Z", "end_date": "2025-01-01T00:00:00.000Z"}
    uuid = crux.post(f"{sandbox.url}/api/orders/export/", json=hour).json()["uuid"]
    young = export_rows(sandbox, crux, **hour)
    clock.advance(CHANGE_HOURS * 3600)
    old = export_rows(sandbox, crux, **hour)
    url = crux.get(f"{sandbox.url}/api/data/export/{uuid}/").json()["url"]
    downloaded_late = requests.get(url, proxies={"http": ""}, timeout=10).content
    numbers = sorted({int(row["retailer_po_number"].removeprefix("PO-")) for row in young})
    assert downloaded_late == write_csv(make_order(number, datetime(2025, 1, 1, tzinfo=UTC)) for number in numbers)
    column = "retailer_provided_line_item_attributes"
    attributes = [[json.loads(row.pop(column)) for row in rows] for rows in (young, old)]
    assert young == old
    assert {entry["status"] for entry in attributes[0]} == {"unallocated"}
    assert "has_tracking" in {entry["status"] for entry in attributes[1]}
    assert all(bool(entry["tracking"]) == (entry["status"] == "has_tracking") for entry in attributes[1])


def test_the_list_shows_the_state_of_now(sandbox: Sandbox, crux, clock):
    hour = {"start_date": "2024-12-31T20:00:00.000Z", "end_date": "2025-01-01T00:00:00.000Z"}

    def statuses() -> list[str]:
        orders = list_orders(sandbox, crux, **hour)["orders"]
        return [item["status"] for order in orders for item in order["line_items"]]

    young = statuses()
    assert set(young) == {"unallocated"}
    clock.advance(CHANGE_HOURS * 3600)
    assert len(statuses()) == len(young)
    assert {"has_tracking", "allocated"} <= set(statuses())
