"""What an excerpt of foreign text shows, and which parts of a URL and of a proxy are secret."""

from __future__ import annotations

import json
from html import escape
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from airflow_provider_crux.api.redaction import EXCERPT_LENGTH, excerpt, secrets_in_proxy, secrets_in_url

TOKEN = "d7bb2fbb0c666dee5a5a36634baac3114e08ba9c"
SIGNATURE = "0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0"
QUERY = f"X-Amz-Credential=AKIAEXAMPLE%2F20260102%2Fus-east-1&X-Amz-Expires=300&X-Amz-Signature={SIGNATURE}"
URL = f"https://files.example/exports/b9888421-594c-4d2f-9f0d-3b138a16c845.csv?{QUERY}"


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
def test_a_credential_is_masked_even_if_it_is_not_a_known_secret(text: str) -> None:
    assert TOKEN not in excerpt(text)


@given(st.text(min_size=4), st.text(), st.text())
def test_a_known_secret_is_masked_in_each_of_its_spellings(secret: str, before: str, after: str) -> None:
    without_secret = excerpt(f"{before} {after}")
    assume(secret not in without_secret and secret not in "***…")
    for spelling in (secret, json.dumps(secret)[1:-1], quote(secret, safe=""), escape(secret)):
        assume(secret not in excerpt(f"{before}***{after}"))
        assert secret not in excerpt(f"{before}{spelling}{after}", secrets=[secret])


@pytest.mark.parametrize(
    "escape_secret",
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
def test_a_text_with_a_secret_that_is_escaped_in_any_other_way_is_masked_as_a_whole(escape_secret) -> None:
    secret = 'pa"ss\\wörd<1>&%2F'
    assert excerpt(f"you sent {escape_secret(secret)}", secrets=[secret]) == "***"


def test_a_secret_of_few_letters_does_not_mask_every_text_that_contains_them() -> None:
    assert excerpt("no such page", secrets=["!!no!!"]) == "no such page"


def test_a_long_text_of_backslashes_takes_no_time() -> None:
    assert excerpt("\\" * 1_000_000, secrets=[TOKEN]).startswith("\\")


@given(st.text(max_size=2000))
def test_an_excerpt_is_one_short_line(text: str) -> None:
    line = excerpt(text)
    assert len(line) <= EXCERPT_LENGTH + 1
    assert line.isprintable()


def test_a_secret_that_is_the_beginning_of_another_leaves_no_tail() -> None:
    assert "tail" not in excerpt("hunter2-tail", secrets=["hunter2", "hunter2-tail"])


def test_an_ordinary_text_is_unchanged() -> None:
    assert excerpt("<html>Bad\n  gateway</html>") == "<html>Bad gateway</html>"


def test_the_secrets_of_a_url_are_its_query_its_long_values_encoded_and_decoded_and_its_path() -> None:
    assert set(secrets_in_url(URL)) == {
        QUERY,
        SIGNATURE,
        "AKIAEXAMPLE%2F20260102%2Fus-east-1",
        "AKIAEXAMPLE/20260102/us-east-1",
        "exports/b9888421-594c-4d2f-9f0d-3b138a16c845.csv",
    }


@pytest.mark.parametrize(
    ("proxy", "credentials"),
    [
        (None, set()),
        ("http://proxy.example:3128", set()),
        ("http://ada:hunter%202@proxy.example:3128", {"hunter%202", "hunter 2", "YWRhOmh1bnRlciAy"}),
        ("http://a-token@proxy.example:3128", {"a-token", "YS10b2tlbjo="}),
    ],
)
def test_the_credentials_of_a_proxy_are_secret_encoded_decoded_and_as_the_header_sent(
    proxy: str | None, credentials: set[str]
) -> None:
    assert set(secrets_in_proxy(proxy)) == credentials | ({proxy} if proxy else set())
