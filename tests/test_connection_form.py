"""The form in which Airflow's UI asks for a connection, and the connection that it stores."""

from __future__ import annotations

import json
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import airflow
import jsonschema
import pytest
from airflow.providers.common.compat.sdk import Connection
from airflow.providers_manager import ProvidersManager

from airflow_provider_crux.api.settings import EXTRA_FIELDS, ConnectionSettings, connection_name, read_settings
from airflow_provider_crux.api.urls import PRODUCTION
from airflow_provider_crux.connection_form import CONN_FIELDS, UI_FIELD_BEHAVIOUR
from airflow_provider_crux.exceptions import CruxInvalidConnectionError
from airflow_provider_crux.hooks.crux import CruxHook
from airflow_provider_crux.provider_info import get_provider_info

TOKEN = "d7bb2fbb0c666dee5a5a36634baac3114e08ba9c"
STANDARD_FIELDS = {"description", "host", "schema", "login", "password", "port", "extra"}
(ENTRY,) = get_provider_info()["connection-types"]
NUMBERS = [name for name, field in CONN_FIELDS.items() if "integer" in field["schema"]["type"]]

needs_wtforms = pytest.mark.skipif(find_spec("wtforms") is None, reason="only Airflow 2 brings wtforms")


def read(conn_id: str = "crux", extra: Any = None, **fields: Any) -> ConnectionSettings:
    unset = dict.fromkeys(("host", "schema", "port", "login", "password"))
    return read_settings(SimpleNamespace(**{**unset, **fields}), extra or {}, connection_name(conn_id))


def schema(name: str) -> dict[str, Any]:
    return json.loads(Path(airflow.__file__).with_name(name).read_text())


def strict_schema() -> dict[str, Any] | None:
    """Return the schema of the entry, or ``None`` before Airflow 3.2, which reads no form from it."""
    connection_types = schema("provider.yaml.schema.json")["properties"]["connection-types"]
    return connection_types if "conn-fields" in connection_types["items"]["properties"] else None


def test_the_entry_in_provider_info_is_valid_by_the_strict_schema_of_airflow_3_2() -> None:
    strict = strict_schema()
    if strict is None:
        pytest.skip("this Airflow reads no form from provider_info")
    jsonschema.validate([ENTRY], strict)


def test_the_form_has_the_name_and_the_type_of_the_hook() -> None:
    assert ENTRY["hook-name"] == CruxHook.hook_name
    assert ENTRY["connection-type"] == CruxHook.conn_type


def test_the_hook_describes_the_standard_fields_as_provider_info_does() -> None:
    behaviour = CruxHook.get_ui_field_behaviour()
    jsonschema.validate(behaviour, schema("customized_form_field_behaviours.schema.json"))
    assert {key.replace("_", "-"): value for key, value in behaviour.items()} == ENTRY["ui-field-behaviour"]


@needs_wtforms
@pytest.mark.parametrize("name", CONN_FIELDS)
def test_a_field_of_the_form_is_the_same_on_airflow_2_as_on_airflow_3(name: str) -> None:
    from wtforms import Form
    from wtforms.validators import AnyOf, Optional

    assert list(CruxHook.get_connection_form_widgets()) == list(ENTRY["conn-fields"])
    declared = ENTRY["conn-fields"][name]
    field = CruxHook.get_connection_form_widgets()[name].bind(Form(), name)
    assert field.label.text == declared["label"]
    assert field.description == declared["description"]
    type_, *null = [declared["schema"]["type"]] if name == "allow_http" else declared["schema"]["type"]
    assert (
        type(field).__name__ == {"integer": "IntegerField", "string": "StringField", "boolean": "BooleanField"}[type_]
    )
    assert field.default == declared["schema"].get("default")
    bounds = [(v.min, v.max) for v in field.validators if hasattr(v, "min")]
    assert bounds == ([(declared["schema"]["minimum"], declared["schema"]["maximum"])] if type_ == "integer" else [])
    assert any(isinstance(v, Optional) for v in field.validators) is (type_ == "integer" or name == "api_version")
    choices = [validator.values for validator in field.validators if isinstance(validator, AnyOf)]
    assert choices == ([declared["schema"]["enum"]] if name == "api_version" else [])
    assert null == ([] if type_ == "boolean" else ["null"])


