"""The requests of the API and the response that a transport returns. One HTTP exchange each, no decision."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from airflow_provider_crux.api.orders import OrdersExportRequest
from airflow_provider_crux.exceptions import CruxInvalidRequestError

NIL_UUID: Final = str(UUID(int=0))

_UUID: Final = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE)

MAX_RESPONSE_BYTES: Final = 1024 * 1024
"""Larger than any response of the API. A transport reads at most one byte more."""


@dataclass(frozen=True)
class Action:
    """
    What a request does.

    :param text: as error messages say it after "Could not".
    :param idempotent: whether it may be sent again even if it may have been processed (RFC 9110, 9.2.2). False if a
        second request sends a second e-mail.
    """

    text: str
    idempotent: bool = True


LOG_IN: Final = Action("log in")
LIST_ORDERS: Final = Action("list orders")
REQUEST_EXPORT: Final = Action("request an export of orders", idempotent=False)
GET_EXPORT: Final = Action("get the status of the export")
DOWNLOAD: Final = Action("download the export's file")
"""Has no :class:`ApiRequest`: the path of a file stays with the transport, because it is half a secret."""


@dataclass(frozen=True)
class ApiRequest:
    """
    One request.

    :param method: HTTP method.
    :param path: path below the base URL, with its final slash.
    :param action: what it does.
    :param body: sent as JSON; ``None`` for no body.
    :param token: the API token to send; ``None`` for none.
    """

    method: str
    path: str
    action: Action
    body: Mapping[str, Any] | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)

    @property
    def headers(self) -> dict[str, str]:
        """The headers that the API expects."""
        headers = {"Accept": "application/json"}
        if self.body is not None:
            headers["Content-Type"] = "application/json; charset=utf-8"
        if self.token is not None:
            headers["Authorization"] = f"Token {self.token}"
        return headers


@dataclass(frozen=True)
class ApiResponse:
    """
    One response.

    :param status: HTTP status code.
    :param headers: names in lower case.
    :param body: at most :data:`MAX_RESPONSE_BYTES` + 1 bytes.
    :param sent_at: time just before its request was sent, the last time if it was sent again; default: unknown.
    """

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    sent_at: datetime | None = field(default=None, repr=False, compare=False, kw_only=True)


def canonical_uuid(text: object) -> str | None:
    """Return a UUID in its canonical form, or ``None`` if ``text`` is not one (8-4-4-4-12 hex digits)."""
    # UUID() also accepts braces, a urn: prefix and missing dashes: in a path and in a response these are errors
    return text.lower() if isinstance(text, str) and _UUID.fullmatch(text) else None


def login_request(username: str, password: str) -> ApiRequest:
    """Exchange a user name and a password for a token. Sends no e-mail, so it may be repeated."""
    body = {"username": username, "password": password}
    return ApiRequest("POST", "/api/organizations/user-login/", LOG_IN, body)


def export_orders_request(request: OrdersExportRequest) -> ApiRequest:
    """Request an export of orders. Every accepted request e-mails a person, so an ambiguous one is never resent."""
    return ApiRequest("POST", "/api/orders/export/", REQUEST_EXPORT, request.as_json())


def list_orders_request(request: OrdersExportRequest) -> ApiRequest:
    """List the orders that an export would contain. It changes nothing and e-mails nobody, so it may be repeated."""
    return ApiRequest("POST", "/api/orders/", LIST_ORDERS, request.as_json())


def get_export_request(export_uuid: str) -> ApiRequest:
    """
    Get the status of an export.

    :raises CruxInvalidRequestError: if ``export_uuid`` is not a UUID.
    """
    canonical = canonical_uuid(export_uuid)
    if canonical is None:
        raise CruxInvalidRequestError(
            f"export_uuid: {export_uuid!r} is not a UUID; use the one that the export operator returned"
        )
    return ApiRequest("GET", f"/api/data/export/{canonical}/", GET_EXPORT)
