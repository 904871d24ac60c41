"""A person at Airflow 3: enters the connection, tests it, triggers an export, and looks at what came of it."""

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

from tests.e2e.airflow_3 import Airflow3
from tests.e2e.airflow_instance import running_airflow
from tests.e2e.connected import PROJECT
from tests.ui.airflow_3_pages import AssetPage, ConnectionsPage, RunPage, TriggerForm, Verdict
from tests.ui.browser import open_page
from tests.ui.conftest import WRONG_TOKEN, environment
from tests.ui.screenshots import take

if TYPE_CHECKING:
    from airflow_provider_crux.sandbox.state import Sandbox

pytestmark = pytest.mark.ui

CONNECTION = "crux_default"
DAG = "crux_orders_manual"
ASSET = "crux_orders_by_hand"

START = datetime(2026, 3, 1, 6, 30, tzinfo=UTC)
END = datetime(2026, 3, 3, tzinfo=UTC)
REQUEST = {
    "start_date": "2026-03-01T06:30:00.000Z",
    "end_date": "2026-03-03T00:00:00.000Z",
    "line_item_status": ["unallocated", "backordered"],
    "status_conjunction": "and",
}
"""What the trigger form is filled with, as Crux Connect is to receive it."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Name where the orders are stored."""
    return tmp_path_factory.mktemp("orders")


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory, folder: Path) -> Iterator[Airflow3]:
    """Run a real Airflow with the example DAG and no connection."""
    home = tmp_path_factory.mktemp("ui")
    dags = home / "dags"
    dags.mkdir()
    (dags / f"{DAG}.py").write_bytes((PROJECT / "dags_examples" / f"{DAG}.py").read_bytes())
    variables = {"AIRFLOW_VAR_CRUX_ORDERS_FOLDER": folder.as_uri()}
    with running_airflow(home / "home", dags, environment() | variables, triggerer=True) as instance:
        assert isinstance(instance, Airflow3), "these tests are for Airflow 3"
        yield instance


@pytest.fixture(scope="module")
def page(airflow: Airflow3) -> Iterator[Page]:
    """Open a browser at that Airflow."""
    with open_page(airflow.base_url) as opened:
        yield opened


@pytest.fixture(scope="module")
def verdicts(page: Page, sandbox: Sandbox) -> list[Verdict]:
    """Add the connection with a wrong token, test it, correct the token, and test it again."""
    connections = ConnectionsPage(page)
    connections.add(CONNECTION, "Crux Connect")
    connections.fill(host=sandbox.url, port=str(urlsplit(sandbox.url).port), password=WRONG_TOKEN)
    take(page, "connection-form", connections.form, secret=WRONG_TOKEN)
    connections.open_section("Extra Fields")
    connections.fill_extra("read_timeout", "45")
    connections.save()
    first = connections.test(CONNECTION)
    connections.edit(CONNECTION)
    connections.fill(password=sandbox.settings.token)
    connections.save()
    return [first, connections.test(CONNECTION)]


@pytest.fixture(scope="module")
def run_id(airflow: Airflow3, page: Page, sandbox: Sandbox, verdicts: list[Verdict]) -> str:
    """Trigger the DAG through its form, and watch the run until it is through."""
    airflow.wait_for_dags({DAG})
    form = TriggerForm(page, DAG)
    form.set_instant("From", START)
    form.set_instant("To", END)
    form.choose("orders_line_item_status", *REQUEST["line_item_status"])
    form.choose("orders_status_conjunction", str(REQUEST["status_conjunction"]))
    take(page, "trigger-form", form.form, secret=sandbox.settings.token)
    run_id = form.submit()
    run = RunPage(page, DAG, run_id)
    airflow.wait_for_run(DAG, run_id)
    expect(run.state).to_have_text("Success")
    return run_id


def test_button_says_that_a_wrong_token_is_not_accepted(verdicts: list[Verdict], sandbox: Sandbox) -> None:
    wrong, _ = verdicts

    assert not wrong.good
    assert sandbox.url in wrong.message
    assert "does not accept the API token" in wrong.message
    assert WRONG_TOKEN not in wrong.message


def test_button_says_that_the_corrected_token_is_accepted(verdicts: list[Verdict], sandbox: Sandbox) -> None:
    _, right = verdicts

    assert right == Verdict(good=True, message=f"{sandbox.url} accepts the API token")


def test_connection_is_stored_with_the_extra_of_the_form(airflow: Airflow3, verdicts: list[Verdict]) -> None:
    answer = requests.get(f"{airflow.base_url}/api/v2/connections/{CONNECTION}", timeout=30)

    extra = json.loads(answer.json()["extra"])
    assert {name: value for name, value in extra.items() if value} == {"read_timeout": 45}


def test_crux_connect_is_asked_once_for_what_the_form_says(run_id: str, sandbox: Sandbox) -> None:
    asked = [entry for entry in sandbox.requests if entry["method"] == "POST"]

    assert [(entry["path"], entry["status"], entry["body"]) for entry in asked] == [
        ("/api/orders/export/", 200, REQUEST)
    ]


def test_xcom_page_shows_uuid_and_request(page: Page, run_id: str, sandbox: Sandbox) -> None:
    run = RunPage(page, DAG, run_id)
    run.open_xcoms("export_orders")

    assert run.unfold("export_request") == REQUEST
    (uuid,) = sandbox.exports
    assert run.text("return_value") == uuid
    assert run.unfold("export_window") == {
        "export_uuid": uuid,
        "interval_start": REQUEST["start_date"],
        "interval_end": REQUEST["end_date"],
    }
    take(page, "run-xcom", run.details, secret=sandbox.settings.token)


def test_asset_page_shows_interval_and_rows_of_the_stored_file(
    page: Page, run_id: str, sandbox: Sandbox, folder: Path
) -> None:
    event = AssetPage(page, ASSET).event()

    (uuid,) = sandbox.exports
    assert event["export_uuid"] == uuid
    assert (event["interval_start"], event["interval_end"]) == (REQUEST["start_date"], REQUEST["end_date"])
    assert event["rows"] == rows_of(folder / f"{uuid}.csv") > 0


def rows_of(file: Path) -> int:
    """Count the records of a CSV file, without its header."""
    with file.open(encoding="utf-8-sig", newline="") as lines:
        return len(list(csv.DictReader(lines)))
