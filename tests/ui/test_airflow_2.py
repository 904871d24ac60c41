"""Tests the connection form of Airflow 2, which the web server builds from methods of the hook."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
import requests
from playwright.sync_api import Page

from tests.real_airflow.airflow_2 import Airflow2
from tests.real_airflow.launcher import free_port, running_airflow
from tests.real_airflow.processes import STARTUP_SECONDS, Component, airflow_command, run_airflow
from tests.ui.airflow_2_pages import ConnectionForm, log_in
from tests.ui.browser import open_page
from tests.ui.conftest import HASH_KEY, WRONG_TOKEN, environment

if TYPE_CHECKING:
    from airflow_provider_crux.sandbox.state import Sandbox

pytestmark = pytest.mark.ui

CONNECTION = "crux_default"
USER = {"username": "ada", "password": "ada", "firstname": "Ada", "lastname": "Okafor", "role": "Admin"}


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Airflow2]:
    """Run a real Airflow without DAGs or connections."""
    folder = tmp_path_factory.mktemp("ui")
    dags = folder / "dags"
    dags.mkdir()
    with running_airflow(folder / "home", dags, environment()) as instance:
        assert isinstance(instance, Airflow2), "these tests need Airflow 2"
        yield instance


@pytest.fixture(scope="module")
def page(airflow: Airflow2) -> Iterator[Page]:
    """Run the web server, open a browser and log a user in."""
    arguments = [argument for name, value in USER.items() for argument in (f"--{name}", value)]
    run_airflow(["users", "create", "--email", "ada@example.invalid", *arguments], airflow.environment)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    arguments = ["webserver", "--hostname", "127.0.0.1", "--port", str(port), "--workers", "1"]
    # The fixture `airflow` stops it with the other components.
    command = airflow_command(arguments)
    airflow.components.append(Component("webserver", command, airflow.environment, airflow.home / "webserver.log"))
    airflow.wait_while(lambda: unhealthy(url), STARTUP_SECONDS)
    with open_page(url) as page:
        log_in(page, USER["username"], USER["password"])
        yield page


@pytest.fixture(scope="module")
def messages(page: Page, sandbox: Sandbox) -> list[str]:
    """Test a wrong token, then the correct one, and save the connection; return the messages of both tests."""
    form = ConnectionForm(page, CONNECTION, "Crux Connect")
    form.fill(host=sandbox.url, port=str(urlsplit(sandbox.url).port), password=WRONG_TOKEN)
    form.fill_extra("Read timeout (seconds)", "45")
    form.fill_extra("Hash key", HASH_KEY)
    wrong_token_message = form.test()
    form.fill(password=sandbox.settings.token)
    correct_token_message = form.test()
    form.save()
    return [wrong_token_message, correct_token_message]


@pytest.fixture(scope="module")
def stored_connection(airflow: Airflow2, messages: list[str]) -> dict[str, Any]:
    """Return the connection as Airflow has stored it."""
    file = airflow.home / "connections.json"
    run_airflow(["connections", "export", str(file), "--file-format", "json"], airflow.environment)
    connection = json.loads(file.read_text())[CONNECTION]
    assert isinstance(connection, dict)
    return connection


def test_message_reports_a_wrong_token_as_rejected(messages: list[str], sandbox: Sandbox) -> None:
    assert sandbox.url in messages[0]
    assert "rejected the API token" in messages[0]
    assert WRONG_TOKEN not in messages[0]


def test_message_confirms_the_correct_token(messages: list[str], sandbox: Sandbox) -> None:
    assert messages[1] == f"{sandbox.url} accepts the API token"


def test_connection_test_requests_no_export(messages: list[str], sandbox: Sandbox) -> None:
    assert not [entry for entry in sandbox.requests if entry["path"] == sandbox.api.export_path]
    assert sandbox.exports == []


def test_connection_is_stored_with_the_fields_of_the_form(stored_connection: dict[str, Any], sandbox: Sandbox) -> None:
    assert (stored_connection["conn_type"], stored_connection["host"], stored_connection["password"]) == (
        "crux",
        sandbox.url,
        sandbox.settings.token,
    )


def test_connection_is_stored_with_the_extra_of_the_form(stored_connection: dict[str, Any]) -> None:
    extra = json.loads(stored_connection["extra"])
    assert {name: value for name, value in extra.items() if value} == {"read_timeout": 45, "hash_key": HASH_KEY}


def unhealthy(url: str) -> str:
    """Return why the web server is not healthy yet, or an empty string."""
    try:
        requests.get(f"{url}/health", timeout=5).raise_for_status()
    except requests.RequestException as error:
        return f"no response from the web server: {type(error).__name__}"
    return ""
