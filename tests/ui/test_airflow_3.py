"""Tests the UI of Airflow 3: add and test a connection, trigger an export, and read its XComs and asset event."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
import requests
from playwright.sync_api import Page, expect

from tests.real_airflow.airflow_3 import Airflow3
from tests.real_airflow.launcher import running_airflow
from tests.real_airflow.processes import run_airflow
from tests.real_airflow.sandbox_airflow import REPOSITORY
from tests.ui.airflow_3_pages import AssetPage, ConnectionsPage, ConnectionTestResult, RunPage, TriggerForm
from tests.ui.browser import open_page
from tests.ui.conftest import HASH_KEY, WRONG_TOKEN, environment
from tests.ui.screenshots import take_screenshot

if TYPE_CHECKING:
    from airflow_provider_crux.sandbox.state import Sandbox

pytestmark = pytest.mark.ui

CONNECTION = "crux_default"
DAG = "crux_orders_manual"
ASSET = "crux_orders_by_hand"

START = datetime(2026, 3, 1, 6, 30, tzinfo=UTC)
END = datetime(2026, 3, 3, tzinfo=UTC)
REQUEST_BODY = {
    "start_date": "2026-03-01T06:30:00.000Z",
    "end_date": "2026-03-03T00:00:00.000Z",
    "line_item_status": ["unallocated", "backordered"],
    "status_conjunction": "and",
}
"""The values of the trigger form, as Crux Connect must receive them."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder in which the orders are stored."""
    return tmp_path_factory.mktemp("orders")


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory, folder: Path) -> Iterator[Airflow3]:
    """Run a real Airflow with the example DAG and without connections."""
    root = tmp_path_factory.mktemp("ui")
    dags = root / "dags"
    dags.mkdir()
    (dags / f"{DAG}.py").write_bytes((REPOSITORY / "dags_examples" / f"{DAG}.py").read_bytes())
    variables = {"AIRFLOW_VAR_CRUX_ORDERS_FOLDER": folder.as_uri()}
    with running_airflow(root / "home", dags, environment() | variables, triggerer=True) as instance:
        assert isinstance(instance, Airflow3), "these tests need Airflow 3"
        yield instance


@pytest.fixture(scope="module")
def page(airflow: Airflow3) -> Iterator[Page]:
    """Open the Airflow UI in a browser."""
    with open_page(airflow.base_url) as page:
        yield page


@pytest.fixture(scope="module")
def results(page: Page, sandbox: Sandbox) -> list[ConnectionTestResult]:
    """Add a connection and test it with a wrong token and then the correct one; return both results."""
    connections = ConnectionsPage(page)
    connections.add(CONNECTION, "Crux Connect")
    connections.fill(host=sandbox.url, port=str(urlsplit(sandbox.url).port), password=WRONG_TOKEN)
    take_screenshot(page, "connection-form", connections.form, secret=WRONG_TOKEN)
    connections.open_section("Extra Fields")
    connections.fill_extra("read_timeout", "45")
    connections.fill_extra("hash_key", HASH_KEY)
    expect(connections.extra("hash_key")).to_have_attribute("type", "password")
    connections.save()
    wrong_token_result = connections.test(CONNECTION)
    connections.edit(CONNECTION)
    connections.fill(password=sandbox.settings.token)
    connections.save()
    return [wrong_token_result, connections.test(CONNECTION)]


@pytest.fixture(scope="module")
def run_id(airflow: Airflow3, page: Page, sandbox: Sandbox, results: list[ConnectionTestResult]) -> str:
    """Trigger the DAG with its form, wait until the run succeeds and return its run_id."""
    airflow.wait_for_dags({DAG})
    form = TriggerForm(page, DAG)
    form.set_time("From", START)
    form.set_time("To", END)
    form.choose("orders_line_item_status", *REQUEST_BODY["line_item_status"])
    form.choose("orders_status_conjunction", str(REQUEST_BODY["status_conjunction"]))
    take_screenshot(page, "trigger-form", form.form, secret=sandbox.settings.token)
    run_id = form.submit()
    run = RunPage(page, DAG, run_id)
    airflow.wait_for_run(DAG, run_id)
    expect(run.state).to_have_text("Success")
    return run_id


