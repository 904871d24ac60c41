"""What each poll of an export means, when the next one is due, and what a trigger's event carries."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_crux.api import polling
from airflow_provider_crux.api.polling import ExportPoller, PollAgain, WaitOutcome
from airflow_provider_crux.api.responses import Export
from airflow_provider_crux.exceptions import (
    CruxAuthenticationError,
    CruxExportFailedError,
    CruxExportTimeoutError,
    CruxNotFoundError,
    CruxUnavailableError,
)

UUID = "b9888421-594c-4d2f-9f0d-3b138a16c845"
URL = "https://files.example/orders.csv"
DONE, WITHOUT_FILE = Export(UUID, "COMPLETED", URL), Export(UUID, "COMPLETED")
PENDING, FAILED = Export(UUID, "pending"), Export(UUID, "FAILED")
START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def at(seconds: float) -> datetime:
    """Return the instant that many seconds after the start."""
    return START + timedelta(seconds=seconds)


def new_poller(timeout: float = 3600, poll_interval: float = 30) -> ExportPoller:
    return ExportPoller(UUID, accepted_at=START, deadline=at(timeout), poll_interval=poll_interval)


def test_a_wait_without_a_deadline_never_times_out() -> None:
    poller = ExportPoller(UUID, accepted_at=START, deadline=None, poll_interval=30)
    assert poller.first_delay(START).delay <= 30
    assert 27 <= poller.evaluate(PENDING, at(10**9)).delay <= 33


def test_an_export_that_is_done_ends_the_wait_even_after_the_deadline() -> None:
    assert new_poller(timeout=10).evaluate(DONE, at(99)) is DONE


def test_a_pending_export_is_polled_again_after_the_interval_plus_or_minus_a_tenth() -> None:
    delays = [new_poller().evaluate(PENDING, START).delay for _ in range(200)]
    assert 27 <= min(delays) < 29
    assert 31 < max(delays) <= 33


def test_first_polls_are_spread_over_the_interval() -> None:
    delays = [new_poller().first_delay(START).delay for _ in range(200)]
    assert 0 <= min(delays) < 5
    assert 25 < max(delays) <= 30


def test_no_poll_comes_before_the_first_one_is_due() -> None:
    poller = ExportPoller(UUID, accepted_at=START, deadline=at(100), poll_interval=0.1, first_poll_at=at(6))
    assert poller.first_delay(START).delay == 6
    assert poller.first_delay(at(10)).delay <= 0.1
    assert poller.first_delay(at(-1000)).delay == 1006


def test_no_poll_comes_before_the_first_one_is_due_even_if_the_deadline_is_earlier() -> None:
    poller = ExportPoller(UUID, accepted_at=START, deadline=at(2), poll_interval=30, first_poll_at=at(10))
    assert poller.first_delay(START).delay == 10


def test_the_rest_of_the_minute_in_which_an_export_may_be_unknown() -> None:
    not_found = CruxNotFoundError("404")
    assert [new_poller().evaluate(not_found, at(age)).rest_of_grace for age in (0, 45)] == [60, 15]
    assert new_poller().evaluate(PENDING, at(45)).rest_of_grace == 0


@given(st.floats(0, 100), st.floats(0.1, 1000))
def test_the_last_poll_is_neither_after_the_deadline_nor_skipped(remaining: float, poll_interval: float) -> None:
    poller = new_poller(timeout=100, poll_interval=poll_interval)
    now = at(100 - remaining)
    assert poller.deadline is not None
    assert 0 <= poller.first_delay(now).delay <= remaining + 1e-6
    if now < poller.deadline:
        assert poller.evaluate(PENDING, now).delay <= remaining + 1e-6


def test_a_poll_at_the_deadline_is_the_last_one() -> None:
    with pytest.raises(CruxExportTimeoutError, match=UUID):
        new_poller(timeout=100).evaluate(PENDING, at(100))
    assert isinstance(new_poller(timeout=100).evaluate(PENDING, at(99.9)), PollAgain)


def test_a_failed_export_is_an_error_with_the_status_of_crux_connect() -> None:
    with pytest.raises(CruxExportFailedError, match=f"{UUID}.*'FAILED'"):
        new_poller().evaluate(FAILED, START)


def test_an_unknown_status_is_logged_once_and_the_wait_continues() -> None:
    poller = new_poller()
    warnings = [
        poller.evaluate(Export(UUID, status), START).warning for status in ("polishing", "polishing", "pending")
    ]
    assert "'polishing'" in warnings[0]
    assert warnings[1:] == [None, None]


def test_an_export_without_a_file_is_logged_once_and_the_wait_continues() -> None:
    poller = new_poller()
    warnings = [poller.evaluate(WITHOUT_FILE, START).warning for _ in range(3)]
    assert warnings == [
        f"Export {UUID} has the status 'COMPLETED', but no file: it may hold no orders; still waiting",
        None,
        None,
    ]
    assert poller.evaluate(DONE, START) is DONE


@pytest.mark.parametrize("status", ["COMPLETED", "polishing"])
def test_a_timeout_says_what_the_last_poll_found_even_if_it_was_logged_before(status: str) -> None:
    poller = new_poller(timeout=100)
    poller.evaluate(Export(UUID, status), START)
    with pytest.raises(CruxExportTimeoutError, match=status):
        poller.evaluate(Export(UUID, status), at(100))


def test_a_timeout_does_not_repeat_what_only_an_earlier_poll_found() -> None:
    poller = new_poller(timeout=100)
    poller.evaluate(WITHOUT_FILE, START)
    with pytest.raises(CruxExportTimeoutError) as caught:
        poller.evaluate(PENDING, at(100))
    assert "no orders" not in str(caught.value)


def test_an_unknown_status_is_logged_briefly_and_without_what_resembles_a_secret() -> None:
    status = "at https://host/key?X-Amz-Signature=abcdef " + "x" * 999
    warning = new_poller().evaluate(Export(UUID, status), START).warning
    assert "abcdef" not in warning
    assert len(warning) < 400


def test_not_found_is_tolerated_within_a_minute_of_the_request() -> None:
    error = CruxNotFoundError("404")
    assert f"does not know export {UUID} yet" in new_poller().evaluate(error, at(59.9)).warning
    with pytest.raises(CruxNotFoundError):
        new_poller().evaluate(error, at(60))


def test_the_fifth_consecutive_transient_error_ends_the_wait() -> None:
    error, poller = CruxUnavailableError("503"), new_poller()
    assert all("in a row" in poller.evaluate(error, START).warning for _ in range(4))
    with pytest.raises(CruxUnavailableError):
        poller.evaluate(error, START)


def test_a_successful_poll_resets_the_count_of_errors() -> None:
    error, poller = CruxUnavailableError("503"), new_poller()
    for _ in range(3):
        assert all(isinstance(poller.evaluate(error, START), PollAgain) for _ in range(4))
        poller.evaluate(PENDING, START)


def test_a_permanent_error_ends_the_wait_immediately() -> None:
    with pytest.raises(CruxAuthenticationError):
        new_poller().evaluate(CruxAuthenticationError("401"), START)


def test_an_error_at_the_deadline_is_a_timeout_that_names_it() -> None:
    with pytest.raises(CruxExportTimeoutError, match="503"):
        new_poller(timeout=100).evaluate(CruxUnavailableError("503"), at(100))


@pytest.mark.parametrize("outcome", WaitOutcome)
def test_an_event_carries_the_export_and_the_outcome_and_nothing_else(outcome: WaitOutcome) -> None:
    event = polling.event_payload(UUID, outcome)
    assert event == {"export_uuid": UUID, "state": outcome.value}
    assert polling.outcome_from_event(event, export_uuid=UUID) is outcome


@pytest.mark.parametrize(
    "event",
    [
        None,
        "done",
        {},
        {"state": "done"},
        {"export_uuid": UUID},
        {"export_uuid": UUID, "state": "success"},
        {"export_uuid": UUID, "state": "pending"},
        {"export_uuid": UUID, "state": ["done"]},
        {"export_uuid": "11111111-594c-4d2f-9f0d-3b138a16c845", "state": "done"},
    ],
)
def test_an_invalid_event_leaves_the_outcome_unknown(event: object) -> None:
    assert polling.outcome_from_event(event, export_uuid=UUID) is WaitOutcome.UNKNOWN


@pytest.mark.parametrize("value", [0, -1, True, "30", None, float("nan"), float("inf")])
def test_an_argument_that_is_not_a_number_of_seconds_is_named(value: object) -> None:
    (problem,) = polling.wait_problems(value, 3600)
    assert problem.startswith(f"poll_interval: {value!r} ")
    (problem,) = polling.wait_problems(30, value)
    assert problem.startswith(f"timeout: {value!r} ")


def test_seconds_may_be_fractions() -> None:
    assert polling.wait_problems(0.1, 1) == []
