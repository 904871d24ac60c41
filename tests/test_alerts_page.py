"""The alerts of docs/alerts.md without a scheduler: what they send if Airflow has no exception to show."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG

from tests.receivers import WITHOUT_PROXY, running_mail_server, running_webhook
from tests.test_docs import FENCE

PAGE = (Path(__file__).parents[1] / "docs/alerts.md").read_text()
CHECK, EXPORT, DEADLINE = (block[3] for block in FENCE.finditer(PAGE) if block[2] == "python")
CONNECTIONS = {
    name: json.loads(value) for name, value in re.findall(r"^export (AIRFLOW_CONN_\w+)='(.*)'$", PAGE, re.MULTILINE)
}


@pytest.mark.parametrize(
    ("recipe", "variable", "running"),
    [
        (CHECK, "AIRFLOW_CONN_SLACK_ORDERS", running_webhook),
        (EXPORT, "AIRFLOW_CONN_SMTP_ORDERS", running_mail_server),
    ],
    ids=["Slack", "e-mail"],
)
def test_an_alert_about_a_killed_task_has_no_exception(
    monkeypatch: pytest.MonkeyPatch, recipe: str, variable: str, running: Any
) -> None:
    """Airflow 3 passes none to the callback then; rendering one that does not exist is an error."""
    for name, value in WITHOUT_PROXY.items():
        monkeypatch.setenv(name, value)
    names: dict[str, Any] = {"__name__": "example"}
    exec(recipe, names)
    dag = DAG("d", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC))
    task_instance = SimpleNamespace(task_id="export", log_url="http://127.0.0.1/log")
    with running() as receiver:
        monkeypatch.setenv(variable, json.dumps(CONNECTIONS[variable] | receiver.connection))
        names["alert"]({"dag": dag, "ti": task_instance, "run_id": "manual__1"})
        (message,) = receiver.messages
    assert "its process ended without a message" in message
    assert "http://127.0.0.1/log" in message
