"""What a response of the API means, and what it says if it is not the documented one."""

from __future__ import annotations

import json
import re
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_crux.api import responses
from airflow_provider_crux.api.requests import MAX_RESPONSE_BYTES, NIL_UUID, ApiResponse, get_export_request
from airflow_provider_crux.api.responses import Export, ExportState
from airflow_provider_crux.api.urls import file_url
from airflow_provider_crux.exceptions import CruxInvalidRequestError, CruxInvalidResponseError, CruxTransientError

UUID = "b9888421-594c-4d2f-9f0d-3b138a16c845"
QUERY = "X-Amz-Expires=300&X-Amz-Signature=0f1e2d3c4b5a69788796a5b4c3d2e1f0"
SECRET = "d7bb2fbb0c666dee5a5a36634baac3114e08ba9c"


def response(body: bytes | object, content_type: str = "application/json") -> ApiResponse:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return ApiResponse(status=200, headers={"content-type": content_type}, body=raw)


@pytest.mark.parametrize(
    "body", [{"uuid": UUID}, {"uuid": UUID.upper(), "more": 1}, b'\xef\xbb\xbf{"uuid": "%b"}' % UUID.encode()]
)
def test_the_uuid_of_an_export_is_read(body) -> None:
    assert responses.parse_export_uuid(response(body)) == UUID


@pytest.mark.parametrize(
    ("body", "content_type", "shown"),
    [
        (b"", "text/plain", "(empty body)"),
        (b"<html><title>Sign in</title></html>", "text/html", "text/html: '<html><title>Sign in"),
        (b'{"uuid": ', "application/json", '{"uuid":'),
        (b"\xff\xfe\xfa", "application/json", "not a JSON object"),
        (b"[" * 100_000, "application/json", "not a JSON object"),
        ([UUID], "application/json", "not a JSON object"),
        ({}, "application/json", "no valid uuid"),
        ({"uuid": None}, "application/json", "no valid uuid"),
        ({"uuid": 7}, "application/json", "no valid uuid"),
        ({"uuid": f"{{{UUID}}}"}, "application/json", "no valid uuid"),
        ({"uuid": f"{UUID}/../"}, "application/json", "no valid uuid"),
        (b'{"uuid": "' + b"a" * (5 * MAX_RESPONSE_BYTES), "application/json", "exceeds 1048576 bytes"),
        ({"auth_token": SECRET, "echo": f"Token {SECRET}"}, "application/json", "***"),
    ],
)
def test_an_invalid_response_is_shown_briefly_and_without_secrets(body, content_type, shown) -> None:
    with pytest.raises(CruxInvalidResponseError) as caught:
        responses.parse_export_uuid(response(body, content_type), secrets=[SECRET])
    message = str(caught.value)
    assert shown in message
    assert "The export may have been started, so a retry may send a second e-mail" in message
    assert SECRET not in message
    assert len(message) < 700


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"\xff\xfe\xfa", "its body is not a JSON object"),
        (b"[" * 100_000, "its body is not a JSON object"),
        ([UUID], "its body is not a JSON object"),
        (b'{"uuid": "' + b"a" * (5 * MAX_RESPONSE_BYTES), "its body exceeds 1048576 bytes"),
    ],
)
def test_a_status_that_cannot_be_read_says_why_and_what_to_check(body, problem: str) -> None:
    with pytest.raises(CruxInvalidResponseError, match=f"returned HTTP 200, but {problem}") as caught:
        responses.parse_export(response(body), requested=UUID)
    assert str(caught.value).endswith("Check that the connection's host is Crux Connect's")
    assert len(str(caught.value)) < 700


@given(st.binary(max_size=300))
def test_any_response_is_either_a_uuid_or_our_error(body: bytes) -> None:
    with suppress(CruxInvalidResponseError):
        responses.parse_export_uuid(response(body))


@pytest.mark.parametrize(
    ("status", "with_url", "without_url"),
    [
        ("COMPLETED", ExportState.DONE, ExportState.PENDING),
        ("complete", ExportState.DONE, ExportState.PENDING),
        ("Pending", ExportState.PENDING, ExportState.PENDING),
        ("in_progress", ExportState.PENDING, ExportState.PENDING),
        ("FAILED", ExportState.FAILED, ExportState.FAILED),
        ("canceled", ExportState.FAILED, ExportState.FAILED),
        ("frobnicating", ExportState.DONE, ExportState.UNKNOWN),
    ],
)
def test_a_status_means_what_the_documentation_says(
    status: str, with_url: ExportState, without_url: ExportState
) -> None:
    for url, state in (("https://files.example/a.csv", with_url), (None, without_url), ("", without_url)):
        body = response({"uuid": UUID, "status": status, "url": url})
        assert responses.parse_export(body, requested=UUID).state is state


def test_an_export_has_its_url_but_never_shows_it() -> None:
    url = "https://bucket.example/orders.csv?X-Amz-Signature=abc"
    export = responses.parse_export(response({"uuid": UUID, "status": "COMPLETED", "url": url}), requested=UUID)
    assert export == Export(uuid=UUID, status="COMPLETED", url=url)
    assert "bucket" not in repr(export)
    assert "Signature" not in f"{export}"


