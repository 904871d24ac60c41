"""The download of a file: the sandbox and raw sockets show what is sent, and what an incomplete file leads to."""

from __future__ import annotations

import logging
import re
import traceback
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
import requests
from airflow.providers.common.compat.sdk import ObjectStoragePath

from airflow_provider_crux.api.exports import SubmittedExport
from airflow_provider_crux.api.orders import OrdersExportRequest
from airflow_provider_crux.api.responses import Export
from airflow_provider_crux.api.settings import ConnectionSettings
from airflow_provider_crux.exceptions import (
    CruxError,
    CruxInvalidConnectionError,
    CruxInvalidResponseError,
    CruxRequestRejectedError,
    CruxUnavailableError,
    CruxUrlExpiredError,
)
from airflow_provider_crux.files.store import FileOptions, store
from airflow_provider_crux.hooks.crux import CruxHook
from airflow_provider_crux.transport.download import CHUNK_BYTES, open_file
from tests.certificates import self_signed_certificate
from tests.raw_server import SIGNATURE, TOKEN, UUID, Connection, Fault, raw_server, respond_with, unused_url

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from airflow_provider_crux.sandbox.state import Sandbox

SETTINGS = ConnectionSettings(
    # this machine, as with the sandbox: the files may be here too
    name="connection 'crux_default'",
    base_url="http://127.0.0.1:1",
    username=None,
    secret=TOKEN,
)
# an escape in lower case and a space: requests may spell both in another way
PATH = (
    "/exports/b9888421-594c.csv?X-Amz-Credential=AKIAEXAMPLE%2f20260102%2fhere%20or%20there"
    f"&X-Amz-Signature={SIGNATURE}"
)
SECRET = re.compile("Amz|AKIA|0f1e2d3c|b9888421|exports/")
SANDBOX_FILES = "/sandbox-files/"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"

pytestmark = pytest.mark.usefixtures("delays")


@pytest.fixture
def url(sandbox: Sandbox) -> str:
    """Give the presigned URL of an export that is done."""
    day = OrdersExportRequest(start_date=datetime(2026, 1, 1, tzinfo=UTC), end_date=datetime(2026, 1, 2, tzinfo=UTC))
    hook = CruxHook()
    return str(hook.get_export(hook.export_orders(day)).url)


def export_with(url: str) -> Export:
    return Export(uuid=UUID, status="completed", url=url)


def download(url: str, settings: ConnectionSettings = SETTINGS) -> bytes:
    with open_file(export_with(url), settings) as chunks:
        return b"".join(chunks)


@contextmanager
def storage(*responses: bytes, then: Fault = lambda _: None) -> Iterator[tuple[str, list[str]]]:
    """Run a server that sends one response after the other; give a presigned URL, and the requests received."""
    with raw_server(respond_with(*responses, then=then)) as server:
        yield f"{server.url}{PATH}", server.requests


def complete(body: bytes = b"a,b\r\n", headers: bytes = b"") -> bytes:
    return b"HTTP/1.1 200 OK\r\n%sContent-Length: %d\r\n\r\n%s" % (headers, len(body), body)


def rejection(status: int, headers: bytes = b"") -> bytes:
    # close: otherwise the next request may be sent on this connection before its end is known
    return b"HTTP/1.1 %d No\r\n%sConnection: close\r\nContent-Length: 0\r\n\r\n" % (status, headers)


def test_bytes_are_unchanged_including_the_byte_order_mark(url: str) -> None:
    served = requests.get(url, timeout=60).content
    assert served.startswith(BYTE_ORDER_MARK)
    assert download(url) == served


