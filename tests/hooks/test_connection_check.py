"""What the Test button shows: against fake responses, and over real sockets if the connection itself fails."""

from __future__ import annotations

import re
import socket
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import requests

from airflow_provider_crux.hooks.crux import CruxHook
from airflow_provider_crux.sandbox.state import Sandbox, SandboxSettings
from airflow_provider_crux.transport import http
from tests.certificates import self_signed_certificate
from tests.raw_server import TOKEN, Connection, Fault, raw_server, silent_url, unused_url

HOST = "https://api.cruxconnect.com"
LOGIN = f"{HOST}/api/organizations/user-login/"
LIST = f"{HOST}/api/orders/"
POLL = f"{HOST}/api/data/export/00000000-0000-0000-0000-000000000000/"
PASSWORD = "p&ss word!"
CHANGE = "change the connection's api_version from 'api' to 'v1' or 'timp'"


@pytest.fixture(params=["token", "login"])
def credentials(request: pytest.FixtureRequest) -> dict[str, str]:
    """Both kinds of credentials, one after the other."""
    return {"password": TOKEN} if request.param == "token" else {"login": "ada", "password": PASSWORD}


def result_of_test() -> tuple[bool, str]:
    """Test the connection; the message must not contain a secret, nor the id that Airflow made up."""
    works, message = CruxHook().test_connection()
    assert not re.search(rf"{TOKEN}|p(&|&amp;|%26)ss|hunter2|crux_default", message)
    return works, message


def web_page(body: bytes = b"") -> Fault:
    return lambda connection: connection.respond(200, body, "Content-Type: text/html")


@pytest.fixture(autouse=True)
def _no_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(seconds: float) -> None:
        raise AssertionError(f"waited {seconds} s before a retry")

    monkeypatch.setattr(http, "time", SimpleNamespace(**{**vars(time), "sleep": fail}))


@pytest.fixture
def valid_token(connect, requests_mock) -> None:
    """Set a connection with a token; the export that the test requests does not exist."""
    connect(password=TOKEN)
    requests_mock.get(POLL, status_code=404, json={"detail": "Not found."})


@pytest.mark.parametrize("orders", [[], [{"address": {"name": "hunter2"}}]], ids=["empty", "with an order"])
@pytest.mark.usefixtures("valid_token")
def test_valid_token_and_right_version_take_a_poll_and_a_list(requests_mock, orders: list[Any]) -> None:
    requests_mock.post(LIST, json={"total_results": 1, "orders": orders})
    assert result_of_test() == (True, f"{HOST} accepts the API token")
    poll, listing = requests_mock.request_history
    assert poll.headers["Authorization"] == listing.headers["Authorization"] == f"Token {TOKEN}"
    dates = {"start_date": "2000-01-01T00:00:00.000Z", "end_date": "2000-01-01T00:00:01.000Z"}
    assert listing.json() == {"start": 0, "limit": 1, **dates}


@pytest.mark.parametrize("body", ["", '{"detail": "Not found."}', "<html>no such page</html>"])
@pytest.mark.usefixtures("valid_token")
def test_a_list_that_does_not_exist_is_a_wrong_version(requests_mock, body: str) -> None:
    requests_mock.post(LIST, status_code=404, text=body)
    message = f"{HOST} has no list of orders at the path of this api_version (HTTP 404): {CHANGE}"
    assert result_of_test() == (False, f"{message}, or correct the host")


