"""The transport of files: a sandbox and raw sockets at the wire, for what is sent and for what is cut short."""

from __future__ import annotations

import logging
import re
import socket
import threading
import traceback
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
import requests
import tenacity

from airflow_provider_crux.api.orders import OrdersExportRequest
from airflow_provider_crux.api.settings import ConnectionSettings
from airflow_provider_crux.exceptions import (
    CruxError,
    CruxInvalidConnectionError,
    CruxInvalidResponseError,
    CruxNotFoundError,
    CruxRequestRejectedError,
    CruxUnavailableError,
    CruxUrlExpiredError,
)
from airflow_provider_crux.hooks.crux import CruxHook
from airflow_provider_crux.hooks.files import CHUNK_BYTES, opened

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_crux.sandbox.state import Sandbox

TOKEN = "d7bb2fbb0c666dee5a5a36634baac3114e08ba9c"
SETTINGS = ConnectionSettings(base_url="https://api.cruxconnect.com", username=None, secret=TOKEN)
SIGNATURE = "0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0"
# a slash in lower case and a space, which are spelled in another way when they are sent
SIGNED = (
    f"/exports/b9888421-594c.csv?X-Amz-Credential=AKIAEXAMPLE%2f20260102%2fhere or there&X-Amz-Signature={SIGNATURE}"
)
SIGNED = SIGNED.replace(" ", "%20")
SECRET = re.compile("Amz|AKIA|0f1e2d3c|b9888421|exports/")
FILES = "/sandbox-files/"
MARK = b"\xef\xbb\xbf"


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Let no test wait; what would have been waited is in the list."""
    seconds: list[float] = []
    real = tenacity.Retrying
    monkeypatch.setattr(tenacity, "Retrying", lambda **given: real(**given, sleep=seconds.append))
    return seconds


@pytest.fixture
def url(sandbox: Sandbox) -> str:
    """Give the presigned URL of a finished export."""
    day = OrdersExportRequest(start_date=datetime(2026, 1, 1, tzinfo=UTC), end_date=datetime(2026, 1, 2, tzinfo=UTC))
    hook = CruxHook()
    return str(hook.get_export(hook.export_orders(day)).url)


def fetched(url: str, settings: ConnectionSettings = SETTINGS) -> bytes:
    with opened(url, settings) as chunks:
        return b"".join(chunks)


@contextmanager
def server(*answers: bytes, hold: bool = False) -> Iterator[tuple[str, list[bytes]]]:
    """ApiResponse each connection with the next of these bytes, the last one for ever, and give the requests that came."""
    came: list[bytes] = []
    done = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    came.append(connection.recv(65536))
                    connection.sendall(answers[min(len(came), len(answers)) - 1])
                    if hold:
                        done.wait()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}{SIGNED}", came
        done.set()
        listener.shutdown(socket.SHUT_RDWR)
    thread.join()


def whole(body: bytes = b"a,b\r\n", headers: bytes = b"") -> bytes:
    return b"HTTP/1.1 200 OK\r\n%sContent-Length: %d\r\n\r\n%s" % (headers, len(body), body)


def refusal(status: int, headers: bytes = b"") -> bytes:
    # close: else the next request may go out on this connection before its end is known
    return b"HTTP/1.1 %d No\r\n%sConnection: close\r\nContent-Length: 0\r\n\r\n" % (status, headers)


def test_the_bytes_come_as_they_are_served_byte_order_mark_included(url: str) -> None:
    served = requests.get(url, timeout=60).content
    assert served.startswith(MARK)
    assert fetched(url) == served


def test_a_long_file_comes_in_small_chunks() -> None:
    body = b"0123456789abcdef" * (3 * CHUNK_BYTES // 16) + b"end"
    with server(whole(body)) as (url, _), opened(url, SETTINGS) as chunks:
        sizes = [len(chunk) for chunk in chunks]
    assert sum(sizes) == len(body)
    assert max(sizes) <= CHUNK_BYTES


def test_a_chunked_file_comes_whole() -> None:
    body = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\na,b\n\r\n2\r\n1,\r\n0\r\n\r\n"
    with server(body) as (url, _):
        assert fetched(url) == b"a,b\n1,"


def test_nothing_of_ours_goes_with_the_request_but_our_name(monkeypatch, tmp_path) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login eve password stolen\n")
    monkeypatch.setenv("NETRC", str(netrc))
    with server(refusal(503, b"Set-Cookie: sessionid=abc; Path=/\r\n"), whole()) as (url, came):
        fetched(url)
    assert len(came) == 2
    for request in came:
        assert not re.search(rb"(?i)^(authorization|cookie)|token|sessionid|" + TOKEN.encode(), request, re.MULTILINE)
        assert re.search(rb"(?m)^User-Agent: airflow-provider-crux/[\d.]+ apache-airflow/[\d.]+\r$", request)
        assert b"\r\nAccept-Encoding: identity\r\n" in request


def test_plain_http_to_another_host_is_not_asked(requests_mock) -> None:
    requests_mock.get(requests.compat.urljoin("http://files.example/", SIGNED))
    with pytest.raises(CruxInvalidResponseError):
        fetched(f"http://files.example{SIGNED}")
    assert requests_mock.call_count == 0


@pytest.mark.parametrize("host", ["*.example", f"{'a' * 64}.example"])
def test_a_url_of_which_no_request_can_be_made_is_not_shown(waits: list[float], host: str) -> None:
    with pytest.raises(CruxInvalidResponseError, match="no request can be made") as caught:
        fetched(f"https://{host}{SIGNED}")
    assert not SECRET.search(str(caught.value))
    assert waits == []


def test_a_redirect_is_not_followed() -> None:
    with server(whole()) as (elsewhere, strayed):
        answer = f"HTTP/1.1 307 There\r\nLocation: {elsewhere}\r\nContent-Length: 0\r\n\r\n"
        with server(answer.encode()) as (url, came):
            with pytest.raises(CruxRequestRejectedError, match="Redirects"):
                fetched(url)
            assert len(came) == 1
        assert strayed == []


def test_a_url_that_lapsed_is_told_at_once(url: str, sandbox: Sandbox, waits: list[float]) -> None:
    sandbox.expire_urls()
    with pytest.raises(CruxUrlExpiredError, match="fresh one"):
        fetched(url)
    assert waits == []


@pytest.mark.parametrize(("status", "error"), [(404, CruxNotFoundError), (206, CruxRequestRejectedError)])
def test_what_settles_the_matter_is_asked_once(url: str, sandbox: Sandbox, waits, status: int, error) -> None:
    sandbox.respond_next(FILES, status)
    with pytest.raises(error):
        fetched(url)
    assert waits == []


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_what_may_pass_is_waited_out(waits: list[float], caplog, status: int) -> None:
    with server(refusal(status, b"Retry-After: 7\r\n"), whole()) as (url, came), caplog.at_level(logging.INFO):
        assert fetched(url) == b"a,b\r\n"
        assert len(came) == 2
    assert len(waits) == 1
    assert 7 <= waits[0] <= 8
    assert f"answered {status}: trying to download the export's file again in " in caplog.text


def test_it_is_asked_again_as_often_as_the_connection_says(waits: list[float]) -> None:
    with server(refusal(503)) as (url, came):
        with pytest.raises(CruxUnavailableError, match="503"):
            fetched(url, ConnectionSettings(base_url="", username=None, secret="", max_retries=1))
        assert len(came) == 2


def test_a_host_that_is_not_there_is_tried_again(waits: list[float]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(CruxUnavailableError, match=rf"127\.0\.0\.1:{port}") as caught:
        fetched(f"http://127.0.0.1:{port}{SIGNED}")
    assert len(waits) == 3
    assert not SECRET.search(str(caught.value))


CUTS = {
    "before its end": b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\na,b\n",
    "before its last chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\na,b\n\r\n",
    "within a chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\na,b\n",
}


@pytest.mark.parametrize("answer", CUTS.values(), ids=CUTS.keys())
def test_a_body_that_is_cut_is_an_error_and_nothing_is_repeated(answer: bytes) -> None:
    with server(answer) as (url, came):
        with pytest.raises(CruxUnavailableError, match="Nothing was stored: try again") as caught:
            fetched(url)
        assert len(came) == 1
    assert not SECRET.search("".join(traceback.format_exception(caught.value)))


def test_a_host_that_falls_silent_in_the_middle_is_an_error() -> None:
    settings = ConnectionSettings(base_url="", username=None, secret="", read_timeout=0.05)
    with server(CUTS["before its end"], hold=True) as (url, _), pytest.raises(CruxUnavailableError, match="timed out"):
        fetched(url, settings)


@pytest.mark.parametrize("headers", [b"", b"Content-Length: many\r\n", b"Content-Length: -1\r\n"])
def test_a_body_whose_end_cannot_be_told_from_a_cut_is_refused(headers: bytes) -> None:
    answer = b"HTTP/1.1 200 OK\r\n%sConnection: close\r\n\r\na,b\n" % headers
    with server(answer) as (url, _), pytest.raises(CruxRequestRejectedError, match="without the file's length"):
        fetched(url)


def test_a_body_in_a_coding_that_was_not_asked_for_is_refused() -> None:
    answer = whole(b"nope", b"Content-Encoding: gzip\r\n")
    with server(answer) as (url, _), pytest.raises(CruxRequestRejectedError, match="Content-Encoding"):
        fetched(url)


def test_an_error_of_the_one_who_reads_is_handed_on_as_it_is() -> None:
    with server(whole()) as (url, _), pytest.raises(requests.ConnectionError, match="of mine"), opened(url, SETTINGS):
        raise requests.ConnectionError("of mine")


def test_an_empty_file_is_a_file() -> None:
    with server(whole(b"")) as (url, _):
        assert fetched(url) == b""


def test_what_storage_repeats_of_the_url_is_not_shown() -> None:
    # as S3 answers to a signature that it does not accept
    repeated = SIGNED.partition("?")[2].replace("%2f", "%2F").replace("&", "\n")
    body = f"<Error><SignatureProvided>{SIGNATURE}</SignatureProvided>{SIGNED}\n{repeated}</Error>".encode()
    answer = b"HTTP/1.1 403 Forbidden\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    with server(answer) as (url, _), pytest.raises(CruxUrlExpiredError) as caught:
        fetched(url)
    assert SIGNATURE not in str(caught.value)
    assert "here%20or%20there" not in str(caught.value)


def masked(text: str) -> str:
    from airflow.providers.common.compat.sdk import redact

    return str(redact(text))


def test_no_log_shows_the_url_not_even_that_of_urllib3(caplog) -> None:
    with caplog.at_level(logging.DEBUG), server(whole(), CUTS["before its end"]) as (url, _):
        fetched(url)
    logged = [record.getMessage() for record in caplog.records if record.name.startswith("urllib3")]
    assert any("GET /***?***" in line for line in logged), "urllib3 logs the URL no more: nothing is to be hidden"
    assert not [line for line in logged if SECRET.search(line)]


def test_the_masker_knows_what_of_the_url_is_secret() -> None:
    with server(whole()) as (url, _):
        fetched(url)
    assert SECRET.search(SIGNED)
    assert not SECRET.search(masked(f"GET {SIGNED}"))


def test_no_error_shows_the_url(requests_mock) -> None:
    address = f"https://files.example{SIGNED}"
    for error in (
        requests.ConnectionError,
        requests.ReadTimeout,
        requests.exceptions.InvalidURL,
        requests.TooManyRedirects,
    ):
        requests_mock.get(
            "https://files.example/exports/b9888421-594c.csv", exc=error(f"no way to {address}: {SIGNED}")
        )
        with pytest.raises(CruxError) as caught:
            fetched(address)
        assert not SECRET.search("".join(traceback.format_exception(caught.value)))
        assert not SECRET.search(repr(caught.value))


def test_a_certificate_that_is_not_trusted_names_the_remedy(requests_mock, waits: list[float]) -> None:
    import ssl

    from urllib3.exceptions import MaxRetryError, SSLError

    refused = SSLError(ssl.SSLCertVerificationError("self-signed certificate"))
    address = "https://files.example/exports/b9888421-594c.csv"
    requests_mock.get(address, exc=requests.exceptions.SSLError(MaxRetryError(None, SIGNED, refused)))
    with pytest.raises(CruxInvalidConnectionError, match="ca_bundle"):
        fetched(f"https://files.example{SIGNED}")
    assert waits == []


def test_a_proxy_that_repeats_its_password_is_not_quoted(requests_mock) -> None:
    settings = ConnectionSettings(
        base_url="", username=None, secret=TOKEN, proxy="http://ada:hunter2@proxy.example:3128", max_retries=0
    )
    requests_mock.get("https://files.example/a", status_code=407, text="not you: hunter2, YWRhOmh1bnRlcjI=")
    with pytest.raises(CruxRequestRejectedError, match=re.escape("'not you: ***, ***'")):
        fetched("https://files.example/a", settings)


def test_the_connections_way_through_the_network_goes_before_the_environments(requests_mock, monkeypatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/etc/other.pem")
    monkeypatch.setenv("HTTPS_PROXY", "http://other.example:3128")
    settings = ConnectionSettings(
        base_url="",
        username=None,
        secret="",
        ca_bundle="/etc/ours.pem",
        proxy="http://ours.example:3128",
        connect_timeout=3,
        read_timeout=4,
    )
    requests_mock.get("https://files.example/a", status_code=404)
    with pytest.raises(CruxNotFoundError):
        fetched("https://files.example/a", settings)
    sent = requests_mock.last_request
    assert (sent.verify, sent.timeout) == ("/etc/ours.pem", (3, 4))
    assert sent.proxies["https"] == "http://ours.example:3128"
    with pytest.raises(CruxNotFoundError):
        fetched("https://files.example/a")
    sent = requests_mock.last_request
    assert (sent.verify, sent.proxies["https"]) == ("/etc/other.pem", "http://other.example:3128")
