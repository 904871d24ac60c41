"""The three versions of the API, as a client of each sees them."""

import csv
import io
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import requests

from airflow_provider_crux.sandbox.csv_file import COLUMN_LISTS, write_csv
from airflow_provider_crux.sandbox.orders import STATUSES, ExportQuery, filter_orders
from airflow_provider_crux.sandbox.server import running_sandbox
from airflow_provider_crux.sandbox.state import ManualClock, Sandbox, SandboxSettings

NIL_UUID = "00000000-0000-0000-0000-000000000000"

# method and path of the login, the export, the list and the status
ENDPOINTS = {
    "api": [
        ("POST", "/api/organizations/user-login/"),
        ("POST", "/api/orders/export/"),
        ("POST", "/api/orders/"),
        ("GET", f"/api/data/export/{NIL_UUID}/"),
    ],
    "v1": [
        ("POST", "/organizations/user-login/"),
        ("POST", "/orders/search/export/"),
        ("POST", "/orders/"),
        ("GET", f"/api/data/export/{NIL_UUID}/"),
    ],
    "timp": [
        ("POST", "/timp/organizations/user-login/"),
        ("POST", "/timp/orders/search/export/"),
        ("POST", "/timp/orders/"),
        ("GET", f"/timp/data/export/{NIL_UUID}/"),
    ],
}
EXPORT_SUCCESS = {"api": 200, "v1": 201, "timp": 201}
DAYS = {"start_date": "2024-12-01T00:00:00.000Z", "end_date": "2024-12-20T00:00:00.000Z"}
LIST_DAYS = {"timp": {"start_date": "2024-12-01 00:00:00", "end_date": "2024-12-20 00:00:00"}}
QUERY = ExportQuery(start_date=datetime(2024, 12, 1, tzinfo=UTC), end_date=datetime(2024, 12, 20, tzinfo=UTC))

# what each word selects, by the pieces and the packages of a line item
SELECTS: dict[tuple[str, str], Callable[[dict[str, Any]], bool]] = {
    ("line_item_allocation_statuses", "Unallocated"): lambda item: item["allocated"] == 0,
    ("line_item_allocation_statuses", "Partial"): lambda item: 0 < item["allocated"] < item["ordered"],
    ("line_item_allocation_statuses", "Allocated"): lambda item: item["allocated"] == item["ordered"],
    ("line_item_designation", "NeedsTracking"): lambda item: item["allocated"] > 0 and item["packages"] == 0,
    ("line_item_designation", "HasTracking"): lambda item: item["packages"] > 0,
    ("line_item_designation", "Backordered"): lambda item: item["backordered"] == item["ordered"],
    ("line_item_designation", "Rejected"): lambda item: item["rejected"] == item["ordered"],
    ("line_item_designation", "Cancelled"): lambda item: item["rejected"] == item["ordered"],
}


@pytest.fixture(params=ENDPOINTS)
def version(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def sandbox(version: str, clock: ManualClock) -> Iterator[Sandbox]:
    with running_sandbox(SandboxSettings(api_version=version), clock=clock) as running:
        yield running


def send(http: requests.Session, sandbox: Sandbox, endpoint: int, **body: Any) -> requests.Response:
    method, path = ENDPOINTS[sandbox.settings.api_version][endpoint]
    return http.request(method, sandbox.url + path, json=body)


def list_orders(http: requests.Session, sandbox: Sandbox, **filters: Any) -> list[dict[str, Any]]:
    response = send(http, sandbox, 2, **LIST_DAYS.get(sandbox.settings.api_version, DAYS), **filters)
    assert response.status_code == 200, response.text
    return response.json()["orders"]


def download(http: requests.Session, sandbox: Sandbox, **filters: Any) -> bytes:
    response = send(http, sandbox, 1, **DAYS, **filters)
    assert response.status_code == EXPORT_SUCCESS[sandbox.settings.api_version], response.text
    path = ENDPOINTS[sandbox.settings.api_version][3][1].replace(NIL_UUID, response.json()["uuid"])
    status = http.get(sandbox.url + path).json()
    assert status["status"] == "COMPLETED"
    return requests.get(status["url"], proxies={"http": ""}, timeout=10).content


def orders_in(content: bytes) -> list[str]:
    rows = csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True)
    return list(dict.fromkeys(row["order_uuid"] for row in rows))


def test_a_client_logs_in_lists_the_orders_and_gets_their_file(sandbox: Sandbox, http: requests.Session):
    login = send(http, sandbox, 0, username="sandbox", password="sandbox")
    assert login.status_code == 200
    http.headers["Authorization"] = f"Token {login.json()['auth_token']}"
    content = download(http, sandbox)
    assert content == write_csv(filter_orders(QUERY, sandbox.clock()))
    assert [order["uuid"] for order in list_orders(http, sandbox)] == orders_in(content)
    assert len(sandbox.exports) == 1


