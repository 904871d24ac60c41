from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_crux.api import answers
from airflow_provider_crux.api.responses import Export, ExportState
from airflow_provider_crux.api.requests import MAX_RESPONSE_BYTES, NIL_UUID, ApiResponse, get_export
from airflow_provider_crux.exceptions import CruxInvalidRequestError, CruxInvalidResponseError

UUID = "b9888421-594c-4d2f-9f0d-3b138a16c845"
SECRET = "d7bb2fbb0c666dee5a5a36634baac3114e08ba9c"


def answer(body: bytes | object, content_type: str = "application/json") -> ApiResponse:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return ApiResponse(status=200, headers={"content-type": content_type}, body=raw)


@pytest.mark.parametrize(
    "body", [{"uuid": UUID}, {"uuid": UUID.upper(), "more": 1}, b'\xef\xbb\xbf{"uuid": "%b"}' % UUID.encode()]
)
def test_the_uuid_of_an_export_is_read(body) -> None:
    assert responses.parse_export_uuid(answer(body)) == UUID


@pytest.mark.parametrize(
    ("body", "content_type", "shown"),
    [
        (b"", "text/plain", "an empty body"),
        (b"<html><title>Sign in</title></html>", "text/html", "text/html: '<html><title>Sign in"),
        (b'{"uuid": ', "application/json", '{"uuid":'),
        (b"\xff\xfe\xfa", "application/json", "not in JSON"),
        (b"[" * 100_000, "application/json", "not in JSON"),
        ([UUID], "application/json", "JSON object"),
        ({}, "application/json", "without a well-formed uuid"),
        ({"uuid": None}, "application/json", "without a well-formed uuid"),
        ({"uuid": 7}, "application/json", "without a well-formed uuid"),
        ({"uuid": f"{{{UUID}}}"}, "application/json", "without a well-formed uuid"),
        ({"uuid": f"{UUID}/../"}, "application/json", "without a well-formed uuid"),
        (b'{"uuid": "' + b"a" * (5 * MAX_RESPONSE_BYTES), "application/json", "more than 1048576 bytes"),
        ({"auth_token": SECRET, "echo": f"Token {SECRET}"}, "application/json", "***"),
    ],
)
def test_any_other_answer_says_what_came_instead_briefly_and_without_secrets(body, content_type, shown) -> None:
    with pytest.raises(CruxInvalidResponseError) as caught:
        responses.parse_export_uuid(answer(body, content_type), secrets=[SECRET])
    message = str(caught.value)
    assert shown in message
    assert "may have been started" in message
    assert SECRET not in message
    assert len(message) < 700


@given(st.binary(max_size=300))
def test_no_answer_whatever_makes_anything_but_a_uuid_or_our_error(body: bytes) -> None:
    with suppress(CruxInvalidResponseError):
        responses.parse_export_uuid(answer(body))


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("COMPLETED", ExportState.DONE),
        ("complete", ExportState.DONE),
        ("Pending", ExportState.PENDING),
        ("in_progress", ExportState.PENDING),
        ("FAILED", ExportState.FAILED),
        ("canceled", ExportState.FAILED),
        ("frobnicating", ExportState.UNKNOWN),
    ],
)
def test_status_words_mean_what_the_documents_say(status: str, state: ExportState) -> None:
    assert responses.parse_export(answer({"uuid": UUID, "status": status, "url": None}), asked=UUID).state is state


def test_an_exports_url_is_there_but_never_shown() -> None:
    url = "https://bucket.example/orders.csv?X-Amz-Signature=abc"
    export = responses.parse_export(answer({"uuid": UUID, "status": "COMPLETED", "url": url}), asked=UUID)
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
def test_a_malformed_export_is_refused_without_showing_its_url(body) -> None:
    with pytest.raises(CruxInvalidResponseError) as caught:
        responses.parse_export(answer(body), asked=UUID)
    assert "bucket" not in str(caught.value)


@pytest.mark.parametrize(
    "body",
    [{}, {"auth_token": ""}, {"auth_token": 3}, {"auth_token": "a b"}, {"auth_token": "a\nb"}, {"token": SECRET}],
)
def test_a_login_without_a_token_is_told_without_showing_the_answer(body) -> None:
    with pytest.raises(CruxInvalidResponseError) as caught:
        responses.parse_auth_token(answer(body))
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("uuid", ["", "abc", "../login", f"{UUID}/", f"urn:uuid:{UUID}", None])
def test_what_is_no_uuid_never_gets_into_a_path(uuid) -> None:
    with pytest.raises(CruxInvalidRequestError, match="export_uuid"):
        get_export(uuid)


def test_an_export_that_is_done_without_a_file_is_told() -> None:
    with pytest.raises(CruxInvalidResponseError, match="'COMPLETED', but gave no url"):
        answers.file_url(Export(uuid=NIL_UUID, status="COMPLETED", url=None))
