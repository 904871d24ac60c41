"""The requests of the API and the response that a transport returns. One HTTP exchange each, no decision."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from airflow_provider_crux.api.orders import SYNONYMOUS_CONJUNCTIONS, OrdersExportRequest
from airflow_provider_crux.api.spelling import export_body, list_body
from airflow_provider_crux.api.versions import API, ApiVersion
from airflow_provider_crux.exceptions import CruxInvalidRequestError

NIL_UUID: Final = str(UUID(int=0))

_UUID: Final = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE)

MAX_RESPONSE_BYTES: Final = 1024 * 1024
"""Larger than any response of the API. A transport reads at most one byte more."""


@dataclass(frozen=True)
class Action:
    """What a request does, as error messages say it after "Could not"."""

    text: str
    idempotent: bool = True
    """Whether it may be sent again even if it may have been processed (RFC 9110, 9.2.2). A second e-mail forbids it."""
    if_rejected: str = ""
    """What else to try after HTTP 400: the end of a sentence."""
    permission: str = "the permission export_order"
    """What a user needs who gets HTTP 403."""
    names_export: bool = False
    """Whether the path has the UUID of an export, which may be wrong."""


LOG_IN: Final = Action("log in")
LIST_ORDERS: Final = Action("list orders", permission="access to the list of orders")
REQUEST_EXPORT: Final = Action("request an export of orders", idempotent=False)
DOWNLOAD: Final = Action("download the export's file")
"""Has no :class:`ApiRequest`: the path of a file stays with the transport, because it is half a secret."""


@dataclass(frozen=True)
class ApiRequest:
    """One request: a path below the base URL, a body that is sent as JSON, and the API token to send."""

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
    """One response, its body cut after :data:`MAX_RESPONSE_BYTES` + 1 bytes. Read headers by names in lower case."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    sent_at: datetime | None = field(default=None, repr=False, compare=False, kw_only=True)
    """Just before its request was sent, the last time if it was sent again; ``None`` if unknown."""


def is_valid_token(text: object) -> bool:
    """Tell whether a text can be an API token: visible ASCII, which a header can carry, without a space."""
    return isinstance(text, str) and bool(text) and text.isascii() and text.isprintable() and " " not in text


def canonical_uuid(text: object) -> str | None:
    """Return a UUID in its canonical form, or ``None`` if ``text`` is not one (8-4-4-4-12 hex digits)."""
    # UUID() also accepts braces, a urn: prefix and missing dashes: in a path and in a response these are errors
    return text.lower() if isinstance(text, str) and _UUID.fullmatch(text) else None


def login_request(username: str, password: str, version: ApiVersion = API) -> ApiRequest:
    """Exchange a user name and a password for a token. Sends no e-mail, so it may be repeated."""
    body = {"username": username, "password": password}
    return ApiRequest("POST", version.login_path, LOG_IN, body)


def export_orders_request(request: OrdersExportRequest, version: ApiVersion = API) -> ApiRequest:
    """Request an export of orders. Every accepted request e-mails a person, so an ambiguous one is never resent."""
    action = _with_other_conjunction(REQUEST_EXPORT, request)
    return ApiRequest("POST", version.export_path, action, export_body(request, version))


def list_orders_request(request: OrdersExportRequest, version: ApiVersion = API) -> ApiRequest:
    """List the orders that an export would contain. It changes nothing and e-mails nobody, so it may be repeated."""
    action = _with_other_conjunction(LIST_ORDERS, request)
    return ApiRequest("POST", version.list_path, action, list_body(request, version))


def _with_other_conjunction(action: Action, request: OrdersExportRequest) -> Action:
    other = SYNONYMOUS_CONJUNCTIONS.get(request.status_conjunction or "")
    if other is None:
        return action
    advice = f", and try status_conjunction {other!r} instead of {request.status_conjunction!r}"
    return replace(action, if_rejected=advice)


def get_export_request(export_uuid: str, version: ApiVersion = API) -> ApiRequest:
    """Get the status of an export; ``export_uuid`` must be a UUID."""
    canonical = canonical_uuid(export_uuid)
    if canonical is None:
        raise CruxInvalidRequestError(
            f"export_uuid: {export_uuid!r} is not a UUID; use the one that the export operator returned"
        )
    action = Action(f"get the status of export {canonical}", names_export=True)
    return ApiRequest("GET", f"{version.status_path}{canonical}/", action)
