"""A backfill on PostgreSQL, Redis, CeleryExecutor and two workers, one of which is killed, and the triggerer too."""

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
from airflow_provider_crux.sandbox.rules import judge
from airflow_provider_crux.sandbox.selection import select
from airflow_provider_crux.sandbox.server import running_sandbox
from airflow_provider_crux.sandbox.settings import SandboxSettings
from tests.celery.services import running_postgres, running_redis
from tests.e2e.airflow_instance import DATABASE, QUICK_TO_NOTICE
from tests.e2e.connected import connected_airflow
from tests.e2e.processes import AirflowTestError, run_airflow
from tests.e2e.test_scheduler import period

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_crux.sandbox.state import Sandbox
    from tests.e2e.instance import AirflowInstance

INTERVALS = int(os.environ.get("INTERVALS", "20"))
TRIGGERER_TOO = INTERVALS >= 100
SECONDS = 300 + 15 * INTERVALS
"""The most that the whole backfill may take; some 4 s an interval were seen on two cores."""

DAG_ID = "celery_backfilled"
EXPORTS_AT_A_TIME = 8
FIRST_DAY = datetime(2025, 1, 1, tzinfo=UTC)
DAYS = [f"{FIRST_DAY + timedelta(days=number):%Y-%m-%d}" for number in range(INTERVALS)]
NEXT = {day: f"{datetime.fromisoformat(day) + timedelta(days=1):%Y-%m-%d}" for day in DAYS}
"""Of each exported day the one that follows it: the end of its interval, and on Airflow 3 its run's logical date."""

CELERY = {
    "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
    "AIRFLOW__CORE__PARALLELISM": "32",
    "AIRFLOW__CELERY__OPERATION_TIMEOUT": "10",
    # what a lost worker had taken from the queue and not begun is queued again after so long
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "60",
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL": "10",
}


@dataclass(frozen=True)
class Killed:
    """What was so when a worker was killed, by exported day."""

    posted: set[str]
    exporting: set[str]
    """Their export tasks ran on the worker that was killed."""
    remembered: set[str]

    @property
    def in_the_window(self) -> set[str]:
        """The days whose export was asked for, but not yet written down: the window that docs/backfilling.md names."""
        return (self.posted & self.exporting) - self.remembered


class Database:
    """The metadata database."""

    def __init__(self, address: str) -> None:
        self._connection = psycopg2.connect(f"postgresql://{address}")
        self._connection.autocommit = True

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Return what a query finds."""
        with self._connection.cursor() as cursor:
            cursor.execute(query)
            return cursor.fetchall()

    def days(self, query: str) -> set[str]:
        """Return the exported days of the runs whose logical dates a query finds."""
        return {f"{logical_date - timedelta(days=1):%Y-%m-%d}" for (logical_date,) in self.rows(query)}


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """Stand in for Crux Connect, as slow as one far away: half a second an answer, eight an export."""
    with running_sandbox(SandboxSettings(answer_seconds=0.5, export_seconds=8)) as running:
        yield running


@pytest.fixture
def postgres() -> Iterator[str]:
    """Give the address of an empty database."""
    with running_postgres() as address:
        yield address


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give the folder in which the orders are stored."""
    return tmp_path / "orders"


@pytest.fixture
def airflow(tmp_path: Path, sandbox: Sandbox, postgres: str, folder: Path) -> Iterator[AirflowInstance]:
    """Run a distributed Airflow."""
    with running_redis(tmp_path) as broker:
        env = {
            **QUICK_TO_NOTICE,
            **CELERY,
            DATABASE: f"postgresql+psycopg2://{postgres}",
            "AIRFLOW__CELERY__BROKER_URL": broker,
            "AIRFLOW__CELERY__RESULT_BACKEND": f"db+postgresql://{postgres}",
            "AIRFLOW_VAR_CRUX_ORDERS_FOLDER": folder.as_uri(),
        }
        workers = {name: worker(name, tmp_path) for name in ("worker-1", "worker-2")}
        dag_files = (Path(__file__).parent / "dags").glob("*.py")
        with connected_airflow(tmp_path, dag_files, sandbox, env, triggerer=True, workers=workers) as instance:
            yield instance


def worker(name: str, folder: Path) -> list[str]:
    """Return the arguments of a Celery worker that listens nowhere."""
    own = ["--celery-hostname", f"{name}@%h", "--pid", str(folder / f"{name}.pid")]
    return ["celery", "worker", "--skip-serve-logs", "--concurrency", "3", *own]