def test_long_file_comes_in_small_chunks() -> None:
    body = b"a,b\r\n" + b"0123456789abcdef" * (3 * CHUNK_BYTES // 16) + b"end"
    with storage(complete(body)) as (url, _), open_file(export_with(url), SETTINGS) as chunks:
        sizes = [len(chunk) for chunk in chunks]
    assert sum(sizes) == len(body)
    assert max(sizes) <= CHUNK_BYTES


def test_file_in_chunked_encoding() -> None:
    response = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\na,b\n\r\n2\r\n1,\r\n0\r\n\r\n"
    with storage(response) as (url, _):
        assert download(url) == b"a,b\n1,"


def test_request_contains_no_credentials_or_cookies(monkeypatch, tmp_path) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login eve password stolen\n")
    monkeypatch.setenv("NETRC", str(netrc))
    with storage(rejection(503, b"Set-Cookie: sessionid=abc; Path=/\r\n"), complete()) as (url, received):
        download(url)
    assert len(received) == 2
    for request in received:
        assert not re.search(rf"(?i)^(authorization|cookie)|token|sessionid|{TOKEN}", request, re.MULTILINE)
        assert re.search(r"(?m)^User-Agent: airflow-provider-crux/[\d.]+ apache-airflow/[\d.]+\w*\r$", request)
        assert "\r\nAccept-Encoding: identity\r\n" in request


def test_http_url_of_another_host_is_not_opened(requests_mock) -> None:
    requests_mock.get(requests.compat.urljoin("http://files.example/", PATH))
    with pytest.raises(CruxInvalidResponseError):
        download(f"http://files.example{PATH}")
    assert requests_mock.call_count == 0


def test_export_without_url_is_not_opened(requests_mock) -> None:
    with (
        pytest.raises(CruxUnavailableError, match=rf"{UUID} has no URL of its file \(status 'completed'\)"),
        open_file(Export(uuid=UUID, status="completed"), SETTINGS),
    ):
        pass
    assert requests_mock.call_count == 0


@pytest.mark.parametrize("host", ["*.example", f"{'a' * 64}.example"])
def test_invalid_url_is_not_shown(delays: list[float], host: str) -> None:
    with pytest.raises(CruxInvalidResponseError, match="no request can be made") as caught:
        download(f"https://{host}{PATH}")
    assert not SECRET.search(str(caught.value))
    assert delays == []


def test_redirect_is_not_followed() -> None:
    with storage(complete()) as (target, received_by_target):
        response = f"HTTP/1.1 307 There\r\nLocation: {target}\r\nContent-Length: 0\r\n\r\n"
        with storage(response.encode()) as (url, received):
            with pytest.raises(CruxUnavailableError, match="Redirects"):
                download(url, replace(SETTINGS, max_retries=0))
            assert len(received) == 1
        assert received_by_target == []


def test_expired_url_is_not_retried(url: str, sandbox: Sandbox, delays: list[float]) -> None:
    sandbox.expire_urls()
    with pytest.raises(CruxUrlExpiredError, match="has expired: request a new one"):
        download(url)
    assert delays == []


def test_rejection_by_a_proxy_is_not_retried(url: str, sandbox: Sandbox, delays: list[float]) -> None:
    sandbox.respond_next(SANDBOX_FILES, 407)
    with pytest.raises(CruxRequestRejectedError, match="Check the user and the password of the proxy"):
        download(url)
    assert delays == []


@pytest.mark.parametrize("status", [204, 206, 307, 400, 404, 408, 410, 429, 500, 502, 503, 504])
def test_transient_error_is_retried(delays: list[float], caplog, status: int) -> None:
    with storage(rejection(status, b"Retry-After: 7\r\n"), complete()) as (url, received):
        with caplog.at_level(logging.INFO):
            assert download(url) == b"a,b\r\n"
        assert len(received) == 2
    assert len(delays) == 1
    assert 7 <= delays[0] <= 8
    host = url.split("/")[2]
    assert (
        f"Could not download the export's file: {host} returned HTTP {status}. Retrying in {delays[0]:.1f} s"
        in caplog.text
    )


def test_file_that_is_still_not_found_after_all_retries_may_be_gone(delays: list[float]) -> None:
    with storage(rejection(404)) as (url, received):
        with pytest.raises(
            CruxUnavailableError, match=r"HTTP 404 .*if it fails again, the file is gone: request a new"
        ):
            download(url)
        assert len(received) == 4
    assert len(delays) == 3


def test_connection_sets_the_number_of_retries() -> None:
    with storage(rejection(503)) as (url, received):
        with pytest.raises(CruxUnavailableError, match="503"):
            download(url, replace(SETTINGS, max_retries=1))
        assert len(received) == 2


def test_refused_connection_is_retried(delays: list[float]) -> None:
    with unused_url() as url:
        host = url.removeprefix("http://")
        with pytest.raises(CruxUnavailableError, match=rf"cannot connect to {re.escape(host)}") as caught:
            download(f"{url}{PATH}")
    assert len(delays) == 3
    assert not SECRET.search(str(caught.value))


INCOMPLETE = {
    "before the end": b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\na,b\n",
    "before the last chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\na,b\n\r\n",
    "within a chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\na,b\n",
}


@pytest.mark.parametrize("response", INCOMPLETE.values(), ids=INCOMPLETE.keys())
def test_incomplete_file_is_an_error_and_not_retried(response: bytes) -> None:
    with storage(response) as (url, received):
        with pytest.raises(CruxUnavailableError, match=r"was incomplete .* Nothing was stored\. Try again") as caught:
            download(url)
        assert len(received) == 1
    assert not SECRET.search("".join(traceback.format_exception(caught.value)))


def test_silence_within_a_file_is_an_error() -> None:
    settings = replace(SETTINGS, read_timeout=0.05)
    with (
        storage(INCOMPLETE["before the end"], then=Connection.stay_silent) as (url, _),
        pytest.raises(CruxUnavailableError, match="timed out"),
    ):
        download(url, settings)


@pytest.mark.parametrize("headers", [b"", b"Content-Length: many\r\n", b"Content-Length: -1\r\n"])
def test_file_without_length_is_rejected(headers: bytes) -> None:
    response = b"HTTP/1.1 200 OK\r\n%sConnection: close\r\n\r\na,b\n" % headers
    with storage(response) as (url, _), pytest.raises(CruxUnavailableError, match="without the file's length"):
        download(url)


def test_encoding_that_was_not_requested_is_rejected() -> None:
    response = complete(b"nope", b"Content-Encoding: gzip\r\n")
    with storage(response) as (url, _), pytest.raises(CruxUnavailableError, match="Content-Encoding"):
        download(url)


def test_error_of_the_caller_is_not_translated() -> None:
    with (
        storage(complete()) as (url, _),
        pytest.raises(requests.ConnectionError, match="of the caller"),
        open_file(export_with(url), SETTINGS),
    ):
        raise requests.ConnectionError("of the caller")


NO_EXPORTS = {
    "nothing": (b"", "an empty file"),
    "byte-order mark": (BYTE_ORDER_MARK, "an empty file"),
    "blank lines": (b"\r\n\r\n", "an empty file"),
    "XML": (b'<?xml version="1.0"?>\n<Error><Code>AccessDenied</Code></Error>', "XML"),
    "JSON": (b'{"error": "denied", "code": 7}', "JSON"),
    "JSON list": (b'["order_uuid", "name", "city"]\n', "JSON"),
    "web page": (b"<!doctype html>\n<html>", r"a web page \(HTML\)"),
    "web page in one line": (b"<html><p>Your street,city,state</p></html>", r"a web page \(HTML\)"),
    "XHTML": (b'\n<?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml">', r"a web page \(HTML\)"),
    "ZIP": (b"PK\x03\x04\x14\x00,\n,\n", "a ZIP file"),
    "gzip": (b"\x1f\x8b\x08,\n,\n", "a gzip file"),
    "UTF-16": ("order_uuid,name\n".encode("utf-16"), "text in UTF-16"),
    "text": (b"Sign in, please.\n", "a file that is not CSV"),
    "text in lines": (b"Sorry, we are closed.\nCome back later.\n", "a file that is not CSV"),
    "one column": (b"orders\n1\n2\n", "a file that is not CSV"),
    "semicolons": (b"order_uuid;name\n1;Ada\n", "a file that is not CSV"),
    "image": (b"\x89PNG\r\n\x1a\n" + bytes(64), "a file that is not CSV"),
    "zeros": (bytes(100_000), "a file whose first line is longer than 65536 bytes"),
    "endless line": (b"a," * 150_000, "a file whose first line is longer than 65536 bytes"),
}


@pytest.mark.parametrize(("body", "content"), NO_EXPORTS.values(), ids=NO_EXPORTS.keys())
def test_what_is_no_csv_file_is_rejected_before_the_caller_gets_any_of_it(
    body: bytes, content: str, tmp_path: Path
) -> None:
    path, submitted = ObjectStoragePath(f"file://{tmp_path}/orders.csv"), SubmittedExport(UUID, None, None)
    with (
        storage(complete(body)) as (url, received),
        pytest.raises(
            CruxUnavailableError, match=rf"but with {content}\. Nothing was stored\. Try again later; .* ask Crux"
        ),
        open_file(export_with(url), SETTINGS) as chunks,
    ):
        store(chunks, path, options=FileOptions(), submitted=submitted)
    assert len(received) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("body", "advice"),
    [(NO_EXPORTS["web page"][0], "check the network's proxy"), (NO_EXPORTS["ZIP"][0], "ask Crux Connect")],
    ids=["web page", "ZIP"],
)
def test_a_proxy_is_blamed_only_for_what_a_proxy_sends(body: bytes, advice: str) -> None:
    with raw_server(respond_with(complete(body))) as proxy, unused_url() as url:
        settings = replace(SETTINGS, proxy=proxy.url)
        with pytest.raises(CruxUnavailableError, match=rf"if it fails again, {advice}"):
            download(f"{url}{PATH}", settings)