@pytest.mark.parametrize(
    "response",
    [
        {"status_code": 400, "json": {}},
        {"status_code": 403, "json": {"detail": "You do not have permission."}},
        {"status_code": 405},
        {"status_code": 429, "headers": {"Retry-After": "1"}},
        {"status_code": 500, "text": "<html>hunter2</html>"},
        {"status_code": 503, "headers": {"Retry-After": "1"}},
        {"status_code": 500, "json": {"total_results": 0, "orders": []}},
        {"status_code": 302, "headers": {"Location": "https://evil.example/"}},
        {"status_code": 204},
        {"text": "<html>hunter2</html>"},
        {"json": {"total_results": 1, "orders": ["hunter2"]}},
        {"exc": requests.exceptions.ReadTimeout},
        {"exc": requests.exceptions.ConnectTimeout},
        {"exc": requests.exceptions.SSLError},
    ],
)
@pytest.mark.usefixtures("valid_token")
def test_a_list_that_shows_no_version_is_a_success_with_a_hint(requests_mock, response: dict[str, Any]) -> None:
    requests_mock.post(LIST, **response)
    hint = f"If every request fails with HTTP 404, {CHANGE}"
    assert result_of_test() == (True, f"{HOST} accepts the API token. {hint}")
    assert requests_mock.call_count == 2


def test_a_list_without_a_response_is_a_success_with_a_hint(connect) -> None:
    def respond(connection: Connection) -> None:
        if connection.path.startswith("/api/data/export/"):
            connection.respond(404, b"{}")

    with raw_server(respond) as server:
        connect(host=server.url, password=TOKEN)
        works, message = result_of_test()
    assert works
    assert message.startswith(f"{server.url} accepts the API token. If every request fails with HTTP 404, ")
    assert len(server.requests) == 2


@pytest.mark.usefixtures("valid_token")
def test_a_token_that_only_the_list_rejects_is_invalid(requests_mock) -> None:
    requests_mock.post(LIST, status_code=401, json={"detail": "Invalid token."})
    works, message = result_of_test()
    assert not works
    assert message.startswith(f"{HOST} rejected the API token: enter a valid one as the password")


@pytest.mark.parametrize("name", ["hash_key", "ca_bundle"])
def test_airflows_mask_in_an_extra_is_rejected_before_anything_is_sent(connect, requests_mock, name: str) -> None:
    connect(password=TOKEN, extra={name: "/certs/***.example-0123456789"})
    works, message = result_of_test()
    assert not works
    assert message.startswith(f"Cannot use this connection: extra {name}: it contains ***, which is Airflow's mask")
    assert requests_mock.call_count == 0


def test_valid_login_takes_one_login(connect, requests_mock) -> None:
    connect(login="ada", password=PASSWORD)
    requests_mock.post(LOGIN, json={"auth_token": TOKEN})
    assert result_of_test() == (True, f"Logged in to {HOST}")
    (request,) = requests_mock.request_history
    assert request.json() == {"username": "ada", "password": PASSWORD}


@pytest.mark.parametrize("body", ['{"detail": "Invalid token."}', ""])
def test_invalid_token(connect, requests_mock, body: str) -> None:
    connect(password=TOKEN)
    requests_mock.get(POLL, status_code=401, text=body)
    works, message = result_of_test()
    assert not works
    assert message.startswith(f"{HOST} rejected the API token: enter a valid one as the password")


def test_a_login_that_does_not_exist_is_a_wrong_version(connect, requests_mock) -> None:
    connect(login="ada", password=PASSWORD)
    requests_mock.post(LOGIN, status_code=404, json={"detail": "Not found."})
    message = f"{HOST} has no login at the path of this api_version (HTTP 404): {CHANGE}"
    assert result_of_test() == (False, f"{message}, or correct the host")
    assert requests_mock.call_count == 1


@pytest.mark.parametrize("status", [400, 401, 403])
def test_wrong_user_name_or_password(connect, requests_mock, status: int) -> None:
    connect(login="ada", password=PASSWORD)
    requests_mock.post(LOGIN, status_code=status, json={"detail": f"no {PASSWORD} for ada"})
    assert result_of_test() == (False, f"{HOST} rejected the user name or the password: correct them")
    assert requests_mock.call_count == 1


