"""``skip_if_no_orders`` of the coverage task: an interval without orders is not exported, so it e-mails nobody."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_crux.api.orders import LINE_ITEM_STATUSES

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_crux.sandbox.state import Sandbox
    from tests.operators.lake import Lake

LIST_PATH = "/api/orders/"
WEEK = timedelta(days=7)
# the sandbox's first order is that of 2017-01-01
FIRST_ORDER = datetime(2017, 1, 1, tzinfo=UTC)
SINCE, UNTIL = FIRST_ORDER - 3 * WEEK - timedelta(days=1), FIRST_ORDER + WEEK
PIECES = [(SINCE + number * WEEK, min(SINCE + (number + 1) * WEEK, UNTIL)) for number in range(5)]
EMPTY, ORDERS = PIECES[:3], PIECES[3:]
NOTHING = b'{"total_results": 0, "orders": []}'


@pytest.fixture
def find(held_sandbox: Sandbox, folder: Lake, find_gaps) -> Callable[..., Any]:
    """Return a function that executes the task over the five weeks around the first order of the sandbox."""

    def execute(**arguments: Any) -> Any:
        return find_gaps(folder.url, **{"since": SINCE, "until": UNTIL, "skip_if_no_orders": True} | arguments)

    return execute


def listed(sandbox: Sandbox) -> list[datetime]:
    """Return the starts of the intervals that were listed; nothing else may be requested."""
    assert {(entry["method"], entry["path"]) for entry in sandbox.requests} <= {("POST", LIST_PATH)}
    return [datetime.fromisoformat(entry["body"]["start_date"]) for entry in sandbox.requests]


def test_intervals_without_orders_are_counted_and_not_returned(held_sandbox: Sandbox, find, logged) -> None:
    gaps, coverage = find()
    assert gaps == ORDERS
    assert listed(held_sandbox) == [start for start, _ in PIECES]
    assert {name: coverage[name] for name in ("covered_seconds", "gaps", "empty_intervals", "empty_seconds")} == {
        "covered_seconds": 0,
        "gaps": 1,
        "empty_intervals": 3,
        "empty_seconds": 21 * 86400,
    }
    assert "Not returned: 3 intervals without orders: 2016-12-10T00:00:00+00:00 to " in logged()
    # nothing remembers it: orders may appear later
    assert find()[0] == ORDERS
    assert len(listed(held_sandbox)) == 10


def test_an_interval_without_orders_is_no_gap(held_sandbox: Sandbox, folder: Lake, find) -> None:
    folder.store(*ORDERS[0], host=held_sandbox.url.removeprefix("http://"))
    with pytest.raises(AirflowFailException, match=r"^1 gap in .*/lake': 2017-01-07T00:00:00\+00:00 to .*01-08"):
        find(fail_on_gap=True)
    folder.store(*ORDERS[1], host=held_sandbox.url.removeprefix("http://"))
    gaps, coverage = find(fail_on_gap=True)
    assert (gaps, coverage["gaps"], coverage["empty_intervals"]) == ([], 0, 3)


def test_the_list_has_the_filters_of_the_stored_files(held_sandbox: Sandbox, folder: Lake, find) -> None:
    filters = {"line_item_status": list(LINE_ITEM_STATUSES), "status_conjunction": "and"}
    folder.store(*EMPTY[0], host=held_sandbox.url.removeprefix("http://"), filters=filters)
    # no order has five line items
    assert find()[0] == []
    assert held_sandbox.requests[0]["body"] == {
        "start": 0,
        "limit": 1,
        "line_item_status": sorted(LINE_ITEM_STATUSES),
        "status_conjunction": "and",
        "start_date": "2016-12-17T00:00:00.000Z",
        "end_date": "2016-12-24T00:00:00.000Z",
    }


def test_without_a_stored_file_all_orders_are_listed(held_sandbox: Sandbox, find) -> None:
    """Nobody knows the filters yet, and an interval without any order has none of any kind."""
    assert find()[0] == ORDERS
    assert held_sandbox.requests[0]["body"] == {
        "start": 0,
        "limit": 1,
        "start_date": "2016-12-10T00:00:00.000Z",
        "end_date": "2016-12-17T00:00:00.000Z",
    }


def test_by_default_nothing_is_listed(held_sandbox: Sandbox, find) -> None:
    gaps, coverage = find(skip_if_no_orders=False)
    assert (gaps, coverage["empty_intervals"], listed(held_sandbox)) == (PIECES, 0, [])


def test_what_is_covered_or_too_short_is_not_listed(held_sandbox: Sandbox, folder: Lake, find) -> None:
    folder.store(SINCE, UNTIL - timedelta(seconds=59), host=held_sandbox.url.removeprefix("http://"))
    assert find()[0] == listed(held_sandbox) == []


def test_only_as_many_intervals_are_listed_as_can_be_returned(held_sandbox: Sandbox, find, monkeypatch, logged) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__MAX_MAP_LENGTH", "1")
    gaps, coverage = find()
    # the empty ones do not keep later ones from being returned, in this run or any other
    assert gaps == ORDERS[:1]
    assert listed(held_sandbox) == [start for start, _ in PIECES[:4]]
    assert (coverage["gaps"], coverage["empty_intervals"]) == (1, 3)
    assert "There are more than 1 intervals to export" in logged()
    with pytest.raises(AirflowFailException, match=r"2016-12-31T00:00:00\+00:00 to 2017-01-08T00:00:00\+00:00\. Exp"):
        find(fail_on_gap=True)


# A list that cannot be read proves nothing.


@pytest.mark.parametrize(("status", "body"), [(429, b""), (500, b""), (503, b"")])
def test_an_interval_whose_list_cannot_be_read_is_a_gap(
    held_sandbox: Sandbox, find, logged, status: int, body: bytes
) -> None:
    held_sandbox.respond_next(LIST_PATH, 200, {}, NOTHING)
    held_sandbox.respond_next(LIST_PATH, status, {}, body)
    gaps, coverage = find()
    assert gaps == [PIECES[1], *ORDERS]
    assert (coverage["gaps"], coverage["empty_intervals"]) == (2, 2)
    text = "Could not check whether there are orders from 2016-12-17T00:00:00+00:00 to 2016-12-24T00:00:00+00:00, so "
    output = logged()
    assert f"{text}it is a gap: " in output
    assert f"HTTP {status}" in output


@pytest.mark.parametrize(
    ("status", "body"),
    [(401, b""), (403, b""), (404, b""), (200, b"<html>"), (200, b'{"total_results": 0, "orders": ["canary"]}')],
)
def test_a_permanent_error_of_the_list_fails_the_task(
    held_sandbox: Sandbox, find, logged, status: int, body: bytes
) -> None:
    """Otherwise each run would export the empty intervals, and send e-mails."""
    held_sandbox.respond_next(LIST_PATH, 200, {}, NOTHING)
    held_sandbox.respond_next(LIST_PATH, status, {}, body)
    with pytest.raises(AirflowFailException, match=rf"HTTP {status}") as failure:
        find()
    assert len(listed(held_sandbox)) == 2
    assert "canary" not in logged() + str(failure.value)


def test_after_three_errors_in_a_row_nothing_more_is_listed(held_sandbox: Sandbox, find, logged) -> None:
    for status in (503, 503, 200, 503, 503, 503):
        held_sandbox.respond_next(LIST_PATH, status, {}, NOTHING if status == 200 else b"")
    assert find(max_interval=timedelta(days=3))[1]["empty_intervals"] == 1
    assert len(listed(held_sandbox)) == 6
    assert logged().count("so it is a gap") == 6 - 1


def test_a_long_list_of_intervals_logs_its_progress(find, logged) -> None:
    _, coverage = find(max_interval=timedelta(hours=3), until=SINCE + 4 * WEEK)
    assert coverage["empty_intervals"] == 22 * 8 - 1  # the order of the first second is in two
    output = logged()
    assert output.count("Listed the orders of ") == 2
    assert "Listed the orders of 200 intervals so far, up to 2017-01-04T00:00:00+00:00" in output
