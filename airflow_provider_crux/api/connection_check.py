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
    one. Neither e-mails anybody. A service that answers every path with 404 in JSON looks like Crux Connect: one
    request cannot tell them apart.
    """
    action = Action(f"test the connection to {settings.base_url}")
    if settings.username is not None:
        response = yield replace(login_request(settings.username, settings.secret), action=action)
        return _general_result(response, settings) or _login_result(response, settings)
    response = yield replace(get_export_request(NIL_UUID), action=action, token=settings.secret)
    return _general_result(response, settings) or _token_result(response, settings)


def check_result(error: CruxError) -> CheckResult:
    """Return the result if the request could not be sent or got no response."""
    hint = ". Check the scheme (https or http) and the port too" if isinstance(error, CruxUnavailableError) else ""
    return False, f"{error}{hint}"


def _general_result(response: ApiResponse, settings: ConnectionSettings) -> CheckResult | None:
    """Return the result that does not depend on the request, or ``None``."""
    if response.status >= 500 or response.status in (408, 429):
        return False, f"{settings.base_url} is temporarily unavailable (HTTP {response.status}): try again later"
    if response.body and parse_json_object(response) is None:
        return _not_crux_connect(response, settings)
    return None


def _login_result(response: ApiResponse, settings: ConnectionSettings) -> CheckResult:
    if response.status in (400, 401, 403):
        return False, f"{settings.base_url} rejected the user name or the password: correct them"
    if not 200 <= response.status < 300:
        return _not_crux_connect(response, settings)
    try:
        parse_auth_token(response)
    except CruxInvalidResponseError:
        return _not_crux_connect(response, settings)
    return True, f"Logged in to {settings.base_url}"


def _token_result(response: ApiResponse, settings: ConnectionSettings) -> CheckResult:
    host = settings.base_url
    if response.status == 401:
        return False, (
            f"{host} rejected the API token: enter a valid one as the password, or add the user name that the password "
            "belongs to"
        )
    if response.status == 403:
        return False, f"{host} accepted the API token but denied access: ask Crux Connect for the permission"
    if response.status == 404 and response.body:
        return True, f"{host} accepts the API token"
    return _not_crux_connect(response, settings)


def _not_crux_connect(response: ApiResponse, settings: ConnectionSettings) -> CheckResult:
    # the body is not shown, because it may contain a token under an unknown name
    kind = content_type(response, settings.secrets)
    return False, (
        f"{settings.base_url} is not Crux Connect (HTTP {response.status}, {kind}): correct the host (empty for "
        "production) or the proxy"
    )
