"""Shared fixtures, and the tests' own Airflow home, which is created before Airflow is imported."""

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
    # without it, 2.11 warns about its own metrics
    "AIRFLOW__METRICS__TIMER_UNIT_CONSISTENCY": "True",
}

import gc
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

from airflow_provider_crux.sandbox import pytest_plugin
from airflow_provider_crux.sandbox.server import running_sandbox
from airflow_provider_crux.sandbox.state import SandboxSettings
from tests.secrets_masker import clear_masker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from airflow.providers.common.compat.sdk import DAG

    from airflow_provider_crux.sandbox.state import Sandbox

# No deadline, because the machine may be busy; the same examples every time, so that a green run stays green.
settings.register_profile("project", deadline=None, derandomize=True)
# What make unit uses: a tenth of the examples.
settings.register_profile("quick", settings.get_profile("project"), max_examples=10)
settings.load_profile("project")


def pytest_collection_finish() -> None:
    """Spare the garbage collector the objects that the imports made, because they live as long as the tests."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000)  # what a test leaves is little, and to search it takes longer than many a test


@pytest.fixture(scope="session", autouse=True)
def _airflow_home() -> Iterator[None]:
    yield
    shutil.rmtree(AIRFLOW_HOME, ignore_errors=True)


@pytest.fixture(autouse=True)
def _no_secrets_of_other_tests() -> None:
    clear_masker()


@pytest.fixture(autouse=True)
def _only_slow_tests_start_processes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if any(map(request.node.get_closest_marker, ("slow", "e2e", "ui"))):
        return

    start = subprocess.Popen.__init__

    def start_or_fail(process: subprocess.Popen[Any], args: Any, *others: Any, **options: Any) -> None:
        # imports may run small tools: platform runs file, ctypes runs ldconfig
        if Path(args[0]).name.startswith("python"):
            raise AssertionError(f"this test starts a process, {args}: mark it with @pytest.mark.slow")
        start(process, args, *others, **options)

    monkeypatch.setattr(subprocess.Popen, "__init__", start_or_fail)


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch):
    """Return a function that sets an Airflow connection; its arguments are the connection's fields."""

    def set_connection(conn_id: str = "crux_default", **fields: object) -> None:
        value = json.dumps({"conn_type": "crux", **fields})
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", value)

    return set_connection


# what users have; the tests use its shorter name
sandbox = pytest_plugin.crux_sandbox


@pytest.fixture
def held_sandbox(connect) -> Iterator[Sandbox]:
    """Run a sandbox that holds every export until the test finishes it; ``crux_default`` uses it without retries."""
    with running_sandbox(SandboxSettings(password="correct horse battery staple", export_seconds=None)) as running:
        connect(host=running.url, password=running.settings.token, extra={"max_retries": 0})
        yield running


@pytest.fixture
def export_uuid(held_sandbox: Sandbox) -> str:
    """Request an export of one day, which is pending until the test finishes it, and return its UUID."""
    from airflow_provider_crux.api.orders import OrdersExportRequest
    from airflow_provider_crux.hooks.crux import CruxHook

    day = datetime(2024, 1, 2, tzinfo=UTC)
    return CruxHook().export_orders(OrdersExportRequest(start_date=day, end_date=day + timedelta(days=1)))


class FakeTaskInstance:
    """
    The task instance of one try.

    :param upstream: what the task upstream pushed.
    :param identity: what differs from the first try of the task ``d.export``.
    """

    def __init__(self, upstream: Sequence[object] = (), **identity: Any) -> None:
        self.pushed: dict[str, Any] = {}
        self.pulls: list[tuple[str, str]] = []
        self._upstream = list(upstream)
        self.dag_id, self.task_id, self.run_id, self.map_index = "d", "export", "manual__2026-01-05", -1
        self.try_number, self.max_tries = 1, 0
        self.__dict__ |= identity

    @property
    def task(self) -> object:
        """The task, which Airflow 3.4 reads to find the XComs of another one."""
        return dag_with_export().get_task("export")

    def xcom_push(self, key: str, value: object) -> None:
        self.pushed[key] = value

    def xcom_pull(self, task_ids: str, key: str, default: object, **_: object) -> object:
        """Return what a task that is not mapped pushed; several values as from a mapped task group."""
        self.pulls.append((task_ids, key))
        if len(self._upstream) == 1:
            return self._upstream[0]
        return self._upstream or default

    def get_relevant_upstream_map_indexes(self, *_: object, **__: object) -> None:
        """Do what Airflow does for a task that is in no mapped task group."""


@cache
def dag_with_export() -> DAG:
    """Return a DAG with the task ``export``, for a context."""
    from airflow.providers.common.compat.sdk import DAG

    from airflow_provider_crux.operators.orders import CruxOrdersExportOperator

    with DAG("d", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)) as dag:
        CruxOrdersExportOperator(task_id="export")
    return dag


@pytest.fixture
def variables(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Replace Airflow's Variables, which need a database, with this empty dictionary."""
    values: dict[str, str] = {}

    def write(key: str, text: str, description: str) -> None:
        assert len(key) <= 250, "PostgreSQL rejects it"
        values[key] = text

    record = "airflow_provider_crux.task.variable_record"
    monkeypatch.setattr(f"{record}._read_variable", values.get)
    monkeypatch.setattr(f"{record}._write_variable", write)
    monkeypatch.setattr(f"{record}._delete_variable", lambda key: values.pop(key, None))
    monkeypatch.setattr(f"{record}._is_current", lambda _: True)
    return values


@pytest.fixture
def make_context(variables: dict[str, str]) -> Callable[..., dict[str, Any]]:
    """
    Return a function that makes the context of one try, with a task instance of its own and the entries given.

    Without the entry ``task_state_store`` it is a context below Airflow 3.3.
    """

    def context(
        *, upstream: Sequence[object] = (), identity: Mapping[str, Any] | None = None, **entries: object
    ) -> dict[str, Any]:
        task_instance = FakeTaskInstance(upstream, **(identity or {}))
        return {"ti": task_instance, "dag": dag_with_export(), "expanded_ti_count": None, **entries}

    return context


@pytest.fixture
def logged(capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture):
    """Return a function that returns what was logged since its last call; Airflow 3 does not use ``logging``."""
    caplog.set_level("DEBUG")

    def new_output() -> str:
        captured = capfd.readouterr()
        return captured.out + captured.err

    return new_output
