"""What each failure means, and what a person can do about it: status codes and lost connections become errors."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from airflow_provider_crux.api.answers import excerpt_of
from airflow_provider_crux.api.calls import Answer, Call
from airflow_provider_crux.api.redaction import excerpt
from airflow_provider_crux.exceptions import (
    CruxAmbiguousError,
    CruxBadCredentialsError,
    CruxError,
    CruxInvalidConnectionError,
    CruxNotFoundError,
    CruxPermissionDeniedError,
    CruxRequestRefusedError,
    CruxThrottledError,
    CruxUnavailableError,
    CruxUnsupportedMediaTypeError,
)

_IN_DOUBT: Final = (
    "The export may have been started: if the task is tried again, its e-mail may come twice. "
    "Look for the e-mail before you clear the task"
)

# The seed's table, and what any service behind a balancer adds; {connection} is filled in.
_DOCUMENTED: Final[dict[int, tuple[type[CruxError], str]]] = {
    400: (CruxRequestRefusedError, "Something that the request needs is missing or wrong"),
    401: (
        CruxBadCredentialsError,
        "The token, or the login and its password, are wrong or have lapsed: correct connection {connection}",
    ),
    403: (
        CruxPermissionDeniedError,
        "The user of connection {connection} needs the export_order permission for this: ask Crux Connect for it",
    ),
    404: (
        CruxNotFoundError,
        "Check the host of connection {connection}, and the export's uuid where one was asked for",
    ),
    415: (
        CruxUnsupportedMediaTypeError,
        "The body did not arrive as the JSON that was sent: check the proxy and the host of connection {connection}",
    ),
    429: (CruxThrottledError, "Too many calls: run fewer tasks at once, for example in an Airflow pool"),
    503: (CruxUnavailableError, "Crux Connect refuses calls for the moment: try again later"),
}

REFUSED: Final = frozenset({429, 503})
"""Codes that say: not processed, come again. Any call may be sent again after them."""


def _may_have_been_processed(status: int) -> bool:
    # 408 is the server's (or a balancer's) word that it stopped waiting, not that it did nothing; 1xx is no last word
    return status not in REFUSED and (status >= 500 or status == 408 or status < 200)


def worth_repeating(call: Call, answer: Answer) -> bool:
    """
    Tell whether the same call may be sent again after this answer.

    429 and 503 say that nothing was done. After 500, 502, 504 and their kin something may have been done: only
    a call that may be repeated on a doubt is.
    """
    return answer.status in REFUSED or (call.repeatable and _may_have_been_processed(answer.status))


def refused(call: Call, answer: Answer, *, conn_id: str, secrets: Collection[str] = ()) -> CruxError:
    """
    Return the error for an answer whose status is not 2xx.

    :param call: what was asked.
    :param answer: what came back.
    :param conn_id: the connection that a person has to look at.
    :param secrets: what must not be seen in the excerpt of the answer.
    """
    said = f"Could not {call.doing}: Crux Connect answered {answer.status} ({excerpt_of(answer, secrets)})"
    if documented := _DOCUMENTED.get(answer.status):
        kind, remedy = documented
        return kind(f"{said}. {remedy.format(connection=repr(conn_id))}")
    if _may_have_been_processed(answer.status):
        if call.repeatable:
            return CruxUnavailableError(f"{said}. Try again later")
        return CruxAmbiguousError(f"{said}. {_IN_DOUBT}")
    if 300 <= answer.status < 400:
        return CruxRequestRefusedError(
            f"{said}. Redirects are not followed, for the token must not travel to another host: "
            f"correct the host of connection {conn_id!r}"
        )
    return CruxRequestRefusedError(f"{said}. Check the host of connection {conn_id!r}")


def not_connected(call: Call, reason: str, *, secrets: Collection[str] = ()) -> CruxUnavailableError:
    """Return the error for a call that surely never left: refused, host not found, no connection in time."""
    return CruxUnavailableError(
        f"Could not {call.doing}: no connection to Crux Connect ({excerpt(reason, secrets=secrets)}). "
        "Nothing was sent. Check the network, and the host and proxy of the connection"
    )


def not_trusted(call: Call, reason: str, *, conn_id: str, secrets: Collection[str] = ()) -> CruxError:
    """Return the error for a certificate that was not accepted: nothing was sent, and nothing will change."""
    return CruxInvalidConnectionError(
        f"Could not {call.doing}: the server's certificate is not trusted ({excerpt(reason, secrets=secrets)}). "
        f"Nothing was sent. Check the host of connection {conn_id!r}, or name your own certificates "
        "in its extra ca_bundle"
    )


def not_usable(call: Call, reason: str, *, conn_id: str, secrets: Collection[str] = ()) -> CruxError:
    """Return the error for a URL, a proxy or a header with which no request can be made."""
    return CruxInvalidConnectionError(
        f"Could not {call.doing}: no request can be made ({excerpt(reason, secrets=secrets)}). Nothing was sent. "
        f"Check the host and the proxy of connection {conn_id!r}"
    )


def answer_lost(call: Call, reason: str, *, secrets: Collection[str] = ()) -> CruxError:
    """Return the error for a call that went out, or may have, and got no whole answer."""
    said = f"Could not {call.doing}: the answer was lost ({excerpt(reason, secrets=secrets)})"
    if call.repeatable:
        return CruxUnavailableError(f"{said}. Try again later")
    return CruxAmbiguousError(f"{said}. {_IN_DOUBT}")
