"""The list of orders: its request, and what its response means."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_crux.api.orders import LINE_ITEM_STATUSES, OrdersExportRequest
from airflow_provider_crux.api.requests import (
    MAX_RESPONSE_BYTES,
    ApiResponse,
    export_orders_request,
    list_orders_request,
)
from airflow_provider_crux.api.responses import OrdersList, parse_orders_list
from airflow_provider_crux.exceptions import CruxInvalidRequestError, CruxInvalidResponseError

ORDER = {"uuid": "b9888421-594c-4d2f-9f0d-3b138a16c845", "address": {"name": "canary Ada"}}

moments = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))


@st.composite
def requests(draw: st.DrawFn) -> OrdersExportRequest:
    fields: dict[str, Any] = {}
    start, length = draw(st.integers(0, 50)), draw(st.none() | st.integers(0, 50))
    fields["start"] = draw(st.sampled_from([None, start]))
    fields["limit"] = None if length is None else start + length
    fields["sort"] = draw(
        st.none() | st.fixed_dictionaries({"key": st.just("date"), "dir": st.sampled_from(["asc", "desc"])})
    )
    statuses = draw(st.none() | st.lists(st.sampled_from(LINE_ITEM_STATUSES), min_size=1, unique=True))
    fields["line_item_status"] = statuses
    fields["status_conjunction"] = draw(st.sampled_from([None, "and", "or"])) if statuses else None
    fields["start_date"] = draw(st.none() | moments)
    if fields["start_date"]:
        fields["end_date"] = fields["start_date"] + timedelta(seconds=draw(st.integers(0, 10**6)))
    return OrdersExportRequest(**fields)


def response(body: object) -> ApiResponse:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return ApiResponse(status=200, headers={"content-type": "application/json"}, body=raw)


@given(requests())
def test_the_list_takes_the_body_of_the_export_and_may_be_repeated(request: OrdersExportRequest) -> None:
    listed, exported = list_orders_request(request), export_orders_request(request)
    assert (listed.method, listed.path, listed.body) == ("POST", "/api/orders/", exported.body)
    assert (listed.action.idempotent, exported.action.idempotent) == (True, False)


@given(requests())
def test_a_request_is_read_from_its_body(request: OrdersExportRequest) -> None:
    body = json.loads(json.dumps(request.as_json()))
    assert OrdersExportRequest.from_json(body).as_json() == body


@pytest.mark.parametrize(
    "body",
    [
        {"limit": "8"},
        {"colour": "red"},
        {"start_date": "yesterday"},
        {"start_date": 7},
        {"start_date": None},
        {"end_date": "2026-01-01T00:00:00"},
        ["start"],
        "start",
        7,
    ],
)
def test_a_body_that_is_none_of_ours_is_an_invalid_request(body: Any) -> None:
    with pytest.raises(CruxInvalidRequestError):
        OrdersExportRequest.from_json(body)


def test_the_list_is_read_and_its_repr_shows_no_order() -> None:
    page = parse_orders_list(response({"total_results": 7, "orders": [ORDER], "page": 1}))
    assert page == OrdersList(7, (ORDER,))
    assert "canary" not in repr(page)
    assert parse_orders_list(response({"total_results": 0, "orders": []})) == OrdersList(0, ())


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"", "not a list of orders"),
        (b"canary", "not a list of orders"),
        (b"[" * 100_000, "not a list of orders"),
        ([ORDER], "not a list of orders"),
        ({"total_results": 1}, "not a list of orders"),
        ({"total_results": 1, "orders": None}, "not a list of orders"),
        ({"total_results": 1, "orders": ORDER}, "not a list of orders"),
        ({"total_results": 1, "orders": [ORDER, "canary"]}, "not a list of orders"),
        ({"total_results": 1, "orders": [ORDER, None]}, "not a list of orders"),
        ({"orders": [ORDER]}, "total_results is not a number"),
        ({"total_results": "canary", "orders": [ORDER]}, "total_results is not a number"),
        ({"total_results": True, "orders": [ORDER]}, "total_results is not a number"),
        ({"total_results": -1, "orders": [ORDER]}, "total_results is not a number"),
        ({"total_results": None, "orders": [ORDER]}, "total_results is not a number"),
        ({"total_results": 1.5, "orders": [ORDER]}, "total_results is not a number"),
        ({"total_results": 1, "orders": [{**ORDER, "notes": "canary" * MAX_RESPONSE_BYTES}]}, "exceeds 1048576 bytes"),
    ],
)
def test_an_invalid_list_is_an_error_that_shows_nothing_of_it(body: object, problem: str) -> None:
    with pytest.raises(CruxInvalidResponseError, match=problem) as raised:
        parse_orders_list(response(body))
    assert "canary" not in f"{raised.value!r} {raised.value.__context__!r}"
    assert len(str(raised.value)) < 200


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["orders", "total_results", "uuid"]), inner),
    )
)
def test_anything_else_is_an_error_too(body: object) -> None:
    try:
        page = parse_orders_list(response(body))
    except CruxInvalidResponseError:
        return
    assert isinstance(body, dict)
    assert page == OrdersList(body["total_results"], tuple(body["orders"]))