def test_airflow_3_1_which_has_no_wtforms_shows_the_same_fields(monkeypatch: pytest.MonkeyPatch) -> None:
    service = pytest.importorskip("airflow.api_fastapi.core_api.services.ui.connections").HookMetaService
    wtforms = MagicMock(
        StringField=service.MockStringField,
        IntegerField=service.MockIntegerField,
        BooleanField=service.MockBooleanField,
    )
    for name in ("wtforms.validators", "flask_appbuilder", "flask_appbuilder.fieldwidgets"):
        monkeypatch.setitem(sys.modules, name, MagicMock())
    monkeypatch.setitem(sys.modules, "wtforms", wtforms)
    for name, field in CruxHook.get_connection_form_widgets().items():
        shown, declared = field.param.dump(), CONN_FIELDS[name]
        assert shown["schema"]["title"] == declared["label"]
        assert shown["description"] == declared["description"]
        assert shown["schema"]["type"][0] in declared["schema"]["type"]
        assert shown["value"] == declared["schema"].get("default")


def test_airflow_loads_the_form() -> None:
    if strict_schema() is None and find_spec("wtforms") is None:
        pytest.skip("this Airflow loads the form when it is shown")
    manager = ProvidersManager()
    assert [name for name in manager.connection_form_widgets if name.startswith("extra__crux__")] == [
        f"extra__crux__{name}" for name in CONN_FIELDS
    ]
    behaviour = manager.field_behaviours["crux"]
    assert behaviour["hidden_fields"] == UI_FIELD_BEHAVIOUR["hidden-fields"]
    assert behaviour["relabeling"] == UI_FIELD_BEHAVIOUR["relabeling"]
    assert behaviour["placeholders"]["host"] == PRODUCTION
    assert behaviour["placeholders"]["extra__crux__max_retries"] == "3"


def test_no_field_that_the_test_button_needs_is_hidden() -> None:
    assert not {"extra", "port", "host", "login", "password"} & set(UI_FIELD_BEHAVIOUR["hidden-fields"])


def test_the_label_of_a_standard_field_says_what_to_enter() -> None:
    labels = UI_FIELD_BEHAVIOUR["relabeling"]
    assert labels["login"] == "User name (leave empty to use an API token)"
    assert labels["password"] == "API token, or the password of the user name"
    assert "https://api-sandbox.cruxconnect.com" in labels["host"]
    assert "443" in labels["port"]
    assert "Test button" in labels["port"]


def test_the_form_has_every_extra_and_no_other() -> None:
    assert set(CONN_FIELDS) == set(EXTRA_FIELDS)
    assert set(UI_FIELD_BEHAVIOUR["placeholders"]) <= set(CONN_FIELDS) | STANDARD_FIELDS


@pytest.mark.parametrize("name", EXTRA_FIELDS)
def test_the_texts_and_bounds_of_a_field_come_from_the_settings(name: str) -> None:
    extra, shown = EXTRA_FIELDS[name], CONN_FIELDS[name]
    assert shown["label"] == extra.label
    assert shown["description"] == f"{extra.description} Default: {extra.default}."
    bounds = shown["schema"].get("minimum"), shown["schema"].get("maximum")
    assert bounds == (extra.bounds or (None, None))
    assert UI_FIELD_BEHAVIOUR["placeholders"].get(name, "") == extra.example


def test_a_number_that_is_left_empty_has_the_default_that_the_form_names() -> None:
    settings = read(password=TOKEN)
    for name in NUMBERS:
        placeholder = UI_FIELD_BEHAVIOUR["placeholders"][name]
        assert int(placeholder) == getattr(settings, name)
        assert CONN_FIELDS[name]["description"].endswith(f"Default: {placeholder}.")
    assert UI_FIELD_BEHAVIOUR["placeholders"]["host"] == settings.base_url


@pytest.mark.parametrize("name", NUMBERS)
def test_the_bounds_of_the_form_are_those_of_the_hook(name: str) -> None:
    bounds = CONN_FIELDS[name]["schema"]
    for accepted in (bounds["minimum"], bounds["maximum"]):
        assert getattr(read(password=TOKEN, extra={name: accepted}), name) == accepted
    for rejected in (bounds["minimum"] - 1, bounds["maximum"] + 1):
        with pytest.raises(CruxInvalidConnectionError, match=name):
            read(password=TOKEN, extra={name: rejected})


