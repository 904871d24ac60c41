"""The record of an export that travels in XComs, in a deferral and to the retries of a task."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from airflow_provider_crux.api.exports import SubmittedExport
from airflow_provider_crux.api.orders import OrdersExportRequest, Sort
from airflow_provider_crux.exceptions import CruxInvalidRequestError

UUID = "b9888421-594c-4d2f-9f0d-3b138a16c845"
NOON = datetime(2026, 1, 5, 12, 0, 7, 250_000, tzinfo=UTC)
REQUEST = OrdersExportRequest(
    start=0,
    sort=Sort("date", "desc"),
    line_item_status=["rejected"],
    start_date=datetime(2026, 1, 4, tzinfo=timezone(timedelta(hours=1))),
    end_date=datetime(2026, 1, 5, tzinfo=UTC),
)
KNOWN = SubmittedExport(UUID, REQUEST, NOON, NOON + timedelta(seconds=1), "crux_default")
UNKNOWN = SubmittedExport(UUID, None, None)


def through_json(value: object) -> Any:
    return json.loads(json.dumps(value))


def test_the_xcom_contains_what_other_tasks_need() -> None:
    assert KNOWN.as_xcom() == {
        "export_uuid": UUID,
        "interval_start": "2026-01-03T23:00:00.000Z",
        "interval_end": "2026-01-05T00:00:00.000Z",
        "requested_at": "2026-01-05T12:00:07.250000+00:00",
        "request": REQUEST.as_json(),
    }
    assert UNKNOWN.as_xcom() == {"export_uuid": UUID} | dict.fromkeys(
        ("interval_start", "interval_end", "requested_at", "request")
    )


@pytest.mark.parametrize("export", [KNOWN, UNKNOWN], ids=["known", "UUID alone"])
def test_what_was_written_is_read(export: SubmittedExport) -> None:
    assert SubmittedExport.from_xcom(through_json(export.as_json())) == export
    without_response = SubmittedExport(export.export_uuid, export.request, export.requested_at)
    assert SubmittedExport.from_xcom(through_json(export.as_xcom())) == without_response


def test_the_interval_is_that_of_the_request() -> None:
    assert (KNOWN.interval_start, KNOWN.interval_end) == (REQUEST.start_date, REQUEST.end_date)
    assert (UNKNOWN.interval_start, UNKNOWN.interval_end) == (None, None)


@pytest.mark.parametrize(
    "value",
    [
        None,
        UUID,
        [],
        {},
        {"export_uuid": "../x"},
        {"export_uuid": UUID, "request": "all"},
        {"export_uuid": UUID, "request": ["all"]},
        {"export_uuid": UUID, "request": {"filters": 1}},
        {"export_uuid": UUID, "request": {"start_date": "2026-01-01"}},
        {"export_uuid": UUID, "request": {"start_date": 7}},
        {"export_uuid": UUID, "request": {"sort": {7: 7}}},
        {"export_uuid": UUID, "requested_at": "now"},
        {"export_uuid": UUID, "requested_at": 1e300},
        {"export_uuid": UUID, "requested_at": "2026-01-01T00:00:00"},
        {"export_uuid": UUID, "accepted_at": "0001-01-01T00:00:00+14:00"},
        {"export_uuid": UUID, "crux_conn_id": 7},
    ],
    ids=repr,
)
def test_a_damaged_value_is_an_error_with_a_name(value: object) -> None:
    with pytest.raises(CruxInvalidRequestError, match=r"export_interval: .* is not the record of an export"):
        SubmittedExport.from_xcom(value)


def test_requests_are_equal_if_their_bodies_are() -> None:
    same = OrdersExportRequest(
        start=0,
        sort={"key": "date", "dir": "des"},
        line_item_status=("rejected",),
        start_date=datetime(2026, 1, 3, 23, 0, 0, 999_999, tzinfo=UTC),
        end_date=datetime(2026, 1, 5, 2, tzinfo=timezone(timedelta(hours=2))),
    )
    assert same == REQUEST
    assert same.as_json() == REQUEST.as_json()