@pytest.mark.parametrize(
    "body",
    [
        {"uuid": NIL_UUID, "status": "COMPLETED", "url": None},
        {"status": "COMPLETED", "url": None},
        {"uuid": UUID, "url": None},
        {"uuid": UUID, "status": 3, "url": None},
        {"uuid": UUID, "status": "COMPLETED", "url": ["https://bucket.example/?X-Amz-Signature=abc"]},
    ],
)
def test_an_invalid_export_is_rejected_without_showing_its_url(body) -> None:
    with pytest.raises(CruxInvalidResponseError) as caught:
        responses.parse_export(response(body), requested=UUID)
    assert "bucket" not in str(caught.value)


@pytest.mark.parametrize(
    "body",
    [{}, {"auth_token": ""}, {"auth_token": 3}, {"auth_token": "a b"}, {"auth_token": "a\nb"}, {"token": SECRET}],
)
def test_a_login_without_a_token_is_an_error_that_shows_nothing_of_the_response(body) -> None:
    with pytest.raises(CruxInvalidResponseError) as caught:
        responses.parse_auth_token(response(body))
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("uuid", ["", "abc", "../login", f"{UUID}/", f"urn:uuid:{UUID}", None])
def test_only_a_uuid_becomes_part_of_a_path(uuid) -> None:
    with pytest.raises(CruxInvalidRequestError, match="export_uuid"):
        get_export_request(uuid)


def test_a_file_without_a_url_may_be_tried_again_later() -> None:
    with pytest.raises(CruxTransientError, match=r"no URL of its file \(status 'COMPLETED'\): wait until it has one"):
        file_url(Export(uuid=NIL_UUID, status="COMPLETED", url=None), base_url=REMOTE)


REMOTE, LOCAL = "https://api.example", "http://127.0.0.1:8000"


def done_export(url: str) -> Export:
    return Export(uuid=UUID, status="COMPLETED", url=url)


ON_THIS_MACHINE = [
    "http://127.0.0.1:9000/secret-path?b=c",
    "https://127.0.0.1:9000/secret-path?b=c",
    "http://localhost/secret-path",
    "http://[::1]:9000/secret-path?b=c",
]


@pytest.mark.parametrize("base_url", [REMOTE, LOCAL])
@pytest.mark.parametrize(
    "url", [f"https://files.example/exports/{UUID}.csv?{QUERY}", "https://files.example:8443/a?b=c"]
)
def test_a_file_is_downloaded_over_https(url: str, base_url: str) -> None:
    assert file_url(done_export(url), base_url=base_url) == url


@pytest.mark.parametrize("url", ON_THIS_MACHINE)
@pytest.mark.parametrize("base_url", [LOCAL, "http://localhost:8000", "https://[::1]"])
def test_a_file_on_this_machine_is_downloaded_if_the_api_is_on_it_too(url: str, base_url: str) -> None:
    assert file_url(done_export(url), base_url=base_url) == url


@pytest.mark.parametrize("url", ON_THIS_MACHINE)
@pytest.mark.parametrize("base_url", [REMOTE, "https://127.0.0.1.example", "https://10.0.0.1"])
def test_a_remote_api_cannot_lead_to_this_machine(url: str, base_url: str) -> None:
    with pytest.raises(CruxInvalidResponseError, match=r"leads to this machine.* but the API is elsewhere") as caught:
        file_url(done_export(url), base_url=base_url)
    assert "secret-path" not in str(caught.value)


@pytest.mark.parametrize("name", ["localhost.", "a.localhost", "localhost.localdomain"])
def test_a_name_that_may_lead_to_this_machine_is_not_opened_over_http(name: str) -> None:
    assert file_url(done_export(f"https://{name}/"), base_url=LOCAL) == f"https://{name}/"
    with pytest.raises(CruxInvalidResponseError, match="not encrypted"):
        file_url(done_export(f"http://{name}/"), base_url=LOCAL)


@pytest.mark.parametrize(
    "url",
    [
        f"http://files.example/secret-path?{QUERY}",
        f"http://127.0.0.1.files.example/secret-path?{QUERY}",
        f"ftp://files.example/secret-path?{QUERY}",
        f"file:///secret-path?{QUERY}",
        f"//files.example/secret-path?{QUERY}",
        f"secret-path?{QUERY}",
        f"https:///secret-path?{QUERY}",
        f"https://files.example:port/secret-path?{QUERY}",
        f"https://[files.example/secret-path?{QUERY}",
        f"https://ada:secret-path@files.example/?{QUERY}",
        f"https://files.example/secret-path?{QUERY}\r\nX-Header: 1",
        f"https://files.example/secret-path ?{QUERY}",
        "",
    ],
)
@pytest.mark.parametrize("base_url", [REMOTE, LOCAL])
def test_no_other_url_is_opened_and_none_is_shown(url: str, base_url: str) -> None:
    with pytest.raises(CruxInvalidResponseError, match="Nothing was sent to it") as caught:
        file_url(done_export(url), base_url=base_url)
    assert not re.search("secret-path|Amz|ada|0f1e2d", str(caught.value))


def test_the_host_of_a_rejected_url_is_named() -> None:
    with pytest.raises(CruxInvalidResponseError, match=r"'files\.example' over 'http', which is not encrypted"):
        file_url(done_export("http://files.example/"), base_url=REMOTE)
