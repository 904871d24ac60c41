"""When a request logs in, and which token it carries: the generator is driven by hand, without a transport."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator

import pytest

from airflow_provider_crux.api.auth import TOKEN_LIFETIME, TokenAuth
from airflow_provider_crux.api.requests import (
    NIL_UUID,
    Action,
    ApiRequest,
    ApiResponse,
    get_export_request,
    login_request,
)
from airflow_provider_crux.api.settings import ConnectionSettings, connection_name
from airflow_provider_crux.exceptions import CruxAuthenticationError

GET = get_export_request(NIL_UUID)
LOGIN_PATH = "/api/organizations/user-login/"


def response(status: int, **body: str) -> ApiResponse:
    return ApiResponse(status=status, headers={}, body=json.dumps(body).encode())


def token_auth(
    secret: str = "pass word",
    username: str | None = "ada",
    on_login: Callable[[str], None] = lambda token: None,
    clock: Callable[[], float] = lambda: 0.0,
) -> TokenAuth:
    settings = ConnectionSettings(
        name=connection_name("crux"), base_url="http://127.0.0.1:9", username=username, secret=secret
    )
    return TokenAuth(settings, on_login, clock)


class FakeCrux:
    """Accepts one token, returns that token to every valid login, and records the path and token of each request."""

    def __init__(self, token: str = "token-1") -> None:
        self.token = token
        self.requests: list[tuple[str, str | None]] = []

    def run_flow(self, flow: Generator[ApiRequest, ApiResponse, ApiResponse]) -> ApiResponse:
        try:
            request = next(flow)
            while True:
                self.requests.append((request.path, request.token))
                request = flow.send(self._respond(request))
        except StopIteration as end:
            return end.value

    def _respond(self, request: ApiRequest) -> ApiResponse:
        if request.path == LOGIN_PATH:
            valid = request.body == {"username": "ada", "password": "pass word"}
            return response(200, auth_token=self.token) if valid else response(401)
        return response(200) if request.token == self.token else response(401)


@pytest.fixture
def masked() -> list[str]:
    return []


@pytest.fixture
def login_auth(masked: list[str]) -> TokenAuth:
    return token_auth(on_login=masked.append)


def test_an_api_token_is_sent_unchanged_and_never_logs_in() -> None:
    crux = FakeCrux("abc")
    assert crux.run_flow(token_auth("abc", username=None).auth_flow(GET)).status == 200
    assert crux.requests == [(GET.path, "abc")]
    with pytest.raises(CruxAuthenticationError, match="'crux'"):
        crux.run_flow(token_auth("old", username=None).auth_flow(GET))
    assert len(crux.requests) == 2


def test_one_login_serves_many_requests_and_its_token_is_masked(login_auth: TokenAuth, masked: list[str]) -> None:
    crux = FakeCrux()
    for _ in range(3):
        crux.run_flow(login_auth.auth_flow(GET))
    assert [path for path, _ in crux.requests] == [LOGIN_PATH, GET.path, GET.path, GET.path]
    assert masked == ["token-1"]


def test_an_expired_token_is_renewed_once(login_auth: TokenAuth, masked: list[str]) -> None:
    crux = FakeCrux()
    crux.run_flow(login_auth.auth_flow(GET))
    crux.token = "token-2"
    assert crux.run_flow(login_auth.auth_flow(GET)).status == 200
    assert crux.requests[2:] == [(GET.path, "token-1"), (LOGIN_PATH, None), (GET.path, "token-2")]
    assert masked == ["token-1", "token-2"]


def test_a_login_whose_new_token_is_rejected_too_fails_instead_of_looping(login_auth: TokenAuth) -> None:
    crux = FakeCrux()
    crux._respond = lambda request: response(200, auth_token="t") if request.path == LOGIN_PATH else response(401)
    with pytest.raises(CruxAuthenticationError):
        crux.run_flow(login_auth.auth_flow(GET))
    assert [path for path, _ in crux.requests] == [LOGIN_PATH, GET.path, LOGIN_PATH, GET.path]


def test_a_wrong_password_is_sent_once() -> None:
    crux = FakeCrux()
    with pytest.raises(CruxAuthenticationError) as caught:
        crux.run_flow(token_auth("wrong!").auth_flow(GET))
    assert crux.requests == [(LOGIN_PATH, None)]
    assert "wrong!" not in str(caught.value)


def test_a_token_is_renewed_before_its_two_hours_are_over() -> None:
    now = [0.0]
    crux = FakeCrux()
    auth = token_auth(clock=lambda: now[0])
    crux.run_flow(auth.auth_flow(GET))
    now[0] = TOKEN_LIFETIME / 2
    crux.run_flow(auth.auth_flow(GET))
    assert len(crux.requests) == 3
    now[0] = TOKEN_LIFETIME - 1
    crux.run_flow(auth.auth_flow(GET))
    assert [path for path, _ in crux.requests[3:]] == [LOGIN_PATH, GET.path]


def test_no_repr_shows_a_credential(login_auth: TokenAuth) -> None:
    FakeCrux().run_flow(login_auth.auth_flow(GET))
    request = ApiRequest("GET", "/", Action("try"), token="token-1")
    for value in (login_auth, login_request("ada", "pass word"), request):
        assert "pass word" not in repr(value)
        assert "token-1" not in repr(value)
