"""The worker's hook: requests-mock for responses, real sockets for connections that fail."""

from __future__ import annotations

import re
import socket
from datetime import UTC, datetime
from pathlib import Path

import pytest
import requests

from airflow_provider_crux.api.orders import OrdersExportRequest
from airflow_provider_crux.api.requests import MAX_RESPONSE_BYTES
from airflow_provider_crux.exceptions import (
    CruxAmbiguousError,
    CruxAuthenticationError,
    CruxInvalidConnectionError,
    CruxInvalidResponseError,
    CruxNotFoundError,
    CruxRequestRejectedError,
    CruxTransientError,
    CruxUnavailableError,
)
from airflow_provider_crux.hooks.crux import CruxHook
from tests.certificates import self_signed_certificate
from tests.raw_server import (
    TOKEN,
    UUID,
    Connection,
    full_backlog,
    raw_server,
    respond_with,
    silent_url,
    unused_url,
)

HOST = "https://api.cruxconnect.com"
EXPORT = f"{HOST}/api/orders/export/"
LOGIN = f"{HOST}/api/organizations/user-login/"
POLL = re.compile(rf"{HOST}/api/data/export/.*/")
REQUEST = OrdersExportRequest(start_date=datetime(2026, 1, 1, tzinfo=UTC), end_date=datetime(2026, 1, 2, tzinfo=UTC))

pytestmark = pytest.mark.usefixtures("delays")


@pytest.fixture
def hook(connect) -> CruxHook:
    connect(password=TOKEN)
    return CruxHook()


def test_export_request_follows_the_specification(hook: CruxHook, requests_mock) -> None:
    requests_mock.post(EXPORT, json={"uuid": UUID})
    assert hook.export_orders(REQUEST) == UUID
    (request,) = requests_mock.request_history
    assert request.json() == {"start_date": "2026-01-01T00:00:00.000Z", "end_date": "2026-01-02T00:00:00.000Z"}
    assert request.headers["Authorization"] == f"Token {TOKEN}"
    assert request.headers["Content-Type"] == "application/json; charset=utf-8"
    assert re.fullmatch(r"airflow-provider-crux/[\d.]+ apache-airflow/[\d.]+\w*", request.headers["User-Agent"])
    assert request.timeout == (10.0, 60.0)


def test_one_login_whose_token_is_masked(connect, requests_mock, monkeypatch) -> None:
    masked: list[str] = []
    monkeypatch.setattr("airflow_provider_crux.hooks.crux.mask_secret", masked.append)
    connect(login="ada", password="pass word")
    requests_mock.post(LOGIN, json={"auth_token": TOKEN, "org_type": "RETAILER"})
    requests_mock.post(EXPORT, json={"uuid": UUID})
    hook = CruxHook()
    hook.export_orders(REQUEST)
    hook.export_orders(REQUEST)
    login, first, second = requests_mock.request_history
    assert login.json() == {"username": "ada", "password": "pass word"}
    assert "Authorization" not in login.headers
    assert first.headers["Authorization"] == second.headers["Authorization"] == f"Token {TOKEN}"
    assert TOKEN in masked


def test_expired_token_is_renewed_once(connect, requests_mock) -> None:
    connect(login="ada", password="pass word")
    requests_mock.post(LOGIN, [{"json": {"auth_token": "one"}}, {"json": {"auth_token": "two"}}])
    requests_mock.post(EXPORT, [{"status_code": 401}, {"json": {"uuid": UUID}}])
    assert CruxHook().export_orders(REQUEST) == UUID
    assert [request.path for request in requests_mock.request_history] == [
        "/api/organizations/user-login/",
        "/api/orders/export/",
        "/api/organizations/user-login/",
        "/api/orders/export/",
    ]
    assert requests_mock.last_request.headers["Authorization"] == "Token two"


def test_netrc_does_not_replace_the_token(hook: CruxHook, requests_mock, monkeypatch, tmp_path) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine api.cruxconnect.com login eve password stolen\n")
    monkeypatch.setenv("NETRC", str(netrc))
    requests_mock.post(EXPORT, json={"uuid": UUID})
    hook.export_orders(REQUEST)
    hook.get_conn().post(EXPORT)
    assert [request.headers["Authorization"] for request in requests_mock.request_history] == [f"Token {TOKEN}"] * 2


