"""An Airflow home of the tests' own, made before Airflow is imported for the first time."""

from __future__ import annotations

import json
import os
import tempfile

AIRFLOW_HOME = tempfile.mkdtemp(prefix="airflow-provider-crux-")
os.environ |= {
    "AIRFLOW_HOME": AIRFLOW_HOME,
    "AIRFLOW__CORE__DAGS_FOLDER": f"{AIRFLOW_HOME}/dags",
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
    # the timer warning of 2.11's own metrics
    "AIRFLOW__METRICS__TIMER_UNIT_CONSISTENCY": "True",
}

import shutil
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from airflow_provider_crux.sandbox.server import running_sandbox
from airflow_provider_crux.sandbox.state import SandboxSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_crux.sandbox.state import Sandbox

# A timed assertion would fail on a busy machine; the same examples every time, so that a green run stays green.
settings.register_profile("project", deadline=None, derandomize=True)
settings.load_profile("project")


@pytest.fixture(scope="session", autouse=True)
def _airflow_home() -> Iterator[None]:
    yield
    shutil.rmtree(AIRFLOW_HOME, ignore_errors=True)


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch):
    """Give a function that sets an Airflow connection; its arguments are the connection's fields."""

    def set_connection(conn_id: str = "crux_default", **fields: object) -> None:
        value = json.dumps({"conn_type": "crux", **fields})
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", value)

    return set_connection


@pytest.fixture
def sandbox(connect) -> Iterator[Sandbox]:
    """Run Crux Connect's stand-in on loopback, with ``crux_default`` set to it."""
    with running_sandbox() as running:
        connect(host=running.url, password=SandboxSettings().token)
        yield running


@pytest.fixture
def logged(capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture):
    """Give a function that returns all that was logged since it was last asked; Airflow 3 does not use ``logging``."""
    caplog.set_level("DEBUG")

    def text() -> str:
        shown = capfd.readouterr()
        return shown.out + shown.err

    return text
