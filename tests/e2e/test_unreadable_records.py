"""
Tests with ``dag.test()`` of Airflow 2 that a try which cannot read its record requests nothing.

The faults are real ones of the metadata database. Those of the API server of Airflow 3 are in ``test_records.py``.
"""

from __future__ import annotations

import os
import runpy
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pendulum
import pytest
from cryptography.fernet import Fernet

from tests.real_airflow.launcher import AIRFLOW_3, create_database

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_provider_crux.sandbox.state import Sandbox

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(AIRFLOW_3, reason="tasks of Airflow 3 do not use the database"),
]

DAG_FILE = Path(__file__).parent / "dags_unreadable" / "unreadable.py"


@pytest.fixture(autouse=True)
def _terminate_handler() -> Iterator[None]:
    """Restore the handler of SIGTERM. dag.test() leaves one of its own, with which TERM would not end the tests."""
    handler = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, handler)


@pytest.fixture(scope="module", autouse=True)
def _database() -> None:
    create_database(Path(os.environ["AIRFLOW_HOME"]))


@pytest.fixture(autouse=True)
def _fernet_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Airflow encrypt: whether its configuration has a key depends on what was imported first."""
    from airflow.models import crypto

    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", Fernet.generate_key().decode())
    monkeypatch.setattr(crypto, "_fernet", None)


@pytest.mark.parametrize(
    ("dag_id", "cause"),
    [
        ("locked_database", "database is locked"),
        ("changed_fernet_key", "has the Fernet key changed?"),
    ],
)
def test_try_that_cannot_read_its_record_requests_nothing_and_the_next_one_resumes(
    sandbox: Sandbox,
    connect: Callable[..., None],
    dag_id: str,
    cause: str,
    *,
    caplog: pytest.LogCaptureFixture,
    logged: Callable[[], str],
) -> None:
    connect(host=sandbox.url, password=sandbox.settings.token)
    earlier = len(sandbox.exports)
    dag = runpy.run_path(str(DAG_FILE))["DAGS"][dag_id]
    run = dag.test(execution_date=pendulum.datetime(2026, 1, 5))

    (uuid,) = sandbox.exports[earlier:]
    (task,) = run.get_task_instances()
    assert (task.state, task.try_number) == ("success", 3)
    output = logged() + caplog.text
    assert "Could not read the Variable" in output
    assert cause in output
    assert f"Resuming export {uuid}" in output
