"""``check_count`` of both transfers: the orders of a file against those that the sandbox lists."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_crux.api.orders import LINE_ITEM_STATUSES, OrdersExportRequest
from airflow_provider_crux.sandbox.state import SandboxSettings
from airflow_provider_crux.sandbox.validation import validate
from tests.transfers.table import TABLE, Loading
from tests.transfers.transfer import FILE_PATH, INTERVAL, csv_file, file_content, make_operator, parse

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provider_crux.sandbox.state import Sandbox

LIST_PATH = "/api/orders/"
DAY = INTERVAL["request"]


@dataclass
class Check:
    """
    A task that transfers an export and then checks its number of orders.

    :param loading: the sandbox, and the task's context.
    :param kind: ``file`` or ``table``.
    :param target: where a file is stored.
    """

    loading: Loading
    kind: str
    target: Path

    @property
    def sandbox(self) -> Sandbox:
        return self.loading.sandbox

    def run(self, body: bytes | None = None, *, request: Any = DAY, end: str | None = None, **arguments: Any) -> str:
        """
        Run the task for an export.

        :param body: what the sandbox serves; ``None`` for the file of the export.
        :param request: the body of the request for the export, as the upstream task pushed it.
        :param end: the end of the interval, if it differs from that in the request.
        """
        uuid = self.sandbox.add_export(validate(request if isinstance(request, dict) else {}))
        self.sandbox.finish_export(uuid)
        if body is not None:
            self.loading.serve(body)
        pushed = self.loading.interval(uuid) | {"request": request} | ({"interval_end": end} if end else {})
        context = self.loading.new_context(pushed)
        if self.kind == "table":
            return self.loading.operator(uuid, **arguments).execute(context)
        operator = make_operator(uuid, self.target, overwrite=True, **arguments)
        operator.upstream_task_ids.add("export")
        return operator.execute(context)

    @property
    def is_transferred(self) -> bool:
        """Whether the file or the table is there."""
        return self.target.exists() if self.kind == "file" else TABLE in self.loading.database.tables()

    @property
    def listed(self) -> int:
        """How often the orders were listed."""
        return len([entry for entry in self.sandbox.requests if entry["path"] == LIST_PATH])

    def respond_with(self, *totals: int) -> None:
        """Let the sandbox list these numbers of orders next, each after the empty list of an interval long ago."""
        for total in totals:
            self.sandbox.respond_next(LIST_PATH, 200, {}, b'{"total_results": 0, "orders": []}')
            self.sandbox.respond_next(LIST_PATH, 200, {}, b'{"total_results": %d, "orders": []}' % total)


@pytest.fixture(params=["file", "table"])
def check(request: pytest.FixtureRequest, loading: Loading, target: Path) -> Check:
    return Check(loading, request.param, target)


@pytest.fixture
def delays(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Skip the delay before the second count; the list contains its seconds."""
    seconds: list[float] = []
    clock = SimpleNamespace(time=time.time, sleep=seconds.append)
    monkeypatch.setattr("airflow_provider_crux.task.transfer.time", clock)
    return seconds


def recent(minutes: float) -> str:
    return (datetime.now(UTC) - timedelta(minutes=minutes)).isoformat()


def test_by_default_nothing_is_listed(check: Check) -> None:
    check.run()
    assert check.listed == 0


@pytest.mark.parametrize("mode", ["warn", "fail"])
def test_a_complete_file_is_confirmed_with_its_number(check: Check, logged, mode: str) -> None:
    check.run(check_count=mode)
    assert "contains all 15 orders that Crux Connect lists" in logged()
    assert check.listed == 2
    assert len(check.sandbox.exports) == 1


def test_a_file_that_lacks_orders_fails_the_task_or_warns_with_both_numbers(check: Check, logged) -> None:
    body = csv_file({"order_uuid": "a", "line_item_uuid": "1"}, {"order_uuid": "a", "line_item_uuid": "2"})
    message = "contains 1 orders, but Crux Connect lists 15 from 2026-01-04T00:00:00.000Z to 2026-01-05T00:00:00.000Z"
    check.run(body, check_count="warn")
    assert message in logged()
    with pytest.raises(AirflowFailException, match=message):
        check.run(body, check_count="fail")
    # what was transferred stays, and its XCom is pushed
    assert check.is_transferred
    assert [key for key in check.loading.pushed if key.startswith("export_")]


@pytest.mark.parametrize(
    "filters",
    [
        {"start": 4, "limit": 8},
        {"start": 10},
        {"start": 99},
        {"limit": 0},
        {"line_item_status": ["rejected", "allocated"]},
        {"line_item_status": list(LINE_ITEM_STATUSES), "status_conjunction": "and"},
        {"sort": {"key": "total", "dir": "des"}, "limit": 3},
    ],
)
def test_filters_and_slices_are_no_difference(check: Check, logged, filters: dict[str, Any]) -> None:
    check.run(request={**DAY, **filters}, check_count="fail")
    orders = {row["order_uuid"] for row in parse(file_content(check.sandbox.exports[0]))}
    assert f"contains all {len(orders)} orders" in logged()
    assert len(orders) < 15


