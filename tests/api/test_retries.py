"""When a call is sent again, run through tenacity as every transport runs it, but without waiting."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tenacity import Retrying

from airflow_provider_crux.api import calls, failures
from airflow_provider_crux.api.requests import NIL_UUID, ApiResponse
from airflow_provider_crux.api.orders import OrdersExportRequest
from airflow_provider_crux.api.retries import repetition, retry_after
from airflow_provider_crux.exceptions import CruxAmbiguousError, CruxError

POST = export_orders_request(OrdersExportRequest())
GET = get_export_request(NIL_UUID)
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def answered(status: int, **headers: str) -> ApiResponse:
    return ApiResponse(status=status, headers=headers, body=b"")


class Server:
    """Gives its outcomes in turn, the last one for ever, and remembers how long it was left alone."""

    def __init__(self, *outcomes: ApiResponse | CruxError) -> None:
        self.outcomes = list(outcomes)
        self.asked = 0
        self.waits: list[float] = []

    def __call__(self, call: ApiRequest) -> ApiResponse:
        outcome = self.outcomes[min(self.asked, len(self.outcomes) - 1)]
        self.asked += 1
        if isinstance(outcome, CruxError):
            raise outcome
        return outcome

    def ask(self, call: ApiRequest, max_retries: int = 3) -> ApiResponse:
        return Retrying(**retry_policy(call, max_retries=max_retries), sleep=self.waits.append)(self, call)


@pytest.mark.parametrize("outcome", [answered(429), answered(503), failures.not_connected(POST, "refused")])
@pytest.mark.parametrize("call", [POST, GET], ids=["POST", "GET"])
def test_what_surely_was_not_processed_is_sent_again(call, outcome) -> None:
    server = Server(outcome, outcome, answered(200))
    assert server.ask(call).status == 200
    assert server.asked == 3
    assert 1 <= server.waits[0] <= 2 <= server.waits[1] <= 3


@pytest.mark.parametrize("status", [500, 501, 502, 504, 520, 408])
def test_a_post_that_may_have_been_processed_is_never_sent_again_but_a_get_is(status: int) -> None:
    server = Server(answered(status), answered(200))
    assert server.ask(POST).status == status
    assert server.asked == 1
    assert Server(answered(status), answered(200)).ask(GET).status == 200


def test_a_post_whose_answer_was_lost_is_never_sent_again_but_a_get_is() -> None:
    server = Server(failures.answer_lost(POST, "reset"), answered(200))
    with pytest.raises(CruxAmbiguousError, match="may come twice"):
        server.ask(POST)
    assert server.asked == 1
    assert Server(failures.answer_lost(GET, "reset"), answered(200)).ask(GET).status == 200


@pytest.mark.parametrize("status", [200, 301, 400, 401, 403, 404, 415, 422])
def test_an_answer_that_settles_the_matter_is_not_asked_for_twice(status: int) -> None:
    server = Server(answered(status))
    assert server.ask(GET).status == status
    assert server.asked == 1


def test_the_retries_end_with_the_last_answer() -> None:
    server = Server(answered(503))
    assert server.ask(POST, max_retries=2).status == 503
    assert server.asked == 3
    server = Server(answered(503))
    server.ask(POST, max_retries=0)
    assert server.asked == 1


def test_the_budget_ends_the_retries_before_a_wait_that_goes_beyond_it(monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    server = Server(answered(429, **{"retry-after": "100"}))
    elapsed = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: elapsed[0])

    def sleep(seconds: float) -> None:
        elapsed[0] += seconds

    Retrying(**retry_policy(POST, max_retries=99), sleep=sleep)(server, POST)
    assert server.asked == 3  # at 0, 100 and 200 seconds; a fourth would come after the budget of 300


def test_retry_after_goes_before_our_own_wait() -> None:
    server = Server(answered(429, **{"retry-after": "40"}), answered(200))
    server.ask(POST)
    assert 40 <= server.waits[0] <= 41


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
def test_both_forms_of_retry_after_are_read_and_capped(value: str, seconds: float | None) -> None:
    assert retry_after(answered(503, **{"retry-after": value}), now=NOW) == seconds
    assert retry_after(answered(503), now=NOW) is None


@given(st.text())
def test_no_retry_after_whatever_breaks_the_client(value: str) -> None:
    seconds = retry_after(answered(503, **{"retry-after": value}), now=NOW)
    assert seconds is None or 0 <= seconds <= 120
