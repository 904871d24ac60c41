"""
Every failure of a request as an error: what happened, and what a person can do about it.

One set of factories serves both servers: the API, and the host of an export's file. Each message says what happened
first and the remedy last, and masks secrets.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from airflow_provider_crux.api.orders import iso_instant
from airflow_provider_crux.api.redaction import excerpt, excerpt_of_response
from airflow_provider_crux.api.requests import DOWNLOAD, ApiRequest, ApiResponse
from airflow_provider_crux.exceptions import (
    CruxAmbiguousError,
    CruxAuthenticationError,
    CruxError,
    CruxExportFailedError,
    CruxExportTimeoutError,
    CruxInvalidConnectionError,
    CruxInvalidResponseError,
    CruxNotFoundError,
    CruxPermanentError,
    CruxPermissionDeniedError,
    CruxRateLimitError,
    CruxRequestRejectedError,
    CruxTransientError,
    CruxUnavailableError,
    CruxUnsupportedMediaTypeError,
    CruxUrlExpiredError,
)


@dataclass(frozen=True)
class Peer:
    """
    The server on the other side.

    :param connection: how messages name the Airflow connection, for example ``connection 'crux_default'``.
    :param file_host: host and port that serve an export's file; ``None`` for the API.
    """

    connection: str
    file_host: str | None = None

    def __str__(self) -> str:
        return self.file_host or "Crux Connect"


_AMBIGUOUS: Final = (
    "The export may have been started, so a retry may send a second e-mail: "
    "check for the e-mail before you clear the task"
)
_TRY_LATER: Final = "Try again later"

# The specification's table, plus what any service behind a load balancer returns.
_API_STATUSES: Final[dict[int, tuple[type[CruxError], str]]] = {
    400: (CruxRequestRejectedError, "Check the arguments of the task"),
    401: (CruxAuthenticationError, "Correct the API token, or the login and password, of {peer.connection}"),
    403: (
        CruxPermissionDeniedError,
        "The user of {peer.connection} needs the permission export_order: ask Crux Connect for it",
    ),
    404: (CruxNotFoundError, "Check the host of {peer.connection}, and the UUID of the export"),
    415: (
        CruxUnsupportedMediaTypeError,
        "The JSON body was changed on the way: check the host and the proxy of {peer.connection}",
    ),
    429: (CruxRateLimitError, "Run fewer tasks at once, for example in an Airflow pool"),
    503: (CruxUnavailableError, _TRY_LATER),
}
_FILE_STATUSES: Final[dict[int, tuple[type[CruxError], str]]] = {
    403: (CruxUrlExpiredError, "The presigned URL has expired: request a new one"),
    404: (CruxNotFoundError, "The file is gone: request a new export"),
    429: (CruxUnavailableError, _TRY_LATER),
    503: (CruxUnavailableError, _TRY_LATER),
}

NOT_PROCESSED: Final = frozenset({429, 503})
"""Status codes of a request that was not processed. Every request may be sent again after them."""


def may_have_been_processed(status: int) -> bool:
    """Tell whether the server may have processed a request that it answered with an error."""
    # 408 says that the server (or a load balancer) stopped waiting, not that nothing happened; 1xx is not final
    return status not in NOT_PROCESSED and (status >= 500 or status == 408 or status < 200)


def error_for_status(
    request: ApiRequest, response: ApiResponse, *, peer: Peer, secrets: Collection[str] = ()
) -> CruxError:
    """
    Return the error for a response whose status is not the expected one.

    :param request: what was sent.
    :param response: what was received.
    :param peer: the server.
    :param secrets: what the excerpt of the response must not show.
    """
    status = response.status
    if peer.file_host and status == 400 and b"ExpiredToken" in response.body:
        status = 403  # the URL was signed with temporary credentials, which expired before the URL did
    problem = (
        f"Could not {request.action}: {peer} returned HTTP {response.status} ({excerpt_of_response(response, secrets)})"
    )
    if known := (_FILE_STATUSES if peer.file_host else _API_STATUSES).get(status):
        error, remedy = known
        return error(f"{problem}. {remedy.format(peer=peer)}")
    if may_have_been_processed(status):
        return _unavailable_or_ambiguous(request, problem)
    if 300 <= status < 400:
        problem += ". Redirects are not followed, so that secrets stay with this host"
    where = "the network's proxy" if peer.file_host else f"the host of {peer.connection}"
    return CruxRequestRejectedError(f"{problem}. Check {where}")


def _unavailable_or_ambiguous(request: ApiRequest, problem: str) -> CruxError:
    if request.idempotent:
        return CruxUnavailableError(f"{problem}. {_TRY_LATER}")
    return CruxAmbiguousError(f"{problem}. {_AMBIGUOUS}")


def connection_failed(
    request: ApiRequest, reason: str, *, peer: Peer, secrets: Collection[str] = ()
) -> CruxUnavailableError:
    """Return the error for a request that never left: connection refused, host not found, connect timeout."""
    return CruxUnavailableError(
        f"Could not {request.action}: cannot connect to {peer} ({excerpt(reason, secrets=secrets)}). Nothing was sent. "
        f"Check the network, and the host and the proxy of {peer.connection}"
    )


def certificate_rejected(
    request: ApiRequest, reason: str, *, peer: Peer, secrets: Collection[str] = ()
) -> CruxInvalidConnectionError:
    """Return the error for a server certificate that is not trusted. Nothing was sent."""
    return CruxInvalidConnectionError(
        f"Could not {request.action}: the certificate of {peer} is not trusted ({excerpt(reason, secrets=secrets)}). "
        f"Nothing was sent. Check the host of {peer.connection}, or set its extra ca_bundle"
    )


def invalid_request_url(
    request: ApiRequest, reason: str, *, peer: Peer, secrets: Collection[str] = ()
) -> CruxInvalidConnectionError:
    """Return the error for a URL, a proxy or a header from which no request can be made. Nothing was sent."""
    return CruxInvalidConnectionError(
        f"Could not {request.action}: the request is invalid ({excerpt(reason, secrets=secrets)}). Nothing was sent. "
        f"Check the host and the proxy of {peer.connection}"
    )


def outcome_unknown(since: float) -> CruxAmbiguousError:
    """Return the error for a request that an earlier try may have sent; ``since`` in seconds since the epoch."""
    return CruxAmbiguousError(
        "Could not request an export of orders: an earlier try ended before it knew the response to its request, "
        f"which may have been under way since {iso_instant(since)}. Nothing was sent now. Check for an e-mail from "
        "Crux Connect since then. Then clear the task: it requests an export, the second one if there was an e-mail"
    )


def proves_not_processed(error: CruxError) -> bool:
    """Tell whether a failed request for an export surely started none."""
    # a response that nobody understands may have been an acceptance
    return isinstance(error, CruxTransientError | CruxPermanentError) and not isinstance(
        error, CruxInvalidResponseError
    )


def response_lost(request: ApiRequest, reason: str, *, peer: Peer, secrets: Collection[str] = ()) -> CruxError:
    """Return the error for a request that was sent, or may have been, and got no complete response."""
    detail = excerpt(reason, secrets=secrets)
    if peer.file_host:
        return CruxUnavailableError(
            f"Could not {request.action}: the download from {peer} was incomplete ({detail}). Nothing was stored. "
            "Try again; if it fails again, check the network and its proxy"
        )
    return _unavailable_or_ambiguous(request, f"Could not {request.action}: the response was lost ({detail})")


def unusable_connection(name: str, problems: str) -> CruxInvalidConnectionError:
    """Return the error for a connection whose fields are unusable; ``problems`` names each, with its remedy."""
    return CruxInvalidConnectionError(f"Cannot use {name}: {problems}")


def missing_connection(conn_id: str) -> CruxInvalidConnectionError:
    """Return the error for a connection that does not exist."""
    return CruxInvalidConnectionError(
        f"Connection {conn_id!r} does not exist: create it, or correct the task's crux_conn_id"
    )


def invalid_response(
    response: ApiResponse,
    problem: str,
    *,
    secrets: Collection[str] = (),
    show_body: bool = True,
    ambiguous: bool = False,
) -> CruxInvalidResponseError:
    """
    Return the error for a successful response that Crux Connect does not send.

    :param response: what was received.
    :param problem: what is wrong with it.
    :param secrets: what the excerpt must not show.
    :param show_body: whether to show the beginning of the body; default true.
    :param ambiguous: whether the request may have started an export; default false.
    """
    received = f" ({excerpt_of_response(response, secrets)})" if show_body else ""
    doubt = f". {_AMBIGUOUS}" if ambiguous else ""
    return CruxInvalidResponseError(
        f"Crux Connect returned HTTP {response.status}, but {problem}{received}. "
        f"Check that the connection's host is Crux Connect's{doubt}"
    )


def invalid_file_url(reason: str) -> CruxInvalidResponseError:
    """Return the error for a URL that is not opened; ``reason`` must not show its path or query."""
    return CruxInvalidResponseError(
        f"Could not {DOWNLOAD.action}: the URL from Crux Connect was rejected because {reason}. "
        "Nothing was sent to it. Check that the connection's host is Crux Connect's"
    )


def unverifiable_file(problem: str, *, peer: Peer) -> CruxRequestRejectedError:
    """Return the error for a response of 200 whose body may not be the complete, unchanged file."""
    return CruxRequestRejectedError(
        f"Could not {DOWNLOAD.action}: {peer} returned HTTP 200, but {problem}. Nothing was stored. "
        "Check the network's proxy"
    )


def export_failed(export_uuid: str, status: str | None = None) -> CruxExportFailedError:
    """Return the error for an export that failed at Crux Connect."""
    detail = "" if status is None else f" (status {excerpt(status)!r})"
    return CruxExportFailedError(
        f"Export {export_uuid} failed at Crux Connect{detail}. It will never have a file: request a new export, and "
        "ask Crux Connect for the reason"
    )


def export_timed_out(export_uuid: str, detail: str | None = None) -> CruxExportTimeoutError:
    """Return the error for an export that was not done before the deadline."""
    detail = "" if detail is None else f" ({detail})"
    return CruxExportTimeoutError(
        f"Export {export_uuid} was not done before the timeout{detail}. It continues at Crux Connect: increase "
        "timeout, or wait for it again with CruxExportSensor"
    )


def trigger_poll_error(export_uuid: str, detail: str | None = None) -> CruxUnavailableError:
    """Return the error for an export whose status the triggerer could not get; it may still be fine."""
    return CruxUnavailableError(
        f"The triggerer could not get the status of export {export_uuid}; its log above says why. Now "
        f"{detail or 'the export is not done yet'}. Check that the triggerer reaches Crux Connect as the workers do"
    )
