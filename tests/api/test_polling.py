"""What each look at an export means for whoever waits for it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_crux.api import polling, waiting
from airflow_provider_crux.api.responses import Export
from airflow_provider_crux.api.polling import PollAgain, Wait, ExportState
from airflow_provider_crux.exceptions import (
    CruxAuthenticationError,
    CruxExportFailedError,
    CruxExportTimeoutError,
    CruxNotFoundError,
    CruxUnavailableError,
)

UUID = "b9888421-594c-4d2f-9f0d-3b138a16c845"
DONE, PENDING, FAILED = (Export(UUID, word) for word in ("COMPLETED", "pending", "FAILED"))
START = 1_000_000.0


def wait(timeout: float = 3600, poll_interval: float = 30) -> Wait:
    return ExportPoller(UUID, requested_at=START, deadline=START + timeout, poll_interval=poll_interval)


def test_a_done_export_ends_the_wait_even_after_the_deadline() -> None:
    assert wait(timeout=10).evaluate(DONE, START + 99) is DONE


def test_a_pending_export_is_looked_at_again_after_the_interval_give_or_take_a_tenth() -> None:
    seconds = [wait().evaluate(PENDING, START).seconds for _ in range(200)]
    assert 27 <= min(seconds) < 29
    assert 31 < max(seconds) <= 33


def test_first_looks_are_spread_over_the_interval() -> None:
    seconds = [wait().first_delay(START).seconds for _ in range(200)]
    assert 0 <= min(seconds) < 5
    assert 25 < max(seconds) <= 30


def test_nobody_looks_before_the_wait_begins() -> None:
    waits = ExportPoller(UUID, requested_at=START, deadline=START + 100, poll_interval=0.1, first_poll_at=START + 6)
    assert waits.first_delay(START).seconds == 6
    assert waits.first_delay(START + 10).seconds <= 0.1
    assert waits.first_delay(START - 1000).seconds == 1006


@given(st.floats(0, 100), st.floats(0.1, 1000))
def test_the_last_look_is_neither_later_than_the_deadline_nor_left_out(left: float, poll_interval: float) -> None:
    waits = wait(timeout=100, poll_interval=poll_interval)
    now = START + 100 - left
    assert 0 <= waits.first_delay(now).seconds <= left + 1e-6
    if now < waits.deadline:
        assert waits.evaluate(PENDING, now).seconds <= left + 1e-6


def test_a_look_at_the_deadline_decides() -> None:
    with pytest.raises(CruxExportTimeoutError, match=UUID):
        wait(timeout=100).evaluate(PENDING, START + 100)
    assert isinstance(wait(timeout=100).evaluate(PENDING, START + 99.9), PollAgain)


def test_a_failed_export_is_told_with_the_word_of_crux_connect() -> None:
    with pytest.raises(CruxExportFailedError, match=f"{UUID}.*'FAILED'"):
        wait().evaluate(FAILED, START)


def test_a_new_word_is_told_once_and_waited_out() -> None:
    waits = wait()
    remarks = [waits.evaluate(Export(UUID, word), START).remark for word in ("polishing", "polishing", "pending")]
    assert "'polishing'" in remarks[0]
    assert remarks[1:] == [None, None]


def test_a_new_word_is_cut_short_and_loses_what_looks_like_a_secret() -> None:
    remark = wait().evaluate(Export(UUID, "at https://host/key?X-Amz-Signature=abcdef " + "x" * 999), START).remark
    assert "abcdef" not in remark
    assert len(remark) < 400


def test_not_found_means_wait_within_a_minute_of_the_request() -> None:
    error = CruxNotFoundError("404")
    assert "not known yet" in wait().evaluate(error, START + 59.9).remark
    with pytest.raises(CruxNotFoundError):
        wait().evaluate(error, START + 60)


def test_the_fifth_failure_in_a_row_ends_the_wait() -> None:
    error, waits = CruxUnavailableError("503"), wait()
    assert all("in a row" in waits.evaluate(error, START).remark for _ in range(4))
    with pytest.raises(CruxUnavailableError):
        waits.evaluate(error, START)


def test_a_success_forgives_the_failures_before_it() -> None:
    error, waits = CruxUnavailableError("503"), wait()
    for _ in range(3):
        assert all(isinstance(waits.evaluate(error, START), PollAgain) for _ in range(4))
        waits.evaluate(PENDING, START)


def test_an_error_that_will_not_pass_ends_the_wait_at_once() -> None:
    with pytest.raises(CruxAuthenticationError):
        wait().evaluate(CruxAuthenticationError("401"), START)


def test_a_failure_at_the_deadline_is_a_timeout_that_says_so() -> None:
    with pytest.raises(CruxExportTimeoutError, match="503"):
        wait(timeout=100).evaluate(CruxUnavailableError("503"), START + 100)


@pytest.mark.parametrize("state", ExportState)
def test_an_event_is_read_as_it_was_written_and_holds_nothing_else(state: ExportState) -> None:
    event = polling.event_payload(UUID, state)
    assert event == {"export_uuid": UUID, "state": state.value}
    assert polling.state_from_event(event, export_uuid=UUID) is state


@pytest.mark.parametrize(
    "event",
    [
        None,
        "done",
        {},
        {"state": "done"},
        {"export_uuid": UUID},
        {"export_uuid": UUID, "state": "success"},
        {"export_uuid": UUID, "state": ["done"]},
        {"export_uuid": "11111111-594c-4d2f-9f0d-3b138a16c845", "state": "done"},
    ],
)
def test_an_event_that_cannot_be_believed_means_look_yourself(event: object) -> None:
    assert polling.state_from_event(event, export_uuid=UUID) is ExportState.UNKNOWN


@pytest.mark.parametrize("value", [0, -1, True, "30", None, float("nan"), float("inf")])
def test_intervals_that_are_no_seconds_are_named(value: object) -> None:
    (told,) = polling.violations(value, 3600)
    assert told.startswith(f"poll_interval: {value!r} ")
    (told,) = polling.violations(30, value)
    assert told.startswith(f"timeout: {value!r} ")


def test_seconds_may_be_fractions() -> None:
    assert polling.violations(0.1, 1) == []
