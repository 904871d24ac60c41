"""The hook yields every order of a request: requests-mock for servers with ways of their own, and the sandbox."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from random import Random
from typing import Any

import pytest

from airflow_provider_crux.api.orders import OrdersExportRequest
from airflow_provider_crux.exceptions import (
    CruxInvalidRequestError,
    CruxInvalidResponseError,
    CruxPermissionDeniedError,
    CruxRequestRejectedError,
    CruxUnavailableError,
)
from airflow_provider_crux.hooks.crux import CruxHook
from airflow_provider_crux.sandbox.server import running_sandbox
from airflow_provider_crux.sandbox.state import SandboxSettings
from tests.raw_server import TOKEN

HOST = "http://127.0.0.1:9"
PATHS = {"api": "/api/orders/", "v1": "/orders/", "timp": "/timp/orders/"}
BY_DATE = {"key": "date", "dir": "asc"}
DAY = {"start_date": datetime(2026, 1, 4, tzinfo=UTC), "end_date": datetime(2026, 1, 5, tzinfo=UTC)}

pytestmark = pytest.mark.usefixtures("delays")


@pytest.fixture
def make_hook(connect) -> Callable[[str], CruxHook]:
    def make(version: str = "api") -> CruxHook:
        connect(host=HOST, password=TOKEN, extra={"api_version": version})
        return CruxHook()

    return make


def make_orders(count: int, **fields: Any) -> list[dict[str, Any]]:
    return [{"uuid": f"order {number}", "address": "canary", **fields} for number in range(count)]


def serve(
    requests_mock: Any,
    orders: Sequence[dict[str, Any]],
    *,
    version: str = "api",
    select: Callable[[Sequence[dict[str, Any]], dict[str, Any]], Sequence[dict[str, Any]]] = (
        lambda orders, body: orders[body["start"] : body["limit"] + 1]
    ),
) -> list[dict[str, Any]]:
    """Serve the orders that ``select`` selects, and return the bodies of the requests."""
    bodies: list[dict[str, Any]] = []

    def respond(request: Any, _: Any) -> dict[str, Any]:
        bodies.append(request.json())
        return {"total_results": 10**6, "orders": list(select(orders, bodies[-1]))}

    requests_mock.post(f"{HOST}{PATHS[version]}", json=respond)
    return bodies


def indices(bodies: list[dict[str, Any]]) -> list[tuple[int, int]]:
    return [(body["start"], body["limit"]) for body in bodies]


def test_a_page_begins_with_the_last_order_of_the_page_before_and_the_list_ends_with_nothing_new(
    make_hook, requests_mock
) -> None:
    orders = make_orders(600)
    bodies = serve(requests_mock, orders)
    assert list(make_hook().iter_orders(OrdersExportRequest(**DAY))) == orders
    assert indices(bodies) == [(0, 250), (250, 500), (500, 750), (599, 849)]
    dates = {"start_date": "2026-01-04T00:00:00.000Z", "end_date": "2026-01-05T00:00:00.000Z"}
    assert all(body == {**dates, "sort": BY_DATE, "start": body["start"], "limit": body["limit"]} for body in bodies)


@pytest.mark.parametrize(("count", "requests"), [(0, 1), (1, 2), (2, 2), (251, 2)])
def test_a_list_of_one_page_needs_no_more_requests_than_to_see_its_end(
    make_hook, requests_mock, count: int, requests: int
) -> None:
    bodies = serve(requests_mock, make_orders(count))
    assert len(list(make_hook().iter_orders(OrdersExportRequest()))) == count
    assert len(bodies) == requests


def test_orders_come_as_their_page_does(make_hook, requests_mock) -> None:
    bodies = serve(requests_mock, make_orders(30))
    orders = make_hook().iter_orders(OrdersExportRequest(), page_size=9)
    assert bodies == []
    assert len(list(islice(orders, 10))) == 10
    assert indices(bodies) == [(0, 9)]


SELECTIONS = {
    "at most 7 orders": lambda orders, body: orders[body["start"] : min(body["limit"], body["start"] + 6) + 1],
    "one order": lambda orders, body: orders[body["start"] : body["start"] + 1],
    "no order at limit": lambda orders, body: orders[body["start"] : body["limit"]],
    "all orders from start": lambda orders, body: orders[body["start"] :],
    "start counts from 1": lambda orders, body: orders[max(body["start"] - 1, 0) : body["limit"]],
}


@pytest.mark.parametrize("page_size", [1, 10, 250])
@pytest.mark.parametrize("select", SELECTIONS.values(), ids=SELECTIONS)
def test_a_server_may_return_other_pages_than_requested(make_hook, requests_mock, select: Any, page_size: int) -> None:
    orders = make_orders(25)
    bodies = serve(requests_mock, orders, select=select)
    assert list(make_hook().iter_orders(OrdersExportRequest(), page_size=page_size)) == orders
    assert len(bodies) < 60


@pytest.mark.parametrize(
    ("fields", "numbers", "requests"),
    [
        ({"start": 4, "limit": 8}, range(4, 9), [(4, 6), (6, 8)]),
        ({"start": 4, "limit": 4}, range(4, 5), [(4, 4)]),
        ({"limit": 0}, range(1), [(0, 0)]),
        ({"start": 23}, range(23, 25), [(23, 25), (24, 26)]),
        ({"start": 20, "limit": 99}, range(20, 25), [(20, 22), (22, 24), (24, 26)]),
        ({"start": 99}, (), [(99, 101)]),
        ({"start": 2**53 - 1}, (), [(2**53 - 1, 2**53 - 1)]),
    ],
)
def test_start_and_limit_select_as_in_the_request_and_without_another_sort(
    make_hook, requests_mock, fields: dict[str, int], numbers: Sequence[int], requests: list[tuple[int, int]]
) -> None:
    orders = make_orders(25)
    bodies = serve(requests_mock, orders)
    selected = list(make_hook().iter_orders(OrdersExportRequest(**fields), page_size=2))
    assert selected == [orders[number] for number in numbers]
    assert indices(bodies) == requests
    assert not any("sort" in body for body in bodies)


def test_a_limit_that_the_server_excludes_stays_excluded(make_hook, requests_mock) -> None:
    orders = make_orders(25)
    serve(requests_mock, orders, select=SELECTIONS["no order at limit"])
    assert list(make_hook().iter_orders(OrdersExportRequest(start=4, limit=8), page_size=2)) == orders[4:8]


def test_the_requests_own_sort_is_kept(make_hook, requests_mock) -> None:
    bodies = serve(requests_mock, make_orders(3))
    assert len(list(make_hook().iter_orders(OrdersExportRequest(sort={"key": "uuid", "dir": "des"})))) == 3
    assert {tuple(body["sort"].values()) for body in bodies} == {("uuid", "des")}


@pytest.mark.parametrize("status", [400, 415, 422])
def test_the_list_is_read_without_our_sort_if_crux_connect_rejects_it(make_hook, requests_mock, status: int) -> None:
    orders = make_orders(5)
    bodies = serve(requests_mock, orders)
    requests_mock.post(
        f"{HOST}/api/orders/", status_code=status, additional_matcher=lambda request: "sort" in request.json()
    )
    assert list(make_hook().iter_orders(OrdersExportRequest(), page_size=2)) == orders
    assert indices(bodies) == [(0, 2), (2, 4), (4, 6)]
    assert requests_mock.call_count == 4


@pytest.mark.parametrize(
    ("status", "error", "requests"),
    [(400, CruxRequestRejectedError, 2), (403, CruxPermissionDeniedError, 1), (500, CruxUnavailableError, 4)],
)
def test_a_list_that_cannot_be_read_is_an_error(
    make_hook, requests_mock, status: int, error: type[Exception], requests: int
) -> None:
    requests_mock.post(f"{HOST}/api/orders/", status_code=status)
    with pytest.raises(error):
        next(make_hook().iter_orders(OrdersExportRequest()))
    assert requests_mock.call_count == requests


def test_a_later_page_that_is_rejected_is_an_error(make_hook, requests_mock) -> None:
    pages = [{"json": {"total_results": 1, "orders": make_orders(2)}}, {"status_code": 400}]
    requests_mock.post(f"{HOST}/api/orders/", pages)
    with pytest.raises(CruxRequestRejectedError):
        list(make_hook().iter_orders(OrdersExportRequest()))
    assert requests_mock.call_count == 2


@pytest.mark.parametrize("pages", ["reversed", "shuffled", "two in turn"])
def test_a_server_whose_pages_have_no_order_is_an_error_too(make_hook, requests_mock, pages: str) -> None:
    random = Random(0)

    def select(orders: list[Any], _: Any) -> list[Any]:
        match pages:
            case "reversed":
                return orders[:5][:: random.choice((1, -1))]
            case "shuffled":
                return random.sample(orders, 5)
        return random.choice((orders[:5], orders[5:10]))

    bodies = serve(requests_mock, make_orders(1000 if pages == "shuffled" else 10), select=select)
    with pytest.raises(CruxInvalidResponseError, match="again and again"):
        list(make_hook().iter_orders(OrdersExportRequest(), page_size=4))
    assert len(bodies) < 3000


@pytest.mark.parametrize("count", [1, 2, 251, 600])
@pytest.mark.parametrize("uuid", [True, False])
def test_a_server_that_ignores_start_is_an_error_that_shows_no_order(
    make_hook, requests_mock, logged, count: int, uuid: bool
) -> None:
    orders = make_orders(count) if uuid else make_orders(count, uuid=None)
    bodies = serve(requests_mock, orders, select=lambda orders, body: orders[:251])
    yielded = []
    with pytest.raises(CruxInvalidResponseError) as raised:
        yielded.extend(make_hook().iter_orders(OrdersExportRequest()))
    assert "returned the same page again and again" in str(raised.value)
    assert "set sort to" in str(raised.value)
    assert len(bodies) < 15
    assert "canary" not in f"{raised.value} {logged()}"
    assert "order 1" not in f"{raised.value} {logged()}"


def test_a_page_that_is_too_long_is_halved_for_all_later_pages(make_hook, requests_mock) -> None:
    orders = make_orders(40, notes="canary" * 7_000)
    bodies = serve(requests_mock, orders)
    assert list(make_hook().iter_orders(OrdersExportRequest())) == orders
    assert indices(bodies) == [
        *[(0, 250), (0, 125), (0, 62), (0, 31), (0, 15)],
        *[(15, 30), (30, 45), (39, 54)],
    ]


def test_an_order_that_is_too_long_by_itself_is_an_error_after_those_before_it(
    make_hook, requests_mock, logged
) -> None:
    orders = make_orders(4)
    orders[3]["notes"] = "canary" * 200_000
    bodies = serve(requests_mock, orders)
    yielded = make_hook().iter_orders(OrdersExportRequest(), page_size=2)
    assert list(islice(yielded, 3)) == orders[:3]
    with pytest.raises(CruxInvalidResponseError, match="its list of orders exceeds 1048576 bytes") as raised:
        next(yielded)
    assert indices(bodies) == [(0, 2), (2, 4), (2, 3)]
    assert "canary" not in f"{raised.value!r} {raised.value.__context__!r} {logged()}"


@pytest.mark.parametrize("page_size", [0, -1, True, 2.0, "250", None])
def test_an_invalid_page_size_is_an_error_before_anything_is_listed(make_hook, requests_mock, page_size: Any) -> None:
    with pytest.raises(CruxInvalidRequestError, match=r"^page_size: .* is not a number of orders; use 1 or more$"):
        make_hook().iter_orders(OrdersExportRequest(), page_size=page_size)
    assert requests_mock.call_count == 0


def test_a_dict_is_no_request(make_hook, requests_mock) -> None:
    with pytest.raises(CruxInvalidRequestError, match=r"request: dict .* is not an OrdersExportRequest"):
        make_hook().iter_orders({"start": 1})
    assert not requests_mock.called


def test_orders_without_a_uuid_are_all_yielded(make_hook, requests_mock) -> None:
    orders = [{"uuid": uuid, "number": number} for number, uuid in enumerate([None, "a", 7, "", "b", "", None, None])]
    orders += [{}, {}]  # as they look the same, nobody can tell whether they are
    serve(requests_mock, orders)
    assert list(make_hook().iter_orders(OrdersExportRequest(), page_size=2)) == orders


def timp_orders(*created: object) -> list[dict[str, Any]]:
    return [{"uuid": f"order {number}", "created_date": moment} for number, moment in enumerate(created)]


IN_TIMP = timp_orders(
    "2026-01-03T23:59:59.999999Z",
    "2026-01-04T00:00:00Z",
    "2026-01-04T12:00:00-05:00",
    "2026-01-05T00:00:00Z",
    "2026-01-05T00:00:00.000001Z",
    "2026-01-05T01:00:00+02:00",
    "yesterday",
    None,
    "2025-06-01T00:00:00Z",
)


def test_in_timp_the_days_around_are_listed_and_the_orders_of_the_interval_in_utc_are_yielded(
    make_hook, requests_mock
) -> None:
    bodies = serve(requests_mock, IN_TIMP, version="timp")
    yielded = list(make_hook("timp").iter_orders(OrdersExportRequest(**DAY)))
    # also those that do not show when they were created, or that are in the list because of another date
    assert [order["uuid"] for order in yielded] == [f"order {number}" for number in (1, 2, 3, 5, 6, 7, 8)]
    assert {(body["start_date"], body["end_date"]) for body in bodies} == {
        ("2026-01-03 12:00:00", "2026-01-05 14:00:00")
    }


@pytest.mark.parametrize(
    ("fields", "dates"),
    [
        ({"limit": 99}, ("2026-01-04 00:00:00", "2026-01-05 00:00:00")),
        ({"start": 1}, ("2026-01-04 00:00:00", "2026-01-05 00:00:00")),
        (
            {"end_date": datetime(9999, 12, 31, 23, tzinfo=UTC)},
            ("2026-01-04 00:00:00", "9999-12-31 23:00:00"),
        ),
    ],
)
def test_in_timp_the_dates_are_sent_as_they_are_where_no_other_days_can_be_listed(
    make_hook, requests_mock, fields: dict[str, Any], dates: tuple[str, str]
) -> None:
    bodies = serve(requests_mock, IN_TIMP, version="timp")
    yielded = list(make_hook("timp").iter_orders(OrdersExportRequest(**{**DAY, **fields})))
    assert yielded == IN_TIMP[fields.get("start", 0) :]
    assert {(body["start_date"], body["end_date"]) for body in bodies} == {dates}


def designated(orders: Sequence[dict[str, Any]], body: dict[str, Any]) -> Sequence[dict[str, Any]]:
    selected = [order for order in orders if body["line_item_designation"] in order["has"]]
    return selected[body["start"] : body["limit"] + 1]


@pytest.mark.parametrize("version", ["v1", "timp"])
def test_several_designations_are_listed_one_by_one_and_an_order_with_two_comes_once(
    make_hook, requests_mock, version: str
) -> None:
    orders = [
        {"uuid": f"order {number}", "has": [["HasTracking"], ["Rejected"], ["HasTracking", "Rejected"]][number % 3]}
        for number in range(9)
    ]
    nameless = {"uuid": None, "has": ["Rejected"]}
    bodies = serve(requests_mock, [*orders, nameless, nameless], version=version, select=designated)
    request = OrdersExportRequest(start=0, line_item_status=["rejected", "has_tracking"])
    yielded = list(make_hook(version).iter_orders(request, page_size=2))
    assert sorted(order["uuid"] for order in yielded if order["uuid"]) == [order["uuid"] for order in orders]
    assert yielded.count(nameless) == 2
    assert list(dict.fromkeys(body["line_item_designation"] for body in bodies)) == ["HasTracking", "Rejected"]


def test_an_order_that_is_shipped_meanwhile_is_in_the_next_list(make_hook, requests_mock) -> None:
    order = {"uuid": "order 0", "has": ["NeedsTracking"]}

    def ship_after_first_list(orders: Sequence[dict[str, Any]], body: dict[str, Any]) -> Sequence[dict[str, Any]]:
        selected = designated(orders, body)
        order["has"] = ["HasTracking"]
        return selected

    serve(requests_mock, [order], version="v1", select=ship_after_first_list)
    request = OrdersExportRequest(line_item_status=["has_tracking", "needs_tracking"])
    assert list(make_hook("v1").iter_orders(request)) == [order]


@pytest.mark.parametrize(
    ("fields", "problem"),
    [({"limit": 0}, "limit: 0"), ({"start": 3}, "start: 3"), ({"start": 3, "limit": 5}, "limit: 5")],
)
def test_an_index_of_several_lists_is_an_error_before_anything_is_listed(
    make_hook, requests_mock, fields: dict[str, int], problem: str
) -> None:
    request = OrdersExportRequest(**fields, line_item_status=["rejected", "cancelled"])
    with pytest.raises(CruxInvalidRequestError, match=rf"^{problem} applies to one list, but api_version 'v1' lists "):
        make_hook("v1").iter_orders(request)
    assert requests_mock.call_count == 0


def test_what_the_version_cannot_say_is_an_error_before_anything_is_listed(make_hook, requests_mock) -> None:
    with pytest.raises(CruxInvalidRequestError, match="has no status"):
        make_hook("api").iter_orders(OrdersExportRequest(line_item_status=["cancelled"]))
    assert requests_mock.call_count == 0


@pytest.mark.parametrize("version", list(PATHS))
def test_a_month_of_the_sandbox_is_listed_although_it_limits_rates_and_its_tokens_expire(
    connect, delays: list[float], version: str
) -> None:
    settings = SandboxSettings(api_version=version)
    with running_sandbox(settings) as sandbox:
        connect(host=sandbox.url, login="sandbox", password="sandbox", extra={"api_version": version})
        hook = CruxHook()
        request = OrdersExportRequest(start_date=DAY["end_date"] - timedelta(days=31), end_date=DAY["end_date"])
        whole = hook.list_orders(request).orders
        sandbox.respond_next(sandbox.api.list_path, 429, {"Retry-After": "7"})
        orders = hook.iter_orders(request, page_size=100)
        some = list(islice(orders, 150))
        sandbox.expire_tokens()
        assert [*some, *orders] == list(whole)
        assert len(whole) == 461
        assert [int(delay) for delay in delays] == [7]
        assert [entry["status"] for entry in sandbox.requests].count(401) == 1
        assert sandbox.exports == []
