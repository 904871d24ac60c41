"""How the fields of an Airflow connection are read, and what is said of one that is unusable."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from airflow_provider_crux.api.redaction import secrets_in_proxy
from airflow_provider_crux.api.settings import EXTRA_FIELDS, ConnectionSettings, connection_name, read_settings
from airflow_provider_crux.exceptions import CruxInvalidConnectionError

TOKEN = "d7bb2fbb0c666dee5a5a36634baac3114e08ba9c"


def read(extra=None, **fields) -> ConnectionSettings:
    unset = dict.fromkeys(("host", "schema", "port", "login"))
    connection = SimpleNamespace(**{**unset, "password": TOKEN, **fields})
    return read_settings(connection, extra or {}, connection_name("crux_eu"))


def test_a_password_alone_is_a_token_for_production() -> None:
    settings = read(password=f" {TOKEN}\n")
    assert (settings.base_url, settings.username, settings.secret) == ("https://api.cruxconnect.com", None, TOKEN)
    assert (settings.connect_timeout, settings.read_timeout, settings.max_retries) == (10.0, 60.0, 3)
    assert TOKEN not in repr(settings)


def test_the_password_of_a_login_is_used_unchanged() -> None:
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
def test_the_base_url_comes_from_host_port_and_schema(fields, url: str) -> None:
    assert read(**fields).base_url == url


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"host": "http://api.cruxconnect.com"}, "would receive the token unencrypted"),
        ({"host": "api.cruxconnect.com", "schema": "http"}, "allow_http"),
        ({"host": "http://localhost.evil.example"}, "would receive the token unencrypted"),
        (
            {"host": "http://api.cruxconnect.com", "extra": {"allow_http": "false"}},
            "would receive the token unencrypted",
        ),
        ({"host": "ftp://api.cruxconnect.com"}, "scheme: 'ftp'"),
        (
            {"host": "https://ada:hunter2@api.cruxconnect.com"},
            "host: it must not contain credentials; put them into login and password",
        ),
        ({"host": "https://"}, "host: 'https://'"),
        ({"host": "a b"}, "host: 'a b'"),
        ({"host": "https://api.cruxconnect.com/?q=1"}, "not a host"),
        ({"host": "api.cruxconnect.com:99999"}, "host: 'api.cruxconnect.com:99999' cannot be parsed"),
        ({"host": "https://[::1"}, "host: 'https://[::1' cannot be parsed"),
        (
            {"host": "https://ada:hunter2@[::1"},
            "host: it must not contain credentials; put them into login and password",
        ),
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
        ({"extra": {"hash_key": "hunter2"}}, "extra hash_key: the value is not a text of 16 characters or more; use a"),
        ({"extra": {"hash_key": "hunter2-hunter2"}}, "extra hash_key: the value is not a text of 16 characters"),
        ({"extra": {"hash_key": ["hunter2" * 3]}}, "extra hash_key: the value is not a text of 16 characters"),
    ],
)
def test_an_unusable_field_is_named_with_its_connection_and_without_a_secret(fields, message: str) -> None:
    with pytest.raises(CruxInvalidConnectionError) as caught:
        read(**fields)
    assert str(caught.value).startswith("Cannot use connection 'crux_eu': ")
    assert message in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("password", {"password": "***"}),
        ("password", {"login": "ada", "password": "hunter2 ***"}),
        ("extra ca_bundle", {"extra": {"ca_bundle": "/certs/***.pem"}}),
        ("extra hash_key", {"extra": {"hash_key": "hunter2-***-hunter2"}}),
        ("extra hash_key", {"extra": {"extra__crux__hash_key": "***"}}),
        ("extra proxy", {"extra": {"proxy": "http://ada:***@hunter2.example:3128"}}),
        ("extra max_retries", {"extra": {"max_retries": "***"}}),
    ],
)
def test_a_value_with_airflows_mask_is_rejected(field: str, fields) -> None:
    """Airflow 3 stores the mask of another connection's password when a person edits the description in the form."""
    with pytest.raises(CruxInvalidConnectionError) as caught:
        read(**fields)
    assert str(caught.value) == (
        f"Cannot use connection 'crux_eu': {field}: it contains ***, which is Airflow's mask, not a value: enter it "
        "again"
    )


def test_every_unusable_field_is_named_at_once() -> None:
    with pytest.raises(CruxInvalidConnectionError) as caught:
        read(host="ftp://x", password=None, extra={"max_retries": "x", "proxy": "?"})
    for field in ("scheme", "password", "max_retries", "proxy"):
        assert field in str(caught.value)


def test_an_extra_may_be_text_or_null_as_airflows_forms_store_it() -> None:
    extra = {
        "connect_timeout": "3",
        "read_timeout": 4.5,
        "max_retries": "0",
        "ca_bundle": "",
        "proxy": "http://ada:hunter2@proxy.example:3128",
        "allow_http": None,
    }
    settings = read(extra=extra)
    assert (settings.connect_timeout, settings.read_timeout, settings.max_retries) == (3.0, 4.5, 0)
    assert settings.ca_bundle is None
    assert settings.proxy == extra["proxy"]
    assert settings.unknown_extras == ()
    assert "hunter2" not in repr(settings)


def test_the_credentials_of_the_proxy_are_secrets_of_the_connection() -> None:
    proxy = "http://ada:hunter2@proxy.example:3128"
    assert read(password="t0ken", extra={"proxy": proxy}).secrets == ("t0ken", *secrets_in_proxy(proxy))
    assert "hunter2" in read(extra={"proxy": proxy}).secrets
    assert read(password="t0ken").secrets == ("t0ken",)


def test_the_hash_key_is_a_secret_of_the_connection() -> None:
    key = "hunter2-hunter2-"
    for extra in ({"hash_key": key}, {"extra__crux__hash_key": key}):
        settings = read(password="t0ken", extra=extra)
        assert settings.hash_key == key
        assert settings.secrets == ("t0ken", key)
        assert key not in repr(settings)
    for extra in ({}, {"hash_key": ""}, {"hash_key": None}):
        assert read(extra=extra).hash_key is None


def test_unknown_extras_are_named() -> None:
    assert read(extra={"timeout": 3, "verify": False, "unset": None}).unknown_extras == ("timeout", "verify")


def test_each_extra_describes_itself_and_its_default() -> None:
    for extra in EXTRA_FIELDS.values():
        assert extra.label
        assert extra.help == f"{extra.description} Default: {extra.default}."
