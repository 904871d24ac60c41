"""What a person reads after pressing the Test button; fakes at the wire, and real sockets where those fail."""

from __future__ import annotations

import re
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from airflow_provider_crux.hooks.crux import CruxHook
from airflow_provider_crux.sandbox.settings import SandboxSettings
from airflow_provider_crux.sandbox.state import Sandbox

HOST = "https://api.cruxconnect.com"
LOGIN = f"{HOST}/api/organizations/user-login/"
LOOK = f"{HOST}/api/data/export/00000000-0000-0000-0000-000000000000/"
TOKEN = "d7bb2fbb0c666dee5a5a36634baac3114e08ba9c"
PASSWORD = "p&ss word!"


@pytest.fixture(params=["token", "login"])
def credentials(request: pytest.FixtureRequest) -> dict[str, str]:
    """Both kinds, one after the other."""
    return {"password": TOKEN} if request.param == "token" else {"login": "ada", "password": PASSWORD}


def check() -> tuple[bool, str]:
    """Press the button; whatever the text says, it holds no secret, and no id that the user never gave."""
    works, told = CruxHook().test_connection()
    assert not re.search(rf"{TOKEN}|p(&|&amp;|%26)ss|hunter2|crux_default", told)
    return works, told


@contextmanager
def service(body: bytes = b"", tls: ssl.SSLContext | None = None) -> Iterator[tuple[str, list[str]]]:
    """ApiResponse every request with 200 and an HTML page, or whatever the body is; give host and port, and what came."""
    came: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            came.append(f"{self.command} {self.path}")
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = answer  # noqa: N815 - names of the standard library

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.handle_error = lambda *_: None  # type: ignore[method-assign] - of a client that breaks off
        if tls is not None:
            # the handshake in the thread of its request, not in the one that accepts
            server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.server_port}", came
        server.shutdown()
    thread.join()


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, ssl.SSLContext]:
    """Sign a certificate of 127.0.0.1 by itself; give its file, and a server's context with it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem, private = tmp_path / "cert.pem", tmp_path / "key.pem"
    pem.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(pem, private)
    return pem, tls


@pytest.fixture
def free_port() -> int:
    """Give a port at which nobody answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.fixture(autouse=True)
def _nothing_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    import tenacity

    def refuse(seconds: float) -> None:
        raise AssertionError(f"waited {seconds} s for another try")

    real = tenacity.Retrying
    monkeypatch.setattr(tenacity, "Retrying", lambda **given: real(**given, sleep=refuse))


def test_a_good_token_is_told_with_its_host_and_costs_one_look(connect, requests_mock) -> None:
    connect(password=TOKEN)
    requests_mock.get(LOOK, status_code=404, json={"detail": "Not found."})
    assert check() == (True, f"{HOST} accepts the API token")
    (sent,) = requests_mock.request_history
    assert sent.headers["Authorization"] == f"Token {TOKEN}"


def test_a_good_login_is_told_with_its_host_and_costs_one_login(connect, requests_mock) -> None:
    connect(login="ada", password=PASSWORD)
    requests_mock.post(LOGIN, json={"auth_token": TOKEN})
    assert check() == (True, f"Logged in to {HOST}")
    (sent,) = requests_mock.request_history
    assert sent.json() == {"username": "ada", "password": PASSWORD}


@pytest.mark.parametrize("body", ['{"detail": "Invalid token."}', ""])
def test_a_wrong_token_is_told_with_the_remedy(connect, requests_mock, body: str) -> None:
    connect(password=TOKEN)
    requests_mock.get(LOOK, status_code=401, text=body)
    works, told = check()
    assert not works
    assert told.startswith(f"{HOST} does not accept the API token: put a valid one into the password")


@pytest.mark.parametrize("status", [400, 401, 403])
def test_a_wrong_user_name_or_password_is_told(connect, requests_mock, status: int) -> None:
    connect(login="ada", password=PASSWORD)
    requests_mock.post(LOGIN, status_code=status, json={"detail": f"no {PASSWORD} for ada"})
    assert check() == (False, f"{HOST} does not accept the user name or its password: correct them")
    assert requests_mock.call_count == 1


