"""Tests a backfill with CeleryExecutor, PostgreSQL and Redis, while a worker and the triggerer are killed."""

from __future__ import annotations

import contextlib
import os
import time
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import psycopg2
import pytest

from airflow_provider_crux.sandbox.csv_file import write_csv
from airflow_provider_crux.sandbox.orders import filter_orders
from airflow_provider_crux.sandbox.server import running_sandbox
from airflow_provider_crux.sandbox.state import SandboxSettings
from airflow_provider_crux.sandbox.validation import validate
from tests.celery.services import running_redis
from tests.postgres.server import running_postgres
from tests.real_airflow.launcher import DATABASE_SETTING, SHORT_HEARTBEAT_TIMEOUTS
from tests.real_airflow.processes import AirflowTestError, run_airflow
from tests.real_airflow.request_bodies import interval_body
from tests.real_airflow.sandbox_airflow import airflow_with_sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_crux.sandbox.state import Sandbox
    from tests.real_airflow.instance import AirflowInstance

pytestmark = pytest.mark.e2e

INTERVALS = int(os.environ.get("INTERVALS", "20"))
KILLS_TRIGGERER = INTERVALS >= 100
TIMEOUT_SECONDS = 300 + 15 * INTERVALS
"""Timeout of the whole backfill. An interval takes about 4 s on two cores."""

DAG_ID = "celery_backfill"
MAX_CONCURRENT_EXPORTS = 8
FIRST_DAY = datetime(2025, 1, 1, tzinfo=UTC)
DAYS = [f"{FIRST_DAY + timedelta(days=number):%Y-%m-%d}" for number in range(INTERVALS)]
NEXT_DAY = {day: f"{datetime.fromisoformat(day) + timedelta(days=1):%Y-%m-%d}" for day in DAYS}
"""The end of the interval of each exported day. On Airflow 3 it is also the logical date of its run."""

CELERY = {
    "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
    "AIRFLOW__CORE__PARALLELISM": "32",
    "AIRFLOW__CELERY__OPERATION_TIMEOUT": "10",
    # After this time, tasks that a lost worker had received but not started are queued again.
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "60",
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL": "10",
}


@dataclass(frozen=True)
class KillSnapshot:
    """The exported days in each state when a worker was killed."""

    requested: set[str]
    """The sandbox had received the request."""
    running: set[str]
    """The export task ran on the killed worker."""
    saved: set[str]
    """The task state store held the export."""

    @property
    def at_risk(self) -> set[str]:
        """Days whose export was requested but not saved. docs/backfilling.md describes this gap."""
        return (self.requested & self.running) - self.saved


class Database:
    """The metadata database."""

    def __init__(self, address: str) -> None:
        self._connection = psycopg2.connect(f"postgresql://{address}")
        self._connection.autocommit = True

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        with self._connection.cursor() as cursor:
            cursor.execute(query)
            return cursor.fetchall()

    def days(self, query: str) -> set[str]:
        """Return the exported days of the runs whose logical dates a query returns."""
        return {f"{logical_date - timedelta(days=1):%Y-%m-%d}" for (logical_date,) in self.rows(query)}


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """Run a slow sandbox instead of Crux Connect: a response takes half a second, an export eight seconds."""
    with running_sandbox(SandboxSettings(response_seconds=0.5, export_seconds=8)) as running:
        yield running


