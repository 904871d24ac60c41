from __future__ import annotations

import json
from html import escape
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from airflow_provider_crux.api.redaction import EXCERPT_LENGTH, excerpt

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
        f"Proxy-Authorization=Basic%20{TOKEN}",
        json.dumps({"you sent": json.dumps({"password": TOKEN})}),
        json.dumps(json.dumps(json.dumps({"auth_token": TOKEN}))),
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


@pytest.mark.parametrize(
    "spelled",
    [
        lambda secret: json.dumps(json.dumps(secret)),
        lambda secret: json.dumps(json.dumps(json.dumps(secret))),
        lambda secret: quote(json.dumps(json.dumps(secret))),
        lambda secret: quote(quote(secret)),
        lambda secret: escape(escape(secret)),
        lambda secret: repr(secret.encode()),
        lambda secret: json.dumps(repr(secret.encode())),
        lambda secret: quote_plus(json.dumps(secret)),
        lambda secret: "".join(f"&#{ord(c)};" for c in secret),
        lambda secret: f"{secret[:12]}\n{secret[12:]}",
    ],
)
def test_nothing_is_shown_of_a_text_in_which_a_secret_is_escaped_in_another_way(spelled) -> None:
    secret = 'pa"ss\\wörd<1>&%2F'
    assert excerpt(f"you sent {spelled(secret)}", secrets=[secret]) == "***"


def test_a_secret_of_few_letters_does_not_hide_every_text_that_has_them() -> None:
    assert excerpt("no such page", secrets=["!!no!!"]) == "no such page"


def test_a_long_text_that_could_be_an_escape_everywhere_takes_no_time() -> None:
    assert excerpt("\\" * 1_000_000, secrets=[TOKEN]).startswith("\\")


@given(st.text(max_size=2000))
def test_an_excerpt_is_one_short_line(text: str) -> None:
    line = excerpt(text)
    assert len(line) <= EXCERPT_LENGTH + 1
    assert line.isprintable()


def test_a_secret_that_begins_another_leaves_no_tail_of_it() -> None:
    assert "tail" not in excerpt("hunter2-tail", secrets=["hunter2", "hunter2-tail"])


def test_an_ordinary_text_is_left_as_it_is() -> None:
    assert excerpt("<html>Bad\n  gateway</html>") == "<html>Bad gateway</html>"
