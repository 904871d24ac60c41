"""When to send a request again, decided once for every transport. A transport sends, waits and counts."""

from __future__ import annotations

import random
from datetime import datetime
from typing import Final, TypeVar

from airflow_provider_crux.api.errors import Peer, file_may_come_later
from airflow_provider_crux.api.requests import Action, ApiResponse
from airflow_provider_crux.api.statuses import may_have_been_processed, retry_after, was_not_processed
from airflow_provider_crux.exceptions import CruxTransientError

MAX_RETRIES: Final = 3
"""How often a request is sent again at most, unless the connection says otherwise."""

RETRY_BUDGET: Final = 300.0
"""Seconds after which no further attempt at one request begins."""

_FIRST_DELAY: Final = 1.0
_MAX_DELAY: Final = 30.0

R = TypeVar("R", bound=ApiResponse)

Outcome = ApiResponse | CruxTransientError
"""What one attempt led to. Every other error ends the request."""


def retry_delay(
    action: Action, outcome: Outcome, *, peer: Peer, attempt: int, elapsed: float, max_retries: int, now: datetime
) -> float | None:
    """
    Return how many seconds to wait before the request is sent again; ``None`` if this outcome is final.

    The delay grows from 1 second to 30, with jitter; ``Retry-After`` takes precedence.

    :param attempt: number of this attempt, from 1.
    :param elapsed: seconds since the first attempt began.
    """
    if attempt > max_retries or not _should_retry(action, outcome, peer):
        return None
    requested = None if isinstance(outcome, CruxTransientError) else retry_after(outcome, now=now)
    delay = min(_FIRST_DELAY * 2 ** (attempt - 1), _MAX_DELAY) if requested is None else requested
    # clients that wait exactly as long as the server says would all come back together
    delay += random.uniform(0, _FIRST_DELAY)  # noqa: S311 - no secret
    return delay if elapsed + delay < RETRY_BUDGET else None


def _should_retry(action: Action, outcome: Outcome, peer: Peer) -> bool:
    """
    Tell whether to send the same request again.

    A transient error, 429, and 503 with ``Retry-After`` say that nothing was processed. After another 503, 500, 502 and
    the like, something may have been: only an idempotent request is sent again. A file is requested again after nearly
    every status.
    """
    if isinstance(outcome, CruxTransientError):
        return True
    if peer.file_host:
        return file_may_come_later(outcome)
    return was_not_processed(outcome) or (action.idempotent and may_have_been_processed(outcome))


def unwrap(outcome: R | CruxTransientError) -> R:
    """Return the response of an attempt, or raise its error."""
    if isinstance(outcome, CruxTransientError):
        raise outcome
    return outcome


def retry_message(action: Action, outcome: Outcome, *, peer: Peer, delay: float) -> str:
    """Return what the log says before a retry after ``delay`` seconds."""
    if isinstance(outcome, CruxTransientError):
        return f"{outcome}. Retrying in {delay:.1f} s"
    return f"Could not {action.text}: {peer} returned HTTP {outcome.status}. Retrying in {delay:.1f} s"