def test_the_paths_of_the_other_versions_return_404_as_json(version: str, sandbox: Sandbox, crux: requests.Session):
    own = ENDPOINTS[version]
    others = {endpoint for endpoints in ENDPOINTS.values() for endpoint in endpoints} - {*own}
    assert len(others) in (7, 8)  # api and v1 share the path of the status
    # the vendor's v1 and timp have these two, but they take UUIDs of orders
    for method, path in {*others, ("POST", "/orders/export/"), ("POST", "/timp/orders/export/")}:
        response = crux.request(method, sandbox.url + path, json={}, allow_redirects=False)
        assert (path, response.status_code) == (path, 404)
        assert response.json() == {"detail": "Not Found"}
        assert response.headers["Content-Type"] == "application/json; charset=utf-8"
    assert sandbox.exports == []


@pytest.mark.parametrize("version", ["v1", pytest.param("timp", marks=pytest.mark.slow)], indirect=True)
@pytest.mark.parametrize(("field", "word"), SELECTS)
def test_each_word_selects_the_orders_with_such_a_line_item(sandbox: Sandbox, crux, field: str, word: str):
    in_list = word if field == "line_item_designation" else [word]
    orders = [order["uuid"] for order in list_orders(crux, sandbox, **{field: in_list})]
    assert orders == orders_in(download(crux, sandbox, **{field: [word]}))
    candidates = [
        order["uuid"]
        for order in list_orders(crux, sandbox)
        if any(SELECTS[field, word](pieces_of(item)) for item in order["line_items"])
    ]
    if word in {"Rejected", "Cancelled"}:
        assert 0 < len(orders) < len(candidates)
        assert set(orders) < set(candidates)
    else:
        assert orders == candidates
        assert orders


def pieces_of(item: dict[str, Any]) -> dict[str, Any]:
    pieces = {name.removeprefix("quantity_"): value for name, value in item["allocation"].items()}
    return {**pieces, "packages": len(item["tracking"] if "tracking" in item else item["tracking_numbers"])}


@pytest.mark.parametrize("version", ["v1", "timp"], indirect=True)
def test_several_designations_select_the_orders_of_each(sandbox: Sandbox, crux):
    wanted = ["Cancelled", "Rejected"]
    of_each = [{order["uuid"] for order in list_orders(crux, sandbox, line_item_designation=word)} for word in wanted]
    assert set(orders_in(download(crux, sandbox, line_item_designation=wanted))) == set.union(*of_each)
    assert of_each[0] != of_each[1]


def test_a_line_item_of_the_list_has_the_fields_of_its_version(version: str, sandbox: Sandbox, crux):
    fields = {"uuid", "status", "sku_id", "cost", "supplier_uuid", "tracking_numbers", "allocation"}
    of_timp = {"line_item_uuid", "status", "line_item_designation", "sku_id", "retailer_provided_sku_cost"}
    of_timp |= {"supplier", "tracking", "allocation"}
    items = [item for order in list_orders(crux, sandbox) for item in order["line_items"]]
    assert all(set(item) == (of_timp if version == "timp" else fields) for item in items)
    if version != "timp":
        assert {item["status"] for item in items} == {*STATUSES}
        assert all(isinstance(number, str) for item in items for number in item["tracking_numbers"])
        return
    assert {item["status"] for item in items} == {"Unallocated", "Partial", "Allocated"}
    assert {item["line_item_designation"] for item in items} >= {"NeedsTracking", "HasTracking", "Cancelled"}
    assert all(set(item["supplier"]) == {"uuid", "organization_name"} for item in items)
    packages = [package for item in items for package in item["tracking"]]
    assert {"tracking_number", "shipping_weight", "quantity"} < set(packages[0])
    assert any(len(item["tracking"]) == 2 for item in items)
    for item in items:
        shipped = sum(package["quantity"] for package in item["tracking"])
        assert shipped == (item["allocation"]["quantity_allocated"] if item["tracking"] else 0)


@pytest.mark.parametrize("columns", COLUMN_LISTS)
def test_the_file_has_the_columns_of_the_setting_in_every_version(version: str, crux, columns: str, clock: ManualClock):
    with running_sandbox(SandboxSettings(api_version=version, columns=columns), clock=clock) as sandbox:
        content = download(crux, sandbox)
    assert content == write_csv(filter_orders(QUERY, clock()), columns)


@pytest.mark.parametrize(
    ("setting", "problem"),
    [
        ({"api_version": "v2"}, "api_version: unknown value 'v2'; use api, v1, timp"),
        ({"columns": "2018"}, "columns: unknown value '2018'; use 2019, 2019-page, 2017-retailer, 2017-supplier"),
    ],
)
def test_an_unknown_version_or_list_is_an_error(setting: dict[str, str], problem: str):
    with pytest.raises(ValueError, match=problem):
        SandboxSettings(**setting)