UNTOUCHED = {"host": "", "login": "", "schema": "", "password": TOKEN}
FILLED_IN = {
    "api_version": "timp",
    "connect_timeout": 30,
    "read_timeout": 90,
    "max_retries": 0,
    "ca_bundle": "/etc/ssl/certs/company.pem",
    "proxy": "http://ada:hunter2@proxy.example:3128",
    "hash_key": "0123456789abcdef",
    "allow_http": True,
}
AS_TEXT = {name: "y" if value is True else str(value) for name, value in FILLED_IN.items()}


@pytest.fixture
def saved(monkeypatch: pytest.MonkeyPatch):
    """Return a function that stores a connection as the Test button does, and returns what the hook reads."""

    def read_back(**fields: Any) -> ConnectionSettings:
        uri = Connection(conn_id="crux_default", conn_type="crux", **fields).get_uri()
        monkeypatch.setenv("AIRFLOW_CONN_CRUX_DEFAULT", uri)
        hook = CruxHook()
        monkeypatch.setattr(hook.log, "warning", pytest.fail)  # no extra may be unknown
        return hook.settings

    return read_back


@pytest.mark.parametrize(
    "fields",
    [
        {**UNTOUCHED, "extra": dict.fromkeys(CONN_FIELDS) | {"allow_http": False}, "port": None},
        {**UNTOUCHED, "extra": dict.fromkeys(CONN_FIELDS) | {"allow_http": False}, "port": 0},
        {
            **UNTOUCHED,
            "extra": {"connect_timeout": None, "read_timeout": None, "max_retries": None, "allow_http": False},
            "port": None,
        },
        {"password": TOKEN, "extra": {}},
    ],
    ids=["saved by 3.3", "tested in 3.3", "saved by 2.11", "tested in 2.11"],
)
def test_a_form_with_only_the_token_means_production_with_our_defaults(saved, fields) -> None:
    settings = saved(**{**fields, "extra": json.dumps(fields["extra"])})
    assert settings == read("crux_default", password=TOKEN)
    assert settings.base_url == "https://api.cruxconnect.com"


@pytest.mark.parametrize(
    "extra",
    [FILLED_IN, AS_TEXT | {f"extra__crux__{name}": value for name, value in AS_TEXT.items()}],
    ids=["saved", "tested in 2.11"],
)
def test_a_form_with_every_field_filled_in_is_read(saved, extra: dict[str, Any]) -> None:
    fields = {"host": "http://crux.test", "login": "ada", "password": "p w", "port": 8080, "schema": ""}
    settings = saved(**fields, extra=json.dumps(extra))
    assert (settings.base_url, settings.username, settings.secret) == ("http://crux.test:8080", "ada", "p w")
    assert {name: getattr(settings, name) for name in CONN_FIELDS if name != "allow_http"} == {
        name: value for name, value in FILLED_IN.items() if name != "allow_http"
    }


@pytest.mark.parametrize(
    ("host", "port", "url"),
    [
        ("https://api-sandbox.cruxconnect.com", 443, "https://api-sandbox.cruxconnect.com:443"),
        ("https://api-sandbox.cruxconnect.com/", 443, "https://api-sandbox.cruxconnect.com:443"),
        ("http://127.0.0.1:8080", 8080, "http://127.0.0.1:8080"),
        ("http://[::1]:8080", None, "http://[::1]:8080"),
        ("", 443, "https://api.cruxconnect.com:443"),
    ],
)
def test_the_test_button_leaves_the_host_unchanged(saved, host: str, port: int | None, url: str) -> None:
    assert saved(host=host, port=port, password=TOKEN).base_url == url


def test_an_extra_that_is_no_object_is_rejected_without_showing_it() -> None:
    with pytest.raises(CruxInvalidConnectionError, match="extra: the value is not a JSON object") as caught:
        read(password=TOKEN, extra=["hunter2"])
    assert "hunter2" not in str(caught.value)


def test_the_form_of_airflow_3_hides_the_hash_key_and_nothing_else() -> None:
    hidden = [name for name, field in CONN_FIELDS.items() if field["schema"].get("format") == "password"]
    assert hidden == ["hash_key"]
    assert "The form of Airflow 2 shows it." in CONN_FIELDS["hash_key"]["description"]
