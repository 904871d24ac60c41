"""What is sent for each version of the API, byte for byte, and what its responses mean."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from itertools import permutations, product
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from requests_mock import ANY

from airflow_provider_crux.api.orders import LINE_ITEM_STATUSES, OrdersExportRequest
from airflow_provider_crux.exceptions import (
    CruxInvalidConnectionError,
    CruxInvalidRequestError,
    CruxInvalidResponseError,
    CruxNotFoundError,
    CruxRequestRejectedError,
)
from airflow_provider_crux.hooks.crux import CruxHook
from airflow_provider_crux.hooks.crux_async import CruxAsyncHook
from airflow_provider_crux.sandbox.server import running_sandbox
from airflow_provider_crux.sandbox.state import SandboxSettings
from tests.raw_server import TOKEN, UUID

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_crux.api.responses import Export

HOST = "http://127.0.0.1:9"
DAY = {"start_date": datetime(2026, 1, 4, tzinfo=UTC), "end_date": datetime(2026, 1, 5, tzinfo=UTC)}
DATES = '"start_date": "2026-01-04T00:00:00.000Z", "end_date": "2026-01-05T00:00:00.000Z"'
LIST_DATES = {
    "api": DATES,
    "v1": DATES,
    "timp": '"start_date": "2026-01-04 00:00:00", "end_date": "2026-01-05 00:00:00"',
}
PATHS = {
    "api": {
        "login": "/api/organizations/user-login/",
        "list": "/api/orders/",
        "export": "/api/orders/export/",
        "status": f"/api/data/export/{UUID}/",
    },
    "v1": {
        "login": "/organizations/user-login/",
        "list": "/orders/",
        "export": "/orders/search/export/",
        "status": f"/api/data/export/{UUID}/",
    },
    "timp": {
        "login": "/timp/organizations/user-login/",
        "list": "/timp/orders/",
        "export": "/timp/orders/search/export/",
        "status": f"/timp/data/export/{UUID}/",
    },
}
NEWER = ["v1", "timp"]
SPELLINGS = {
    "unallocated": '"line_item_allocation_statuses": ["Unallocated"]',
    "partial": '"line_item_allocation_statuses": ["Partial"]',
    "allocated": '"line_item_allocation_statuses": ["Allocated"]',
    "rejected": '"line_item_designation": ["Rejected"]',
    "has_tracking": '"line_item_designation": ["HasTracking"]',
    "backordered": '"line_item_designation": ["Backordered"]',
    "cancelled": '"line_item_designation": ["Cancelled"]',
    "needs_tracking": '"line_item_designation": ["NeedsTracking"]',
}
UNKNOWN_STATUSES = (
    "line_item_status: api_version 'api' has no status ['partial']; use unallocated, allocated, rejected, "
    "has_tracking, backordered, or, if your account uses 'v1' or 'timp', change the connection's api_version"
)
MIXED_STATUSES = (
    "line_item_status: api_version '{}' cannot combine ['allocated', 'has_tracking']; use only some of unallocated, "
    "partial, allocated, or only some of rejected, has_tracking, backordered, cancelled, needs_tracking"
)

pytestmark = pytest.mark.usefixtures("delays")


@pytest.fixture(params=PATHS)
def version(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def make_hook(connect) -> Callable[..., CruxHook]:
    """Return a function that returns the hook of an account with a version, or without the extra."""

    def make(version: str | None, **fields: Any) -> CruxHook:
        connect(host=HOST, **{"password": TOKEN, **fields}, extra={"api_version": version} if version else {})
        return CruxHook()

    return make


def sent(requests_mock: Any) -> list[str]:
    return [request.text for request in requests_mock.request_history]


@pytest.mark.parametrize(("extra", "name"), [(None, "api"), ("api", "api"), ("v1", "v1"), (" TIMP ", "timp")])
def test_every_path_is_that_of_the_version(make_hook, requests_mock, extra: str | None, name: str) -> None:
    paths = PATHS[name]
    requests_mock.post(f"{HOST}{paths['login']}", json={"auth_token": TOKEN})
    requests_mock.post(f"{HOST}{paths['list']}", json={"total_results": 0, "orders": []})
    requests_mock.post(f"{HOST}{paths['export']}", json={"uuid": UUID})
    requests_mock.get(f"{HOST}{paths['status']}", json={"uuid": UUID, "status": "pending", "url": None})
    hook = make_hook(extra, login="ada", password="pass word")
    hook.list_orders(OrdersExportRequest())
    hook.export_orders(OrdersExportRequest())
    hook.get_export(UUID)
    assert [request.path for request in requests_mock.request_history] == list(paths.values())
    assert sent(requests_mock)[:3] == ['{"username": "ada", "password": "pass word"}', "{}", "{}"]
    assert hook.test_connection() == (True, f"Logged in to {HOST}")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, "{}"),
        (DAY, f"{{{DATES}}}"),
        ({"start": 4, "limit": 8}, '{"start": 4, "limit": 8}'),
        ({"sort": {"key": "date", "dir": "asc"}}, '{"sort": {"key": "date", "dir": "asc"}}'),
    ],
)
def test_what_all_versions_spell_alike(make_hook, requests_mock, version: str, fields, expected: str) -> None:
    requests_mock.post(f"{HOST}{PATHS[version]['export']}", json={"uuid": UUID})
    make_hook(version).export_orders(OrdersExportRequest(**fields))
    assert sent(requests_mock) == [expected]


@pytest.mark.parametrize("word", ["des", "desc"])
def test_the_descending_direction_is_spelled_as_the_version_does(make_hook, requests_mock, version: str, word) -> None:
    requests_mock.post(f"{HOST}{PATHS[version]['export']}", json={"uuid": UUID})
    make_hook(version).export_orders(OrdersExportRequest(sort={"key": "date", "dir": word}))
    spelled = "des" if version == "api" else "desc"
    assert sent(requests_mock) == [f'{{"sort": {{"key": "date", "dir": "{spelled}"}}}}']


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        *(({"line_item_status": [word]}, f"{{{spelled}}}") for word, spelled in SPELLINGS.items()),
        (
            {"line_item_status": ["partial", "allocated"]},
            '{"line_item_allocation_statuses": ["Partial", "Allocated"]}',
        ),
        (
            {"line_item_status": ["has_tracking", "cancelled"], "status_conjunction": "or"},
            '{"line_item_designation": ["HasTracking", "Cancelled"]}',
        ),
        (
            {"start": 1, "limit": 2, "sort": {"key": "total", "dir": "des"}, "line_item_status": ["rejected"], **DAY},
            (
                '{"start": 1, "limit": 2, "sort": {"key": "total", "dir": "desc"}, '
                f'"line_item_designation": ["Rejected"], {DATES}}}'
            ),
        ),
    ],
)
@pytest.mark.parametrize("version", NEWER)
def test_statuses_are_spelled_in_the_field_that_has_them(
    make_hook, requests_mock, version: str, filters: dict[str, Any], expected: str
) -> None:
    requests_mock.post(f"{HOST}{PATHS[version]['export']}", json={"uuid": UUID})
    request = OrdersExportRequest(**filters)
    exported = make_hook(version).submit_export(request)
    assert sent(requests_mock) == [expected]
    # what is recorded does not depend on the version
    assert exported.as_xcom()["request"] == request.as_json()
    assert OrdersExportRequest.from_json(request.as_json()) == request


def test_the_list_has_dates_of_its_own(make_hook, requests_mock, version: str) -> None:
    requests_mock.post(f"{HOST}{PATHS[version]['list']}", json={"total_results": 0, "orders": []})
    make_hook(version).list_orders(OrdersExportRequest(start=0, limit=9, **DAY))
    assert sent(requests_mock) == [f'{{"start": 0, "limit": 9, {LIST_DATES[version]}}}']


@pytest.mark.parametrize("version", NEWER)
def test_the_list_accepts_an_array_of_allocation_statuses_but_one_designation(
    make_hook, requests_mock, version: str
) -> None:
    requests_mock.post(f"{HOST}{PATHS[version]['list']}", json={"total_results": 0, "orders": []})
    hook = make_hook(version)
    hook.list_orders(OrdersExportRequest(line_item_status=["unallocated", "partial"]))
    hook.list_orders(OrdersExportRequest(line_item_status=["needs_tracking"]))
    expected = [
        '{"line_item_allocation_statuses": ["Unallocated", "Partial"]}',
        '{"line_item_designation": "NeedsTracking"}',
    ]
    assert sent(requests_mock) == expected
    problem = f"the list of api_version '{version}' accepts one status of line_item_designation, not .*list each status"
    with pytest.raises(CruxInvalidRequestError, match=f"^line_item_status: {problem}"):
        hook.list_orders(OrdersExportRequest(line_item_status=["rejected", "cancelled"]))
    assert sent(requests_mock) == expected


@pytest.mark.parametrize(
    ("version", "filters", "problem"),
    [
        (
            "api",
            {"line_item_status": ["partial", "allocated"]},
            UNKNOWN_STATUSES,
        ),
        *(
            (
                version,
                {"line_item_status": ["allocated", "has_tracking"]},
                MIXED_STATUSES.format(version),
            )
            for version in NEWER
        ),
        *(
            (
                version,
                {"line_item_status": ["rejected"], "status_conjunction": conjunction},
                f"status_conjunction: api_version '{version}' has no '{conjunction}'; use 'or', or leave it out",
            )
            for version in NEWER
            for conjunction in ("and", "only", "all")
        ),
    ],
)
def test_what_a_version_cannot_say_is_an_error_before_anything_is_sent(
    make_hook, requests_mock, version: str, filters: dict[str, Any], problem: str
) -> None:
    hook = make_hook(version, login="ada")
    request = OrdersExportRequest(**filters)
    for method in (hook.export_orders, hook.list_orders, hook.has_orders):
        with pytest.raises(CruxInvalidRequestError) as raised:
            method(request)
        assert str(raised.value) == f"{problem}. Nothing was sent"
    assert requests_mock.call_count == 0


def test_http_404_names_the_other_versions_and_the_uuid_of_an_export_only_if_there_is_one(
    make_hook, requests_mock, version: str
) -> None:
    requests_mock.register_uri(ANY, ANY, status_code=404)
    others = " or ".join(f"'{other}'" for other in PATHS if other != version)
    advice = f"change the connection's api_version from '{version}' to {others}"
    hook = make_hook(version)
    for method in (hook.list_orders, hook.export_orders):
        with pytest.raises(CruxNotFoundError) as raised:
            method(OrdersExportRequest())
        assert str(raised.value).endswith(f". C{advice[1:]}, or check its host")
        assert "UUID" not in str(raised.value)
    with pytest.raises(CruxNotFoundError, match="and the UUID of the export") as raised:
        hook.get_export(UUID)
    assert str(raised.value).endswith(advice)
    works, message = hook.test_connection()
    assert not works
    assert message.endswith(advice)
    with_login = make_hook(version, login="ada")
    with pytest.raises(CruxNotFoundError, match="Could not log in") as raised:
        with_login.get_export(UUID)
    assert str(raised.value).endswith(f". C{advice[1:]}, or check its host")
    works, message = with_login.test_connection()
    assert not works
    assert message.endswith(advice)


def test_an_export_that_was_created_is_accepted(make_hook, requests_mock, version: str) -> None:
    requests_mock.post(f"{HOST}{PATHS[version]['export']}", status_code=201, json={"uuid": UUID})
    assert make_hook(version).export_orders(OrdersExportRequest()) == UUID


@pytest.mark.parametrize(("status", "body"), [(204, ""), (200, "{}"), (201, ""), (202, '{"orders": []}')])
def test_an_export_that_was_accepted_without_a_uuid_may_have_started(
    make_hook, requests_mock, version: str, status: int, body: str
) -> None:
    requests_mock.post(f"{HOST}{PATHS[version]['export']}", status_code=status, text=body)
    with pytest.raises(CruxInvalidResponseError, match=rf"HTTP {status}, but .*The export may have been started"):
        make_hook(version).export_orders(OrdersExportRequest())
    assert requests_mock.call_count == 1


@pytest.mark.parametrize(("word", "other"), [("all", "only"), ("only", "all"), ("or", None), (None, None)])
def test_a_conjunction_with_two_names_may_be_rejected_under_one_of_them(
    make_hook, requests_mock, word: str | None, other: str | None
) -> None:
    requests_mock.post(f"{HOST}/api/orders/export/", status_code=400)
    request = OrdersExportRequest(line_item_status=["rejected"], status_conjunction=word)
    with pytest.raises(CruxRequestRejectedError) as raised:
        make_hook("api").export_orders(request)
    advice = f", and try status_conjunction '{other}' instead of '{word}'" if other else ""
    assert str(raised.value).endswith(f". Check the arguments of the task{advice}")


@pytest.mark.parametrize("value", ["v2", "2019", "/timp/", 1, True, ["timp"]])
def test_an_unknown_version_is_an_error_before_anything_is_sent(make_hook, requests_mock, value: Any) -> None:
    hook = make_hook(value)
    with pytest.raises(CruxInvalidConnectionError) as raised:
        hook.export_orders(OrdersExportRequest())
    problem = f"extra api_version: {value!r} is not a version of the API; use api, v1, timp"
    assert str(raised.value) == f"Cannot use connection 'crux_default': {problem}"
    assert requests_mock.call_count == 0


def orders_list(*created: str) -> dict[str, Any]:
    return {"total_results": 9, "orders": [{"uuid": moment, "created_date": moment} for moment in created]}


@pytest.mark.parametrize("version", NEWER)
def test_there_are_no_orders_only_if_no_designation_lists_any(make_hook, requests_mock, version: str) -> None:
    statuses = ["rejected", "has_tracking", "cancelled"]
    request = OrdersExportRequest(start=3, limit=9, sort={"key": "date", "dir": "des"}, line_item_status=statuses)
    bodies = [
        f'{{"start": 0, "limit": 1, "line_item_designation": "{spelled}"}}'
        for spelled in ("Rejected", "HasTracking", "Cancelled")
    ]
    pages = [{"json": orders_list()}, {"json": orders_list("2026-01-04T01:00:00Z")}]
    requests_mock.post(f"{HOST}{PATHS[version]['list']}", pages)
    hook = make_hook(version)
    assert hook.has_orders(request) is True
    assert sent(requests_mock) == bodies[:2]
    requests_mock.reset_mock()
    requests_mock.post(f"{HOST}{PATHS[version]['list']}", json=orders_list())
    assert hook.has_orders(request) is False
    assert sent(requests_mock) == bodies


@pytest.mark.parametrize(
    ("pages", "expected", "in_doubt"),
    [
        ([orders_list("2026-01-04T01:00:00Z")], True, False),
        ([orders_list(), orders_list()], False, False),
        (
            [
                orders_list(),
                orders_list("2026-01-03T23:59:59.359784Z", "2026-01-05T00:00:00.5Z"),
                orders_list("2026-01-05T00:00:00.5Z"),
            ],
            False,
            False,
        ),
        ([orders_list(), orders_list("2026-01-03T23:59:59Z", "2026-01-04T00:00:00Z")], True, False),
        ([orders_list(), orders_list("2025-01-03T23:59:59Z")], True, True),
    ],
)
def test_an_empty_list_of_timp_is_checked_against_the_days_around(
    make_hook, requests_mock, logged, *, pages: list[Any], expected: bool, in_doubt: bool
) -> None:
    requests_mock.post(f"{HOST}/timp/orders/", [{"json": page} for page in pages])
    request = OrdersExportRequest(line_item_status=["partial"], sort={"key": "date", "dir": "asc"}, **DAY)
    assert make_hook("timp").has_orders(request) is expected
    partial = '"line_item_allocation_statuses": ["Partial"]'
    # no time zone is farther away
    around = '"start_date": "2026-01-03 12:00:00", "end_date": "2026-01-05 14:00:00"'
    bodies = [
        f'{{"start": 0, "limit": 1, {partial}, {LIST_DATES["timp"]}}}',
        f'{{"start": 0, "limit": 49, {partial}, {around}}}',
        f'{{"start": 1, "limit": 50, {partial}, {around}}}',
    ]
    assert sent(requests_mock) == bodies[: len(pages)]
    assert ("The list of api_version 'timp' has no orders, but" in logged()) is in_doubt


@pytest.mark.parametrize("version", ["api", "v1"])
def test_an_empty_list_whose_dates_have_a_zone_is_believed(make_hook, requests_mock, version: str) -> None:
    requests_mock.post(f"{HOST}{PATHS[version]['list']}", json=orders_list())
    assert make_hook(version).has_orders(OrdersExportRequest(**DAY)) is False
    assert requests_mock.call_count == 1


def test_a_wait_in_the_triggerer_uses_the_version_of_the_connection_also_after_a_correction(connect) -> None:
    paths: list[str] = []

    async def respond(request: web.Request) -> web.Response:
        paths.append(request.path)
        if request.path != PATHS["timp"]["status"]:
            return web.json_response({"detail": "Not found."}, status=404)
        return web.json_response({"uuid": UUID, "status": "pending", "url": None})

    async def scenario() -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", respond)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
        try:
            connect(host=host, password=TOKEN)
            async with CruxAsyncHook("crux_default") as hook:
                with pytest.raises(CruxNotFoundError, match="api_version from 'api' to 'v1' or 'timp'"):
                    await hook.get_export(UUID)
                connect(host=host, password=TOKEN, extra={"api_version": "timp"})
                assert (await hook.get_export(UUID)).status == "pending"
        finally:
            await runner.cleanup()

    asyncio.run(scenario())
    assert paths == [*[PATHS["api"]["status"]] * 2, PATHS["timp"]["status"]]


def test_an_account_of_each_version_exports_and_lists_the_same_orders(connect, version: str) -> None:
    statuses = SPELLINGS if version in NEWER else LINE_ITEM_STATUSES
    filters: list[dict[str, Any]] = [
        {"sort": {"key": "date", "dir": "desc"}},
        *({"line_item_status": [status]} for status in statuses),
        {"line_item_status": ["rejected", "backordered"], "status_conjunction": "or"},
    ]
    settings = SandboxSettings(api_version=version)
    with running_sandbox(settings) as sandbox:
        connect(host=sandbox.url, login=settings.user, password=settings.password, extra={"api_version": version})
        hook = CruxHook()
        results = set()
        for hour, selected in product(range(0, 24, 12), filters):
            start = DAY["start_date"] + timedelta(hours=hour)
            request = OrdersExportRequest(start_date=start, end_date=start + timedelta(hours=2), **selected)
            export = hook.wait_for_export(hook.export_orders(request), poll_interval=0.01)
            assert asyncio.run(poll(export.uuid)).state is export.state
            with hook.open_file(export) as chunks:
                rows = b"".join(chunks).count(b"\r\n") - 1
            assert hook.has_orders(request) is (rows > 0)
            results.add(rows > 0)
        assert results == {True, False}
        assert {entry["status"] for entry in sandbox.requests} <= {200, 201}


async def poll(export_uuid: str) -> Export:
    async with CruxAsyncHook("crux_default") as hook:
        return await hook.get_export(export_uuid)


@pytest.mark.parametrize(("version", "configured"), list(permutations(PATHS, 2)))
def test_a_wrong_version_requests_nothing_and_the_test_button_names_the_others(
    connect, version: str, configured: str
) -> None:
    settings = SandboxSettings(api_version=version)
    with running_sandbox(settings) as sandbox:
        others = " or ".join(f"'{other}'" for other in PATHS if other != configured)
        change = f"change the connection's api_version from {configured!r} to {others}"
        for fields, missing in (
            ({"password": settings.token}, "list of orders"),
            ({"login": settings.user, "password": settings.password}, "login"),
        ):
            connect(host=sandbox.url, extra={"api_version": configured}, **fields)
            hook = CruxHook()
            for method in (hook.list_orders, hook.export_orders):
                with pytest.raises(CruxNotFoundError, match=rf"\. C{change[1:]}, or check its host$"):
                    method(OrdersExportRequest())
            problem = f"{sandbox.url} has no {missing} at the path of this api_version (HTTP 404)"
            assert hook.test_connection() == (False, f"{problem}: {change}, or correct the host")
        assert sandbox.exports == []


def test_the_test_button_confirms_the_right_version(connect, version: str) -> None:
    settings = SandboxSettings(api_version=version)
    with running_sandbox(settings) as sandbox:
        for fields, message in (
            ({"password": settings.token}, f"{sandbox.url} accepts the API token"),
            ({"login": settings.user, "password": settings.password}, f"Logged in to {sandbox.url}"),
        ):
            connect(host=sandbox.url, extra={"api_version": version}, **fields)
            assert CruxHook().test_connection() == (True, message)
        assert sandbox.exports == []
