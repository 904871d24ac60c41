"""What a response of the API means, read strictly: everything but the documented form is an error."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from airflow_provider_crux.api import errors
from airflow_provider_crux.api.requests import MAX_RESPONSE_BYTES, ApiResponse, canonical_uuid, is_valid_token


class ExportState(StrEnum):
    """What a task that waits for an export needs to know about it."""

    PENDING = "pending"
    DONE = "done"
    FAILED = "failed"
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
    :param status: Crux Connect's own word, see :attr:`state`.
    :param url: presigned URL of the file; ``None`` until the export is done. Whoever has it can read every order, so
        the repr leaves it out. It expires, so get the export again instead of keeping it.
    """

    uuid: str
    status: str
    url: str | None = field(default=None, repr=False)

    @property
    def state(self) -> ExportState:
        """
        What ``status`` means, in upper or lower case, together with ``url``.

        A status that is new to us is ``UNKNOWN``, or ``DONE`` if there is a URL. A status that means done is
        ``PENDING`` without a URL: the file may follow. Every other status means the same with and without a URL,
        because the file of an export that is still pending may be incomplete.
        """
        if self.lacks_file:
            return ExportState.PENDING
        state = _STATES.get(self.status.lower(), ExportState.UNKNOWN)
        return ExportState.DONE if state is ExportState.UNKNOWN and self.url is not None else state

    @property
    def lacks_file(self) -> bool:
        """Whether the status means done, but there is no URL of a file, perhaps because the export holds no orders."""
        return self.url is None and _STATES.get(self.status.lower()) is ExportState.DONE


def parse_json_object(response: ApiResponse) -> Mapping[str, Any] | None:
    """Return the body of a response, or ``None`` if it is not a JSON object, or too long."""
    if len(response.body) > MAX_RESPONSE_BYTES:
        return None
    try:
        content = json.loads(response.body)
    except (ValueError, RecursionError):  # not JSON, not Unicode, or nested thousands of levels deep
        return None
    return content if isinstance(content, dict) else None


def _json_object(response: ApiResponse, *, secrets: Collection[str], ambiguous: bool = False) -> Mapping[str, Any]:
    content = parse_json_object(response)
    if content is None:
        too_long = len(response.body) > MAX_RESPONSE_BYTES
        problem = f"exceeds {MAX_RESPONSE_BYTES} bytes" if too_long else "is not a JSON object"
        raise errors.invalid_response(response, f"its body {problem}", secrets=secrets, ambiguous=ambiguous)
    return content


def parse_export_uuid(response: ApiResponse, *, secrets: Collection[str] = ()) -> str:
    """Return the UUID, in its canonical form, in the response to the request for an export."""
    uuid = canonical_uuid(_json_object(response, secrets=secrets, ambiguous=True).get("uuid"))
    if uuid is None:
        raise errors.invalid_response(response, "its body has no valid uuid", secrets=secrets, ambiguous=True)
    return uuid


def parse_export(response: ApiResponse, *, requested: str, secrets: Collection[str] = ()) -> Export:
    """Read the response to the request for the status of the export ``requested``."""
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

    :param total_results: Crux Connect's count; whether it follows the filters is not specified.
    :param orders: the orders as Crux Connect returns them: personal data, so the repr leaves them out.
    """

    total_results: int
    orders: tuple[Mapping[str, Any], ...] = field(repr=False)


def parse_orders_list(response: ApiResponse) -> OrdersList:
    """Read the list of orders. An error shows nothing of the body, which is personal data."""
    if response.status not in (200, 201):  # 202 and 206 say that there may be more
        raise errors.invalid_response(response, "a list of orders comes with HTTP 200", show_body=False)
    if len(response.body) > MAX_RESPONSE_BYTES:
        raise errors.page_too_long(response.status, MAX_RESPONSE_BYTES)
    content = parse_json_object(response) or {}
    orders, total = content.get("orders"), content.get("total_results")
    if not isinstance(orders, list) or not all(isinstance(order, dict) for order in orders):
        raise errors.invalid_response(response, "its body is not a list of orders", show_body=False)
    if isinstance(total, bool) or not isinstance(total, int) or total < 0:
        raise errors.invalid_response(response, "total_results is not a number of orders", show_body=False)
    return OrdersList(total, tuple(orders))


def parse_auth_token(response: ApiResponse) -> str:
    """Return the token of a login. An error shows nothing of the body, which may have one under another name."""
    token = (parse_json_object(response) or {}).get("auth_token")
    if not is_valid_token(token):
        raise errors.invalid_response(response, "the login returned no valid auth_token", show_body=False)
    return str(token)