def test_missing_permission(connect, requests_mock) -> None:
    connect(password=TOKEN)
    requests_mock.get(POLL, status_code=403, json={"detail": "You do not have permission."})
    works, message = result_of_test()
    assert not works
    assert message.endswith("denied access: ask Crux Connect for the permission")


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_unavailable_service_says_nothing_about_credentials(connect, requests_mock, credentials, status: int) -> None:
    connect(**credentials)
    # a load balancer returns an HTML page
    requests_mock.register_uri("GET", POLL, status_code=status, text="<html>", headers={"Retry-After": "1"})
    requests_mock.register_uri("POST", LOGIN, status_code=status, text="<html>", headers={"Retry-After": "1"})
    works, message = result_of_test()
    assert not works
    assert message == f"{HOST} is temporarily unavailable (HTTP {status}): try again later"
    assert requests_mock.call_count == 1


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, "<!doctype html><title>Sign in</title>"),
        (200, "{}"),
        (200, ""),
        (200, "[" * 100_000),
        (204, ""),
        (302, ""),
        (401, "<html>proxy</html>"),
        (403, "<html>not from here</html>"),
        (404, "<html>no such page</html>"),
        (404, ""),
        (404, "[]"),
        (405, "{}"),
        (407, "<html>proxy</html>"),
    ],
)
def test_response_of_another_service_is_no_success(connect, requests_mock, credentials, status: int, body: str) -> None:
    connect(**credentials)
    headers = {"Content-Type": "text/html", "Location": f"https://evil.example/{TOKEN}"}
    requests_mock.register_uri("GET", POLL, status_code=status, text=body, headers=headers)
    requests_mock.register_uri("POST", LOGIN, status_code=status, text=body, headers=headers)
    works, message = result_of_test()
    assert not works
    assert message.startswith(f"{HOST} is not Crux Connect (HTTP {status}, text/html): correct the host")


def test_web_page_at_the_host(connect, credentials) -> None:
    with raw_server(web_page(b"<!doctype html><title>Welcome</title>")) as server:
        connect(host=server.url, **credentials)
        works, message = result_of_test()
    assert not works
    assert f"{server.url} is not Crux Connect (HTTP 200, text/html)" in message
    assert len(server.requests) == 1
    assert "orders/export" not in server.requests[0]


def test_refused_connection(connect, credentials) -> None:
    with unused_url() as url:
        connect(host=url, **credentials)
        works, message = result_of_test()
    assert not works
    assert f"Could not test the connection to {url}: cannot connect" in message
    assert "refused" in message
    assert "Check the network, and the host" in message


