"""When to send a request again, decided once for every transport, as arguments of :mod:`tenacity`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from airflow_provider_crux.api.errors import Peer, file_may_come_later
from airflow_provider_crux.api.requests import DOWNLOAD, ApiRequest, ApiResponse
from airflow_provider_crux.api.statuses import may_have_been_processed, retry_after, was_not_processed
from airflow_provider_crux.exceptions import CruxTransientError

if TYPE_CHECKING:
    from tenacity import RetryCallState

MAX_RETRIES: Final = 3
"""How often a request is sent again at most, unless the connection says otherwise."""

RETRY_BUDGET: Final = 300.0
"""Seconds after which no further attempt at one request begins."""

_FIRST_DELAY: Final = 1.0
_MAX_DELAY: Final = 30.0

Outcome = ApiResponse | CruxTransientError
"""What one attempt led to. Every other error ends the request."""


def should_retry(request: ApiRequest, outcome: Outcome) -> bool:
    """
    Tell whether to send the same request again.

    A transient error, 429, and 503 with ``Retry-After`` say that nothing was processed. After another 503, 500, 502 and
    the like, something may have been: only an idempotent request is sent again. A download is sent again after nearly
    every status.
    """
    if isinstance(outcome, CruxTransientError):
        return True
    if request is DOWNLOAD:
        return file_may_come_later(outcome)
    return was_not_processed(outcome) or (request.idempotent and may_have_been_processed(outcome))


def unwrap(outcome: Outcome) -> ApiResponse:
    """Return the response of an attempt, or raise its error."""
    if isinstance(outcome, CruxTransientError):
        raise outcome
    return outcome


def retry_message(request: ApiRequest, outcome: Outcome, *, peer: Peer, delay: float) -> str:
    """Return what the log says before a retry after ``delay`` seconds."""
    if isinstance(outcome, CruxTransientError):
        return f"{outcome}. Retrying in {delay:.1f} s"
    return f"Could not {request.action}: {peer} returned HTTP {outcome.status}. Retrying in {delay:.1f} s"


def retry_policy(request: ApiRequest, *, max_retries: int, elapsed: float = 0.0) -> dict[str, Any]:
    """
    Return the arguments of ``tenacity.Retrying`` or ``tenacity.AsyncRetrying`` for one request.

    The delay grows from 1 second to 30, with jitter; ``Retry-After`` takes precedence. After the last retry, or once
    the budget of 300 seconds is used up, the last response is returned or the last error raised.

    :param request: what is sent.
    :param max_retries: how often it may be sent again.
    :param elapsed: seconds of the budget already used; default 0.
    """
    from tenacity import (
        retry_if_exception_type,
        retry_if_result,
        stop_after_attempt,
        stop_before_delay,
        wait_exponential_jitter,
        wait_random,
    )

    backoff = wait_exponential_jitter(initial=_FIRST_DELAY, max=_MAX_DELAY, jitter=_FIRST_DELAY)
    # clients that wait exactly as long as the server says would all come back together
    jitter = wait_random(0, _FIRST_DELAY)

    def delay(state: RetryCallState) -> float:
        outcome = state.outcome
        response = None if outcome is None or outcome.failed else outcome.result()
        requested = None if response is None else retry_after(response, now=datetime.now(UTC))
        return backoff(state) if requested is None else requested + jitter(state)

    return {
        "retry": retry_if_exception_type(CruxTransientError)
        | retry_if_result(lambda response: should_retry(request, response)),
        "wait": delay,
        "stop": stop_after_attempt(max_retries + 1) | stop_before_delay(RETRY_BUDGET - elapsed),
        "retry_error_callback": lambda state: state.outcome.result(),
    }
