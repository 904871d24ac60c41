"""The generator that decides on logins, driven by hand: it says what to send, we say what came back."""

from __future__ import annotations

import json

import pytest

from airflow_provider_crux.api import calls
from airflow_provider_crux.api.auth import TOKEN_LIFETIME, Authorization
from airflow_provider_crux.api.requests import NIL_UUID, ApiResponse
from airflow_provider_crux.exceptions import CruxAuthenticationError

GET = get_export_request(NIL_UUID)
LOGIN_PATH = "/api/organizations/user-login/"


def answered(status: int, **body: str) -> ApiResponse:
    return ApiResponse(status=status, headers={}, body=json.dumps(body).encode())


class Crux:
    """Accepts one token, gives that token to whoever logs in, and remembers what it was asked."""

    def __init__(self, token: str = "token-1") -> None:
        self.token = token
        self.asked: list[tuple[str, str | None]] = []

    def drive(self, steps):
        try:
            call = next(steps)
            while True:
                self.asked.append((call.path, call.token))
                call = steps.send(self._answer(call))
        except StopIteration as end:
            return end.value

    def _answer(self, call: ApiRequest) -> ApiResponse:
        if call.path == LOGIN_PATH:
            good = call.body == {"username": "ada", "password": "pass word"}
            return answered(200, auth_token=self.token) if good else answered(401)
        return answered(200) if call.token == self.token else answered(401)


@pytest.fixture
def masked() -> list[str]:
    return []


@pytest.fixture
def by_login(masked: list[str]) -> Authorization:
    return TokenAuth(conn_id="crux", username="ada", secret="pass word", on_login=masked.append, clock=lambda: 0.0)


def test_a_token_is_sent_as_it_is_and_never_logged_in_for() -> None:
    crux = Crux("abc")
    good = TokenAuth(conn_id="crux", username=None, secret="abc")
    assert crux.drive(good.auth_flow(GET)).status == 200
    assert crux.asked == [(GET.path, "abc")]
    with pytest.raises(CruxAuthenticationError, match="'crux'"):
        crux.drive(TokenAuth(conn_id="crux", username=None, secret="old").auth_flow(GET))
    assert len(crux.asked) == 2


def test_one_login_serves_many_calls_and_its_token_is_masked(by_login: Authorization, masked: list[str]) -> None:
    crux = Crux()
    for _ in range(3):
        crux.drive(by_login.auth_flow(GET))
    assert [path for path, _ in crux.asked] == [LOGIN_PATH, GET.path, GET.path, GET.path]
    assert masked == ["token-1"]


def test_a_lapsed_token_is_renewed_once(by_login: Authorization, masked: list[str]) -> None:
    crux = Crux()
    crux.drive(by_login.auth_flow(GET))
    crux.token = "token-2"
    assert crux.drive(by_login.auth_flow(GET)).status == 200
    assert crux.asked[2:] == [(GET.path, "token-1"), (LOGIN_PATH, None), (GET.path, "token-2")]
    assert masked == ["token-1", "token-2"]


def test_a_login_whose_tokens_are_refused_does_not_go_on_for_ever(by_login: Authorization) -> None:
    crux = Crux()
    crux._answer = lambda call: answered(200, auth_token="t") if call.path == LOGIN_PATH else answered(401)
    with pytest.raises(CruxAuthenticationError):
        crux.drive(by_login.auth_flow(GET))
    assert [path for path, _ in crux.asked] == [LOGIN_PATH, GET.path, LOGIN_PATH, GET.path]


def test_a_wrong_password_is_tried_once(masked: list[str]) -> None:
    crux = Crux()
    with pytest.raises(CruxAuthenticationError) as caught:
        crux.drive(TokenAuth(conn_id="crux", username="ada", secret="wrong!").auth_flow(GET))
    assert crux.asked == [(LOGIN_PATH, None)]
    assert "wrong!" not in str(caught.value)


def test_a_token_is_renewed_before_its_two_hours_are_over() -> None:
    now = [0.0]
    crux = Crux()
    authorization = TokenAuth(conn_id="crux", username="ada", secret="pass word", clock=lambda: now[0])
    crux.drive(authorization.auth_flow(GET))
    now[0] = TOKEN_LIFETIME / 2
    crux.drive(authorization.auth_flow(GET))
    assert len(crux.asked) == 3
    now[0] = TOKEN_LIFETIME - 1
    crux.drive(authorization.auth_flow(GET))
    assert [path for path, _ in crux.asked[3:]] == [LOGIN_PATH, GET.path]


def test_nothing_shows_a_credential(by_login: Authorization) -> None:
    Crux().drive(by_login.auth_flow(GET))
    login = login_request("ada", "pass word")
    for thing in (by_login, login, calls.ApiRequest("GET", "/", "try", repeatable=True, token="token-1")):
        assert "pass word" not in repr(thing)
        assert "token-1" not in repr(thing)