def test_unknown_host(connect, monkeypatch) -> None:
    def not_found(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", not_found)
    connect(host="api.cruxconect.com", password=TOKEN)
    works, message = result_of_test()
    assert not works
    assert "Failed to resolve 'api.cruxconect.com'" in message


def test_missing_proxy(connect) -> None:
    with unused_url() as url:
        connect(password=TOKEN, extra={"proxy": url.replace("http://", "http://ada:hunter2@")})
        works, message = result_of_test()
    assert not works
    assert "the proxy of this connection" in message


def test_untrusted_certificate_and_ca_bundle(connect, credentials, tmp_path: Path) -> None:
    tls, bundle = self_signed_certificate(tmp_path)
    with raw_server(web_page(b"<html>"), tls=tls) as server:
        connect(host=server.url, **credentials)
        works, message = result_of_test()
        assert not works
        assert "the certificate of Crux Connect is not trusted" in message
        assert "host of this connection" in message
        assert message.endswith("extra ca_bundle")
        assert server.requests == []
        connect(host=server.url, **credentials, extra={"ca_bundle": str(bundle)})
        assert "is not Crux Connect" in result_of_test()[1]


@pytest.mark.parametrize("tls_server", [True, False])
def test_http_instead_of_https_and_vice_versa(connect, tmp_path: Path, tls_server: bool) -> None:
    tls = self_signed_certificate(tmp_path)[0] if tls_server else None
    # before the request: the plain server does not wait for the end of a request in what is a TLS handshake
    with raw_server(lambda connection: connection.respond(400), before_request=True, tls=tls) as server:
        scheme = "http" if tls_server else "https"
        connect(host=f"{scheme}://{server.url.partition('://')[2]}", password=TOKEN)
        works, message = result_of_test()
    assert not works
    assert message.endswith("Check the scheme (https or http) and the port too")


def test_silent_host(connect, credentials) -> None:
    with silent_url() as url:
        connect(host=url, **credentials, extra={"read_timeout": 0.05})
        works, message = result_of_test()
    assert not works
    assert "timed out" in message


def test_ca_bundle_without_certificates(connect, requests_mock, tmp_path: Path) -> None:
    for path in (tmp_path / "missing.pem", tmp_path / "nonsense.pem"):
        connect(password=TOKEN, extra={"ca_bundle": str(path)})
        works, message = result_of_test()
        assert not works
        assert message.startswith(
            f"Cannot use this connection: extra ca_bundle: '{path}' contains no CA certificates on this machine"
        )
        (tmp_path / "nonsense.pem").write_text("nonsense")
    assert requests_mock.call_count == 0


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"host": "http://api.cruxconnect.com"}, "would receive the token unencrypted"),
        ({"host": "https://a..b"}, "cannot be parsed"),
        ({"host": "https://ada:hunter2@api.cruxconnect.com"}, "host: it must not contain credentials"),
        ({"port": 99999}, "port: 99999 is not a port; use 443"),
        ({"port": -1}, "port: -1 is not a port"),
        ({"password": None}, "enter an API token"),
        ({"password": f"Token {TOKEN}"}, "paste the token alone"),
        ({"extra": {"read_timeout": "soon"}}, "extra read_timeout: 'soon'"),
        ({"extra": {"max_retries": 1000}}, "from 0 to 999"),
        ({"extra": {"proxy": "hunter2"}}, "extra proxy: the value is not the URL of a proxy"),
        ({"extra": {"proxy": "socks5://hunter2:0"}}, "extra proxy: the value is not the URL of a proxy"),
        ({"extra": {"ca_bundle": 1}}, "extra ca_bundle: 1"),
    ],
)
def test_invalid_field(connect, requests_mock, fields, problem: str) -> None:
    connect(**{"password": TOKEN, **fields})
    works, message = result_of_test()
    assert not works
    assert message.startswith("Cannot use this connection: ")
    assert problem in message
    assert requests_mock.call_count == 0


def test_connection_that_airflow_cannot_read(connect) -> None:
    from airflow.providers.common.compat.sdk import Connection

    uri = Connection(conn_id="crux_default", conn_type="crux", host="x", password=TOKEN, port=99999).get_uri()
    connect()
    for conn_id, value in (("crux_unreadable", uri), ("crux_missing", None)):
        with pytest.MonkeyPatch.context() as patch:
            if value is not None:
                patch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", value)
            works, message = CruxHook(conn_id).test_connection()
        assert not works
        assert message.endswith("enter a port from 1 to 65535 (443), and save it")


def test_sandbox_exports_nothing(connect, sandbox: Sandbox) -> None:
    settings = SandboxSettings()
    for fields, works, beginning, sent in (
        ({"password": settings.token}, True, f"{sandbox.url} accepts the API token", 2),
        ({"login": settings.user, "password": settings.password}, True, f"Logged in to {sandbox.url}", 1),
        ({"password": TOKEN[::-1]}, False, f"{sandbox.url} rejected the API token", 1),
        ({"login": settings.user, "password": PASSWORD}, False, f"{sandbox.url} rejected the user name", 1),
    ):
        before = len(sandbox.requests)
        connect(host=sandbox.url, **fields)
        result, message = CruxHook().test_connection()
        assert result is works
        assert message.startswith(beginning)
        assert len(sandbox.requests) == before + sent
    assert not [entry for entry in sandbox.requests if entry["path"] == sandbox.api.export_path]


def test_hook_works_as_before_after_it_has_tested_its_connection(connect, requests_mock) -> None:
    connect(password=TOKEN, extra={"max_retries": 2})
    requests_mock.get(POLL, status_code=404, json={"detail": "Not found."})
    requests_mock.post(LIST, status_code=503)
    hook = CruxHook()
    assert hook.test_connection()[0]
    assert (hook.settings.name, hook.settings.max_retries) == ("connection 'crux_default'", 2)
