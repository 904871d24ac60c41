"""A person at the connection form of Airflow 2, which its web server builds from the hook's methods."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
import requests
from playwright.sync_api import Page

from tests.e2e.airflow_2 import Airflow2
from tests.e2e.airflow_instance import free_port, running_airflow
from tests.e2e.processes import STARTUP_SECONDS, Part, airflow_command, run_airflow
from tests.ui.airflow_2_pages import ConnectionForm, log_in
from tests.ui.browser import open_page
from tests.ui.conftest import WRONG_TOKEN, environment

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
        assert isinstance(instance, Airflow2), "these tests are for Airflow 2"
        yield instance


@pytest.fixture(scope="module")
def page(airflow: Airflow2) -> Iterator[Page]:
    """Run the web server too, log a user in, and open a browser at it."""
    arguments = [argument for name, value in USER.items() for argument in (f"--{name}", value)]
    run_airflow(["users", "create", "--email", "ada@example.invalid", *arguments], airflow.environment)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    arguments = ["webserver", "--hostname", "127.0.0.1", "--port", str(port), "--workers", "1"]
    # ended with the others
    command = airflow_command(arguments)
    airflow.parts.append(Part("webserver", command, airflow.environment, airflow.home / "webserver.log"))
    airflow.wait(lambda: unhealthy(url), STARTUP_SECONDS)
    with open_page(url) as opened:
        log_in(opened, USER["username"], USER["password"])
        yield opened


@pytest.fixture(scope="module")
def messages(page: Page, sandbox: Sandbox) -> list[str]:
    """Fill the form with a wrong token, test it, correct the token, test it again, and save it."""
    form = ConnectionForm(page, CONNECTION, "Crux Connect")
    form.fill(host=sandbox.url, port=str(urlsplit(sandbox.url).port), password=WRONG_TOKEN)
    form.fill_extra("Read timeout (seconds)", "45")
    first = form.test()
    form.fill(password=sandbox.settings.token)
    second = form.test()
    form.save()
    return [first, second]


@pytest.fixture(scope="module")
def stored(airflow: Airflow2, messages: list[str]) -> dict[str, Any]:
    """Return the connection as Airflow holds it."""
    file = airflow.home / "connections.json"
    run_airflow(["connections", "export", str(file), "--file-format", "json"], airflow.environment)
    connection = json.loads(file.read_text())[CONNECTION]
    assert isinstance(connection, dict)
    return connection


def test_button_says_that_a_wrong_token_is_not_accepted(messages: list[str], sandbox: Sandbox) -> None:
    assert sandbox.url in messages[0]
    assert "does not accept the API token" in messages[0]
    assert WRONG_TOKEN not in messages[0]


def test_button_says_that_the_corrected_token_is_accepted(messages: list[str], sandbox: Sandbox) -> None:
    assert messages[1] == f"{sandbox.url} accepts the API token"


def test_button_asks_for_no_export(messages: list[str], sandbox: Sandbox) -> None:
    assert {entry["method"] for entry in sandbox.requests} == {"GET"}
    assert sandbox.exports == []


def test_connection_is_stored_with_the_fields_of_the_form(stored: dict[str, Any], sandbox: Sandbox) -> None:
    assert (stored["conn_type"], stored["host"], stored["password"]) == ("crux", sandbox.url, sandbox.settings.token)


def test_connection_is_stored_with_the_extra_of_the_form(stored: dict[str, Any]) -> None:
    extra = json.loads(stored["extra"])
    assert {name: value for name, value in extra.items() if value} == {"read_timeout": 45}


def unhealthy(url: str) -> str:
    """Say what is not up yet, or return an empty string."""
    try:
        requests.get(f"{url}/health", timeout=5).raise_for_status()
    except requests.RequestException as error:
        return f"no answer of the web server yet: {type(error).__name__}"
    return ""
