"""
Whether a connection works: what the Test button sends, and what it shows.

Airflow gives the connection a made-up id for the test, so no text shows an id.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from airflow_provider_crux.api.orders import OrdersExportRequest
from airflow_provider_crux.api.redaction import content_type
from airflow_provider_crux.api.requests import (
    NIL_UUID,
    Action,
    ApiRequest,
    ApiResponse,
    get_export_request,
    list_orders_request,
    login_request,
)
from airflow_provider_crux.api.responses import parse_auth_token, parse_json_object, parse_orders_list
from airflow_provider_crux.api.settings import ConnectionSettings
from airflow_provider_crux.exceptions import CruxError, CruxInvalidResponseError, CruxUnavailableError

CONNECTION_NAME = "this connection"
"""How messages name a connection under test."""

CheckResult = tuple[bool, str]
"""Whether the connection works, and the text to show."""

_NO_ORDERS: Final = OrdersExportRequest(
    start=0,
    limit=1,
    start_date=datetime(2000, 1, 1, tzinfo=UTC),
    end_date=datetime(2000, 1, 1, 0, 0, 1, tzinfo=UTC),
)


def connection_check_flow(settings: ConnectionSettings) -> Generator[ApiRequest, ApiResponse, CheckResult]:
    """
    Yield the requests that test a connection, receive the responses, and return what they mean.

    With a user name: log in. With a token: get an export that cannot exist; 404 means a valid token, 401 an invalid
    one, and the list of orders then shows whether ``api_version`` is right. None of them e-mails anybody. If the list
    cannot be requested, its error may be thrown into this generator: the result is a success in doubt.
    """
    host = settings.base_url
    if settings.username is not None:
        request, result_of = login_request(settings.username, settings.secret, settings.version), _login_result
    else:
        request, result_of = (
            replace(get_export_request(NIL_UUID, settings.version), token=settings.secret),
            _token_result,
        )
    response = yield replace(request, action=_action(settings))
    if response.status >= 500 or response.status in (408, 429):
        return False, f"{host} is temporarily unavailable (HTTP {response.status}): try again later"
    is_json = not response.body or parse_json_object(response) is not None
    if is_json and (result := result_of(response, settings)):
        return result
    if is_json and settings.username is None and response.status == 404 and response.body:
        return (yield from _version_check_flow(settings))
    # the body is not shown, because it may contain a token under an unknown name
    kind = content_type(response, settings.secrets)
    advice = f". If the host is right: change {settings.peer.version_change}" if response.status == 404 else ""
    return False, (
        f"{host} is not Crux Connect (HTTP {response.status}, {kind}): correct the host or the proxy{advice}"
    )


def _version_check_flow(settings: ConnectionSettings) -> Generator[ApiRequest, ApiResponse, CheckResult]:
    """
    Likewise list the orders of one second that has none, and return whether the token and ``api_version`` are right.

    The status of an export that cannot exist does not show the version, because a wrong path is 404 too. The list has a
    path of its own in each version. But a user who may export may not be allowed to list: then the version is in doubt.
    """
    host = settings.base_url
    accepted = f"{host} accepts the API token"
    in_doubt = True, f"{accepted}. {settings.peer.version_advice}"
    request = replace(list_orders_request(_NO_ORDERS, settings.version), token=settings.secret)
    try:
        response = yield replace(request, action=_action(settings))
    except CruxError:
        return in_doubt
    if response.status == 401:
        return _rejected_token(host)
    if response.status == 404:
        return _wrong_version(settings, "list of orders")
    return (True, accepted) if _is_orders_list(response) else in_doubt


def check_result(error: CruxError) -> CheckResult:
    """Return the result if the request could not be sent or got no response."""
    hint = ". Check the scheme (https or http) and the port too" if isinstance(error, CruxUnavailableError) else ""
    return False, f"{error}{hint}"


def _action(settings: ConnectionSettings) -> Action:
    return Action(f"test the connection to {settings.base_url}")


def _rejected_token(host: str) -> CheckResult:
    return False, (
        f"{host} rejected the API token: enter a valid one as the password, or add the user name that the password "
        "belongs to"
    )


def _wrong_version(settings: ConnectionSettings, missing: str) -> CheckResult:
    return False, (
        f"{settings.base_url} has no {missing} at the path of this api_version (HTTP 404): "
        f"change {settings.peer.version_change}, or correct the host"
    )


def _login_result(response: ApiResponse, settings: ConnectionSettings) -> CheckResult | None:
    """Return what a response to a login means; ``None`` if Crux Connect does not respond like that."""
    host = settings.base_url
    if response.status in (400, 401, 403):
        return False, f"{host} rejected the user name or the password: correct them"
    if response.status == 404 and response.body:
        return _wrong_version(settings, "login")
    try:
        parse_auth_token(response)
    except CruxInvalidResponseError:
        return None
    return (True, f"Logged in to {host}") if 200 <= response.status < 300 else None


def _token_result(response: ApiResponse, settings: ConnectionSettings) -> CheckResult | None:
    """Return likewise what a response to a request with a token means."""
    host = settings.base_url
    if response.status == 401:
        return _rejected_token(host)
    if response.status == 403:
        return False, f"{host} accepted the API token but denied access: ask Crux Connect for the permission"
    return None


def _is_orders_list(response: ApiResponse) -> bool:
    """Tell whether a response is a list of orders, which is personal data if it is not empty."""
    try:
        parse_orders_list(response)
    except CruxInvalidResponseError:
        return False
    return 200 <= response.status < 300
