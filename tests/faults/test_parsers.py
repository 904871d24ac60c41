"""No answer of any kind makes what reads it raise anything but an error of ours."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime

from hypothesis import example, given
from hypothesis import strategies as st

from airflow_provider_crux.api import answers, calls, failures, files, waiting
from airflow_provider_crux.api.requests import MAX_RESPONSE_BYTES, ApiResponse
from airflow_provider_crux.api.orders import OrdersExportRequest
from airflow_provider_crux.api.retries import retry_after
from airflow_provider_crux.exceptions import CruxError, CruxInvalidResponseError
from tests.faults.server import TOKEN, UUID

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
POST = export_orders_request(OrdersExportRequest())
CALLS = [POST, get_export_request(UUID), login_request("ada", "pass word")]

# surrogates as aiohttp puts them for bytes that are no text, numbers beyond any type
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
any_answer = st.builds(ApiResponse, status=st.integers(100, 599), headers=headers, body=bodies)


def as_a_transport_shows_it(error: CruxError) -> None:
    """Airflow logs the text: it must be text that can be."""
    str(error).encode()


@given(any_answer)
@example(ApiResponse(status=200, headers={}, body=b'{"uuid": "\\ud800"}'))
def test_no_answer_breaks_what_reads_it(answer: Answer) -> None:
    for read in (
        lambda: responses.parse_export_uuid(answer, secrets=[TOKEN]),
        lambda: answers.file_url(responses.parse_export(answer, asked=UUID, secrets=[TOKEN])),
        lambda: responses.parse_auth_token(answer, secrets=[TOKEN]),
    ):
        try:
            read()
        except CruxInvalidResponseError as error:
            as_a_transport_shows_it(error)


@given(st.builds(ApiResponse, status=st.just(200), headers=headers, body=bodies), st.text(st.characters()))
def test_whatever_url_an_answer_names_it_is_fetched_or_refused(answer: ApiResponse, url: str) -> None:
    for found in (url, f"https://{url}", f"https://h:{url}/", f"http://[{url}"):
        with suppress(CruxInvalidResponseError):
            files.checked_url(found)
            files.secrets_in_url(found)


@given(any_answer)
def test_no_refusal_breaks_what_reads_it(answer: Answer) -> None:
    for call in CALLS:
        as_a_transport_shows_it(failures.refused(call, answer, conn_id="crux_default", secrets=[TOKEN]))
        assert failures.worth_repeating(call, answer) in (True, False)
    as_a_transport_shows_it(files.refused(answer, host="files.example", secrets=[TOKEN]))


@given(st.integers(100, 599))
def test_a_post_is_sent_again_only_after_an_answer_that_says_nothing_was_done(status: int) -> None:
    answer = ApiResponse(status=status, headers={}, body=b"")
    assert failures.worth_repeating(POST, answer) == (status in (429, 503))


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
sound = st.builds("Mon, {} Feb {} 00:00:00 {}".format, st.integers(1, 31), st.integers(0, 10_000), numbers)


@given(st.text(st.characters()) | numbers | dates | sound)
@example("Mon, 01 Jan 2024 00:00:00 +99999999999999999999")
@example("Fri, 31 Dec 9999 23:59:59 -2359")
@example("Sat, 01 Jan 0001 00:00:00 +2359")
@example("9" * 5000)
def test_no_retry_after_breaks_what_reads_it(value: str) -> None:
    seconds = retry_after(ApiResponse(status=503, headers={"retry-after": value}, body=b""), now=NOW)
    assert seconds is None or 0 <= seconds <= 120


@given(anything | st.binary() | st.dictionaries(names, anything), st.none() | st.just(UUID) | st.text())
def test_no_event_breaks_what_reads_it(event: object, export_uuid: str | None) -> None:
    assert isinstance(polling.state_from_event(event, export_uuid=export_uuid), waiting.ExportState)


@given(anything)
def test_no_state_of_an_event_breaks_what_reads_it(state: object) -> None:
    event = {"export_uuid": UUID, "state": state}
    assert isinstance(polling.state_from_event(event, export_uuid=UUID), waiting.ExportState)
