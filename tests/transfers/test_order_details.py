"""The columns that the list of orders adds to a file and a table, and what the file lacks, as tasks see it."""

from __future__ import annotations

import hashlib
import hmac
import json
from datetime import datetime
from typing import Any

import pyarrow.parquet as pq
import pytest
from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException, Asset

from airflow_provider_crux.exceptions import CruxTransientError, CruxUnavailableError
from airflow_provider_crux.files import order_details as details_on_disk
from airflow_provider_crux.sandbox.orders import filter_orders
from airflow_provider_crux.sandbox.orders_list import order_as_json
from airflow_provider_crux.sandbox.state import Sandbox
from airflow_provider_crux.sandbox.versions import VERSIONS
from airflow_provider_crux.transfers.crux_to_object_storage import CruxExportToObjectStorageOperator
from airflow_provider_crux.transfers.crux_to_sql import CruxExportToSqlOperator
from tests.order_details import DAY, DETAILS, HASH_KEY, LIST_PATHS, NOW, expected_details, rows_of_day
from tests.transfers.transfer import (
    FILE_PATH,
    INTERVAL,
    csv_file,
    file_content,
    make_operator,
    parse,
    statuses,
)


def as_csv(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return value.isoformat(timespec="microseconds") if isinstance(value, datetime) else str(value)


def pages(sandbox: Sandbox) -> int:
    """Return how many pages of the list were requested."""
    return len([entry for entry in sandbox.requests if entry["path"] in LIST_PATHS])


def list_of(sandbox: Sandbox) -> list[dict[str, Any]]:
    """Return the list of the day as the sandbox's app makes it."""
    return [order_as_json(order, sandbox.api) for order in filter_orders(DAY, NOW)]


def respond_with_lists(sandbox: Sandbox, *lists: list[dict[str, Any]]) -> None:
    """Let the list be something else each time it is read; its last page has nothing new."""
    for listed in lists:
        for page in (listed, listed[-1:]):
            body = json.dumps({"total_results": 0, "orders": page}).encode()
            sandbox.respond_next("/api/orders/", 200, body=body)


@pytest.mark.parametrize("version", VERSIONS)
def test_every_version_of_the_api_adds_the_same_columns_to_csv(start, version: str) -> None:
    transfer = start(api_version=version)
    stored = parse(transfer.content(order_details=True))
    expected = rows_of_day(version)
    assert {item.status for order in filter_orders(DAY, NOW) for item in order.line_items} >= {"allocated", "rejected"}
    assert list(stored[0])[-len(DETAILS) :] == DETAILS
    assert [{name: row[name] for name in DETAILS} for row in stored] == [
        {name: as_csv(row[name]) for name in DETAILS} for row in expected
    ]
    # all that the file has stays
    assert [{**row, **dict.fromkeys(DETAILS)} for row in stored] == [
        {**row, **dict.fromkeys(DETAILS)} for row in parse(file_content(transfer.export_uuid))
    ]
    assert len(transfer.sandbox.exports) == 1


def test_parquet_has_them_with_types(start) -> None:
    transfer = start()
    transfer.run(order_details=True, file_format="parquet")
    table = pq.read_table(transfer.target)
    expected = rows_of_day()
    assert table.select(DETAILS).to_pylist() == [{name: row[name] for name in DETAILS} for row in expected]
    assert {name: str(table.schema.field(name).type) for name in DETAILS} == {
        "order_created_at": "timestamp[us, tz=UTC]",
        "order_status": "string",
        "is_allocated": "bool",
        "line_item_status": "string",
        "quantity_allocated": "int64",
        "quantity_backordered": "int64",
        "quantity_rejected": "int64",
        "backorder_date": "string",
        "tracking_numbers": "string",
    }
    assert all(table.schema.field(name).nullable for name in DETAILS)
    names = table.column_names
    assert names.index("tracking_numbers") + 1 == names.index("crux_export_uuid")
    assert transfer.pushed["export_file"]["columns"] == names


@pytest.mark.parametrize("columns", ["2017-retailer", "2017-supplier"])
def test_a_file_of_packages_keeps_its_own_columns_and_finds_line_items_by_sku(start, columns: str) -> None:
    transfer = start(columns=columns)
    served = parse(file_content(transfer.export_uuid))
    stored = parse(transfer.content(order_details=True))
    own = ["quantity_backordered", "quantity_rejected", "backorder_date"]
    added = [name for name in DETAILS if name not in own]
    assert list(stored[0]) == [*served[0], *added]
    assert [{name: row[name] for name in served[0]} for row in stored] == served
    items = {
        (order.uuid, item.sku_id): expected_details(order, item)
        for order in filter_orders(DAY, NOW)
        for item in order.line_items
    }
    assert [{name: row[name] for name in added} for row in stored] == [
        {name: as_csv(items[row["order_uuid"], row["sku"]][name]) for name in added} for row in served
    ]


def test_ambiguous_line_items_have_no_details_of_their_own(start) -> None:
    order = next(order for order in filter_orders(DAY, NOW) if len(order.line_items) > 1)
    first, second = order.line_items[:2]
    transfer = start()
    same_sku = list_of(transfer.sandbox)
    for listed in same_sku:
        for item in listed["line_items"]:
            item["sku_id"] = "SKU-1"
    respond_with_lists(transfer.sandbox, same_sku)
    rows = [
        {"order_uuid": order.uuid.upper(), "line_item_uuid": second.uuid.upper(), "sku_id": "SKU-1"},
        {"order_uuid": order.uuid, "line_item_uuid": "847654", "sku_id": "SKU-1"},
        {"order_uuid": order.uuid, "line_item_uuid": "", "sku_id": first.sku_id},
        {"order_uuid": "another", "line_item_uuid": first.uuid, "sku_id": first.sku_id},
    ]
    matched, *others, unlisted = parse(transfer.content(csv_file(*rows), order_details=True))
    assert [matched[name] for name in DETAILS] == [as_csv(expected_details(order, second)[name]) for name in DETAILS]
    of_order = [as_csv(expected_details(order, first)[name]) for name in DETAILS[:3]]
    assert [[row[name] for name in DETAILS] for row in others] == [[*of_order, *[""] * 6]] * 2
    assert [unlisted[name] for name in DETAILS] == [""] * 9


@pytest.mark.parametrize("line_item", ["847654", "", "1afd41b0-0000-4000-8000-000000000000"])
def test_only_a_line_item_without_a_uuid_is_found_by_its_sku(start, line_item: str) -> None:
    order = next(order for order in filter_orders(DAY, NOW) if len({item.sku_id for item in order.line_items}) > 1)
    item = order.line_items[1]
    transfer = start()
    body = csv_file({"order_uuid": order.uuid, "line_item_uuid": line_item, "sku_id": item.sku_id})
    (row,) = parse(transfer.content(body, order_details=True))
    expected = expected_details(order, item)
    names = DETAILS[:3] if len(line_item) == 36 else DETAILS
    assert [row[name] for name in DETAILS] == [as_csv(expected[name]) if name in names else "" for name in DETAILS]


def test_the_list_is_not_sorted_by_what_changes(start) -> None:
    transfer = start()
    request = {**INTERVAL["request"], "sort": {"key": "status", "dir": "asc"}}
    transfer.run(upstream=[{**transfer.interval, "request": request}], order_details=True)
    bodies = [entry["body"] for entry in transfer.sandbox.requests if entry["path"] in LIST_PATHS]
    assert {body["sort"]["key"] for body in bodies} == {"date"}
    assert transfer.pushed["export_file"]["missing_orders"] == 0


def test_tracking_numbers_are_personal(start) -> None:
    transfer = start()
    expected = rows_of_day()
    numbers = [json.loads(row["tracking_numbers"]) for row in expected]
    assert any(numbers)
    dropped = transfer.content(order_details=True, personal_data="drop")
    assert "tracking_numbers" not in parse(dropped)[0]
    hashed = transfer.content(order_details=True, personal_data="hash")
    assert [json.loads(row["tracking_numbers"]) for row in parse(hashed)] == [
        [hmac.new(HASH_KEY.encode(), number.encode(), hashlib.sha256).hexdigest() for number in row] for row in numbers
    ]
    for content in (dropped, hashed):
        assert not [number for row in numbers for number in row if number.encode() in content]


def test_nothing_else_of_the_list_goes_anywhere(start, logged) -> None:
    transfer = start()
    listed = list_of(transfer.sandbox)
    for order in listed:
        order["address"]["name"] = order["notes"] = order["line_items"][0]["cost"] = "canary"
    respond_with_lists(transfer.sandbox, listed)
    content = transfer.content(order_details=True, manifest=True)
    everything = [content.decode(), json.dumps(transfer.pushed), logged()]
    everything += [path.read_text("utf-8-sig") for path in transfer.target.parent.iterdir()]
    assert "canary" not in "".join(everything)


@pytest.mark.parametrize(("status", "error"), [(403, AirflowFailException), (404, AirflowFailException)])
def test_a_list_that_is_denied_fails_the_task_before_anything_is_stored(start, status: int, error: type) -> None:
    transfer = start()
    transfer.sandbox.respond_next("/api/orders/", status)
    with pytest.raises(error, match=f"order_details: the list of orders cannot be read.*HTTP {status}.*if_available"):
        transfer.run(order_details=True)
    assert transfer.names == []
    assert statuses(transfer.sandbox, FILE_PATH) == []


def test_a_list_that_is_temporarily_unavailable_is_left_to_a_retry(start) -> None:
    transfer = start()
    transfer.sandbox.respond_next("/api/orders/", 503, {"Retry-After": "1"})
    with pytest.raises(CruxUnavailableError, match="HTTP 503"):
        transfer.run(order_details=True)
    assert transfer.names == []
    transfer.run(order_details=True)
    assert transfer.pushed["export_file"]["missing_orders"] == 0


@pytest.mark.parametrize("status", [403, 404, 500])
@pytest.mark.parametrize("arguments", [{}, {"file_format": "parquet"}], ids=["csv", "parquet"])
def test_if_available_goes_on_without_the_list(start, logged, status: int, arguments: dict[str, Any]) -> None:
    transfer = start()
    # also if it cannot be read to its end
    first_page = json.dumps({"total_results": 9, "orders": list_of(transfer.sandbox)[:4]})
    transfer.sandbox.respond_next("/api/orders/", 200, body=first_page.encode())
    transfer.sandbox.respond_next("/api/orders/", status)
    transfer.run(order_details="if_available", manifest=True, **arguments)
    if arguments:
        stored = pq.read_table(transfer.target).select(DETAILS).to_pylist()
        assert stored == [dict.fromkeys(DETAILS)] * len(rows_of_day())
    else:
        stored = parse(transfer.target.read_bytes())
        assert [[row[name] for name in DETAILS] for row in stored] == [[""] * 9] * len(rows_of_day())
    result = transfer.pushed["export_file"]
    assert (result["matched_orders"], result["missing_orders"]) == (None, None)
    assert f"HTTP {status}" in logged()


@pytest.mark.parametrize("order_details", [True, "if_available"])
def test_an_export_whose_request_is_unknown_has_no_list(start, logged, order_details: bool | str) -> None:
    transfer = start()
    if order_details is True:
        with pytest.raises(AirflowFailException, match=r"unknown which orders export .* has.*export\.output"):
            transfer.run(upstream=[], order_details=order_details)
        assert transfer.names == []
    else:
        transfer.run(upstream=[], order_details=order_details)
        assert "unknown which orders" in logged()
    assert pages(transfer.sandbox) == 0


@pytest.mark.parametrize("order_details", [True, "if_available"])
def test_a_file_without_order_uuid_matches_nothing(start, caplog, order_details: bool | str) -> None:
    transfer = start()
    body = csv_file({}, columns=["retailer_po_number", "quantity"])
    if order_details is True:
        with pytest.raises(AirflowFailException, match=r"no column order_uuid.*order_details=False"):
            transfer.run(body, order_details=order_details)
        assert transfer.names == []
    else:
        transfer.run(body, order_details=order_details)
        assert [row["order_status"] for row in parse(transfer.target.read_bytes())] == [""]
        assert "no column order_uuid" in caplog.text
        result = transfer.pushed["export_file"]
        assert (result["matched_orders"], result["missing_orders"]) == (None, None)


def test_an_unknown_column_with_such_a_name_is_left_out(start, caplog) -> None:
    transfer = start()
    order = filter_orders(DAY, NOW)[0]
    columns = ["order_uuid", "line_item_uuid", "order_status", "quantity"]
    body = csv_file({"order_uuid": order.uuid, "order_status": "theirs"}, columns=columns)
    (row,) = parse(transfer.content(body, order_details=True))
    assert row["order_status"] == expected_details(order, order.line_items[0])["order_status"]
    assert "adds a column of this name" in caplog.text
    (row,) = parse(transfer.content(body, add_export_columns=True))
    assert row["order_status"] == "theirs"


def without(served: bytes, uuids: set[str]) -> bytes:
    """Return a file without the rows of some orders."""
    return csv_file(*(row for row in parse(served) if row["order_uuid"] not in uuids))


def test_orders_that_the_file_lacks_are_counted_and_named(start, logged) -> None:
    transfer = start()
    missing = {order.uuid for order in filter_orders(DAY, NOW)[2:12]}
    asset = Asset("orders")
    body = without(file_content(transfer.export_uuid), missing)
    transfer.run(body, order_details=True, manifest=True, outlets=[asset])
    result = transfer.pushed["export_file"]
    listed = len(filter_orders(DAY, NOW))
    assert (result["matched_orders"], result["missing_orders"]) == (listed - 10, 10)
    manifest = json.loads(transfer.target.with_name("_orders.csv.manifest.json").read_bytes())
    assert (manifest["matched_orders"], manifest["missing_orders"]) == (listed - 10, 10)
    log = logged()
    assert "lacks 10 orders" in log
    assert [uuid for uuid in missing if uuid not in log] == []
    assert pages(transfer.sandbox) == 4  # the list, and once more before saying so; the last page of each is empty


def test_of_more_than_ten_only_ten_are_named(start, logged) -> None:
    transfer = start()
    orders = filter_orders(DAY, NOW)
    transfer.run(csv_file({"order_uuid": orders[0].uuid}), order_details=True)
    assert transfer.pushed["export_file"]["missing_orders"] == len(orders) - 1
    log = logged()
    assert len([order for order in orders if order.uuid in log]) == 10
    assert f"{len(orders) - 11} more)" in log


REQUESTED_AT = "2026-01-04T20:00:00+00:00"


@pytest.mark.parametrize(
    ("created", "again", "missing"),
    [
        ("2026-01-04T12:00:00.000000Z", True, 1),
        ("2026-01-04T12:00:00.000000Z", False, 0),  # gone when the list is read again
        ("2026-01-04T19:59:30.000000Z", True, 0),  # half a minute before the request: the clocks may differ
        ("2026-01-04T20:01:00.000000Z", True, 0),  # after the request
        ("2026-01-04T00:00:00.000000Z", True, 0),  # nobody knows whether the ends belong to the interval
        ("2026-01-05T00:00:00.000000Z", True, 0),
        ("2025-03-01T12:00:00.000000Z", True, None),  # the list has another filter
        (None, True, None),
    ],
)
def test_only_what_was_there_before_the_export_and_still_is_can_be_missing(
    start, logged, created: str | None, again: bool, missing: int | None
) -> None:
    transfer = start()
    listed = list_of(transfer.sandbox)
    more = {**listed[0], "uuid": "00000000-0000-4000-8000-00000000cafe", "created_date": created}
    respond_with_lists(transfer.sandbox, [*listed, more], [*listed, more] if again else listed)
    transfer.run(upstream=[{**transfer.interval, "requested_at": REQUESTED_AT}], order_details=True)
    assert transfer.pushed["export_file"]["missing_orders"] == missing
    assert (more["uuid"] in logged()) is (missing != 0)


def test_a_list_that_has_nothing_of_the_file_proves_nothing(start, logged) -> None:
    transfer = start()
    respond_with_lists(transfer.sandbox, [], [])
    transfer.run(order_details=True)
    result = transfer.pushed["export_file"]
    assert (result["matched_orders"], result["missing_orders"]) == (0, None)
    assert "may have other filters" in logged()


def test_orders_without_a_uuid_cannot_be_compared(start, logged) -> None:
    transfer = start()
    listed = list_of(transfer.sandbox)
    respond_with_lists(transfer.sandbox, [{**listed[0], "uuid": None}, *listed[1:]], listed)
    transfer.run(order_details=True)
    assert transfer.pushed["export_file"]["missing_orders"] is None
    assert "1 orders of the list have no UUID" in logged()


def test_only_uuids_are_named(start, logged) -> None:
    transfer = start()
    transfer.run(csv_file({"order_uuid": "Ada Canary\n[ERROR]"}), order_details=True)
    log = logged()
    assert "1 order (1 without a UUID)" in log
    assert "canary" not in log.lower()


def test_a_value_that_is_not_utf8_is_only_not_in_the_list(start) -> None:
    transfer = start()
    stored = parse(transfer.content(csv_file({"order_uuid": "ab\udcff"}), order_details=True))
    assert [row["order_status"] for row in stored] == [""]


def test_a_full_disk_is_left_to_a_retry_or_goes_on_without_the_list(start, logged, monkeypatch) -> None:
    transfer = start()
    monkeypatch.setattr(
        details_on_disk, "_SCHEMA", f"PRAGMA page_size = 512; PRAGMA max_page_count = 4; {details_on_disk._SCHEMA}"
    )
    with pytest.raises(CruxTransientError, match=r"cannot be kept on disk.*full.*SQLITE_TMPDIR"):
        transfer.run(order_details=True)
    assert transfer.names == []
    transfer.run(order_details="if_available")
    assert "cannot be kept on disk" in logged()


def test_an_order_that_the_list_has_only_later_is_not_reported(start, logged) -> None:
    transfer = start()
    listed = list_of(transfer.sandbox)
    respond_with_lists(transfer.sandbox, listed[1:], listed)
    transfer.run(order_details=True)
    result = transfer.pushed["export_file"]
    assert (result["matched_orders"], result["missing_orders"]) == (len(listed) - 1, 0)
    assert "The list lacks" not in logged()


def test_orders_that_the_list_lacks_are_named(start, logged) -> None:
    transfer = start()
    listed = list_of(transfer.sandbox)
    respond_with_lists(transfer.sandbox, listed[1:], listed[1:])
    transfer.run(order_details=True)
    log = logged()
    assert "The list lacks 1 order " in log
    assert listed[0]["uuid"] in log
    stored = parse(transfer.target.read_bytes())
    assert {row["order_status"] == "" for row in stored if row["order_uuid"] == listed[0]["uuid"]} == {True}


def test_a_second_list_that_cannot_be_read_leaves_it_open(start, logged) -> None:
    transfer = start()
    listed = list_of(transfer.sandbox)
    respond_with_lists(transfer.sandbox, [*listed, {**listed[0], "uuid": "00000000-0000-4000-8000-00000000cafe"}])
    transfer.sandbox.respond_next("/api/orders/", 500)
    transfer.run(order_details=True)
    result = transfer.pushed["export_file"]
    assert (result["matched_orders"], result["missing_orders"]) == (len(listed), None)
    assert "Whether the file lacks orders is unknown" in logged()


@pytest.mark.parametrize(
    "filters", [{"line_item_status": ["allocated"]}, {"start": 2}, {"limit": 5}], ids=["status", "start", "limit"]
)
def test_nothing_is_missing_for_certain_if_the_list_is_filtered_by_what_changes(start, filters) -> None:
    transfer = start()
    interval = {**transfer.interval, "request": INTERVAL["request"] | filters}
    transfer.run(csv_file({"order_uuid": "x"}), upstream=[interval], order_details=True)
    assert transfer.pushed["export_file"]["missing_orders"] is None
    assert transfer.pushed["export_file"]["matched_orders"] == 0


@pytest.mark.parametrize("operator", [CruxExportToObjectStorageOperator, CruxExportToSqlOperator])
@pytest.mark.parametrize("value", ["yes", None, "True"])
def test_another_value_is_an_error_when_the_dag_is_parsed(operator: Any, value: Any) -> None:
    arguments = (
        {"path": "file:///a.csv"} if operator is CruxExportToObjectStorageOperator else {"conn_id": "a", "table": "a"}
    )
    with pytest.raises(ValueError, match=r"order_details: .* is invalid; use False or True or 'if_available'"):
        operator(task_id="t", export_uuid="u", order_details=value, **arguments)


def test_a_task_that_is_killed_while_it_reads_the_list_stores_nothing(start, monkeypatch) -> None:
    transfer = start()
    operator = make_operator(transfer.export_uuid, transfer.target, order_details=True)
    operator.upstream_task_ids.add("export")

    def kill_while_listing(*_: Any, **__: Any) -> Any:
        operator.on_kill()
        yield from list_of(transfer.sandbox)

    monkeypatch.setattr("airflow_provider_crux.hooks.crux.CruxHook.iter_orders", kill_while_listing)
    with pytest.raises(AirflowException, match="killed"):
        operator.execute(transfer.context_with(transfer.interval))
    assert transfer.names == []