def test_a_count_that_does_not_follow_the_filters_is_no_alarm(check: Check, logged) -> None:
    check.sandbox.settings = SandboxSettings(total_results="organization", export_seconds=None)
    check.run(csv_file({}), check_count="fail")
    assert "does not follow the filters: the number of orders cannot be checked" in logged()
    assert check.is_transferred


@pytest.mark.parametrize(
    ("status", "body"),
    [(403, b""), (404, b""), (500, b""), (503, b""), (200, b"<html>"), (200, b'{"orders": ["canary"]}')],
)
@pytest.mark.parametrize("after", [0, 1], ids=["first", "second"])
def test_a_list_that_cannot_be_read_is_no_alarm(check: Check, logged, status: int, body: bytes, after: int) -> None:
    if after:
        check.sandbox.respond_next(LIST_PATH, 200, {}, b'{"total_results": 0, "orders": []}')
    check.sandbox.respond_next(LIST_PATH, status, {}, body)
    check.run(csv_file({}), check_count="fail")
    output = logged()
    assert f"Could not check the number of orders of export {check.sandbox.exports[0]}: " in output
    assert "canary" not in output
    assert check.is_transferred


@pytest.mark.parametrize(
    "request_body", [None, "canary", {"colour": "red"}, {"start": "x"}, {"start_date": "yesterday"}]
)
def test_an_unknown_request_is_no_alarm(check: Check, logged, request_body: Any) -> None:
    uuid = check.loading.export()
    pushed = check.loading.interval(uuid) | {"request": request_body}
    context = check.loading.new_context(pushed)
    operator = (
        check.loading.operator(uuid, check_count="fail")
        if check.kind == "table"
        else make_operator(uuid, check.target, check_count="fail")
    )
    operator.upstream_task_ids.add("export")
    operator.execute(context)
    assert f"Could not check the number of orders of export {uuid}: " in logged()
    assert check.is_transferred
    assert check.listed == 0


def test_a_stored_file_whose_orders_cannot_be_counted_is_no_alarm(loading: Loading, target: Path, logged) -> None:
    check = Check(loading, "file", target)
    check.run(b"\xef\xbb\xbfid,number\r\n1,2\r\n", check_count="fail")
    assert "or the column order_uuid of its file, is unknown" in logged()
    assert check.is_transferred
    assert check.listed == 0


# orders that come and go


@pytest.mark.parametrize(
    ("totals", "outcome"),
    [
        ((3, 1), None),  # it came right
        ((3, 3), "contains 1 orders, but Crux Connect lists 3"),  # it stays wrong
        ((3, 2), None),  # it still changes
    ],
)
def test_a_recent_interval_is_counted_twice(
    check: Check, delays: list[float], logged, totals: tuple[int, int], outcome: str | None
) -> None:
    check.respond_with(*totals)
    if outcome is None:
        check.run(csv_file({}), end=recent(5), check_count="fail")
        expected = "all 1 orders" if totals[1] == 1 else "still changes: 3, then 2, and 1 in the file"
        assert expected in logged()
    else:
        with pytest.raises(AirflowFailException, match=outcome):
            check.run(csv_file({}), end=recent(5), check_count="fail")
    assert delays == [10.0]
    assert check.listed == 4
    assert check.is_transferred


@pytest.mark.parametrize("total", [1, 3])
def test_an_interval_that_ended_long_ago_or_agrees_is_counted_once(
    check: Check, delays: list[float], total: int
) -> None:
    check.respond_with(total)
    if total == 1:
        check.run(csv_file({}), end=recent(5), check_count="fail")
    else:
        with pytest.raises(AirflowFailException):
            check.run(csv_file({}), end=recent(11), check_count="fail")
    assert delays == []
    assert check.listed == 2


def test_an_interval_whose_end_is_in_the_future_counts_as_recent(check: Check, delays: list[float]) -> None:
    check.respond_with(3, 1)
    check.run(csv_file({}), end=recent(-60), check_count="fail")
    assert delays == [10.0]


def test_the_second_list_may_fail_too(check: Check, delays: list[float], logged) -> None:
    check.respond_with(3)
    check.sandbox.respond_next(LIST_PATH, 500)
    check.run(csv_file({}), end=recent(5), check_count="fail")
    assert "Could not check the number of orders" in logged()
    check.respond_with(3)
    # its count no longer follows the filters
    check.sandbox.respond_next(LIST_PATH, 200, {}, b'{"total_results": 9, "orders": []}')
    check.run(csv_file({}), end=recent(5), check_count="fail")
    assert len(delays) == 2


def test_a_stale_file_of_a_living_sandbox_has_the_same_orders(check: Check, logged) -> None:
    """Orders change, but an order of a past interval neither comes nor goes."""
    end = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=11)
    request = OrdersExportRequest(start_date=end - timedelta(days=1), end_date=end).as_json()
    check.run(request=request, end=end.isoformat(), check_count="fail")
    assert "contains all " in logged()
    assert [entry["path"].startswith(FILE_PATH) for entry in check.sandbox.requests].count(True) == 1