@pytest.mark.parametrize("header", [b"order_uuid,quantity\r\n", b'"Order UUID","PO-Number"\n', b"a,b\r1,2\r", b"a,b"])
@pytest.mark.parametrize("beginning", [b"", BYTE_ORDER_MARK])
def test_export_without_orders_is_a_file(header: bytes, beginning: bytes) -> None:
    with storage(complete(beginning + header)) as (url, _):
        assert download(url) == beginning + header


def test_header_may_arrive_in_pieces() -> None:
    pieces = [BYTE_ORDER_MARK[:1], BYTE_ORDER_MARK[1:] + b"a", b",", b"b\r", b"\n1,", b"2\r\n"]
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    with storage(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n") as (url, _):
        assert download(url) == b"".join(pieces)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_url_of_this_machine_is_not_opened_if_the_api_is_elsewhere(scheme: str) -> None:
    remote = replace(SETTINGS, base_url="https://api.cruxconnect.com")
    with raw_server(respond_with(complete())) as server:
        with pytest.raises(CruxInvalidResponseError, match=r"leads to this machine \(127\.0\.0\.1\)"):
            download(f"{server.url}{PATH}".replace("http", scheme, 1), remote)
        assert server.connections == 0
        assert download(f"{server.url}{PATH}") == b"a,b\r\n"


@pytest.mark.parametrize(
    "host",
    [
        *("127.1", "0.0.0.0", "0", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]", "LOCALHOST", "localhost."),
        # of these, urllib3 reads another host than the standard library does
        *("%31%32%37.0.0.1", "127.0.0.1\\.files.example"),
    ],
)
def test_url_of_this_machine_is_not_opened_however_it_is_spelled(host: str) -> None:
    remote = replace(SETTINGS, base_url="https://api.cruxconnect.com", max_retries=0)
    with raw_server(respond_with(complete())) as server:
        url = f"{server.url}{PATH}".replace("http://127.0.0.1", f"https://{host}", 1)
        with pytest.raises(CruxInvalidResponseError, match=r"leads to this machine|cannot be parsed"):
            download(url, remote)
        assert server.connections == 0


def test_url_echoed_by_storage_is_masked() -> None:
    # as S3 responds to a signature that it rejects
    query = PATH.partition("?")[2].replace("%2f", "%2F").replace("&", "\n")
    body = f"<Error><SignatureProvided>{SIGNATURE}</SignatureProvided>{PATH}\n{query}</Error>".encode()
    response = b"HTTP/1.1 403 Forbidden\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    with storage(response) as (url, _), pytest.raises(CruxUrlExpiredError) as caught:
        download(url)
    assert SIGNATURE not in str(caught.value)
    assert "here%20or%20there" not in str(caught.value)


def masked(text: str) -> str:
    from airflow.providers.common.compat.sdk import redact

    return str(redact(text))


def test_no_log_line_of_urllib3_shows_the_url(caplog) -> None:
    with caplog.at_level(logging.DEBUG), storage(complete(), INCOMPLETE["before the end"]) as (url, _):
        download(url)
    lines = [record.getMessage() for record in caplog.records if record.name.startswith("urllib3")]
    assert any("GET /***?***" in line for line in lines), "urllib3 no longer logs the URL: nothing needs to be hidden"
    assert not [line for line in lines if SECRET.search(line)]


def test_url_is_masked_in_logs() -> None:
    with storage(complete()) as (url, _):
        download(url)
    assert SECRET.search(PATH)
    assert not SECRET.search(masked(f"GET {PATH}"))


def test_no_error_shows_the_url(requests_mock) -> None:
    url = f"https://files.example{PATH}"
    for error in (
        requests.ConnectionError,
        requests.ReadTimeout,
        requests.exceptions.InvalidURL,
        requests.TooManyRedirects,
    ):
        requests_mock.get("https://files.example/exports/b9888421-594c.csv", exc=error(f"no way to {url}: {PATH}"))
        with pytest.raises(CruxError) as caught:
            download(url)
        assert not SECRET.search("".join(traceback.format_exception(caught.value)))
        assert not SECRET.search(repr(caught.value))


def test_untrusted_certificate_is_not_retried_and_names_ca_bundle(tmp_path: Path, delays: list[float]) -> None:
    tls, _ = self_signed_certificate(tmp_path)
    with raw_server(Connection.reset, tls=tls) as server:
        with pytest.raises(CruxInvalidConnectionError, match="ca_bundle"):
            download(f"{server.url}{PATH}")
        assert server.requests == []
    assert delays == []


def test_password_echoed_by_the_proxy_is_masked(requests_mock) -> None:
    settings = replace(SETTINGS, proxy="http://ada:hunter2@proxy.example:3128", max_retries=0)
    requests_mock.get("https://files.example/a", status_code=407, text="not you: hunter2, YWRhOmh1bnRlcjI=")
    with pytest.raises(CruxRequestRejectedError, match=re.escape("'not you: ***, ***'")):
        download("https://files.example/a", settings)


@pytest.mark.parametrize("variables", [("HTTP_PROXY",), ("HTTP_PROXY", "NO_PROXY"), ()], ids=" ".join)
@pytest.mark.parametrize("of_connection", [False, True], ids=["", "of the connection"])
def test_error_names_a_proxy_only_if_there_is_one(variables: tuple[str, ...], of_connection: bool, monkeypatch) -> None:
    values = {"NO_PROXY": "127.0.0.1"}
    with raw_server(respond_with(rejection(307))) as proxy, storage(complete(b"")) as (url, _):
        for name in variables:
            monkeypatch.setenv(name, values.get(name, proxy.url))
        settings = replace(SETTINGS, proxy=proxy.url if of_connection else None, max_retries=0)
        with pytest.raises(CruxUnavailableError) as caught:
            download(url, settings)
        assert ("check the network's proxy" in str(caught.value)) is bool(proxy.connections)
        assert bool(proxy.connections) is (of_connection or variables == ("HTTP_PROXY",))


def test_connection_takes_precedence_over_the_environment(requests_mock, monkeypatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/etc/other.pem")
    monkeypatch.setenv("HTTPS_PROXY", "http://other.example:3128")
    settings = replace(
        SETTINGS,
        ca_bundle="/etc/ours.pem",
        proxy="http://ours.example:3128",
        connect_timeout=3,
        read_timeout=4,
    )
    requests_mock.get("https://files.example/a", status_code=404)
    with pytest.raises(CruxUnavailableError):
        download("https://files.example/a", settings)
    request = requests_mock.last_request
    assert (request.verify, request.timeout) == ("/etc/ours.pem", (3, 4))
    assert request.proxies["https"] == "http://ours.example:3128"
    with pytest.raises(CruxUnavailableError):
        download("https://files.example/a")
    request = requests_mock.last_request
    assert (request.verify, request.proxies["https"]) == ("/etc/other.pem", "http://other.example:3128")
