"""When to send a request again, decided once for every transport. A transport sends and sleeps."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
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


@dataclass
class Retries:
    """The attempts at one request, the first of which begins now."""

    action: Action
    peer: Peer
    max_retries: int
    clock: Callable[[], float] = time.monotonic
    _attempts: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self._started = self.clock()

    def delay_after(self, outcome: Outcome) -> float | None:
        """
        Return how many seconds to wait before the request is sent again; ``None`` if this outcome is final.

        The delay grows from 1 second to 30, with jitter; ``Retry-After`` takes precedence.
        """
        self._attempts += 1
        if self._attempts > self.max_retries or not self._should_retry(outcome):
            return None
        requested = None if isinstance(outcome, CruxTransientError) else retry_after(outcome, now=datetime.now(UTC))
        delay = min(_FIRST_DELAY * 2 ** (self._attempts - 1), _MAX_DELAY) if requested is None else requested
        # clients that wait exactly as long as the server says would all come back together
        delay += random.uniform(0, _FIRST_DELAY)  # noqa: S311 - no secret
        return delay if self.clock() - self._started + delay < RETRY_BUDGET else None

    def message(self, outcome: Outcome, delay: float) -> str:
        """Return what the log says before a retry after ``delay`` seconds."""
        if isinstance(outcome, CruxTransientError):
            return f"{outcome}. Retrying in {delay:.1f} s"
        return f"Could not {self.action.text}: {self.peer} returned HTTP {outcome.status}. Retrying in {delay:.1f} s"

    def _should_retry(self, outcome: Outcome) -> bool:
        """
        Tell whether to send the same request again.

        A transient error, 429, and 503 with ``Retry-After`` say that nothing was processed. After another 503, 500, 502
        and the like, something may have been: only an idempotent request is sent again. A file is requested again after
        nearly every status.
        """
        if isinstance(outcome, CruxTransientError):
            return True
        if self.peer.file_host:
            return file_may_come_later(outcome)
        return was_not_processed(outcome) or (self.action.idempotent and may_have_been_processed(outcome))


def unwrap(outcome: R | CruxTransientError) -> R:
    """Return the response of an attempt, or raise its error."""
    if isinstance(outcome, CruxTransientError):
        raise outcome
    return outcome
