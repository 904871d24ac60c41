"""The hook against fakes at the wire: requests-mock for answers, real sockets for connections that fail."""

from __future__ import annotations

import re
import socket
import threading
from contextlib import contextmanager
from datetime import UTC, datetime
from http.client import HTTPException
from io import BytesIO

import pytest
import requests
import tenacity

from airflow_provider_crux.api.requests import MAX_RESPONSE_BYTES
from airflow_provider_crux.api.orders import OrdersExportRequest
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
from airflow_provider_crux.hooks.http import _Incoming
from airflow_provider_crux.hooks.crux import CruxHook

HOST = "https://api.cruxconnect.com"
EXPORT = f"{HOST}/api/orders/export/"
LOGIN = f"{HOST}/api/organizations/user-login/"
RETRIEVE = re.compile(rf"{HOST}/api/data/export/.*/")
UUID = "b9888421-594c-4d2f-9f0d-3b138a16c845"
TOKEN = "d7bb2fbb0c666dee5a5a36634baac3114e08ba9c"
REQUEST = OrdersExportRequest(start_date=datetime(2026, 1, 1, tzinfo=UTC), end_date=datetime(2026, 1, 2, tzinfo=UTC))


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Let no test wait; what would have been waited is in the list."""
    seconds: list[float] = []
    real = tenacity.Retrying
    monkeypatch.setattr(tenacity, "Retrying", lambda **given: real(**given, sleep=seconds.append))
    return seconds


@pytest.fixture
def hook(connect) -> CruxHook:
    connect(password=TOKEN)
    return CruxHook()


def test_an_export_is_asked_for_as_the_specification_says(hook: CruxHook, requests_mock) -> None:
    requests_mock.post(EXPORT, json={"uuid": UUID})
    assert hook.export_orders(REQUEST) == UUID
    (sent,) = requests_mock.request_history
    assert sent.json() == {"start_date": "2026-01-01T00:00:00.000Z", "end_date": "2026-01-02T00:00:00.000Z"}
    assert sent.headers["Authorization"] == f"Token {TOKEN}"
    assert sent.headers["Content-Type"] == "application/json; charset=utf-8"
    assert re.fullmatch(r"airflow-provider-crux/[\d.]+ apache-airflow/[\d.]+", sent.headers["User-Agent"])
    assert sent.timeout == (10.0, 60.0)


def test_a_login_is_made_once_and_its_token_masked(connect, requests_mock, monkeypatch) -> None:
    masked: list[str] = []
    from airflow.providers.common.compat import sdk

    monkeypatch.setattr(sdk, "mask_secret", masked.append, raising=False)
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


def test_a_token_that_lapsed_is_renewed_once(connect, requests_mock) -> None:
    connect(login="ada", password="pass word")
    requests_mock.post(LOGIN, [{"json": {"auth_token": "one"}}, {"json": {"auth_token": "two"}}])
    requests_mock.post(EXPORT, [{"status_code": 401}, {"json": {"uuid": UUID}}])
    assert CruxHook().export_orders(REQUEST) == UUID
    assert [r.path for r in requests_mock.request_history] == [
        "/api/organizations/user-login/",
        "/api/orders/export/",
        "/api/organizations/user-login/",
        "/api/orders/export/",
    ]
    assert requests_mock.last_request.headers["Authorization"] == "Token two"


def test_a_netrc_never_takes_the_tokens_place(hook: CruxHook, requests_mock, monkeypatch, tmp_path) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine api.cruxconnect.com login eve password stolen\n")
    monkeypatch.setenv("NETRC", str(netrc))
    requests_mock.post(EXPORT, json={"uuid": UUID})
    hook.export_orders(REQUEST)
    hook.get_conn().post(EXPORT)
    assert [r.headers["Authorization"] for r in requests_mock.request_history] == [f"Token {TOKEN}"] * 2


def test_no_cookie_is_kept_beside_the_token(connect) -> None:
    with server(b"HTTP/1.1 404 Not Found\r\nSet-Cookie: sessionid=abc\r\nContent-Length: 0\r\n\r\n") as (url, came):
        connect(host=url, password=TOKEN)
        hook = CruxHook()
        for _ in range(2):
            with pytest.raises(CruxNotFoundError):
                hook.get_export(UUID)
        assert [b"sessionid" in request for request in came] == [False, False]


def test_a_refusal_is_waited_out_as_long_as_it_asks(hook: CruxHook, requests_mock, waits) -> None:
    requests_mock.post(EXPORT, [{"status_code": 503, "headers": {"Retry-After": "7"}}, {"json": {"uuid": UUID}}])
    assert hook.export_orders(REQUEST) == UUID
    assert 7 <= waits[0] <= 8


@pytest.mark.parametrize("status", [500, 502, 504])
def test_a_post_in_doubt_is_sent_once(hook: CruxHook, requests_mock, status: int) -> None:
    requests_mock.post(EXPORT, status_code=status)
    with pytest.raises(CruxAmbiguousError):
        hook.export_orders(REQUEST)
    assert requests_mock.call_count == 1


def test_a_redirect_is_not_followed(hook: CruxHook, requests_mock) -> None:
    requests_mock.post(EXPORT, status_code=307, headers={"Location": "https://evil.example/"})
    with pytest.raises(CruxRequestRejectedError, match="Redirects"):
        hook.export_orders(REQUEST)
    assert requests_mock.call_count == 1


@contextmanager
def server(answer: bytes | None):
    """ApiResponse each connection with the same bytes, or with none, and give the requests that came."""
    came: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    came.append(connection.recv(65536))
                    if answer is not None:
                        connection.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", came
        listener.shutdown(socket.SHUT_RDWR)
    thread.join()


@pytest.mark.parametrize(
    "answer",
    [
        None,
        b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{",
        b"not HTTP at all\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nnope",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\r\n",
    ],
    ids=["closed", "cut short", "not HTTP", "bad gzip", "bad chunk"],
)
def test_a_lost_answer_leaves_a_post_in_doubt_and_is_never_sent_again(connect, answer: bytes | None) -> None:
    with server(answer) as (url, came):
        connect(host=url, password=TOKEN)
        with pytest.raises(CruxAmbiguousError, match="may come twice"):
            CruxHook().export_orders(REQUEST)
        assert len(came) == 1


def test_a_lost_answer_to_a_question_is_asked_again(connect) -> None:
    with server(None) as (url, came):
        connect(host=url, password=TOKEN, extra={"max_retries": "2"})
        with pytest.raises(CruxTransientError):
            CruxHook().get_export(UUID)
        assert len(came) == 3


def test_a_server_that_says_nothing_leaves_a_post_in_doubt(connect) -> None:
    # accepts nothing: the kernel completes the connection, and no answer ever comes
    with socket.create_server(("127.0.0.1", 0)) as listener:
        connect(host=f"http://127.0.0.1:{listener.getsockname()[1]}", password=TOKEN, extra={"read_timeout": 0.05})
        with pytest.raises(CruxAmbiguousError):
            CruxHook().export_orders(REQUEST)


def test_a_refused_connection_sent_nothing_and_is_tried_again(connect, waits) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    connect(host=f"http://127.0.0.1:{port}", password=TOKEN)
    with pytest.raises(CruxUnavailableError, match="Nothing was sent"):
        CruxHook().export_orders(REQUEST)
    assert len(waits) == 3


def test_an_unknown_host_sent_nothing_and_is_tried_again(connect, waits, monkeypatch) -> None:
    def not_found(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", not_found)
    connect(password=TOKEN)
    with pytest.raises(CruxUnavailableError, match="Nothing was sent"):
        CruxHook().export_orders(REQUEST)
    assert len(waits) == 3


def test_a_connection_that_is_not_made_in_time_sent_nothing(hook: CruxHook, requests_mock, waits) -> None:
    requests_mock.post(EXPORT, exc=requests.exceptions.ConnectTimeout)
    with pytest.raises(CruxUnavailableError):
        hook.export_orders(REQUEST)
    assert len(waits) == 3


def test_a_proxy_that_is_not_there_sent_nothing_and_its_password_is_not_shown(connect) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    connect(password=TOKEN, extra={"proxy": f"http://ada:hunter2@127.0.0.1:{port}", "max_retries": 0})
    with pytest.raises(CruxUnavailableError) as caught:
        CruxHook().export_orders(REQUEST)
    assert "hunter2" not in str(caught.value)


def test_a_proxy_that_repeats_its_password_is_not_quoted(connect, requests_mock) -> None:
    connect(password=TOKEN, extra={"proxy": "http://ada:hunter2@proxy.example:3128"})
    requests_mock.post(EXPORT, status_code=407, text="not you: ada, hunter2, YWRhOmh1bnRlcjI=")
    with pytest.raises(CruxRequestRejectedError, match=re.escape("'not you: ada, ***, ***'")):
        CruxHook().export_orders(REQUEST)


def test_a_certificate_that_is_not_trusted_sent_nothing_and_names_the_remedy(hook: CruxHook, requests_mock) -> None:
    import ssl

    from urllib3.exceptions import MaxRetryError, SSLError

    refused = SSLError(ssl.SSLCertVerificationError("self-signed certificate"))
    requests_mock.post(EXPORT, exc=requests.exceptions.SSLError(MaxRetryError(None, EXPORT, refused)))
    with pytest.raises(CruxInvalidConnectionError, match="ca_bundle"):
        hook.export_orders(REQUEST)
    assert requests_mock.call_count == 1


@pytest.mark.parametrize("content", [None, "", "nonsense"])
def test_a_ca_bundle_without_certificates_is_told_before_anything_is_sent(
    connect, requests_mock, tmp_path, content: str | None
) -> None:
    bundle = tmp_path / "ca.pem"
    if content is not None:
        bundle.write_text(content)
    connect(password=TOKEN, extra={"ca_bundle": str(bundle)})
    with pytest.raises(CruxInvalidConnectionError, match=r"no certificates in '.*ca\.pem'"):
        CruxHook().export_orders(REQUEST)
    assert requests_mock.call_count == 0


def test_the_connection_goes_before_the_environment(connect, requests_mock, monkeypatch) -> None:
    bundle = requests.certs.where()
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/etc/other.pem")
    monkeypatch.setenv("HTTPS_PROXY", "http://other.example:3128")
    connect(password=TOKEN, extra={"ca_bundle": bundle, "proxy": "http://ours.example:3128"})
    requests_mock.post(EXPORT, json={"uuid": UUID})
    CruxHook().export_orders(REQUEST)
    assert requests_mock.last_request.verify == bundle
    assert requests_mock.last_request.proxies["https"] == "http://ours.example:3128"


def test_an_answer_of_many_megabytes_is_not_read_to_its_end(hook: CruxHook, requests_mock) -> None:
    class Endless:
        """Gives as much as is asked for, and remembers how much that was."""

        given = 0

        def read(self, size: int = -1, *_: object, **__: object) -> bytes:
            self.given += size
            return b"a" * size

        def close(self) -> None:
            """Nothing to close."""

        closed = False

    body = Endless()
    requests_mock.post(EXPORT, body=body)
    with pytest.raises(CruxInvalidResponseError, match="more than"):
        hook.export_orders(REQUEST)
    assert body.given < 3 * MAX_RESPONSE_BYTES


def test_the_state_of_an_export_is_looked_up(hook: CruxHook, requests_mock) -> None:
    url = "https://bucket.example/orders.csv?X-Amz-Signature=abc"
    requests_mock.get(RETRIEVE, json={"uuid": UUID, "status": "COMPLETED", "url": url})
    export = hook.get_export(UUID)
    assert requests_mock.last_request.path == f"/api/data/export/{UUID}/"
    assert export.url == url
    assert url not in repr(export)
    requests_mock.get(RETRIEVE, status_code=404)
    with pytest.raises(CruxNotFoundError):
        hook.get_export(UUID)


def test_the_session_is_ready_for_calls_that_we_do_not_know(connect, requests_mock) -> None:
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


def test_extras_that_mean_nothing_are_warned_of(connect, requests_mock) -> None:
    connect(password=TOKEN, extra={"verify": False})
    requests_mock.post(EXPORT, json={"uuid": UUID})
    hook = CruxHook()
    warned: list[str] = []
    hook.log.warning = lambda message, *args: warned.append(message % args)  # type: ignore[method-assign]
    hook.export_orders(REQUEST)
    assert len(warned) == 1
    assert "verify" in warned[0]


def test_no_error_shows_a_secret_that_the_server_echoed(connect, requests_mock) -> None:
    connect(login="ada", password="p&ss word!")
    requests_mock.post(LOGIN, json={"auth_token": TOKEN})
    requests_mock.post(EXPORT, status_code=400, text=f"{TOKEN} p&amp;ss word! p%26ss%20word%21 p&ss word!")
    with pytest.raises(CruxRequestRejectedError) as caught:
        CruxHook().export_orders(REQUEST)
    for secret in (TOKEN, "p&ss", "p&amp;ss", "p%26ss"):
        assert secret not in str(caught.value)
    assert caught.value.__cause__ is None


def test_credentials_that_are_refused_name_the_connection(connect, requests_mock) -> None:
    connect("crux_eu", password=TOKEN)
    requests_mock.post(EXPORT, status_code=401)
    with pytest.raises(CruxAuthenticationError, match="crux_eu"):
        CruxHook("crux_eu").export_orders(REQUEST)


def test_a_request_that_cannot_be_made_names_the_connection(hook: CruxHook, requests_mock) -> None:
    requests_mock.post(EXPORT, exc=requests.exceptions.InvalidURL("no host"))
    with pytest.raises(CruxInvalidConnectionError, match=r"Nothing was sent.*'crux_default'"):
        hook.export_orders(REQUEST)
    assert requests_mock.call_count == 1


def test_a_wait_says_what_is_out_of_the_ordinary(hook: CruxHook, requests_mock) -> None:
    done = {"uuid": UUID, "status": "completed", "url": "https://files.example/orders.csv"}
    requests_mock.get(RETRIEVE, [{"status_code": 404}, {"json": done}])
    warned: list[str] = []
    hook.log.warning = warned.append  # type: ignore[method-assign]
    assert hook.wait_for_export(UUID, poll_interval=0.001).url == done["url"]
    assert warned == [f"Export {UUID} is not known yet"]


def test_an_answer_is_not_read_on_when_its_time_is_over() -> None:
    late = _Incoming(BytesIO(b"HTTP/1.1 200 OK"), lambda _: None, None, answer_timeout=0)  # type: ignore[arg-type]
    with pytest.raises(HTTPException, match="it drips"):
        late.readinto(bytearray(1))
