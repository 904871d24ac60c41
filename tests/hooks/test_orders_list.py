"""The hook lists and counts orders: requests-mock for responses, the sandbox for counts."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import requests

from airflow_provider_crux.api.orders import OrdersExportRequest
from airflow_provider_crux.api.requests import MAX_RESPONSE_BYTES
from airflow_provider_crux.exceptions import (
    CruxError,
    CruxInvalidResponseError,
    CruxNotFoundError,
    CruxPermissionDeniedError,
    CruxRateLimitError,
    CruxRequestRejectedError,
    CruxUnavailableError,
)
from airflow_provider_crux.hooks.crux import CruxHook
from airflow_provider_crux.sandbox.server import running_sandbox
from airflow_provider_crux.sandbox.state import SandboxSettings
from tests.raw_server import TOKEN, raw_server, respond_with

if TYPE_CHECKING:
    from airflow_provider_crux.sandbox.state import Sandbox

LIST = "https://api.cruxconnect.com/api/orders/"
DAY = datetime(2026, 1, 4, tzinfo=UTC)
REQUEST = OrdersExportRequest(
    start=4,
    limit=8,
    sort={"key": "date", "dir": "des"},
    line_item_status=["allocated", "rejected"],
    status_conjunction="and",
    start_date=DAY,
    end_date=DAY + timedelta(days=1),
)
FILTERS = {
    "line_item_status": ["allocated", "rejected"],
    "status_conjunction": "and",
    "start_date": "2026-01-04T00:00:00.000Z",
    "end_date": "2026-01-05T00:00:00.000Z",
}
ORDER = {"uuid": "b9888421-594c-4d2f-9f0d-3b138a16c845", "address": {"name": "canary Ada", "phone": "canary 555"}}
PAGE = {"total_results": 7, "orders": [ORDER]}

pytestmark = pytest.mark.usefixtures("delays")


@pytest.fixture
def hook(connect) -> CruxHook:
    connect(password=TOKEN)
    return CruxHook()


def bodies(requests_mock: Any) -> list[dict[str, Any]]:
    return [request.json() for request in requests_mock.request_history]


def test_the_list_is_requested_as_the_export_is(hook: CruxHook, requests_mock) -> None:
    requests_mock.post(LIST, json=PAGE)
    page = hook.list_orders(REQUEST)
    assert (page.total_results, page.orders) == (7, (ORDER,))
    assert bodies(requests_mock) == [{**FILTERS, "start": 4, "limit": 8, "sort": {"key": "date", "dir": "des"}}]
    (request,) = requests_mock.request_history
    assert request.headers["Authorization"] == f"Token {TOKEN}"
    assert request.headers["Content-Type"] == "application/json; charset=utf-8"


@pytest.mark.parametrize(("orders", "total", "expected"), [([ORDER], 0, True), ([], 7, False)])
def test_whether_there_are_orders_is_decided_by_the_orders_alone(
    hook: CruxHook, requests_mock, orders: list[Any], total: int, expected: bool
) -> None:
    requests_mock.post(LIST, json={"total_results": total, "orders": orders})
    assert hook.has_orders(REQUEST) is expected
    assert bodies(requests_mock) == [{**FILTERS, "start": 0, "limit": 1}]


@pytest.mark.parametrize("total_results", ["filtered", "organization"])
def test_an_interval_has_orders_whatever_total_results_counts(connect, total_results: str) -> None:
    with running_sandbox(SandboxSettings(total_results=total_results)) as sandbox:
        connect(host=sandbox.url, password=sandbox.settings.token)
        hook = CruxHook()
        day = OrdersExportRequest(start_date=DAY, end_date=DAY + timedelta(days=1))
        orders = hook.list_orders(day).orders
        assert len(orders) == 15
        assert hook.has_orders(day) is True
        empty = OrdersExportRequest(start_date=DAY.replace(year=1999), end_date=DAY.replace(year=2000))
        assert hook.has_orders(empty) is False
        assert sandbox.exports == []


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_the_list_is_requested_again_after_a_transient_error(
    hook: CruxHook, requests_mock, delays: list[float], status: int
) -> None:
    requests_mock.post(LIST, [{"status_code": status}, {"status_code": status}, {"json": PAGE}])
    assert hook.list_orders(REQUEST).orders == (ORDER,)
    assert len(delays) == 2


@pytest.mark.parametrize("lost", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"])
def test_the_list_is_requested_again_after_a_lost_response(connect, lost: bytes) -> None:
    with raw_server(respond_with(lost)) as server:
        connect(host=server.url, password=TOKEN, extra={"max_retries": 2})
        with pytest.raises(CruxUnavailableError, match="Could not list orders: the response was lost"):
            CruxHook().list_orders(REQUEST)
        assert len(server.requests) == 3


@pytest.mark.parametrize(
    ("response", "error"),
    [
        ({"status_code": 403}, CruxPermissionDeniedError),
        ({"status_code": 404}, CruxNotFoundError),
        ({"status_code": 429}, CruxRateLimitError),
        ({"status_code": 500}, CruxUnavailableError),
        ({"status_code": 400, "json": PAGE}, CruxRequestRejectedError),
        ({"status_code": 500, "json": PAGE}, CruxUnavailableError),
        ({"status_code": 202, "json": {"total_results": 0, "orders": []}}, CruxInvalidResponseError),
        ({"status_code": 206, "json": {"total_results": 0, "orders": []}}, CruxInvalidResponseError),
        ({"exc": requests.exceptions.ReadTimeout}, CruxUnavailableError),
        ({"exc": requests.exceptions.ConnectTimeout}, CruxUnavailableError),
        ({"text": "<html>Sign in</html>"}, CruxInvalidResponseError),
        ({"json": {"orders": [ORDER], "total_results": "many"}}, CruxInvalidResponseError),
        ({"json": {"orders": [ORDER, "canary"], "total_results": 1}}, CruxInvalidResponseError),
        ({"text": json.dumps(PAGE)[:-1]}, CruxInvalidResponseError),
    ],
)
def test_a_list_that_cannot_be_read_is_an_error_without_personal_data(
    hook: CruxHook, requests_mock, logged, response: dict[str, Any], error: type[CruxError]
) -> None:
    requests_mock.post(LIST, **response)
    for method in (hook.list_orders, hook.has_orders):
        with pytest.raises(error) as raised:
            method(REQUEST)
        assert "canary" not in f"{raised.value!r} {raised.value.__context__!r}"
    assert "canary" not in logged()


def test_a_long_list_is_not_read_to_its_end(hook: CruxHook, requests_mock) -> None:
    page = {"total_results": 7, "orders": [{**ORDER, "notes": "canary" * MAX_RESPONSE_BYTES}]}
    requests_mock.post(LIST, json=page)
    with pytest.raises(CruxInvalidResponseError) as raised:
        hook.list_orders(REQUEST)
    assert "canary" not in str(raised.value)


def test_the_list_logs_in_again_once(connect, sandbox: Sandbox) -> None:
    connect(host=sandbox.url, login="sandbox", password="sandbox")
    hook = CruxHook()
    day = OrdersExportRequest(start_date=DAY, end_date=DAY + timedelta(days=1))
    hook.list_orders(day)
    sandbox.expire_tokens()
    assert len(hook.list_orders(day).orders) == 15
    paths = [(entry["path"], entry["status"]) for entry in sandbox.requests]
    login, listing = ("/api/organizations/user-login/", 200), ("/api/orders/", 200)
    assert paths == [login, listing, ("/api/orders/", 401), login, listing]
