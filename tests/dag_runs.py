"""
Runs DAGs with ``dag.test()``: a DAG folder, a database, and a function.

Not in tests/integration, because looker-sdk, which comes with Airflow's provider for Google, installs a package
``tests.integration`` of its own.
"""

from __future__ import annotations

import functools
import importlib
import os
import runpy
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import airflow
import pendulum
import pytest
from airflow import settings
from airflow.providers.common.compat.sdk import DAG

from tests.real_airflow.launcher import create_database
from tests.secrets_masker import clear_masker

AIRFLOW = tuple(int(part) for part in airflow.__version__.split(".")[:2])
# since 3.4 an XCom belongs to one try, of which task_instance has a row each
XCOMS = "xcom_v2 JOIN task_instance ON task_instance.id = task_instance_id" if AIRFLOW >= (3, 4) else "xcom"
DAGS = Path(__file__).parent / "integration/dags"
AIRFLOW_HOME = Path(os.environ["AIRFLOW_HOME"])
EXAMPLES = sorted((Path(__file__).parents[1] / "dags_examples").glob("*.py"))
LOGICAL_DATE = pendulum.datetime(2026, 1, 5)


@pytest.fixture(autouse=True)
def _terminate_handler() -> Iterator[None]:
    """Restore the handler of SIGTERM. dag.test() leaves one of its own, with which TERM would not end the tests."""
    handler = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, handler)


@pytest.fixture(scope="session")
def dags_folder() -> Path:
    """Create a DAG folder and the database, because Airflow 3 runs only DAGs from its DAG folder."""
    folder = Path(os.environ["AIRFLOW__CORE__DAGS_FOLDER"])
    folder.mkdir()
    for path in (*EXAMPLES, *DAGS.glob("*.py")):
        shutil.copy(path, folder)
    create_database(AIRFLOW_HOME)
    if AIRFLOW < (3, 0):
        # The tables of Airflow 2 refer to that of its users, without which dag.test() cannot delete an earlier run.
        importlib.import_module("airflow.providers.fab.auth_manager.models")
    if (3, 0) <= AIRFLOW < (3, 3):
        # As Airflow 3.3 does it: otherwise dag.test() builds the API again for every try of a task.
        from airflow.sdk.execution_time import supervisor

        supervisor.in_process_api_server = functools.cache(supervisor.in_process_api_server)
    if AIRFLOW == (3, 0):
        # In Airflow 3.0, dag.test() updates only assets that the DAG processor has stored.
        run_airflow("dags", "reserialize")
    return folder


def run_airflow(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "airflow", *arguments], check=True, capture_output=True)


@pytest.fixture
def run(dags_folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory):
    """
    Return a function that runs a file's DAG with ``dag.test()``; it returns what the file defines, and the run.

    The file is named by its path, or by its name in the DAG folder.
    """
    # dag.test() of Airflow 3 parses all files of the DAG folder before every run: it has only those that the test runs
    monkeypatch.setattr(settings, "DAGS_FOLDER", str(tmp_path_factory.mktemp("dags")))

    def run_file(
        name: str | Path,
        dag_id: str | None = None,
        logical_date: datetime = LOGICAL_DATE,
        state: str = "success",
        poll_interval: float | None = None,
        **arguments: Any,
    ) -> dict[str, Any]:
        clear_masker()  # a task has a process of its own, and a masker without the secrets of the others
        names = runpy.run_path(str(shutil.copy(dags_folder / name, settings.DAGS_FOLDER)))
        dags = {value.dag_id: value for value in names.values() if isinstance(value, DAG)}
        if poll_interval is not None:
            for task in dags[dag_id or Path(name).stem].tasks:
                task.poll_interval = poll_interval
        date = {"logical_date": logical_date} if AIRFLOW >= (3, 0) else {"execution_date": logical_date}
        dag_run = dags[dag_id or Path(name).stem].test(**date, **arguments)
        assert str(getattr(dag_run.state, "value", dag_run.state)) == state
        return names | {"dag_run": dag_run}

    return run_file


def query(statement: str) -> list[Any]:
    """Return the only column of a statement's rows in Airflow's database."""
    with closing(sqlite3.connect(AIRFLOW_HOME / "airflow.db")) as database, database:
        return [value for (value,) in database.execute(statement)]
