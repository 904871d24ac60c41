"""
Whether a connection works: what the Test button sends, and what it shows.

Airflow gives the connection a made-up id for the test, so no text shows an id.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace

from airflow_provider_crux.api.redaction import content_type
from airflow_provider_crux.api.requests import (
    NIL_UUID,
    Action,
    ApiRequest,
    ApiResponse,
    get_export_request,
    login_request,
)
from airflow_provider_crux.api.responses import parse_auth_token, parse_json_object
from airflow_provider_crux.api.settings import ConnectionSettings
from airflow_provider_crux.exceptions import CruxError, CruxInvalidResponseError, CruxUnavailableError

CONNECTION_NAME = "this connection"
"""How messages name a connection under test."""

CheckResult = tuple[bool, str]
"""Whether the connection works, and the text to show."""


def connection_check_flow(settings: ConnectionSettings) -> Generator[ApiRequest, ApiResponse, CheckResult]:
    """
    Yield the one request that tests a connection, receive the response, and return what it means.

    With a user name: log in. With a token: get an export that cannot exist; 404 means a valid token, 401 an invalid
    one. Neither e-mails anybody. A service that answers every path with 404 in JSON looks like Crux Connect, and like
    its right version: one request cannot tell them apart, so the text names the other versions.
    """
    host = settings.base_url
    if settings.username is not None:
        request, result_of = login_request(settings.username, settings.secret, settings.version), _login_result
    else:
        request, result_of = (
            replace(get_export_request(NIL_UUID, settings.version), token=settings.secret),
            _token_result,
        )
    response = yield replace(request, action=Action(f"test the connection to {host}"))
    if response.status >= 500 or response.status in (408, 429):
        return False, f"{host} is temporarily unavailable (HTTP {response.status}): try again later"
    is_json = not response.body or parse_json_object(response) is not None
    if is_json and (result := result_of(response, settings)):
        return result
    # the body is not shown, because it may contain a token under an unknown name
    kind = content_type(response, settings.secrets)
    advice = f". If the host is right: {settings.peer.version_advice}" if response.status == 404 else ""
    return False, (
        f"{host} is not Crux Connect (HTTP {response.status}, {kind}): correct the host (empty for production) or the "
        f"proxy{advice}"
    )


def check_result(error: CruxError) -> CheckResult:
    """Return the result if the request could not be sent or got no response."""
    hint = ". Check the scheme (https or http) and the port too" if isinstance(error, CruxUnavailableError) else ""
    return False, f"{error}{hint}"


def _login_result(response: ApiResponse, settings: ConnectionSettings) -> CheckResult | None:
    """Return what a response to a login means; ``None`` if Crux Connect does not respond like that."""
    host = settings.base_url
    if response.status in (400, 401, 403):
        return False, f"{host} rejected the user name or the password: correct them"
    try:
        parse_auth_token(response)
    except CruxInvalidResponseError:
        return None
    return (True, f"Logged in to {host}") if 200 <= response.status < 300 else None


def _token_result(response: ApiResponse, settings: ConnectionSettings) -> CheckResult | None:
    """Return likewise what a response to a request with a token means."""
    host = settings.base_url
    if response.status == 401:
        return False, (
            f"{host} rejected the API token: enter a valid one as the password, or add the user name that the password "
            "belongs to"
        )
    if response.status == 403:
        return False, f"{host} accepted the API token but denied access: ask Crux Connect for the permission"
    if response.status == 404 and response.body:
        return True, f"{host} accepts the API token. {settings.peer.version_advice}"
    return None
