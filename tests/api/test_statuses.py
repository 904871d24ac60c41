"""What an error status says about a request: whether it may have been processed, and when to send it again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_crux.api.requests import ApiResponse
from airflow_provider_crux.api.statuses import may_have_been_processed, retry_after, was_not_processed

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def response(status: int, **headers: str) -> ApiResponse:
    return ApiResponse(status=status, headers=headers, body=b"")


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0),
        ("17", 17),
        (" 17 ", 17),
        ("99999999999999999999", 120),
        (format_datetime(NOW + timedelta(seconds=30), usegmt=True), 30),
        ("Friday, 02-Jan-26 03:04:35 GMT", 30),
        (format_datetime(NOW + timedelta(days=1), usegmt=True), 120),
        (format_datetime(NOW - timedelta(days=1), usegmt=True), 0),
        ("-5", None),
        ("soon", None),
        ("١٢", None),
        ("", None),
    ],
)
def test_both_forms_of_retry_after_are_read_and_limited(value: str, seconds: float | None) -> None:
    assert retry_after(response(503, **{"retry-after": value}), now=NOW) == seconds
    assert retry_after(response(503), now=NOW) is None


@given(st.text())
def test_no_value_of_retry_after_is_an_error(value: str) -> None:
    seconds = retry_after(response(503, **{"retry-after": value}), now=NOW)
    assert seconds is None or 0 <= seconds <= 120


@pytest.mark.parametrize(
    ("value", "valid"),
    [
        ("0", True),
        ("120", True),
        ("Wed, 21 Oct 2015 07:28:00 GMT", True),
        ("Fri, 31 Dec 9999 23:59:59 GMT", True),
        ("", False),
        ("soon", False),
        ("-5", False),
        ("7.5", False),
        ("7, 7", False),
    ],
)
def test_only_a_valid_retry_after_proves_that_an_unavailable_server_did_not_process_a_request(
    value: str, valid: bool
) -> None:
    assert was_not_processed(response(503, **{"retry-after": value})) is valid
    assert may_have_been_processed(response(503, **{"retry-after": value})) is not valid
    assert may_have_been_processed(response(503))


@given(st.integers(100, 599), st.none() | st.sampled_from(["0", "soon", ""]) | st.text())
def test_no_response_is_both_processed_and_not(status: int, value: str | None) -> None:
    received = response(status, **({} if value is None else {"retry-after": value}))
    assert not (was_not_processed(received) and may_have_been_processed(received))
    valid = retry_after(received, now=NOW) is not None
    assert was_not_processed(received) is (status == 429 or (status == 503 and valid))
