from __future__ import annotations

import pytest

from airflow_provider_crux.api.settings import settings
from airflow_provider_crux.exceptions import CruxInvalidConnectionError

TOKEN = "d7bb2fbb0c666dee5a5a36634baac3114e08ba9c"


def read(**fields):
    return settings(conn_id="crux_eu", **{"password": TOKEN, **fields})


def test_a_password_alone_is_a_token_for_production() -> None:
    found = read(password=f" {TOKEN}\n")
    assert (found.base_url, found.username, found.secret) == ("https://api.cruxconnect.com", None, TOKEN)
    assert (found.connect_timeout, found.read_timeout, found.max_retries) == (10.0, 60.0, 3)
    assert TOKEN not in repr(found)


def test_a_password_with_a_login_is_taken_as_it_is() -> None:
    assert read(login="ada", password=" p w ").secret == " p w "


@pytest.mark.parametrize(
    ("fields", "url"),
    [
        ({"host": ""}, "https://api.cruxconnect.com"),
        ({"host": "api-sandbox.cruxconnect.com"}, "https://api-sandbox.cruxconnect.com"),
        ({"host": "https://api-sandbox.cruxconnect.com/"}, "https://api-sandbox.cruxconnect.com"),
        ({"host": "api.cruxconnect.com", "port": 443, "schema": "https"}, "https://api.cruxconnect.com:443"),
        ({"host": "api.cruxconnect.com", "port": 0}, "https://api.cruxconnect.com"),
        ({"host": "127.0.0.1", "port": 8080, "schema": "http"}, "http://127.0.0.1:8080"),
        ({"host": "http://localhost:8080"}, "http://localhost:8080"),
        ({"host": "http://[::1]:8080"}, "http://[::1]:8080"),
        ({"host": "https://gateway.example/crux/"}, "https://gateway.example/crux"),
        ({"host": "http://crux.test", "extra": {"allow_http": "true"}}, "http://crux.test"),
    ],
)
def test_where_the_api_is(fields, url: str) -> None:
    assert read(**fields).base_url == url


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"host": "http://api.cruxconnect.com"}, "clear text"),
        ({"host": "api.cruxconnect.com", "schema": "http"}, "allow_http"),
        ({"host": "http://localhost.evil.example"}, "clear text"),
        ({"host": "http://api.cruxconnect.com", "extra": {"allow_http": "false"}}, "clear text"),
        ({"host": "ftp://api.cruxconnect.com"}, "scheme: 'ftp'"),
        ({"host": "https://ada:hunter2@api.cruxconnect.com"}, "credentials stand in the host"),
        ({"host": "https://"}, "host: 'https://'"),
        ({"host": "a b"}, "host: 'a b'"),
        ({"host": "https://api.cruxconnect.com/?q=1"}, "not a host"),
        ({"host": "api.cruxconnect.com:99999"}, "host: 'api.cruxconnect.com:99999' cannot be read"),
        ({"host": "https://[::1"}, "host: 'https://[::1' cannot be read"),
        ({"host": "https://ada:hunter2@[::1"}, "credentials stand in the host"),
        ({"host": "api.cruxconnect.com:8443", "port": 443}, "port: 443"),
        ({"password": ""}, "password: it is empty"),
        ({"password": "Token hunter2"}, "paste the token alone"),
        ({"extra": {"connect_timeout": "soon"}}, "extra connect_timeout: 'soon'"),
        ({"extra": {"read_timeout": 0}}, "extra read_timeout: 0"),
        ({"extra": {"read_timeout": "nan"}}, "extra read_timeout: 'nan'"),
        ({"extra": {"max_retries": "-1"}}, "extra max_retries: '-1'"),
        ({"extra": {"allow_http": "perhaps"}}, "extra allow_http: 'perhaps'"),
        ({"extra": {"ca_bundle": False}}, "extra ca_bundle: False"),
        ({"extra": {"proxy": "ada:hunter2@proxy"}}, "extra proxy: the value is not"),
        ({"extra": {"proxy": "http://ada:hunter2@[proxy"}}, "extra proxy: the value is not"),
    ],
)
def test_a_field_that_cannot_be_used_is_named_with_its_connection_and_without_a_secret(fields, told: str) -> None:
    with pytest.raises(CruxInvalidConnectionError) as caught:
        read(**fields)
    assert "'crux_eu'" in str(caught.value)
    assert told in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_all_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(CruxInvalidConnectionError) as caught:
        read(host="ftp://x", password=None, extra={"max_retries": "x", "proxy": "?"})
    for told in ("scheme", "password", "max_retries", "proxy"):
        assert told in str(caught.value)


def test_extras_come_as_text_or_as_null_from_airflows_forms() -> None:
    extra = {
        "connect_timeout": "3",
        "read_timeout": 4.5,
        "max_retries": "0",
        "ca_bundle": "",
        "proxy": "http://ada:hunter2@proxy.example:3128",
        "allow_http": None,
    }
    found = read(extra=extra)
    assert (found.connect_timeout, found.read_timeout, found.max_retries, found.ca_bundle) == (3.0, 4.5, 0, None)
    assert found.proxy == extra["proxy"]
    assert found.unknown_extras == ()
    assert "hunter2" not in repr(found)


@pytest.mark.parametrize(
    ("proxy", "secrets"),
    [
        (None, ()),
        ("http://proxy.example:3128", ()),
        ("http://ada:hunter%202@proxy.example:3128", ("hunter%202", "hunter 2", "YWRhOmh1bnRlciAy")),
        ("http://a-token@proxy.example:3128", ("a-token", "YS10b2tlbjo=")),
    ],
)
def test_the_proxys_credentials_are_secrets_however_they_are_sent(proxy: str | None, secrets: tuple[str, ...]) -> None:
    found = read(password="t0ken", extra={"proxy": proxy}).secrets
    assert set(found) == {"t0ken", *filter(None, [proxy]), *secrets}


def test_extras_that_mean_nothing_are_named() -> None:
    assert read(extra={"timeout": 3, "verify": False, "unset": None}).unknown_extras == ("timeout", "verify")