def test_no_cookie_is_sent_beside_the_token(connect) -> None:
    fault = respond_with(b"HTTP/1.1 404 Not Found\r\nSet-Cookie: sessionid=abc\r\nContent-Length: 0\r\n\r\n")
    with raw_server(fault) as server:
        connect(host=server.url, password=TOKEN)
        hook = CruxHook()
        for _ in range(2):
            with pytest.raises(CruxNotFoundError):
                hook.get_export(UUID)
        assert ["sessionid" in request for request in server.requests] == [False, False]


def test_retry_after_sets_the_delay(hook: CruxHook, requests_mock, delays: list[float]) -> None:
    requests_mock.post(EXPORT, [{"status_code": 503, "headers": {"Retry-After": "7"}}, {"json": {"uuid": UUID}}])
    assert hook.export_orders(REQUEST) == UUID
    assert 7 <= delays[0] <= 8


@pytest.mark.parametrize("status", [500, 502, 504])
def test_ambiguous_export_request_is_sent_once(hook: CruxHook, requests_mock, status: int) -> None:
    requests_mock.post(EXPORT, status_code=status)
    with pytest.raises(CruxAmbiguousError):
        hook.export_orders(REQUEST)
    assert requests_mock.call_count == 1


def test_redirect_is_not_followed(hook: CruxHook, requests_mock) -> None:
    requests_mock.post(EXPORT, status_code=307, headers={"Location": "https://evil.example/"})
    with pytest.raises(CruxInvalidResponseError, match=r"Redirects.*The export may have been started"):
        hook.export_orders(REQUEST)
    assert requests_mock.call_count == 1


def test_neither_body_nor_target_of_a_redirect_is_read(connect) -> None:
    """requests reads both, even if it does not follow the redirect."""

    def redirect(connection: Connection) -> None:
        connection.send(b"HTTP/1.1 302 Found\r\nLocation: http://[\xe9\r\nContent-Length: 200000000\r\n\r\n")
        for _ in range(200):
            connection.send(b"x" * 1_000_000)

    with raw_server(redirect) as server:
        connect(host=server.url, password="abc")
        with pytest.raises(CruxInvalidResponseError, match="Redirects"):
            CruxHook().export_orders(REQUEST)
        assert not server.gave_up


@pytest.mark.parametrize(
    "response",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{",
        b"not HTTP at all\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nnope",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\r\n",
    ],
    ids=["no response", "incomplete body", "not HTTP", "invalid gzip", "invalid chunk"],
)
def test_lost_response_to_an_export_request_is_ambiguous(connect, response: bytes) -> None:
    with raw_server(respond_with(response)) as server:
        connect(host=server.url, password=TOKEN)
        with pytest.raises(CruxAmbiguousError, match="may send a second e-mail"):
            CruxHook().export_orders(REQUEST)
        assert len(server.requests) == 1


def test_lost_response_to_a_poll_is_retried(connect) -> None:
    with raw_server(respond_with(b"")) as server:
        connect(host=server.url, password=TOKEN, extra={"max_retries": "2"})
        with pytest.raises(CruxTransientError):
            CruxHook().get_export(UUID)
        assert len(server.requests) == 3


def test_no_response_to_an_export_request_is_ambiguous(connect) -> None:
    with silent_url() as url:
        connect(host=url, password=TOKEN, extra={"read_timeout": 0.05})
        with pytest.raises(CruxAmbiguousError):
            CruxHook().export_orders(REQUEST)


def test_refused_connection_is_retried(connect, delays: list[float]) -> None:
    with unused_url() as url:
        connect(host=url, password=TOKEN)
        with pytest.raises(CruxUnavailableError, match="Nothing was sent"):
            CruxHook().export_orders(REQUEST)
    assert len(delays) == 3


