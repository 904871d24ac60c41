"""The request for an export of orders: its body, and what it rejects before anything is sent."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_crux.api.orders import LINE_ITEM_STATUSES, OrdersExportRequest, Sort, request_problems
from airflow_provider_crux.exceptions import CruxInvalidRequestError

# The specification's example, unchanged.
EXAMPLE = """
{
  "start": 0,
  "limit": 25,
  "sort": {
    "key": "uuid",
    "dir": "des"
  },
  "line_item_status": [
    "unallocated"
  ],
  "status_conjunction": "or",
  "start_date": "2017-07-31T06:00:00.000Z",
  "end_date": "2018-08-03T06:00:00.000Z"
}
"""


def test_the_example_of_the_specification_is_sent_unchanged() -> None:
    request = OrdersExportRequest(
        start=0,
        limit=25,
        sort={"key": "uuid", "dir": "des"},
        line_item_status=["unallocated"],
        status_conjunction="or",
        start_date=datetime(2017, 7, 31, 6, tzinfo=UTC),
        end_date=datetime(2018, 8, 3, 6, tzinfo=UTC),
    )
    assert json.dumps(request.as_json()) == json.dumps(json.loads(EXAMPLE))


def test_a_field_that_is_not_set_is_not_sent() -> None:
    assert OrdersExportRequest().as_json() == {}
    assert OrdersExportRequest(start=0).as_json() == {"start": 0}


def test_desc_is_sent_as_des() -> None:
    assert OrdersExportRequest(sort={"key": "date", "dir": "desc"}).as_json()["sort"]["dir"] == "des"
    assert OrdersExportRequest(sort=Sort("date", "desc")) == OrdersExportRequest(sort=Sort("date", "des"))


def test_a_request_does_not_change_with_the_lists_it_was_created_from() -> None:
    statuses, sort = ["unallocated"], {"key": "date", "dir": "asc"}
    request = OrdersExportRequest(line_item_status=statuses, sort=sort)
    statuses.append("rejected")
    sort["dir"] = "des"
    request.as_json()["line_item_status"].append("rejected")
    assert request.as_json() == {"line_item_status": ["unallocated"], "sort": {"key": "date", "dir": "asc"}}
    with pytest.raises(AttributeError):
        request.start = 1  # type: ignore[misc]


@pytest.mark.parametrize("conjunction", ["only", "all", "and", "or"])
def test_only_and_all_are_sent_as_the_user_chose(conjunction: str) -> None:
    request = OrdersExportRequest(line_item_status=["rejected"], status_conjunction=conjunction)
    assert request.as_json()["status_conjunction"] == conjunction


@pytest.mark.parametrize(
    ("fields", "field", "value", "remedy"),
    [
        ({"start": -1}, "start:", "-1", "0 or more"),
        ({"start": -(10**5000)}, "start:", "too long to show", "0 or more"),
        ({"start": 2**53}, "start:", "9007199254740992", "up to 9007199254740991"),
        ({"limit": 10**5000}, "limit:", "too long to show", "up to 9007199254740991"),
        ({"start": True}, "start:", "True", "whole number"),
        ({"start": "3"}, "start:", "'3'", "whole number"),
        ({"limit": 2.5}, "limit:", "2.5", "whole number"),
        ({"start": 8, "limit": 4}, "limit:", "4", "8"),
        ({"sort": "date"}, "sort:", "'date'", "'dir': 'asc'"),
        ({"sort": {"key": " ", "dir": "asc"}}, "sort:", "' '", "non-empty"),
        ({"sort": {"key": "date"}}, "sort:", "None", "'asc'"),
        ({"sort": {"key": "date", "dir": "down"}}, "sort:", "'down'", "'des'"),
        ({"sort": {"key": "date", "dir": "asc", "by": 1}}, "sort:", "by", "'key'"),
        ({"line_item_status": "rejected"}, "line_item_status:", "'rejected'", "['unallocated']"),
        ({"line_item_status": []}, "line_item_status:", "empty", "leave the argument out"),
        ({"line_item_status": ["lost"]}, "line_item_status:", "'lost'", "backordered"),
        ({"line_item_status": ["rejected", "rejected"]}, "line_item_status:", "rejected", "once"),
        ({"status_conjunction": "or"}, "status_conjunction:", "'or'", "line_item_status"),
        ({"line_item_status": ["rejected"], "status_conjunction": "OR"}, "status_conjunction:", "'OR'", "and, or"),
        (
            {"line_item_status": ["rejected", "allocated"], "status_conjunction": "only"},
            "status_conjunction:",
            "'only'",
            "name one",
        ),
        (
            {"line_item_status": ["rejected", "allocated"], "status_conjunction": "all"},
            "status_conjunction:",
            "'all'",
            "name one",
        ),
        ({"start_date": datetime(2026, 1, 1)}, "start_date:", "2026-01-01", "time zone"),
        ({"end_date": "2026-01-01"}, "end_date:", "'2026-01-01'", "datetime"),
        (
            {"end_date": datetime(9999, 12, 31, 23, tzinfo=timezone(timedelta(hours=-2)))},
            "end_date:",
            "9999-12-31",
            "within",
        ),
        (
            {"start_date": datetime(2026, 1, 2, tzinfo=UTC), "end_date": datetime(2026, 1, 1, tzinfo=UTC)},
            "end_date:",
            "2026-01-01",
            "later",
        ),
    ],
)
def test_a_violated_rule_is_reported_with_field_value_and_remedy(fields, field, value, remedy) -> None:
    with pytest.raises(CruxInvalidRequestError) as caught:
        OrdersExportRequest(**fields)
    message = str(caught.value)
    assert message.startswith(field)
    assert value in message
    assert remedy in message
    assert len(request_problems(fields)) == 1, "one fault, one message"


def test_a_value_of_any_length_is_shown_briefly() -> None:
    for value in ("9" * 5000, [10**5000]):
        (problem,) = request_problems({"start": value})
        assert problem.startswith(f"start: {type(value).__name__} ")
        assert len(problem) < 250


def test_a_search_within_the_hour_that_occurs_twice_is_not_reversed() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    request = OrdersExportRequest(
        start_date=datetime(2026, 10, 25, 2, 30, tzinfo=berlin),
        end_date=datetime(2026, 10, 25, 2, 15, tzinfo=berlin, fold=1),
    )
    assert request.as_json() == {"start_date": "2026-10-25T00:30:00.000Z", "end_date": "2026-10-25T01:15:00.000Z"}


def test_several_violated_rules_are_reported_at_once() -> None:
    with pytest.raises(CruxInvalidRequestError) as caught:
        OrdersExportRequest(start=-1, sort={"key": "", "dir": "up"}, line_item_status=["lost"])
    for field in ("start: -1", "sort: key", "sort: dir", "line_item_status:"):
        assert field in str(caught.value)


def test_a_field_that_is_unknown_yet_violates_no_rule() -> None:
    values = {"status_conjunction": "or", "limit": 3}
    assert request_problems(values, unknown=frozenset({"line_item_status", "start"})) == []
    assert request_problems(values, unknown=frozenset({"start"})) != []


zoned = st.datetimes(
    min_value=datetime(1900, 1, 1), max_value=datetime(2200, 1, 1), timezones=st.timezones(), allow_imaginary=False
)


@given(zoned)
def test_an_instant_is_sent_in_utc_truncated_to_the_second(moment: datetime) -> None:
    text = OrdersExportRequest(start_date=moment).as_json()["start_date"]
    assert len(text) == len("YYYY-MM-DDThh:mm:ss.000Z")
    assert text.endswith(".000Z")
    assert timedelta(0) <= moment - datetime.fromisoformat(text) < timedelta(seconds=1)


@given(st.lists(st.sampled_from(LINE_ITEM_STATUSES), min_size=1, unique=True), st.integers(0, 99), st.integers(0, 99))
def test_a_valid_request_survives_json_unchanged(statuses: list[str], start: int, length: int) -> None:
    request = OrdersExportRequest(line_item_status=statuses, start=start, limit=start + length)
    assert json.loads(json.dumps(request.as_json())) == {
        "line_item_status": statuses,
        "start": start,
        "limit": start + length,
    }