@pytest.fixture
def postgres() -> Iterator[str]:
    """Return the address of an empty database."""
    with running_postgres() as address:
        yield address


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the folder in which the orders are stored."""
    return tmp_path / "orders"


@pytest.fixture
def airflow(tmp_path: Path, sandbox: Sandbox, postgres: str, folder: Path) -> Iterator[AirflowInstance]:
    """Run a distributed Airflow."""
    with running_redis(tmp_path) as broker:
        env = {
            **SHORT_HEARTBEAT_TIMEOUTS,
            **CELERY,
            DATABASE_SETTING: f"postgresql+psycopg2://{postgres}",
            "AIRFLOW__CELERY__BROKER_URL": broker,
            "AIRFLOW__CELERY__RESULT_BACKEND": f"db+postgresql://{postgres}",
            "AIRFLOW_VAR_CRUX_ORDERS_FOLDER": folder.as_uri(),
        }
        workers = {name: worker_arguments(name, tmp_path) for name in ("worker-1", "worker-2")}
        dag_files = (Path(__file__).parent / "dags").glob("*.py")
        with airflow_with_sandbox(tmp_path, dag_files, sandbox, env, triggerer=True, workers=workers) as instance:
            yield instance


def worker_arguments(name: str, folder: Path) -> list[str]:
    """Return the arguments of a Celery worker that opens no port."""
    names = ["--celery-hostname", f"{name}@%h", "--pid", str(folder / f"{name}.pid")]
    return ["celery", "worker", "--skip-serve-logs", "--concurrency", "3", *names]


def test_backfill_stores_each_interval_once_although_a_worker_is_killed(
    airflow: AirflowInstance, sandbox: Sandbox, postgres: str, folder: Path
) -> None:
    database = Database(postgres)
    pool = [
        "crux",
        str(MAX_CONCURRENT_EXPORTS),
        "exports that Crux Connect runs at the same time",
        "--include-deferred",
    ]
    run_airflow(["pools", "set", *pool], airflow.environment)
    airflow.wait_for_dags({DAG_ID})
    start = time.monotonic()
    dates = ["--from-date", NEXT_DAY[DAYS[0]], "--to-date", NEXT_DAY[DAYS[-1]]]
    run_airflow(["backfill", "create", "--dag-id", DAG_ID, *dates, "--max-active-runs", "16"], airflow.environment)

    wait_for_exports(airflow, sandbox, INTERVALS // 3)
    snapshot = kill_worker(airflow, sandbox, database)
    airflow.restart_component("worker-1")
    if KILLS_TRIGGERER:
        wait_for_exports(airflow, sandbox, INTERVALS * 2 // 3)
        airflow.kill_component("triggerer")
        airflow.restart_component("triggerer")
    wait_for_all_runs(airflow, database)

    seconds = time.monotonic() - start
    requests = Counter(requested_days(sandbox))
    duplicates = {day: count for day, count in requests.items() if count > 1}
    tries = database.rows(
        "SELECT task_id, try_number, count(*) FROM task_instance GROUP BY task_id, try_number ORDER BY 1, 2"
    )
    print(f"\n{INTERVALS} intervals in {seconds:.0f} s with {requests.total()} export requests")
    print(f"When the worker was killed, {len(snapshot.requested)} exports were requested.")
    print(f"Days of its running export tasks: {sorted(snapshot.running)}")
    print(f"Days requested but not saved: {sorted(snapshot.at_risk)}")
    print(f"Days requested more than once: {duplicates}")
    print(f"Task instances by task and number of tries: {tries}")

    assert sorted(file.name for file in folder.iterdir()) == [f"{day}.csv" for day in DAYS]
    for day in DAYS:
        expected = write_csv(filter_orders(validate(interval_body(day, NEXT_DAY[day])), datetime.now(UTC)))
        assert (folder / f"{day}.csv").read_bytes() == expected, day
    assert set(requests) == set(DAYS)
    assert set(duplicates) <= snapshot.at_risk
    assert requests.total() == INTERVALS + len(duplicates)
    assert len(sandbox.exports) == requests.total()


def requested_days(sandbox: Sandbox) -> list[str]:
    """Return the day of each export request, in order."""
    requests = [(entry["path"], entry["body"]) for entry in sandbox.requests]
    return [body["start_date"][:10] for path, body in requests if path == "/api/orders/export/"]


def wait_for_exports(airflow: AirflowInstance, sandbox: Sandbox, count: int) -> None:
    """Wait until `count` exports have been requested."""
    airflow.wait_while(
        lambda: "" if len(requested_days(sandbox)) >= count else f"fewer than {count} exports", TIMEOUT_SECONDS
    )


def kill_worker(airflow: AirflowInstance, sandbox: Sandbox, database: Database) -> KillSnapshot:
    """Kill worker-1 and its children while it runs a task, and return the state at that time.

    The worker is suspended first, so that its state does not change until it is killed. Airflow may still save what
    the worker sent just before, so `at_risk` can be too large, but never too small.
    """
    component = next(component for component in airflow.components if component.name == "worker-1")
    airflow.wait_while(lambda: "" if runs_a_task(component.processes()) else "worker-1 is idle", TIMEOUT_SECONDS)
    component.suspend()
    requested = set(requested_days(sandbox))
    pids = ", ".join(str(process.pid) for process in component.processes())
    running = database.days(
        "SELECT logical_date FROM task_instance JOIN dag_run USING (dag_id, run_id) "
        f"WHERE task_id = 'export_orders' AND task_instance.state = 'running' AND pid IN ({pids})"
    )
    saved = database.days(
        "SELECT logical_date FROM task_state_store JOIN dag_run USING (dag_id, run_id) WHERE task_id = 'export_orders' "
        # an intent has no UUID
        "AND value::json ->> 'export_uuid' IS NOT NULL"
    )
    airflow.kill_component("worker-1")
    return KillSnapshot(requested, running, saved)


def runs_a_task(processes: list[psutil.Process]) -> bool:
    """Return whether a child of the worker has a child. The worker has a child per slot, which forks to run a task."""
    parent_ids = set()
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            parent_ids.add(process.ppid())
    # The worker itself comes first and does not count as a parent here.
    return len(parent_ids & {process.pid for process in processes[1:]}) > 0


def wait_for_all_runs(airflow: AirflowInstance, database: Database) -> None:
    """Wait until all runs have succeeded; fail as soon as one fails."""

    def unfinished() -> str:
        states = dict(database.rows("SELECT state, count(*) FROM dag_run GROUP BY state"))
        if states.get("failed"):
            raise AirflowTestError(f"runs by state: {states}")
        return "" if states.get("success") == INTERVALS else f"runs by state: {states}"

    airflow.wait_while(unfinished, TIMEOUT_SECONDS)