def test_a_backfill_stores_each_interval_once_though_a_worker_is_killed(
    airflow: AirflowInstance, sandbox: Sandbox, postgres: str, folder: Path
) -> None:
    database = Database(postgres)
    pool = ["crux", str(EXPORTS_AT_A_TIME), "exports that Crux Connect makes at a time", "--include-deferred"]
    run_airflow(["pools", "set", *pool], airflow.environment)
    airflow.wait_for_dags({DAG_ID})
    started = time.monotonic()
    dates = ["--from-date", NEXT[DAYS[0]], "--to-date", NEXT[DAYS[-1]]]
    run_airflow(["backfill", "create", "--dag-id", DAG_ID, *dates, "--max-active-runs", "16"], airflow.environment)

    wait_for_exports(airflow, sandbox, INTERVALS // 3)
    killed = kill_a_worker(airflow, sandbox, database)
    airflow.start_part("worker-1")
    if TRIGGERER_TOO:
        wait_for_exports(airflow, sandbox, INTERVALS * 2 // 3)
        airflow.kill_part("triggerer")
        airflow.start_part("triggerer")
    wait_for_the_end(airflow, database)

    seconds = time.monotonic() - started
    posts = Counter(asked_for(sandbox))
    twice = {day: count for day, count in posts.items() if count > 1}
    tries = database.rows(
        "SELECT task_id, try_number, count(*) FROM task_instance GROUP BY task_id, try_number ORDER BY 1, 2"
    )
    print(f"\n{INTERVALS} intervals in {seconds:.0f} s; {posts.total()} POSTs")
    print(f"when the worker was killed: {len(killed.posted)} asked for, exporting {sorted(killed.exporting)},")
    print(f"  in the window {sorted(killed.in_the_window)}; asked for more than once: {twice}")
    print(f"tasks by number of tries: {tries}")

    assert sorted(file.name for file in folder.iterdir()) == [f"{day}.csv" for day in DAYS]
    for day in DAYS:
        expected = write_csv(select(judge(period(day, NEXT[day])), datetime.now(UTC)))
        assert (folder / f"{day}.csv").read_bytes() == expected, day
    assert set(posts) == set(DAYS)
    assert set(twice) <= killed.in_the_window
    assert posts.total() == INTERVALS + len(twice)
    assert len(sandbox.exports) == posts.total()


def asked_for(sandbox: Sandbox) -> list[str]:
    """Return the day of each POST for an export, in order."""
    paths = [(entry["path"], entry["body"]) for entry in sandbox.requests]
    return [body["start_date"][:10] for path, body in paths if path == "/api/orders/export/"]


def wait_for_exports(airflow: AirflowInstance, sandbox: Sandbox, count: int) -> None:
    """Wait until so many exports have been asked for."""
    airflow.wait(lambda: "" if len(asked_for(sandbox)) >= count else f"fewer than {count} exports", SECONDS)


def kill_a_worker(airflow: AirflowInstance, sandbox: Sandbox, database: Database) -> Killed:
    """End worker-1 and its children by SIGKILL while it is at work, and return what was so then.

    It is stopped first, so that what is seen is what is killed. What it sent in its last moment may be written down a
    little after we look: the window that we see is then too large, never too small.
    """
    part = next(part for part in airflow.parts if part.name == "worker-1")
    airflow.wait(lambda: "" if runs_a_task(part.members()) else "worker-1 is idle", SECONDS)
    part.freeze()
    posted = set(asked_for(sandbox))
    pids = ", ".join(str(process.pid) for process in part.members())
    exporting = database.days(
        "SELECT logical_date FROM task_instance JOIN dag_run USING (dag_id, run_id) "
        f"WHERE task_id = 'export_orders' AND task_instance.state = 'running' AND pid IN ({pids})"
    )
    remembered = database.days(
        "SELECT logical_date FROM task_state_store JOIN dag_run USING (dag_id, run_id) WHERE task_id = 'export_orders'"
    )
    airflow.kill_part("worker-1")
    return Killed(posted, exporting, remembered)


def runs_a_task(members: list[psutil.Process]) -> bool:
    """Whether a child of the worker's, of which it has one for each slot, has a child itself: the task."""
    parents = set()
    for process in members:
        with contextlib.suppress(psutil.NoSuchProcess):
            parents.add(process.ppid())
    # those of a grandchild: not the leader, which comes first, and not who started it
    return len(parents & {process.pid for process in members[1:]}) > 0


def wait_for_the_end(airflow: AirflowInstance, database: Database) -> None:
    """Wait until all runs have succeeded; fail as soon as one has not."""

    def unfinished() -> str:
        states = dict(database.rows("SELECT state, count(*) FROM dag_run GROUP BY state"))
        if states.get("failed"):
            raise AirflowTestError(f"runs by state: {states}")
        return "" if states.get("success") == INTERVALS else f"runs by state: {states}"

    airflow.wait(unfinished, SECONDS)
