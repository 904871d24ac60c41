"""What an error status says: whether the server may have processed the request, and when to send it again."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

from airflow_provider_crux.api.requests import ApiResponse

_MAX_RETRY_AFTER: Final = 120.0
_ANY_TIME: Final = datetime(2000, 1, 1, tzinfo=UTC)


def was_not_processed(response: ApiResponse) -> bool:
    """
    Tell whether the server says that it did not process the request, so that every request may be sent again.

    429 says so, and 503 with a valid ``Retry-After``: a server that says when to come back has turned the request away.
    503 alone does not, because load balancers return it when a server breaks down after it has read the request. Nor
    does 503 with a ``Retry-After`` that is empty or invalid: nobody knows what wrote such a header, and why.
    """
    return response.status == 429 or (response.status == 503 and retry_after(response, now=_ANY_TIME) is not None)


def may_have_been_processed(response: ApiResponse) -> bool:
    """Tell whether the server may have processed a request that it answered with an error."""
    status = response.status
    # 408 says that the server (or a load balancer) stopped waiting, not that nothing happened; 1xx is not final
    return not was_not_processed(response) and (status >= 500 or status == 408 or status < 200)


def retry_after(response: ApiResponse, *, now: datetime) -> float | None:
    """
    Return how many seconds the server asks to wait, at most 120; ``None`` without a valid ``Retry-After``.

    The header is a number of seconds or an HTTP date (RFC 9110, 10.2.3).
    """
    value = response.headers.get("retry-after", "").strip()
    if value.isascii() and value.isdecimal():
        seconds = float(value[:9])
    else:
        try:
            date = parsedate_to_datetime(value)
        except (ValueError, OverflowError):  # not a date, or a time zone years away
            return None
        seconds = (date.replace(tzinfo=date.tzinfo or UTC) - now).total_seconds()
    return min(max(seconds, 0.0), _MAX_RETRY_AFTER)
