"""
Every failure of a request as an error: what happened, and what a person can do about it.

One set of factories serves both servers: the API, and the host of an export's file. Each message says what happened
first and the remedy last, and masks secrets.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from airflow_provider_crux.api.redaction import excerpt, excerpt_of_response
from airflow_provider_crux.api.requests import DOWNLOAD, LIST_ORDERS, Action, ApiResponse
from airflow_provider_crux.api.statuses import may_have_been_processed
from airflow_provider_crux.api.versions import API, other_versions
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

if TYPE_CHECKING:
    from datetime import datetime


@dataclass(frozen=True)
class Peer:
    """The server on the other side, as messages name it."""

    connection: str
    file_host: str | None = None
    """Host and port that serve an export's file; ``None`` for the API."""
    proxied: bool = False
    """Whether a proxy is in between; only then a message names one."""
    api_version: str = API.name

    def __str__(self) -> str:
        return self.file_host or "Crux Connect"

    @property
    def connection_advice(self) -> str:
        """What to do if no connection can be established."""
        if self.file_host:
            proxy = ", and the network's proxy" if self.proxied else ""
            return f"Check that the workers reach {self.file_host}{proxy}"
        return f"Check the network, and the host{' and the proxy' if self.proxied else ''} of {self.connection}"

    @property
    def version_advice(self) -> str:
        """What to do if no path exists: the account may use another version of the API."""
        return f"If every request fails with HTTP 404, change {self.version_change}"

    @property
    def version_change(self) -> str:
        """What to change if the account does not use this version of the API."""
        return f"the connection's api_version from {self.api_version!r} to {other_versions(self.api_version)}"

    @property
    def file_advice(self) -> str:
        """What to do if storage returns the same again and again."""
        return "check the network's proxy" if self.proxied else "ask Crux Connect for the reason"


_AMBIGUOUS: Final = (
    "The export may have been started, so a retry may send a second e-mail: "
    "check for the e-mail before you clear the task"
)
_TRY_LATER: Final = "Try again later"

# The specification's table, plus what any service behind a load balancer returns.
_API_STATUSES: Final[dict[int, tuple[type[CruxError], str]]] = {
    400: (CruxRequestRejectedError, "Check the arguments of the task{action.if_rejected}"),
    401: (CruxAuthenticationError, "Correct the API token, or the login and password, of {peer.connection}"),
    403: (
        CruxPermissionDeniedError,
        "The user of {peer.connection} needs {action.permission}: ask Crux Connect for it",
    ),
    404: (CruxNotFoundError, "Change {peer.version_change}, or check its host"),
    415: (
        CruxUnsupportedMediaTypeError,
        "The JSON body was changed on the way: check the host and the proxy of {peer.connection}",
    ),
    422: (CruxRequestRejectedError, "Check the arguments of the task{action.if_rejected}"),
    429: (CruxRateLimitError, "Run fewer tasks at once, for example in an Airflow pool"),
    503: (CruxUnavailableError, _TRY_LATER),
}
_EXPORT_STATUSES: Final[dict[int, tuple[type[CruxError], str]]] = {
    **_API_STATUSES,
    404: (CruxNotFoundError, "Check the host of {peer.connection}, and the UUID of the export. {peer.version_advice}"),
}
_FILE_STATUSES: Final[dict[int, tuple[type[CruxError], str]]] = {
    403: (CruxUrlExpiredError, "The presigned URL has expired: request a new one"),
    404: (CruxUnavailableError, f"{_TRY_LATER}; if it fails again, the file is gone: request a new export"),
    407: (CruxRequestRejectedError, "Check the user and the password of the proxy"),
    429: (CruxUnavailableError, _TRY_LATER),
    503: (CruxUnavailableError, _TRY_LATER),
}


def file_may_come_later(response: ApiResponse) -> bool:
    """
    Tell whether storage may serve a file later, at the same URL, although it does not now.

    Storage, and balancers before it, may return any status in passing, and a download e-mails nobody. Only an expired
    URL stays so, and what a proxy rejects.
    """
    return response.status not in (200, 403, 407) and not _has_expired_credentials(response)


def _has_expired_credentials(response: ApiResponse) -> bool:
    """Tell whether a URL was signed with temporary credentials, which expired before the URL did."""
    return response.status == 400 and b"ExpiredToken" in response.body


