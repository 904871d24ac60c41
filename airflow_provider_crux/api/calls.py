"""The calls of the API, and what a transport hands back: one physical exchange each, no decision."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from airflow_provider_crux.api.orders import OrdersExportRequest
from airflow_provider_crux.exceptions import CruxInvalidRequestError

NIL_UUID: Final = str(UUID(int=0))

_UUID: Final = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE)

MAX_ANSWER_BYTES: Final = 1024 * 1024
"""Longer than any answer of the API: a transport reads one byte more than this and then stops."""


@dataclass(frozen=True)
class Call:
    """
    One call of the API.

    :param method: HTTP method.
    :param path: below the base URL, with its final slash.
    :param doing: what the call is for, as an error message says it.
    :param repeatable: whether it may be sent again although it may have been processed. False where a second one
        would send a second e-mail.
    :param body: sent as JSON; ``None`` for a call without a body.
    :param token: the API token that goes with it; ``None`` for a call without one.
    """

    method: str
    path: str
    doing: str
    repeatable: bool
    body: Mapping[str, Any] | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)

    @property
    def headers(self) -> dict[str, str]:
        """The headers that the API asks for."""
        headers = {"Accept": "application/json"}
        if self.body is not None:
            headers["Content-Type"] = "application/json; charset=utf-8"
        if self.token is not None:
            headers["Authorization"] = f"Token {self.token}"
        return headers


@dataclass(frozen=True)
class Answer:
    """
    What came back.

    :param status: HTTP status code.
    :param headers: names in lower case.
    :param body: at most :data:`MAX_ANSWER_BYTES` + 1 bytes of it.
    """

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


def canonical_uuid(text: object) -> str | None:
    """Return a uuid in its canonical form, or ``None`` where ``text`` is not one (8-4-4-4-12 hex digits)."""
    # UUID() would also take braces, a urn: prefix and no dashes: in a path and in an answer these are faults
    return text.lower() if isinstance(text, str) and _UUID.fullmatch(text) else None


def login(username: str, password: str) -> Call:
    """Exchange a user name and a password for a token; sends no e-mail, so it may be repeated."""
    return Call(
        method="POST",
        path="/api/organizations/user-login/",
        doing="log in",
        repeatable=True,
        body={"username": username, "password": password},
    )


def export_orders(request: OrdersExportRequest) -> Call:
    """Ask for an export of orders. Each accepted call e-mails a person: never to be repeated on a doubt."""
    return Call(
        method="POST",
        path="/api/orders/export/",
        doing="ask for an export of orders",
        repeatable=False,
        body=request.as_json(),
    )


def get_export(export_uuid: str) -> Call:
    """
    Ask how an export stands.

    :raises CruxInvalidRequestError: where ``export_uuid`` is not a uuid.
    """
    canonical = canonical_uuid(export_uuid)
    if canonical is None:
        raise CruxInvalidRequestError(
            f"export_uuid: {export_uuid!r} is not a uuid; give the one that the export operator returned"
        )
    return Call(method="GET", path=f"/api/data/export/{canonical}/", doing="look an export up", repeatable=True)