def test_unknown_host_is_retried(connect, delays: list[float], monkeypatch) -> None:
    def not_found(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", not_found)
    connect(password=TOKEN)
    with pytest.raises(CruxUnavailableError, match="Nothing was sent"):
        CruxHook().export_orders(REQUEST)
    assert len(delays) == 3


def test_connect_timeout_is_retried(connect, delays: list[float]) -> None:
    with full_backlog() as url:
        connect(host=url, password=TOKEN, extra={"connect_timeout": 0.05})
        with pytest.raises(CruxUnavailableError, match="Nothing was sent"):
            CruxHook().export_orders(REQUEST)
    assert len(delays) == 3


def test_message_about_a_missing_proxy_hides_its_password(connect) -> None:
    with unused_url() as url:
        proxy = url.replace("http://", "http://ada:hunter2@")
        connect(password=TOKEN, extra={"proxy": proxy, "max_retries": 0})
        with pytest.raises(CruxUnavailableError) as caught:
            CruxHook().export_orders(REQUEST)
    assert "hunter2" not in str(caught.value)


def test_password_echoed_by_the_proxy_is_masked(connect, requests_mock) -> None:
    connect(password=TOKEN, extra={"proxy": "http://ada:hunter2@proxy.example:3128"})
    requests_mock.post(EXPORT, status_code=407, text="not you: ada, hunter2, YWRhOmh1bnRlcjI=")
    with pytest.raises(CruxRequestRejectedError, match=re.escape("'not you: ada, ***, ***'")):
        CruxHook().export_orders(REQUEST)


def test_untrusted_certificate_is_not_retried_and_names_ca_bundle(connect, tmp_path: Path) -> None:
    tls, _ = self_signed_certificate(tmp_path)
    with raw_server(Connection.reset, tls=tls) as server:
        connect(host=server.url, password=TOKEN)
        with pytest.raises(CruxInvalidConnectionError, match="ca_bundle"):
            CruxHook().export_orders(REQUEST)
        assert (server.connections, server.requests) == (1, [])


@pytest.mark.parametrize("content", [None, "", "nonsense"])
def test_ca_bundle_without_certificates_sends_nothing(connect, requests_mock, tmp_path, content: str | None) -> None:
    bundle = tmp_path / "ca.pem"
    if content is not None:
        bundle.write_text(content)
    connect(password=TOKEN, extra={"ca_bundle": str(bundle)})
    with pytest.raises(CruxInvalidConnectionError, match=r"'.*ca\.pem' contains no CA certificates"):
        CruxHook().export_orders(REQUEST)
    assert requests_mock.call_count == 0


def test_ca_bundle_may_be_a_folder(connect, requests_mock, tmp_path: Path) -> None:
    connect(password=TOKEN, extra={"ca_bundle": str(tmp_path)})
    requests_mock.post(EXPORT, json={"uuid": UUID})
    CruxHook().export_orders(REQUEST)
    assert requests_mock.last_request.verify == str(tmp_path)


def test_connection_takes_precedence_over_the_environment(connect, requests_mock, monkeypatch) -> None:
    bundle = requests.certs.where()
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/etc/other.pem")
    monkeypatch.setenv("HTTPS_PROXY", "http://other.example:3128")
    connect(password=TOKEN, extra={"ca_bundle": bundle, "proxy": "http://ours.example:3128"})
    requests_mock.post(EXPORT, json={"uuid": UUID})
    CruxHook().export_orders(REQUEST)
    assert requests_mock.last_request.verify == bundle
    assert requests_mock.last_request.proxies["https"] == "http://ours.example:3128"


def test_long_response_is_not_read_to_its_end(hook: CruxHook, requests_mock) -> None:
    class EndlessBody:
        """Returns as many bytes as are requested, and counts them."""

        returned = 0

        def read(self, size: int = -1, *_: object, **__: object) -> bytes:
            self.returned += size
            return b"a" * size

        def close(self) -> None:
            """Nothing to close."""

        closed = False

    body = EndlessBody()
    requests_mock.post(EXPORT, body=body)
    with pytest.raises(CruxInvalidResponseError, match=f"its body exceeds {MAX_RESPONSE_BYTES} bytes"):
        hook.export_orders(REQUEST)
    assert body.returned < 3 * MAX_RESPONSE_BYTES
    body.returned = 0
    requests_mock.get(POLL, body=body)
    with pytest.raises(CruxInvalidResponseError, match=f"its body exceeds {MAX_RESPONSE_BYTES} bytes"):
        hook.get_export(UUID)
    assert body.returned < 3 * MAX_RESPONSE_BYTES


def test_get_export(hook: CruxHook, requests_mock) -> None:
    url = "https://bucket.example/orders.csv?X-Amz-Signature=abc"
    requests_mock.get(POLL, json={"uuid": UUID, "status": "COMPLETED", "url": url})
    export = hook.get_export(UUID)
    assert requests_mock.last_request.path == f"/api/data/export/{UUID}/"
    assert export.url == url
    assert url not in repr(export)
    requests_mock.get(POLL, status_code=404)
    with pytest.raises(CruxNotFoundError):
        hook.get_export(UUID)


def test_session_adds_the_token_for_the_host_only(connect, requests_mock) -> None:
    connect(login="ada", password="pass word")
    requests_mock.post(LOGIN, json={"auth_token": TOKEN})
    requests_mock.get(f"{HOST}/api/other/", json={})
    requests_mock.get("https://bucket.example/", json={})
    session = CruxHook().get_conn()
    assert requests_mock.call_count == 0
    session.get(f"{HOST}/api/other/")
    assert requests_mock.last_request.headers["Authorization"] == f"Token {TOKEN}"
    session.get("https://bucket.example/")
    assert "Authorization" not in requests_mock.last_request.headers


def test_unknown_extras_are_logged_once(connect, requests_mock, monkeypatch) -> None:
    connect(password=TOKEN, extra={"verify": False})
    requests_mock.post(EXPORT, json={"uuid": UUID})
    hook = CruxHook()
    warnings: list[str] = []
    monkeypatch.setattr(hook.log, "warning", lambda message, *args: warnings.append(message % args))
    hook.export_orders(REQUEST)
    (warning,) = warnings
    assert warning.startswith("Unknown extras of connection 'crux_default': verify; the known ones are api_version, ")


def test_secrets_echoed_by_the_server_are_masked(connect, requests_mock) -> None:
    connect(login="ada", password="p&ss word!")
    requests_mock.post(LOGIN, json={"auth_token": TOKEN})
    requests_mock.post(EXPORT, status_code=400, text=f"{TOKEN} p&amp;ss word! p%26ss%20word%21 p&ss word!")
    with pytest.raises(CruxRequestRejectedError) as caught:
        CruxHook().export_orders(REQUEST)
    for secret in (TOKEN, "p&ss", "p&amp;ss", "p%26ss"):
        assert secret not in str(caught.value)
    assert caught.value.__cause__ is None


def test_authentication_error_names_the_connection(connect, requests_mock) -> None:
    connect("crux_eu", password=TOKEN)
    requests_mock.post(EXPORT, status_code=401)
    with pytest.raises(CruxAuthenticationError, match="crux_eu"):
        CruxHook("crux_eu").export_orders(REQUEST)


def test_unusable_proxy_of_the_environment_names_the_connection(connect, monkeypatch) -> None:
    monkeypatch.setenv("http_proxy", "http:///without-a-host")
    with raw_server(Connection.reset) as server:
        connect(host=server.url, password=TOKEN)
        with pytest.raises(CruxInvalidConnectionError, match=r"Nothing was sent.*'crux_default'"):
            CruxHook().export_orders(REQUEST)
        assert server.connections == 0


@pytest.mark.parametrize("timeout", [1e15, float("inf")])
def test_a_wait_of_any_length_and_a_time_without_a_zone_are_accepted(hook: CruxHook, requests_mock, timeout) -> None:
    done = {"uuid": UUID, "status": "completed", "url": "https://files.example/orders.csv"}
    requests_mock.get(POLL, [{"status_code": 404}, {"json": done}])
    accepted_at = datetime.now()  # noqa: DTZ005 - local time
    export = hook.wait_for_export(UUID, poll_interval=0.001, timeout=timeout, accepted_at=accepted_at)
    assert export.url == done["url"]


def test_wait_logs_warnings(hook: CruxHook, requests_mock, monkeypatch) -> None:
    done = {"uuid": UUID, "status": "completed", "url": "https://files.example/orders.csv"}
    requests_mock.get(POLL, [{"status_code": 404}, {"json": done}])
    warnings: list[str] = []
    monkeypatch.setattr(hook.log, "warning", warnings.append)
    assert hook.wait_for_export(UUID, poll_interval=0.001).url == done["url"]
    assert warnings == [f"Crux Connect does not know export {UUID} yet; still waiting"]


def test_missing_connection_is_named_and_read_again_later(connect) -> None:
    hook = CruxHook("crux_gone")
    with pytest.raises(CruxInvalidConnectionError, match="Connection 'crux_gone' does not exist: create it"):
        hook.get_export(UUID)
    with raw_server(Connection.reset) as server:
        connect("crux_gone", host=server.url, password=TOKEN, extra={"max_retries": 0})
        with pytest.raises(CruxUnavailableError):
            hook.get_export(UUID)
        assert server.connections == 1