def error_for_status(action: Action, response: ApiResponse, *, peer: Peer, secrets: Collection[str] = ()) -> CruxError:
    """Return the error for a response whose status is not the expected one."""
    status = 403 if peer.file_host and _has_expired_credentials(response) else response.status
    # whatever the status is, orders are personal data
    shown = "orders, which are not shown" if b'"orders"' in response.body else excerpt_of_response(response, secrets)
    problem = f"Could not {action.text}: {peer} returned HTTP {response.status} ({shown})"
    if may_have_been_processed(response):
        return _unavailable_or_ambiguous(action, problem)
    api_statuses = _EXPORT_STATUSES if action.names_export else _API_STATUSES
    if known := (_FILE_STATUSES if peer.file_host else api_statuses).get(status):
        error, remedy = known
        return error(f"{problem}. {remedy.format(peer=peer, action=action)}")
    if 300 <= status < 400:
        problem += ". Redirects are not followed, so that secrets stay with this host"
    if peer.file_host:
        return CruxUnavailableError(f"{problem}. {_TRY_LATER}; if it fails again, {peer.file_advice}")
    if 300 <= status < 400 and not action.idempotent:
        # 303 is what a server returns after a POST that it has processed, and some return 302
        return CruxInvalidResponseError(f"{problem}. Check the host of {peer.connection}. {_AMBIGUOUS}")
    return CruxRequestRejectedError(f"{problem}. Check the host of {peer.connection}")


def _unavailable_or_ambiguous(action: Action, problem: str) -> CruxError:
    if action.idempotent:
        return CruxUnavailableError(f"{problem}. {_TRY_LATER}")
    return CruxAmbiguousError(f"{problem}. {_AMBIGUOUS}")


def connection_failed(action: Action, reason: str, *, peer: Peer, secrets: Collection[str] = ()) -> CruxError:
    """Return the error for a request that never left: connection refused, host not found, connect timeout."""
    advice = peer.connection_advice
    if "WRONG_VERSION_NUMBER" in reason and not peer.file_host and not peer.proxied:
        advice = (
            f"The server does not speak TLS: check the host and the port of {peer.connection}; for the sandbox, put "
            "http:// before the host"
        )
    return CruxUnavailableError(
        f"Could not {action.text}: cannot connect to {peer} ({excerpt(reason, secrets=secrets)}). Nothing was sent. "
        f"{advice}"
    )


def certificate_rejected(action: Action, reason: str, *, peer: Peer, secrets: Collection[str] = ()) -> CruxError:
    """Return the error for a server certificate that is not trusted. Nothing was sent."""
    return CruxInvalidConnectionError(
        f"Could not {action.text}: the certificate of {peer} is not trusted ({excerpt(reason, secrets=secrets)}). "
        f"Nothing was sent. Check the host of {peer.connection}, or set its extra ca_bundle"
    )


def invalid_request_url(action: Action, reason: str, *, peer: Peer, secrets: Collection[str] = ()) -> CruxError:
    """Return the error for a URL, a proxy or a header from which no request can be made. Nothing was sent."""
    return CruxInvalidConnectionError(
        f"Could not {action.text}: the request is invalid ({excerpt(reason, secrets=secrets)}). Nothing was sent. "
        f"Check the host and the proxy of {peer.connection}"
    )


def outcome_unknown(since: datetime) -> CruxAmbiguousError:
    """Return the error for a request that an earlier try may have sent."""
    return CruxAmbiguousError(
        "Could not request an export of orders: an earlier try ended before it knew the response to its request, "
        f"which may have been under way since {since.isoformat()}. Nothing was sent now. Check for an e-mail from "
        "Crux Connect since then. Then clear the task: it requests an export, the second one if there was an e-mail"
    )


def export_gone(export_uuid: str, *, peer: Peer) -> CruxNotFoundError:
    """Return the error for the export of an earlier try that Crux Connect no longer knows."""
    return CruxNotFoundError(
        f"Crux Connect no longer knows export {export_uuid}, which an earlier try of this task requested (HTTP 404). "
        f"Nothing was sent now. {peer.version_advice}; then this export may still be there. To request another export, "
        "clear the task"
    )


def request_changed(export_uuid: str) -> CruxAmbiguousError:
    """Return the error for a try whose request differs from that of an earlier one, which requested an export."""
    return CruxAmbiguousError(
        f"An earlier try of this task requested export {export_uuid} with other filters, another interval or another "
        "connection: somebody changed the task, or a template renders the present time. Nothing was sent now. Let each "
        "try have the same arguments; if you want a second export, clear the task"
    )


