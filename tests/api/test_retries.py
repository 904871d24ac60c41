"""When a request is sent again, and when not."""

from __future__ import annotations

import pytest

from airflow_provider_crux.api import errors
from airflow_provider_crux.api.errors import Peer
from airflow_provider_crux.api.requests import (
    DOWNLOAD,
    REQUEST_EXPORT,
    Action,
    ApiResponse,
)
from airflow_provider_crux.api.retries import Retries, unwrap
from airflow_provider_crux.exceptions import CruxAmbiguousError, CruxError, CruxTransientError, CruxUnavailableError

GET_EXPORT = Action("get the status of the export")
PEER = Peer("connection 'crux_default'")


def response(status: int, **headers: str) -> ApiResponse:
    return ApiResponse(status=status, headers=headers, body=b"")


UNAVAILABLE = response(503, **{"retry-after": "0"})


class Server:
    """Returns its outcomes in turn, then the last one again and again; records the delay before each retry."""

    def __init__(self, *outcomes: ApiResponse | CruxError) -> None:
        self.outcomes = list(outcomes)
        self.attempts = 0
        self.delays: list[float] = []

    def __call__(self, action: Action) -> ApiResponse:
        outcome = self.outcomes[min(self.attempts, len(self.outcomes) - 1)]
        self.attempts += 1
        if isinstance(outcome, CruxError):
            raise outcome
        return outcome

    def send(self, action: Action, max_retries: int = 3) -> ApiResponse:
        """Send a request as every transport does, but without waiting."""
        outcome: ApiResponse | CruxTransientError
        retries = Retries(action, PEER, max_retries, clock=lambda: sum(self.delays))
        while True:
            try:
                outcome = self(action)
            except CruxTransientError as error:
                outcome = error
            delay = retries.delay_after(outcome)
            if delay is None:
                return unwrap(outcome)
            self.delays.append(delay)


@pytest.mark.parametrize("outcome", [response(429), errors.connection_failed(REQUEST_EXPORT, "refused", peer=PEER)])
@pytest.mark.parametrize("action", [REQUEST_EXPORT, GET_EXPORT], ids=["POST", "GET"])
def test_a_request_that_was_not_processed_is_sent_again(action, outcome) -> None:
    server = Server(outcome, outcome, response(200))
    assert server.send(action).status == 200
    assert server.attempts == 3
    assert 1 <= server.delays[0] <= 2 <= server.delays[1] <= 3


@pytest.mark.parametrize("action", [REQUEST_EXPORT, GET_EXPORT], ids=["POST", "GET"])
def test_a_request_is_sent_again_to_a_server_that_says_when_to_come_back(action) -> None:
    server = Server(response(503, **{"retry-after": "7"}), response(200))
    assert server.send(action).status == 200
    assert 7 <= server.delays[0] <= 8


@pytest.mark.parametrize("status", [500, 501, 502, 503, 504, 520, 408])
def test_a_post_that_may_have_been_processed_is_never_sent_again_but_a_get_is(status: int) -> None:
    server = Server(response(status), response(200))
    assert server.send(REQUEST_EXPORT).status == status
    assert server.attempts == 1
    assert Server(response(status), response(200)).send(GET_EXPORT).status == 200


def test_a_post_whose_response_was_lost_is_never_sent_again_but_a_get_is() -> None:
    server = Server(errors.response_lost(REQUEST_EXPORT, "reset", peer=PEER), response(200))
    with pytest.raises(CruxAmbiguousError, match="may send a second e-mail"):
        server.send(REQUEST_EXPORT)
    assert server.attempts == 1
    assert Server(errors.response_lost(GET_EXPORT, "reset", peer=PEER), response(200)).send(GET_EXPORT).status == 200


@pytest.mark.parametrize("status", [200, 301, 400, 401, 403, 404, 415, 422])
def test_a_final_response_is_not_retried(status: int) -> None:
    server = Server(response(status))
    assert server.send(GET_EXPORT).status == status
    assert server.attempts == 1


def test_the_last_response_is_returned_when_no_retry_is_left() -> None:
    server = Server(UNAVAILABLE)
    assert server.send(REQUEST_EXPORT, max_retries=2).status == 503
    assert server.attempts == 3
    server = Server(UNAVAILABLE)
    server.send(REQUEST_EXPORT, max_retries=0)
    assert server.attempts == 1


def test_the_budget_ends_the_retries_before_a_delay_that_exceeds_it() -> None:
    server = Server(response(429, **{"retry-after": "100"}))
    assert server.send(REQUEST_EXPORT, max_retries=99).status == 429
    assert server.attempts == 3  # at 0, 100 and 200 seconds; a fourth would come after the budget of 300


def test_the_budget_counts_what_slow_attempts_used_of_it() -> None:
    def delay(elapsed: float) -> float | None:
        clock = iter([1000, 1000 + elapsed])
        return Retries(REQUEST_EXPORT, PEER, max_retries=99, clock=lambda: next(clock)).delay_after(response(429))

    assert delay(297) is not None
    assert delay(299) is None


def test_our_own_delay_grows_to_half_a_minute() -> None:
    retries = Retries(GET_EXPORT, PEER, max_retries=999)
    delays = [retries.delay_after(response(500)) for _ in range(999)]
    bases = [1, 2, 4, 8, 16, *[30] * 994]
    assert all(base <= delay <= base + 1 for base, delay in zip(bases, delays, strict=True) if delay is not None)
    assert None not in delays


@pytest.mark.parametrize(
    ("outcome", "post", "get"),
    [
        (response(200), False, False),
        (response(400), False, False),
        (response(429), True, True),
        (UNAVAILABLE, True, True),
        (response(503), False, True),
        (response(429, **{"retry-after": "soon"}), True, True),
        (response(500), False, True),
        (CruxUnavailableError("no connection"), True, True),
    ],
)
def test_which_outcomes_are_retried(outcome, post: bool, get: bool) -> None:
    for action, retried in ((REQUEST_EXPORT, post), (GET_EXPORT, get)):
        delay = Retries(action, PEER, max_retries=3).delay_after(outcome)
        assert (delay is not None) is retried


def test_a_file_is_requested_again_after_every_status_but_those_that_stay() -> None:
    storage = Peer("connection 'crux_default'", file_host="files.example:443")
    for status in (204, 302, 400, 404, 410, 500):
        assert Retries(DOWNLOAD, storage, max_retries=3).delay_after(response(status)) is not None
    for status in (200, 403, 407):
        assert Retries(DOWNLOAD, storage, max_retries=3).delay_after(response(status)) is None


def test_the_log_says_why_and_when_a_request_is_sent_again() -> None:
    retries = Retries(GET_EXPORT, PEER, max_retries=3)
    assert retries.message(response(503), 2.04) == (
        "Could not get the status of the export: Crux Connect returned HTTP 503. Retrying in 2.0 s"
    )
    error = CruxUnavailableError("Could not log in: cannot connect")
    assert retries.message(error, 2) == "Could not log in: cannot connect. Retrying in 2.0 s"


def test_an_outcome_is_the_response_or_raises_its_error() -> None:
    assert unwrap(response(503)).status == 503
    with pytest.raises(CruxTransientError, match="no connection"):
        unwrap(CruxUnavailableError("no connection"))


def test_retry_after_takes_precedence_over_our_own_delay() -> None:
    server = Server(response(429, **{"retry-after": "40"}), response(200))
    server.send(REQUEST_EXPORT)
    assert 40 <= server.delays[0] <= 41
