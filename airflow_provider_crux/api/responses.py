"""What a response of the API means, read strictly: everything but the documented form is an error."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final
from urllib.parse import urlsplit

from airflow_provider_crux.api import errors
from airflow_provider_crux.api.base_url import is_loopback
from airflow_provider_crux.api.redaction import excerpt
from airflow_provider_crux.api.requests import MAX_RESPONSE_BYTES, ApiResponse, canonical_uuid
from airflow_provider_crux.api.settings import is_valid_token
from airflow_provider_crux.exceptions import CruxInvalidResponseError


class ExportState(StrEnum):
    """
    What a task that waits for an export needs to know about it.

    A trigger's event carries the value: ``TIMED_OUT`` is the end of the wait, and ``UNKNOWN`` tells that the trigger
    could not get the status.
    """

    PENDING = "pending"
    DONE = "done"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    UNKNOWN = "unknown"


# The specification does not list the words; the public documentation and its drafts use these.
_STATES: Final = {
    **dict.fromkeys(("complete", "completed"), ExportState.DONE),
    **dict.fromkeys(
        ("pending", "processing", "in_progress", "queued", "new", "started", "created"), ExportState.PENDING
    ),
    **dict.fromkeys(("failed", "error", "errored", "cancelled", "canceled", "expired"), ExportState.FAILED),
}


@dataclass(frozen=True)
class Export:
    """
    An export and its status.

    :param uuid: the export.
    :param status: Crux Connect's own word.
    :param url: presigned URL of the file; ``None`` until the export is done. Whoever has it can read every order, so
        the repr leaves it out. It expires, so get the export again instead of keeping it.
    """

    uuid: str
    status: str
    url: str | None = field(default=None, repr=False)

    @property
    def state(self) -> ExportState:
        """What ``status`` means, in upper or lower case; ``UNKNOWN`` for a word that is new to us."""
        return _STATES.get(self.status.lower(), ExportState.UNKNOWN)


@dataclass(frozen=True)
class SubmittedExport:
    """
    An export that was requested. Times are in seconds since the epoch.

    :param export_uuid: the export.
    :param requested_at: when the request was sent: the export has the orders as they were then, or later.
    :param accepted_at: when the response arrived. For a moment after it, Crux Connect may not know the export yet.
    """

    export_uuid: str
    requested_at: float
    accepted_at: float


def parse_json_object(response: ApiResponse) -> Mapping[str, Any] | None:
    """Return the body of a response, or ``None`` if it is not a JSON object."""
    try:
        content = json.loads(response.body)
    except (ValueError, RecursionError):  # not JSON, not Unicode, or nested thousands of levels deep
        return None
    return content if isinstance(content, dict) else None


def _json_object(response: ApiResponse, *, secrets: Collection[str], ambiguous: bool = False) -> Mapping[str, Any]:
    too_long = len(response.body) > MAX_RESPONSE_BYTES
    content = None if too_long else parse_json_object(response)
    if content is None:
        problem = f"exceeds {MAX_RESPONSE_BYTES} bytes" if too_long else "is not a JSON object"
        raise errors.invalid_response(response, f"its body {problem}", secrets=secrets, ambiguous=ambiguous)
    return content


def parse_export_uuid(response: ApiResponse, *, secrets: Collection[str] = ()) -> str:
    """
    Read the response to the request for an export.

    :return: the UUID of the export, in its canonical form.
    :raises CruxInvalidResponseError: for anything but a JSON object with a valid ``uuid``.
    """
    uuid = canonical_uuid(_json_object(response, secrets=secrets, ambiguous=True).get("uuid"))
    if uuid is None:
        raise errors.invalid_response(response, "its body has no valid uuid", secrets=secrets, ambiguous=True)
    return uuid


def parse_export(response: ApiResponse, *, requested: str, secrets: Collection[str] = ()) -> Export:
    """
    Read the response to the request for an export's status.

    :param requested: the UUID in the request; the response must be about the same export.
    :raises CruxInvalidResponseError: if ``uuid`` or ``status`` is missing or invalid, or ``url`` is neither null nor
        text.
    """
    content = _json_object(response, secrets=secrets)
    uuid, status, url = content.get("uuid"), content.get("status"), content.get("url")
    if canonical_uuid(uuid) != canonical_uuid(requested):
        raise errors.invalid_response(response, "it is about another export", secrets=secrets)
    if not isinstance(status, str) or not status:
        raise errors.invalid_response(response, "it has no status", secrets=secrets)
    if not (url is None or isinstance(url, str)):
        raise errors.invalid_response(response, "its url is not text", secrets=secrets)
    return Export(uuid=requested, status=status, url=url or None)


@dataclass(frozen=True)
class OrdersList:
    """
    A page of the list of orders.

    :param total_results: Crux Connect's count; whether it follows the filters is not specified, see
        :meth:`airflow_provider_crux.hooks.crux.CruxHook.count_orders`.
    :param orders: the orders as Crux Connect returns them: personal data, so the repr leaves them out.
    """

    total_results: int
    orders: tuple[Mapping[str, Any], ...] = field(repr=False)


def parse_orders_list(response: ApiResponse) -> OrdersList:
    """
    Read the response to the request for the list of orders.

    :raises CruxInvalidResponseError: if ``orders`` is not a list of objects, or ``total_results`` not a number. The
        message shows nothing of the body, which is personal data.
    """
    content = parse_json_object(response) if len(response.body) <= MAX_RESPONSE_BYTES else None
    orders, total = (content or {}).get("orders"), (content or {}).get("total_results")
    if not isinstance(orders, list) or not all(isinstance(order, dict) for order in orders):
        raise errors.invalid_response(response, "its body is not a list of orders", show_body=False)
    if isinstance(total, bool) or not isinstance(total, int) or total < 0:
        raise errors.invalid_response(response, "total_results is not a number of orders", show_body=False)
    return OrdersList(total, tuple(orders))


def parse_auth_token(response: ApiResponse) -> str:
    """
    Read the response to a login.

    :return: the token.
    :raises CruxInvalidResponseError: if there is none. The message shows nothing of the body, which may contain a token
        under another name.
    """
    content = parse_json_object(response) if len(response.body) <= MAX_RESPONSE_BYTES else None
    token = (content or {}).get("auth_token")
    if not is_valid_token(token):
        raise errors.invalid_response(response, "the login returned no valid auth_token", show_body=False)
    return str(token)


def file_url(export: Export, *, base_url: str) -> str:
    """
    Return the presigned URL of an export that is done, unchanged.

    It must be https. Only if the API is this machine, as with the sandbox, the file may be on this machine too, and
    over http: a remote API must not make a worker open what only the worker can reach.

    :param export: the export.
    :param base_url: of the API.

    :raises CruxInvalidResponseError: if there is none, or one that must not be opened. The message shows its scheme and
        host at most.
    """
    if export.url is None:
        raise CruxInvalidResponseError(
            f"Export {export.uuid} has status {excerpt(export.status)!r} but no url of its file. Request a new export, "
            "and ask Crux Connect for the reason"
        )
    url = export.url
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise errors.invalid_file_url("it cannot be parsed") from None
    if not url.isprintable() or " " in url or not parts.hostname:
        raise errors.invalid_file_url("it cannot be parsed")
    if "@" in parts.netloc:
        raise errors.invalid_file_url("it contains credentials")
    if is_loopback(parts.hostname):
        if not is_loopback(urlsplit(base_url).hostname or ""):
            raise errors.invalid_file_url(f"it leads to this machine ({parts.hostname}), but the API is elsewhere")
        if parts.scheme == "http":
            return url
    if parts.scheme != "https":
        raise errors.invalid_file_url(f"it opens {parts.hostname!r} over {parts.scheme!r}, which is not encrypted")
    return url