def proves_not_processed(error: CruxError) -> bool:
    """Tell whether a failed request for an export surely started none."""
    # a response that nobody understands may have been an acceptance
    return isinstance(error, CruxTransientError | CruxPermanentError) and not isinstance(
        error, CruxInvalidResponseError
    )


def response_lost(action: Action, reason: str, *, peer: Peer, secrets: Collection[str] = ()) -> CruxError:
    """Return the error for a request that was sent, or may have been, and got no complete response."""
    detail = excerpt(reason, secrets=secrets)
    if peer.file_host:
        return CruxUnavailableError(
            f"Could not {action.text}: the download from {peer} was incomplete ({detail}). Nothing was stored. "
            f"Try again; if it fails again, check the network{' and its proxy' if peer.proxied else ''}"
        )
    return _unavailable_or_ambiguous(action, f"Could not {action.text}: the response was lost ({detail})")


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
    """Return the error for a success that Crux Connect does not send; ``ambiguous`` if an export may have started."""
    received = f" ({excerpt_of_response(response, secrets)})" if show_body else ""
    doubt = f". {_AMBIGUOUS}" if ambiguous else ""
    return CruxInvalidResponseError(
        f"Crux Connect returned HTTP {response.status}, but {problem}{received}. "
        f"Check that the connection's host is Crux Connect's{doubt}"
    )


class PageTooLongError(CruxInvalidResponseError):
    """A list of orders that is longer than any response may be: a page with fewer orders may be readable."""


def page_too_long(status: int, max_bytes: int) -> PageTooLongError:
    """Return the error for a list of orders that was not read to its end."""
    return PageTooLongError(
        f"Crux Connect returned HTTP {status}, but its list of orders exceeds {max_bytes} bytes: list fewer orders at "
        "once, with start and limit"
    )


def repeated_page(start: int) -> CruxInvalidResponseError:
    """Return the error for a list that shows the same orders whatever page is requested."""
    return CruxInvalidResponseError(
        f"Could not {LIST_ORDERS.text}: Crux Connect returned the same page again and again, at last for start "
        f"{start}, so orders would be missing. It ignores start, or sorts each page differently: set sort to "
        "{'key': 'uuid', 'dir': 'asc'}; if that does not help, list intervals that fit on one page, with list_orders"
    )


def invalid_file_url(reason: str) -> CruxInvalidResponseError:
    """Return the error for a URL that is not opened; ``reason`` must not show its path or query."""
    return CruxInvalidResponseError(
        f"Could not {DOWNLOAD.text}: the URL from Crux Connect was rejected because {reason}. "
        "Nothing was sent to it. Check that the connection's host is Crux Connect's"
    )


def unverifiable_file(problem: str, *, peer: Peer) -> CruxUnavailableError:
    """Return the error for a response of 200 whose body may not be the complete, unchanged file."""
    return CruxUnavailableError(
        f"Could not {DOWNLOAD.text}: {peer} returned HTTP 200, but {problem}. Nothing was stored. "
        f"{_TRY_LATER}; if it fails again, {peer.file_advice}"
    )


def export_failed(export_uuid: str, status: str | None = None) -> CruxExportFailedError:
    """Return the error for an export that failed at Crux Connect."""
    detail = "" if status is None else f" (status {excerpt(status)!r})"
    return CruxExportFailedError(
        f"Export {export_uuid} failed at Crux Connect{detail}. It will never have a file: request a new export, and "
        "ask Crux Connect for the reason"
    )


def file_missing(export_uuid: str, status: str) -> CruxUnavailableError:
    """Return the error for an export that has no URL of its file, at least not yet."""
    return CruxUnavailableError(
        f"Export {export_uuid} has no URL of its file (status {excerpt(status)!r}): wait until it has one"
    )


def export_timed_out(export_uuid: str, detail: str | None = None) -> CruxExportTimeoutError:
    """Return the error for an export that was not done within ``timeout``."""
    detail = "" if detail is None else f" ({detail})"
    return CruxExportTimeoutError(
        f"Export {export_uuid} was not done within timeout{detail}. If Crux Connect still prepares it, increase timeout"
    )


def trigger_poll_error(export_uuid: str, detail: str | None = None) -> CruxUnavailableError:
    """Return the error for an export whose status the triggerer could not get; it may still be fine."""
    return CruxUnavailableError(
        f"The triggerer could not get the status of export {export_uuid}; its log above says why. Now "
        f"{detail or 'the export is not done yet'}. Check that the triggerer reaches Crux Connect as the workers do"
    )
