from __future__ import annotations

import json
from html import escape
from urllib.parse import quote

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from airflow_provider_crux.api.redaction import SHOWN, excerpt

TOKEN = "d7bb2fbb0c666dee5a5a36634baac3114e08ba9c"


@pytest.mark.parametrize(
    "text",
    [
        f"Authorization: Token {TOKEN}",
        f"you sent 'token {TOKEN}'",
        json.dumps({"auth_token": TOKEN}),
        json.dumps({"Api-Key": TOKEN, "other": 1}),
        f"{{'password': '{TOKEN}'}}",
        f"https://bucket.example/file.csv?X-Amz-Signature={TOKEN}&X-Amz-Date=1",
        f"https:\\/\\/bucket.example\\/file.csv?X-Amz-Signature={TOKEN}",
        f"http://user:{TOKEN}@proxy.example:3128/",
        f"X-Amz-Signature={TOKEN}",
    ],
)
def test_a_text_shows_no_credential_even_one_we_do_not_know(text: str) -> None:
    assert TOKEN not in excerpt(text)


@given(st.text(min_size=4), st.text(), st.text())
def test_a_known_secret_is_never_shown_however_it_is_written(secret: str, before: str, after: str) -> None:
    shown_anyway = excerpt(f"{before} {after}")
    assume(secret not in shown_anyway and secret not in "***…")
    for written in (secret, json.dumps(secret)[1:-1], quote(secret, safe=""), escape(secret)):
        assume(secret not in excerpt(f"{before}***{after}"))
        assert secret not in excerpt(f"{before}{written}{after}", secrets=[secret])


@given(st.text(max_size=2000))
def test_an_excerpt_is_one_short_line(text: str) -> None:
    line = excerpt(text)
    assert len(line) <= SHOWN + 1
    assert line.isprintable()


def test_a_secret_that_begins_another_leaves_no_tail_of_it() -> None:
    assert "tail" not in excerpt("hunter2-tail", secrets=["hunter2", "hunter2-tail"])


def test_an_ordinary_text_is_left_as_it_is() -> None:
    assert excerpt("<html>Bad\n  gateway</html>") == "<html>Bad gateway</html>"