def test_a_user_without_permission_is_told_whom_to_ask(connect, requests_mock) -> None:
    connect(password=TOKEN)
    requests_mock.get(LOOK, status_code=403, json={"detail": "You do not have permission."})
    works, told = check()
    assert not works
    assert told.endswith("ask Crux Connect for permission")


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_service_that_is_down_says_nothing_of_the_credentials(connect, requests_mock, credentials, status) -> None:
    connect(**credentials)
    # a balancer's page is in HTML, whoever stands behind it
    requests_mock.register_uri("GET", LOOK, status_code=status, text="<html>", headers={"Retry-After": "1"})
    requests_mock.register_uri("POST", LOGIN, status_code=status, text="<html>", headers={"Retry-After": "1"})
    works, told = check()
    assert not works
    assert told == f"{HOST} is not at work just now (it answers {status}): try again later"
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
def test_an_answer_that_is_not_crux_connects_is_told_and_not_taken_for_a_yes(
    connect, requests_mock, credentials, status: int, body: str
) -> None:
    connect(**credentials)
    headers = {"Content-Type": "text/html", "Location": f"https://evil.example/{TOKEN}"}
    requests_mock.register_uri("GET", LOOK, status_code=status, text=body, headers=headers)
    requests_mock.register_uri("POST", LOGIN, status_code=status, text=body, headers=headers)
    works, told = check()
    assert not works
    assert told.startswith(f"{HOST} does not answer as Crux Connect does ({status}, text/html): correct the host")


def test_a_web_page_at_the_host_is_told(connect, credentials) -> None:
    with service(b"<!doctype html><title>Welcome</title>") as (address, came):
        connect(host=f"http://{address}", **credentials)
        works, told = check()
    assert not works
    assert f"http://{address} does not answer as Crux Connect does (200, text/html)" in told
    assert len(came) == 1
    assert "orders/export" not in came[0]


def test_a_host_at_which_nobody_answers_is_told(connect, credentials, free_port: int) -> None:
    connect(host=f"http://127.0.0.1:{free_port}", **credentials)
    works, told = check()
    assert not works
    assert f"http://127.0.0.1:{free_port}: no connection" in told
    assert "refused" in told
    assert "Check the network, and the host" in told


