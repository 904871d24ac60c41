"""No response, URL or event makes its reader raise anything but an error of this provider."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime

from hypothesis import example, given
from hypothesis import strategies as st

from airflow_provider_crux.api.errors import Peer, error_for_status
from airflow_provider_crux.api.orders import OrdersExportRequest
from airflow_provider_crux.api.polling import WaitOutcome, outcome_from_event
from airflow_provider_crux.api.redaction import secrets_in_url
from airflow_provider_crux.api.requests import (
    DOWNLOAD,
    MAX_RESPONSE_BYTES,
    ApiRequest,
    ApiResponse,
    export_orders_request,
    get_export_request,
    login_request,
)
from airflow_provider_crux.api.responses import (
    Export,
    parse_auth_token,
    parse_export,
    parse_export_uuid,
)
from airflow_provider_crux.api.retries import Retries
from airflow_provider_crux.api.statuses import retry_after
from airflow_provider_crux.api.urls import file_url
from airflow_provider_crux.exceptions import CruxError, CruxInvalidResponseError, CruxUnavailableError
from tests.raw_server import TOKEN, UUID

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
EXPORT_REQUEST = export_orders_request(OrdersExportRequest())
REQUESTS = [EXPORT_REQUEST, get_export_request(UUID), login_request("ada", "pass word")]
API = Peer("connection 'crux_default'")
STORAGE = Peer("connection 'crux_default'", file_host="files.example")

# surrogates, which aiohttp substitutes for bytes that are not text; numbers beyond every type
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters())
    | st.sampled_from([UUID, "", "completed", TOKEN, "٣" * 36, "0" * 32, f"{{{UUID}}}", "https://h/\ud800"])
)
names = st.sampled_from(["uuid", "status", "url", "auth_token", "export_uuid", "state"]) | st.text()
anything = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(names, inner), max_leaves=12)
bodies = (
    st.binary()
    | anything.map(lambda content: json.dumps(content).encode())
    | st.dictionaries(names, anything).map(lambda content: json.dumps(content).encode())
    | st.sampled_from([b"[" * 100_000, b"9" * 5000, b'{"uuid": ' + b"9" * 5000 + b"}", b"\xff\xfe{", b"{}\x00"])
    | st.sampled_from([b"x" * (MAX_RESPONSE_BYTES + 1), b'{"uuid": "\\ud800"}', b'{"uuid": NaN}'])
)
headers = st.dictionaries(
    st.sampled_from(["content-type", "retry-after", "content-length", "location"]) | st.text(), st.text(st.characters())
)
any_response = st.builds(ApiResponse, status=st.integers(100, 599), headers=headers, body=bodies)


def assert_can_be_logged(error: CruxError) -> None:
    """Airflow logs the message, so it must be valid Unicode."""
    str(error).encode()


@given(any_response)
@example(ApiResponse(status=200, headers={}, body=b'{"uuid": "\\ud800"}'))
def test_any_response_is_parsed_or_invalid(response: ApiResponse) -> None:
    base_url = "http://127.0.0.1:1"
    for parse in (
        lambda: parse_export_uuid(response, secrets=[TOKEN]),
        lambda: file_url(parse_export(response, requested=UUID, secrets=[TOKEN]), base_url=base_url),
        lambda: parse_auth_token(response),
    ):
        try:
            parse()
        except (CruxInvalidResponseError, CruxUnavailableError) as error:  # the latter: an export without a URL
            assert_can_be_logged(error)


@given(st.text(st.characters()))
def test_any_url_is_valid_or_rejected(text: str) -> None:
    for url in (text, f"https://{text}", f"https://h:{text}/", f"http://[{text}"):
        for base_url in ("https://api.cruxconnect.com", "http://127.0.0.1:1"):
            with suppress(CruxInvalidResponseError):
                secrets_in_url(file_url(Export(uuid=UUID, status="completed", url=url), base_url=base_url))


def is_sent_again(request: ApiRequest, response: ApiResponse) -> bool:
    delay = Retries(request.action, API, max_retries=1).delay_after(response)
    assert delay is None or 0 <= delay <= 121
    return delay is not None


@given(any_response)
def test_any_status_becomes_an_error(response: ApiResponse) -> None:
    for request in REQUESTS:
        assert_can_be_logged(error_for_status(request.action, response, peer=API, secrets=[TOKEN]))
        is_sent_again(request, response)
    assert_can_be_logged(error_for_status(DOWNLOAD, response, peer=STORAGE))


@given(st.integers(100, 599))
def test_export_request_is_sent_again_only_if_it_was_not_processed(status: int) -> None:
    response = ApiResponse(status=status, headers={}, body=b"")
    assert is_sent_again(EXPORT_REQUEST, response) == (status == 429)
    later = ApiResponse(status=status, headers={"retry-after": "7"}, body=b"")
    assert is_sent_again(EXPORT_REQUEST, later) == (status in (429, 503))


numbers = st.integers(-(10**30), 10**30).map(str) | st.text("0123456789+-. ", max_size=40)
dates = st.builds(
    "{}, {} {} {} {}:{}:{} {}".format,
    st.sampled_from(["Mon", "Freitag", ""]),
    numbers,
    st.sampled_from(["Jan", "Feb", "Dec", "Foo"]),
    numbers,
    numbers,
    numbers,
    numbers,
    st.sampled_from(["GMT", "-0000", "+9999", "-9999", "EST", ""]) | numbers,
)
valid_dates = st.builds("Mon, {} Feb {} 00:00:00 {}".format, st.integers(1, 31), st.integers(0, 10_000), numbers)


@given(st.text(st.characters()) | numbers | dates | valid_dates)
@example("Mon, 01 Jan 2024 00:00:00 +99999999999999999999")
@example("Fri, 31 Dec 9999 23:59:59 -2359")
@example("Sat, 01 Jan 0001 00:00:00 +2359")
@example("9" * 5000)
def test_any_retry_after_is_bounded_or_ignored(value: str) -> None:
    seconds = retry_after(ApiResponse(status=503, headers={"retry-after": value}, body=b""), now=NOW)
    assert seconds is None or 0 <= seconds <= 120


@given(anything | st.binary() | st.dictionaries(names, anything), st.just(UUID) | st.text())
def test_any_event_has_an_outcome(event: object, export_uuid: str) -> None:
    assert isinstance(outcome_from_event(event, export_uuid=export_uuid), WaitOutcome)


@given(anything)
def test_any_state_of_an_event_is_known_or_unknown(state: object) -> None:
    event = {"export_uuid": UUID, "state": state}
    assert isinstance(outcome_from_event(event, export_uuid=UUID), WaitOutcome)
