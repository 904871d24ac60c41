"""
When to send a call again, decided once for every transport: strategies for :mod:`tenacity`.

A transport runs one exchange under ``tenacity.Retrying`` or ``tenacity.AsyncRetrying`` with what
:func:`repetition` returns.
"""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final

from airflow_provider_crux.api import failures
from airflow_provider_crux.api.calls import Answer, Call
from airflow_provider_crux.exceptions import CruxTransientError

if TYPE_CHECKING:
    from tenacity import RetryCallState

MAX_RETRIES: Final = 3
"""How often a call is sent again at most, unless the connection says otherwise."""

BUDGET: Final = 300.0
"""Seconds that one call with all its repetitions may take before no further one is begun."""

_FIRST_WAIT: Final = 1.0
_LONGEST_WAIT: Final = 30.0
_LONGEST_RETRY_AFTER: Final = 120.0


def retry_after(answer: Answer, *, now: datetime) -> float | None:
    """
    Return how many seconds the server asked to be left alone.

    :param answer: its header ``Retry-After`` is a number of seconds or an HTTP date (RFC 9110, 10.2.3).
    :param now: the present, with a time zone.
    :returns: seconds from 0 to 120 (a server that asks for longer is asked again after 120 seconds, within the
        budget), or ``None`` where there is no such header, or none that can be read.
    """
    value = answer.headers.get("retry-after", "").strip()
    if value.isascii() and value.isdecimal():
        seconds = float(value[:9])
    else:
        try:
            moment = parsedate_to_datetime(value)
        except (ValueError, OverflowError):  # no date; one in a time zone that is years away
            return None
        seconds = (moment.replace(tzinfo=moment.tzinfo or UTC) - now).total_seconds()
    return min(max(seconds, 0.0), _LONGEST_RETRY_AFTER)


def _wait(state: RetryCallState) -> float:
    from tenacity import wait_exponential_jitter, wait_random

    grown = wait_exponential_jitter(initial=_FIRST_WAIT, max=_LONGEST_WAIT, jitter=_FIRST_WAIT)(state)
    outcome = state.outcome
    if outcome is None or outcome.failed:
        return grown
    asked = retry_after(outcome.result(), now=datetime.now(UTC))
    # whoever waits exactly as long as told comes back together with all the others that were told the same
    return grown if asked is None else asked + wait_random(0, _FIRST_WAIT)(state)


def repetition(call: Call, *, max_retries: int = MAX_RETRIES, spent: float = 0.0) -> dict[str, Any]:
    """
    Return the arguments of ``tenacity.Retrying`` for one call.

    Sent again: a call that surely was not processed (no connection, 429, 503), and a call that may be repeated
    also after 500, 502, 504 or a lost answer. The wait grows from 1 second to 30, with jitter; ``Retry-After``
    goes before it. When the retries or the budget of 300 seconds are used up, the last answer is returned, or the
    last error raised.

    :param call: what is to be sent.
    :param max_retries: how often it may be sent again; default 3.
    :param spent: seconds of the budget that are over already; default 0.
    """
    from tenacity import (
        retry_if_exception_type,
        retry_if_result,
        stop_after_attempt,
        stop_before_delay,
    )

    return {
        "retry": retry_if_exception_type(CruxTransientError)
        | retry_if_result(lambda answer: failures.worth_repeating(call, answer)),
        "wait": _wait,
        "stop": stop_after_attempt(max_retries + 1) | stop_before_delay(BUDGET - spent),
        "retry_error_callback": lambda state: state.outcome.result(),
    }
