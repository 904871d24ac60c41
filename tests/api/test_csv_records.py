"""The file of an export: which URL is fetched, what each refusal means, and how its records are counted."""

from __future__ import annotations

import csv
import io
import re
import tracemalloc
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_crux import exceptions
from airflow_provider_crux.api import files
from airflow_provider_crux.api.requests import ApiResponse
from airflow_provider_crux.api.files import RecordCounter, checked_url, secrets_in_url

SIGNATURE = "0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0"
QUERY = f"X-Amz-Credential=AKIAEXAMPLE%2F20260102%2Fus-east-1&X-Amz-Expires=300&X-Amz-Signature={SIGNATURE}"
URL = f"https://files.example/exports/b9888421-594c-4d2f-9f0d-3b138a16c845.csv?{QUERY}"


@pytest.mark.parametrize(
    "url",
    [
        URL,
        "https://files.example:8443/a?b=c",
        "http://127.0.0.1:9000/a?b=c",
        "http://localhost/a",
        "http://[::1]:9000/a",
    ],
)
def test_https_is_fetched_and_http_of_this_machine(url: str) -> None:
    assert checked_url(url) == url


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
def test_no_other_url_is_fetched_and_none_is_shown(url: str) -> None:
    with pytest.raises(exceptions.CruxInvalidResponseError, match="Nothing was sent") as caught:
        checked_url(url)
    assert not re.search("secret-path|Amz|ada|0f1e2d", str(caught.value))


def test_a_host_that_is_refused_is_named() -> None:
    with pytest.raises(exceptions.CruxInvalidResponseError, match=r"'files\.example' by 'http'"):
        checked_url("http://files.example/")


def test_the_secrets_of_a_url_are_its_query_its_long_values_in_both_spellings_and_its_path() -> None:
    assert set(secrets_in_url(URL)) == {
        QUERY,
        SIGNATURE,
        "AKIAEXAMPLE%2F20260102%2Fus-east-1",
        "AKIAEXAMPLE/20260102/us-east-1",
        "exports/b9888421-594c-4d2f-9f0d-3b138a16c845.csv",
    }


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (403, exceptions.CruxUrlExpiredError),
        (404, exceptions.CruxNotFoundError),
        *((status, exceptions.CruxUnavailableError) for status in (408, 429, 500, 502, 503, 504)),
        *(
            (status, exceptions.CruxRequestRejectedError)
            for status in (204, 206, 301, 302, 307, 400, 401, 405, 410, 416)
        ),
    ],
)
def test_each_refusal_says_what_to_do_and_shows_no_secret(status: int, error: type[exceptions.CruxError]) -> None:
    body = f"<Error><Code>No</Code><Request>{QUERY}</Request></Error>".encode()
    answer = ApiResponse(status=status, headers={"content-type": "application/xml"}, body=body)
    told = files.refused(answer, host="files.example", secrets=secrets_in_url(URL))
    assert type(told) is error
    assert f"files.example answered {status} (application/xml: '<Error><Code>No</Code>" in str(told)
    assert "Amz" not in str(told)


def test_a_url_whose_lent_credentials_lapsed_has_lapsed_too() -> None:
    body = b"<Error><Code>ExpiredToken</Code><Message>The provided token has expired.</Message></Error>"
    told = files.refused(ApiResponse(status=400, headers={}, body=body), host="files.example")
    assert isinstance(told, exceptions.CruxUrlExpiredError)


def counted(*chunks: bytes) -> int:
    count = RecordCounter()
    for chunk in chunks:
        count.feed(chunk)
    return count.rows


def read_by_csv(content: bytes) -> int:
    """Count as the standard library does, on the whole file at once."""
    text = io.StringIO(content.decode("utf-8-sig"), newline="")
    return max(sum(1 for record in csv.reader(text) if record) - 1, 0)


def cut(content: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(content) + 1) for place in places), len(content)]
    return [content[begin:end] for begin, end in pairwise(edges)]


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        (b"", 0),
        (b"\xef\xbb\xbf", 0),
        (b"\xef\xbb", 0),
        (b"a,b", 0),
        (b"a,b\r\n", 0),
        (b"\r\n\r\na,b\r\n\r\n1,2\r\n\r\n", 1),
        (b"a,b\r\n1,2", 1),
        (b"a\r1\r2\r", 2),
        (b'\xef\xbb\xbf"a\r\nb",c\r\n1,2\r\n', 1),
        (b'a\r\n"1\r\n\r\n""2""\r\n"\r\n3\r\n', 2),
        (b'a\n27" black\n""\n"x"y"\n z "\n', 4),
        (b'a\n1\n"never closed\n2\n3\n', 2),
    ],
)
def test_records_are_counted_wherever_the_chunks_end(content: bytes, rows: int) -> None:
    assert counted(content) == rows
    assert counted(*(content[i : i + 1] for i in range(len(content)))) == rows
    for place in range(len(content)):
        assert counted(content[:place], b"", content[place:]) == rows


@given(
    table=st.lists(
        st.lists(st.text(st.sampled_from('a",\r\n \ufeffé'), max_size=6), min_size=1, max_size=4), max_size=8
    ),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
    line_end=st.sampled_from(["\r\n", "\n"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig"]),
    places=st.lists(st.integers(0, 500), max_size=6),
)
def test_what_the_csv_module_writes_is_counted_as_it_reads_it(table, quoting, line_end, encoding, places) -> None:
    text = io.StringIO(newline="")
    csv.writer(text, quoting=quoting, lineterminator=line_end).writerows([["header"], *table])
    content = text.getvalue().encode(encoding)
    assert counted(*cut(content, places)) == read_by_csv(content)
    if line_end == "\r\n":  # else it leaves a lone \r unquoted, and does not read what it wrote
        assert read_by_csv(content) == len(table)


@given(
    table=st.lists(
        st.lists(st.text(st.sampled_from("ab é"), min_size=1, max_size=6), min_size=1, max_size=4), max_size=8
    ),
    places=st.lists(st.integers(0, 500), max_size=6),
)
def test_what_is_written_without_any_quotes_is_counted_too(table, places) -> None:
    text = io.StringIO(newline="")
    csv.writer(text, quoting=csv.QUOTE_NONE).writerows([["header"], *table])
    assert counted(*cut(text.getvalue().encode(), places)) == len(table)


@given(
    content=st.text(st.sampled_from('",\r\na\ufeff'), max_size=40).map(str.encode),
    places=st.lists(st.integers(0, 100), max_size=6),
)
def test_what_is_no_proper_csv_is_counted_as_the_csv_module_reads_it(content: bytes, places: list[int]) -> None:
    assert counted(*cut(content, places)) == read_by_csv(content)


@given(st.lists(st.binary(max_size=20)))
def test_no_bytes_whatever_are_an_error(chunks: list[bytes]) -> None:
    assert counted(*chunks) >= 0


@pytest.mark.parametrize("pattern", [b"a", b'"', b'"",', b'x"', b'""x', b"\n", b"a\n", b',"'])
def test_memory_does_not_grow_with_the_file(pattern: bytes) -> None:
    chunk = pattern * (64 * 1024 // len(pattern))
    count = RecordCounter()
    tracemalloc.start()
    try:
        count.feed(b'h\n"')
        for _ in range(16):
            count.feed(chunk)
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 16 * 1024
    assert peak < 64 * len(chunk)
