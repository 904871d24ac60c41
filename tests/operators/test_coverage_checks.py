"""What the checks of a coverage task find in manifests as they are published, and what fails the task."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowFailException

from airflow_provider_crux.exceptions import CruxInvalidRequestError
from airflow_provider_crux.operators.coverage import CoverageChecks, CruxExportCoverageOperator
from tests.operators.lake import DAYS, SINCE, UNTIL, Lake

pytestmark = pytest.mark.usefixtures("connection")

MINUTE, HOUR, DAY, WEEK = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1), timedelta(weeks=1)
EVERY = CoverageChecks(max_age=timedelta(0), min_orders=1000, volume_change=0.1, max_missing_orders=0)


@pytest.fixture
def check(folder: Lake, find_gaps, logged) -> Callable[..., tuple[list[str], str]]:
    """Return a function that runs a task, and returns the lines of its failure and the warnings about its checks."""

    def run(checks: CoverageChecks | dict[str, Any], **arguments: Any) -> tuple[list[str], str]:
        checks = checks if isinstance(checks, CoverageChecks) else CoverageChecks(**checks)
        lines: list[str] = []
        try:
            find_gaps(folder.url, checks=checks, **arguments)
        except AirflowFailException as error:
            lines = str(error).splitlines()
        return lines, "\n".join(line for line in logged().splitlines() if "checks." in line)

    return run


# How old.


def test_a_file_that_is_late_fails_the_task(folder: Lake, check) -> None:
    folder.store(DAYS[0], DAYS[28])
    assert check({"max_age": 2 * DAY}) == ([], "")
    (line,), _ = check({"max_age": 2 * DAY - timedelta(seconds=1)})
    assert line == (
        "checks.max_age: the newest covered hour ended at 2026-01-29T00:00:00+00:00, 2 days before "
        "2026-01-31T00:00:00+00:00; the limit is 1 day 23 hours 59 minutes. Check whether the DAG that exports "
        "is paused, late or failing, and in this log which files do not count"
    )


def test_a_file_is_not_newer_than_its_request_or_the_time_that_is_checked(folder: Lake, check) -> None:
    folder.store(DAYS[0], DAYS[30] + 9 * DAY, requested_at="2026-01-20T12:00:00.500000+00:00")
    assert "ended at 2026-01-20T12:00:00+00:00, 10 days 12 hours before" in check({"max_age": HOUR})[0][0]
    assert check({"max_age": timedelta(0)}, until="2026-01-20") == ([], "")


def test_without_a_file_the_age_is_at_least_the_time_that_is_checked(check) -> None:
    (line,), _ = check({"max_age": 29 * DAY})
    assert "no file covers any time since 2026-01-01T00:00:00+00:00, 30 days before 2026-01-31T" in line
    # the newest file may end just before since
    lines, warnings = check({"max_age": 30 * DAY})
    assert lines == []
    assert "checks.max_age: not checked, because no file covers any time since 2026-01-01T" in warnings
    assert "use an earlier since" in warnings


def test_an_interval_that_has_no_orders_is_not_late(folder: Lake, sandbox, connect, check) -> None:
    """The sandbox has no orders in 2016."""
    connect(host=sandbox.url, password=sandbox.settings.token)
    first, end = datetime(2016, 1, 1, tzinfo=UTC), datetime(2016, 1, 3, tzinfo=UTC)
    folder.store(first, first + DAY, host=sandbox.url.removeprefix("http://"))
    times = {"since": first, "until": end}
    assert "the newest covered hour ended at 2016-01-02T" in check({"max_age": HOUR}, **times)[0][0]
    assert check({"max_age": HOUR}, skip_if_no_orders=True, **times) == ([], "")


# How many orders.


def test_the_newest_interval_needs_some_orders(folder: Lake, check) -> None:
    folder.store(DAYS[27], DAYS[28], orders=9)
    folder.store(DAYS[29], DAYS[30], orders=3)
    folder.store(DAYS[28], DAYS[29], orders=9)
    assert check({"min_orders": 3}) == ([], "")
    (line,), _ = check({"min_orders": 4})
    assert line == (
        "checks.min_orders: the newest interval, 2026-01-30T00:00:00+00:00 to 2026-01-31T00:00:00+00:00, has 3 orders, "
        "fewer than 4. Check the list of orders, and export the interval again if it has more"
    )
    assert check({"min_orders": 4}, until=DAYS[29]) == ([], "")


def test_the_newest_interval_is_the_one_that_ends_last(folder: Lake, check) -> None:
    early, late = ({"requested_at": f"2026-02-0{day}T00:00:00+00:00"} for day in (1, 2))
    folder.store(DAYS[20], DAYS[23], orders=1, file="a.csv", **early)
    folder.store(DAYS[21], DAYS[22], orders=9, file="b.csv", **late)
    assert "the newest interval, 2026-01-21T" in check({"min_orders": 4})[0][0]
    # of two that end together, the one that was requested later
    folder.store(DAYS[22], DAYS[23], orders=2, file="c.csv", **late)
    assert "the newest interval, 2026-01-23T" in check({"min_orders": 4})[0][0]


def store_weeks(folder: Lake, *orders: int | None, start: datetime = DAYS[0], length: timedelta = DAY) -> None:
    """Store a file for each week: the oldest first."""
    for number, count in enumerate(orders):
        folder.store(start + number * WEEK, start + number * WEEK + length, orders=count)


@pytest.mark.parametrize(
    ("newest", "text"),
    [
        (49, "has 49 orders, 51 % fewer than 100, the median of 4 intervals of the same weekday and time before it"),
        (50, None),
        (100, None),
        (150, None),
        (151, "has 151 orders, 51 % more than 100, the median of 4 intervals of the same weekday and time before it"),
        (0, "has 0 orders, 100 % fewer than 100"),
    ],
)
def test_an_unusual_number_of_orders_fails_the_task(folder: Lake, check, newest: int, text: str | None) -> None:
    store_weeks(folder, 1, 101, 99, 1000, newest)
    for day in (20, 24, 27):  # other weekdays
        folder.store(DAYS[day], DAYS[day + 1], orders=7)
    lines, warnings = check({"volume_change": 0.5}, until=DAYS[29])
    assert warnings == ""
    assert [text in line and "at most 50 % is allowed" in line for line in lines] == [True] * (text is not None)
    if text:
        assert "the newest interval, 2026-01-29T00:00:00+00:00 to 2026-01-30T00:00:00+00:00, has" in lines[0]


@pytest.mark.parametrize(("limit", "usual", "newest"), [(0.29, 100, 129), (0.07, 100, 107), (0.57, 100, 43)])
def test_a_change_of_exactly_the_limit_is_allowed(folder: Lake, check, limit: float, usual: int, newest: int) -> None:
    store_weeks(folder, usual, usual, usual, newest)
    assert check({"volume_change": limit}) == ([], "")
    assert len(check({"volume_change": limit - 0.001})[0]) == 1


def test_hours_are_compared_with_the_same_hour_of_the_weekday(folder: Lake, check) -> None:
    store_weeks(folder, 10, 10, 10, 10, length=HOUR)
    others = [(-HOUR, HOUR), (HOUR, HOUR)]  # the hours beside them
    others += [(-6 * MINUTE, HOUR), (timedelta(0), HOUR + 6 * MINUTE)]  # too early, too long
    for number, (shift, length) in enumerate(others):
        for week in range(3):
            start = DAYS[0] + week * WEEK + shift
            folder.store(
                start, start + length, orders=500, file=f"{week}{number}.csv", requested_at="2026-02-01T00:00:00+00:00"
            )
    assert check({"volume_change": 0.1}) == ([], "")


@pytest.mark.parametrize(("shift", "count"), [(HOUR, 1), (HOUR + MINUTE, 0)])
def test_longer_intervals_differ_by_an_hour_at_most(folder: Lake, check, shift: timedelta, count: int) -> None:
    """Those of three days are compared with others that begin up to an hour earlier, or are up to an hour shorter."""
    store_weeks(folder, 10, start=DAYS[21], length=3 * DAY)
    store_weeks(folder, 100, start=DAYS[0] - shift, length=3 * DAY)
    store_weeks(folder, 100, 100, start=DAYS[7], length=3 * DAY - shift)
    findings, warnings = check({"volume_change": 0.1}, since="2025-12-01")
    assert len(findings) == count
    assert ("can only be compared with 0 intervals" in warnings) == (not count)


def test_a_day_that_is_an_hour_longer_or_shorter_is_the_same_weekday(folder: Lake, check) -> None:
    """Sundays in Berlin: on October 26, the clocks are turned back."""
    midnight = [datetime(2025, 10, 5, tzinfo=ZoneInfo("Europe/Berlin")) + number * DAY for number in range(30)]
    for number, count in ((0, 10), (7, 10), (14, 10), (21, 100), (28, 100)):
        folder.store(midnight[number].astimezone(UTC), midnight[number + 1].astimezone(UTC), orders=count)
    # on November 2, the median is that of 10, 10, 10 and 100
    assert (
        "has 100 orders, 900 % more than 10, the median of 4 intervals"
        in check({"volume_change": 0.5}, since="2025-10-01", until="2025-11-04")[0][0]
    )
    assert (
        "2025-10-25T22:00:00+00:00 to 2025-10-26T23:00:00+00:00, has 100 orders, 900 % more than 10, the m"
        in check({"volume_change": 0.5}, since="2025-10-01", until="2025-10-27")[0][0]
    )


# What cannot be known does not fail the task.


@pytest.mark.parametrize(
    ("orders", "reason"),
    [
        ((100, 100, 1), "can only be compared with 2 intervals of the same weekday and time before it; 3 are needed"),
        ((100, None, 100, 1), "can only be compared with 2 intervals"),
        (
            (100, 100, 100, None),
            "the number of orders of the newest interval, 2026-01-22T00:00:00+00:00 to 2026-01-23T",
        ),
        ((0, 0, 0, 5), "the median of 3 intervals of the same weekday and time before it is 0 orders"),
        ((), "no file counts"),
    ],
)
def test_a_volume_that_cannot_be_compared_is_a_warning(
    folder: Lake, check, orders: tuple[int | None, ...], reason: str
) -> None:
    store_weeks(folder, *orders)
    lines, warnings = check({"volume_change": 0.1})
    assert lines == []
    assert warnings.count("checks.volume_change: not checked, because ") == 1
    assert reason in warnings


def test_an_unknown_number_of_orders_is_a_warning(folder: Lake, check) -> None:
    folder.store(DAYS[0], DAYS[30], orders=None)
    lines, warnings = check({"min_orders": 4, "max_age": DAY})
    assert lines == []
    assert (
        "checks.min_orders: not checked, because the number of orders of the newest interval, 2026-01-01T" in warnings
    )
    assert "its manifest has orders null. Read the log of the task that stored the file" in warnings


# How many are missing.


def test_overlapping_intervals_of_one_day_are_one_to_compare_with(folder: Lake, check) -> None:
    for hours in (-1, 0, 1):
        start = DAYS[20] - WEEK + hours * HOUR
        folder.store(start, start + DAY, orders=10)
    folder.store(DAYS[20], DAYS[21], orders=1000)
    lines, warnings = check({"volume_change": 0.5})
    assert lines == []
    assert "can only be compared with 1 interval" in warnings


def test_missing_orders_of_all_files_are_counted_together(folder: Lake, check) -> None:
    folder.store(DAYS[0], DAYS[1], missing_orders=2, matched_orders=3)
    folder.store(DAYS[1], DAYS[2], missing_orders=0, matched_orders=3)
    folder.store(DAYS[2], DAYS[3], missing_orders=10, matched_orders=3)
    assert check({"max_missing_orders": 12}) == ([], "")
    (line,), warnings = check({"max_missing_orders": 11})
    assert warnings == ""
    assert line == (
        "checks.max_missing_orders: files lack 12 orders of the list, at most 11 may be missing: 2 from "
        "2026-01-01T00:00:00+00:00 to 2026-01-02T00:00:00+00:00; 10 from 2026-01-03T00:00:00+00:00 to "
        "2026-01-04T00:00:00+00:00. The log of the task that stored a file names up to ten of its missing orders. "
        "Export these intervals again; each export sends an e-mail"
    )


def test_a_message_names_the_first_of_many_intervals_with_missing_orders(folder: Lake, check) -> None:
    for start, end in pairwise(DAYS):
        folder.store(start, end, missing_orders=1)
    (line,), _ = check({"max_missing_orders": 0})
    assert "; 1 from 2026-01-20T00:00:00+00:00 to 2026-01-21T00:00:00+00:00; and 10 more. The" in line


def test_files_that_were_not_compared_with_the_list_are_a_warning(folder: Lake, check) -> None:
    folder.store(DAYS[0], DAYS[1])
    folder.store(DAYS[1], DAYS[2])
    lines, warnings = check({"max_missing_orders": 0})
    assert lines == []
    assert "not checked, because no file could be compared with the list of orders; set order_details" in warnings
    folder.store(DAYS[2], DAYS[3], missing_orders=0)
    lines, warnings = check({"max_missing_orders": 0})
    assert lines == []
    assert "only 1 of 3 files could be compared with the list of orders" in warnings


# An interval that was exported again.


def test_of_several_exports_of_an_interval_the_one_requested_latest_counts(folder: Lake, check) -> None:
    store_weeks(folder, 100, 100, 100, 20)
    assert len(check({"volume_change": 0.5, "min_orders": 50})[0]) == 2
    for number, (count, requested_at) in enumerate(((100, "2026-03-02"), (3, "2026-02-01"))):
        folder.store(
            DAYS[21], DAYS[22], orders=count, file=f"again{number}.csv", requested_at=f"{requested_at}T00:00:00+00:00"
        )
    assert check({"volume_change": 0.5, "min_orders": 50}) == ([], "")
    # the median likewise
    for week in range(3):
        folder.store(
            DAYS[7 * week], DAYS[7 * week + 1], orders=9, file=f"w{week}.csv", requested_at="2026-03-03T00:00:00+00:00"
        )
    assert "more than 9, the median of 3 intervals" in check({"volume_change": 0.5})[0][0]


def test_missing_orders_of_an_export_within_a_later_one_do_not_count(folder: Lake, check) -> None:
    folder.store(DAYS[3], DAYS[4], missing_orders=5)
    folder.store(DAYS[3], DAYS[5], missing_orders=0, file="a.csv", requested_at="2026-02-01T00:00:00+00:00")
    assert len(check({"max_missing_orders": 0})[0]) == 1
    folder.store(DAYS[3], DAYS[5], missing_orders=0, file="b.csv", requested_at="2026-03-02T00:00:00+00:00")
    assert check({"max_missing_orders": 0}) == ([], "")


# What the task does.


def test_every_finding_is_in_the_one_message_of_a_task_that_fails_without_a_retry(
    folder: Lake, make_context, logged
) -> None:
    store_weeks(folder, 100, 100, 100, 20)
    folder.store(DAYS[9], DAYS[10], missing_orders=1)
    context = make_context()
    operator = CruxExportCoverageOperator(
        task_id="check", path=folder.url, since=SINCE, until=UNTIL, fail_on_gap=True, checks=EVERY, retries=3
    )
    with pytest.raises(AirflowFailException) as caught:
        operator.execute(context)
    lines = str(caught.value).splitlines()
    starts = ["5 gaps in ", "checks.max_age: ", "checks.min_orders: ", "checks.volume_change: ", "checks.max_missing_o"]
    assert [line.startswith(start) for line, start in zip(lines, starts, strict=True)] == [True] * 5
    assert context["ti"].pushed["coverage"]["files"] == 5
    assert context["ti"].pushed["until"] == "2026-01-31T00:00:00+00:00"
    assert "5 files from 2026-01-01T00:00:00+00:00" in logged()


def test_the_gap_is_only_in_the_message_with_fail_on_gap(folder: Lake, check) -> None:
    folder.store(DAYS[0], DAYS[28], orders=3)
    assert [line[:17] for line in check({"min_orders": 4})[0]] == ["checks.min_orders"]


def test_files_that_do_not_count_are_not_checked_either(folder: Lake, check) -> None:
    folder.store(DAYS[0], DAYS[29], orders=5)
    folder.store(DAYS[29], DAYS[30], file="other.csv", host="elsewhere", orders=1, missing_orders=1)
    folder.store(DAYS[29], DAYS[30], file="short.csv", bytes=9, orders=1, missing_orders=1)
    lines, _ = check({"max_age": 2 * HOUR, "min_orders": 5, "max_missing_orders": 0})
    assert [line[:14] for line in lines] == ["checks.max_age"]


def test_without_a_check_nothing_is_checked(folder: Lake, check) -> None:
    assert check({}) == ([], "")


# Invalid arguments.


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"max_age": 26}, "checks.max_age: int 26 is not a timedelta of 0 or more; use one, for example timedelta(h"),
        ({"max_age": -HOUR}, "checks.max_age: timedelta datetime.timedelta(days=-1, seconds=82800) is not"),
        ({"min_orders": True}, "checks.min_orders: bool True is not a whole number of 0 or more; use one"),
        ({"min_orders": 1.0}, "checks.min_orders: float 1.0 is not a whole number"),
        ({"min_orders": -1}, "checks.min_orders: int -1 is not a whole number"),
        ({"volume_change": "50 %"}, "checks.volume_change: str '50 %' is not a number above 0 and up to 10; use"),
        ({"volume_change": True}, "checks.volume_change: bool True is not a number"),
        ({"volume_change": 0}, "checks.volume_change: int 0 is not a number above 0"),
        ({"volume_change": -0.5}, "checks.volume_change: float -0.5 is not"),
        ({"volume_change": float("nan")}, "checks.volume_change: float nan is not"),
        ({"volume_change": float("inf")}, "checks.volume_change: float inf is not"),
        ({"max_missing_orders": "{{ var.value.x }}"}, "checks.max_missing_orders: str '{{ var.value.x }}' is not a w"),
        ({"max_missing_orders": False}, "checks.max_missing_orders: bool False is not"),
    ],
    ids=str,
)
def test_an_invalid_value_fails_when_the_dag_is_parsed(values: dict[str, Any], problem: str) -> None:
    with pytest.raises(CruxInvalidRequestError) as caught:
        CoverageChecks(**values)
    assert str(caught.value).startswith(problem)


def test_all_invalid_values_are_named() -> None:
    with pytest.raises(CruxInvalidRequestError, match=r"checks\.max_age: .*; checks\.min_orders: "):
        CoverageChecks(max_age=1, min_orders="many", volume_change=1)  # type: ignore[arg-type]


@pytest.mark.parametrize("checks", [{"min_orders": 1}, "{{ params.checks }}", CoverageChecks])
def test_checks_of_another_type_fail_when_the_dag_is_parsed(checks: Any) -> None:
    with pytest.raises(
        CruxInvalidRequestError, match=r"Task 'check': checks: .* is not CoverageChecks; use CoverageCh"
    ):
        CruxExportCoverageOperator(task_id="check", path="s3://lake/", since=SINCE, checks=checks)


def test_airflow_stores_a_dag_with_checks_also_of_a_mapped_task() -> None:
    try:
        from airflow.serialization.serialized_objects import DagSerialization as Serialization
    except ImportError:
        from airflow.serialization.serialized_objects import SerializedDAG as Serialization

    with DAG("complete", schedule=None, start_date=DAYS[0]) as dag:
        CruxExportCoverageOperator(task_id="one", path="s3://lake/", since=SINCE, checks=EVERY)
        CruxExportCoverageOperator.partial(task_id="each", since=SINCE, checks=EVERY).expand(
            path=["s3://a/", "s3://b/"]
        )
    stored = Serialization.from_dict(Serialization.to_dict(dag))
    assert sorted(stored.task_dict) == ["each", "one"]