def test_message_reports_a_wrong_token_as_rejected(results: list[ConnectionTestResult], sandbox: Sandbox) -> None:
    wrong_token_result, _ = results

    assert not wrong_token_result.successful
    assert sandbox.url in wrong_token_result.message
    assert "rejected the API token" in wrong_token_result.message
    assert WRONG_TOKEN not in wrong_token_result.message


def test_message_confirms_the_correct_token(results: list[ConnectionTestResult], sandbox: Sandbox) -> None:
    _, correct_token_result = results

    assert correct_token_result.successful
    assert correct_token_result.message == f"{sandbox.url} accepts the API token"


def test_connection_is_stored_with_the_extra_of_the_form(
    airflow: Airflow3, results: list[ConnectionTestResult]
) -> None:
    """The hash key is still there although another field was edited later."""
    file = airflow.home / "connections.json"
    run_airflow(["connections", "export", str(file), "--file-format", "json"], airflow.environment)

    extra = json.loads(json.loads(file.read_text())[CONNECTION]["extra"])
    assert {name: value for name, value in extra.items() if value} == {"read_timeout": 45, "hash_key": HASH_KEY}


def test_rest_api_masks_the_hash_key(airflow: Airflow3, results: list[ConnectionTestResult]) -> None:
    response = requests.get(f"{airflow.base_url}/api/v2/connections/{CONNECTION}", timeout=30)

    assert json.loads(response.json()["extra"])["hash_key"] == "***"


def test_run_sends_one_request_with_the_values_of_the_form(run_id: str, sandbox: Sandbox) -> None:
    requests_for_exports = [entry for entry in sandbox.requests if entry["path"] == sandbox.api.export_path]

    assert [(entry["status"], entry["body"]) for entry in requests_for_exports] == [(200, REQUEST_BODY)]


def test_every_parameter_of_the_form_carries_the_prefix(airflow: Airflow3, run_id: str) -> None:
    response = requests.get(f"{airflow.base_url}/api/v2/dags/{DAG}/dagRuns/{run_id}", timeout=30)

    conf = response.json()["conf"]
    assert {"orders_interval_start", "orders_interval_end", "orders_line_item_status"} <= set(conf)
    assert [name for name in conf if not name.startswith("orders_")] == []


def test_xcom_page_shows_uuid_and_request(page: Page, run_id: str, sandbox: Sandbox) -> None:
    run = RunPage(page, DAG, run_id)
    run.open_xcoms("export_orders")

    (uuid,) = sandbox.exports
    assert run.text("return_value") == uuid
    interval = run.expand("export_interval")
    assert datetime.fromisoformat(interval.pop("requested_at")) < datetime.now(UTC)
    assert interval == {
        "export_uuid": uuid,
        "interval_start": REQUEST_BODY["start_date"],
        "interval_end": REQUEST_BODY["end_date"],
        "request": REQUEST_BODY,
    }
    take_screenshot(page, "run-xcom", run.details, secret=sandbox.settings.token)


def test_asset_page_shows_interval_and_rows_of_the_stored_file(
    page: Page, run_id: str, sandbox: Sandbox, folder: Path
) -> None:
    event = AssetPage(page, ASSET).event()

    (uuid,) = sandbox.exports
    assert event["export_uuid"] == uuid
    assert (event["interval_start"], event["interval_end"]) == (REQUEST_BODY["start_date"], REQUEST_BODY["end_date"])
    assert event["rows"] == rows_of(folder / f"{uuid}.csv") > 0


def rows_of(file: Path) -> int:
    """Count the records of a CSV file without the header."""
    with file.open(encoding="utf-8-sig", newline="") as lines:
        return len(list(csv.DictReader(lines)))