def test_a_host_that_does_not_exist_is_told(connect, monkeypatch) -> None:
    def not_found(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", not_found)
    connect(host="api.cruxconect.com", password=TOKEN)
    works, told = check()
    assert not works
    assert "Failed to resolve 'api.cruxconect.com'" in told


def test_a_proxy_that_does_not_answer_is_told_without_its_password(connect, free_port: int) -> None:
    connect(password=TOKEN, extra={"proxy": f"http://ada:hunter2@127.0.0.1:{free_port}"})
    works, told = check()
    assert not works
    assert "proxy of the connection" in told


def test_a_certificate_that_is_not_trusted_is_told_and_one_of_the_bundle_is_trusted(
    connect, credentials, certificate
) -> None:
    pem, tls = certificate
    with service(b"<html>", tls) as (address, came):
        connect(host=f"https://{address}", **credentials)
        works, told = check()
        assert not works
        assert "certificate is not trusted" in told
        assert "host of this connection" in told
        assert told.endswith("extra ca_bundle")
        assert came == []
        connect(host=f"https://{address}", **credentials, extra={"ca_bundle": str(pem)})
        assert "does not answer as Crux Connect does" in check()[1]


@pytest.mark.parametrize("secure", [True, False])
def test_http_in_the_place_of_https_and_the_other_way_round_is_told(connect, certificate, secure: bool) -> None:
    with service(tls=certificate[1] if secure else None) as (address, _):
        connect(host=f"{'http' if secure else 'https'}://{address}", password=TOKEN)
        works, told = check()
    assert not works
    assert told.endswith("Check too the scheme (https or http) and the port of the host")


def test_a_host_that_never_answers_is_told_after_the_timeout(connect, credentials) -> None:
    # accepts nothing: the kernel completes the connection, and no answer ever comes
    with socket.create_server(("127.0.0.1", 0)) as listener:
        host = f"http://127.0.0.1:{listener.getsockname()[1]}"
        connect(host=host, **credentials, extra={"read_timeout": 0.05})
        works, told = check()
    assert not works
    assert "timed out" in told


def test_a_bundle_that_holds_no_certificates_is_told(connect, requests_mock, tmp_path: Path) -> None:
    for path in (tmp_path / "missing.pem", tmp_path / "nonsense.pem"):
        connect(password=TOKEN, extra={"ca_bundle": str(path)})
        works, told = check()
        assert not works
        assert told.startswith(
            f"This connection cannot be used: extra ca_bundle: there are no certificates in '{path}'"
        )
        (tmp_path / "nonsense.pem").write_text("nonsense")
    assert requests_mock.call_count == 0


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"host": "http://api.cruxconnect.com"}, "clear text"),
        ({"host": "https://a..b"}, "cannot be read"),
        ({"host": "https://ada:hunter2@api.cruxconnect.com"}, "credentials stand in the host"),
        ({"port": 99999}, "port: 99999 is not a port; give 443"),
        ({"port": -1}, "port: -1 is not a port"),
        ({"password": None}, "give the API token"),
        ({"password": f"Token {TOKEN}"}, "paste the token alone"),
        ({"extra": {"read_timeout": "soon"}}, "extra read_timeout: 'soon'"),
        ({"extra": {"max_retries": 1000}}, "from 0 to 999"),
        ({"extra": {"proxy": "hunter2"}}, "extra proxy: the value is not the URL of a proxy"),
        ({"extra": {"proxy": "socks5://hunter2:0"}}, "extra proxy: the value is not the URL of a proxy"),
        ({"extra": {"ca_bundle": 1}}, "extra ca_bundle: 1"),
    ],
)
def test_a_field_that_cannot_be_used_is_told_with_the_remedy(connect, requests_mock, fields, told: str) -> None:
    connect(**{"password": TOKEN, **fields})
    works, said = check()
    assert not works
    assert said.startswith("This connection cannot be used: ")
    assert told in said
    assert requests_mock.call_count == 0


def test_a_connection_that_airflow_itself_cannot_read_is_told(connect) -> None:
    from airflow.providers.common.compat.sdk import Connection

    uri = Connection(conn_id="crux_default", conn_type="crux", host="x", password=TOKEN, port=99999).get_uri()
    connect()
    for conn_id, value in (("crux_unreadable", uri), ("crux_missing", None)):
        with pytest.MonkeyPatch.context() as patch:
            if value is not None:
                patch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", value)
            works, told = CruxHook(conn_id).test_connection()
        assert not works
        assert told.endswith("give it a port from 1 to 65535 (443), and store it")


def test_against_the_sandbox_nothing_is_exported(connect, sandbox: Sandbox) -> None:
    given = SandboxSettings()
    for fields, expected in (
        ({"password": given.token}, (True, f"{sandbox.url} accepts the API token")),
        ({"login": given.user, "password": given.password}, (True, f"Logged in to {sandbox.url}")),
        ({"password": TOKEN[::-1]}, (False, f"{sandbox.url} does not accept the API token")),
        ({"login": given.user, "password": PASSWORD}, (False, f"{sandbox.url} does not accept the user name")),
    ):
        before = len(sandbox.requests)
        connect(host=sandbox.url, **fields)
        works, told = CruxHook().test_connection()
        assert works is expected[0]
        assert told.startswith(expected[1])
        assert len(sandbox.requests) == before + 1
    assert not [entry for entry in sandbox.requests if "orders/export" in entry["path"]]
