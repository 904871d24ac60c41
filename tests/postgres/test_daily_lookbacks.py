"""Tests the example crux_orders_to_table with a real scheduler and PostgreSQL; one task is killed in its merge."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING, Any, NamedTuple

import psycopg2
import psycopg2.extras
import pytest
from cryptography.fernet import Fernet

from airflow_provider_crux.sandbox.server import running_sandbox
from airflow_provider_crux.sandbox.state import ManualClock
from tests.daily_lookbacks import (
    EXAMPLE,
    TABLE,
    check_details,
    check_rows,
    expected_rows,
    exported_keys,
    shuffled_runs,
)
from tests.e2e.leak_search import find_leaks, read_files, read_tables
from tests.order_details import DETAILS
from tests.postgres.server import running_postgres
from tests.real_airflow.instance import RUN_SECONDS, AirflowInstance, DagRun
from tests.real_airflow.sandbox_airflow import REPOSITORY, airflow_with_sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from airflow_provider_crux.sandbox.state import Sandbox

pytestmark = pytest.mark.e2e

EXPORT_PATH = "/api/orders/export/"
DATABASE_PASSWORD = "canary-of-a-database-0815-4711"

RUNS = shuffled_runs()
FIRST_RUNS, KILLED_RUN, OTHER_RUNS = RUNS[:4], RUNS[4], RUNS[5:]
RUNS_AT_A_TIME = 4
"""The exports of so many runs are requested at one time of the sandbox, while those before are still being loaded."""


class Result(NamedTuple):
    """
    What is left when all runs are done.

    :param rows: the rows of the table
    :param runs: the runs that were triggered
    :param killed: the run whose task was killed
    :param keys_before: the keys in the table when that task began to merge
    :param reloaded: the run whose old export was loaded again at the end
    """

    rows: list[dict[str, Any]]
    runs: list[DagRun]
    killed: DagRun
    keys_before: set[str]
    reloaded: DagRun


@pytest.fixture(scope="module")
def clock() -> ManualClock:
    """Return the sandbox's clock."""
    return ManualClock(FIRST_RUNS[0][0])


@pytest.fixture(scope="module")
def sandbox(clock: ManualClock) -> Iterator[Sandbox]:
    """Run a sandbox whose orders change with its clock."""
    with running_sandbox(clock=clock) as running:
        yield running


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    """Return the address of an empty database."""
    with running_postgres() as address:
        yield f"postgresql://{address}"


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory, sandbox: Sandbox, database: str) -> Iterator[AirflowInstance]:
    """Run a real Airflow with the example."""
    fields = psycopg2.extensions.parse_dsn(database)
    connection = {
        "conn_type": "postgres",
        "host": fields["host"],
        "port": int(fields["port"]),
        "login": fields["user"],
        "password": DATABASE_PASSWORD,
        "schema": fields["dbname"],
    }
    env = {
        "AIRFLOW_CONN_ORDERS": json.dumps(connection),
        "AIRFLOW_VAR_CRUX_ORDERS_CONN_ID": "orders",
        "AIRFLOW__CORE__DEFAULT_TASK_RETRY_DELAY": "1",
    }
    dag_file = REPOSITORY / "dags_examples" / f"{EXAMPLE}.py"
    folder = tmp_path_factory.mktemp("e2e")
    with airflow_with_sandbox(folder, [dag_file], sandbox, env, triggerer=True, quick_polls=True) as instance:
        yield instance


@pytest.fixture(scope="module")
def result(airflow: AirflowInstance, sandbox: Sandbox, clock: ManualClock, database: str) -> Result:
    """Run everything."""
    airflow.wait_for_dags({EXAMPLE})
    run_ids = start_runs(airflow, sandbox, clock, FIRST_RUNS)
    for run_id in run_ids:
        airflow.wait_for_run(EXAMPLE, run_id)

    keys_before = {row["order_uuid"] for row in read_rows(database)}
    (killed,) = start_runs(airflow, sandbox, clock, [KILLED_RUN])
    kill_in_merge(airflow, sandbox, airflow.dag_run(EXAMPLE, killed), database)
    airflow.wait_for_run(EXAMPLE, killed)
    run_ids.append(killed)

    for number in range(0, len(OTHER_RUNS), RUNS_AT_A_TIME):
        run_ids += start_runs(airflow, sandbox, clock, OTHER_RUNS[number : number + RUNS_AT_A_TIME])
    runs = [airflow.wait_for_run(EXAMPLE, run_id) for run_id in run_ids]

    airflow.clear(runs[0], "load_orders")
    airflow.wait_for_task(runs[0], "load_orders", "success", try_number=2)
    return Result(read_rows(database), runs, airflow.dag_run(EXAMPLE, killed), keys_before, runs[0])


def start_runs(
    airflow: AirflowInstance, sandbox: Sandbox, clock: ManualClock, runs: list[tuple[datetime, datetime]]
) -> list[str]:
    """Set the clock, trigger runs and return their IDs when their exports have been requested."""
    before = len(sandbox.exports)
    clock.advance((runs[-1][0] - clock()).total_seconds())
    run_ids = airflow.trigger_all(EXAMPLE, [logical_date for _, logical_date in runs])
    sandbox.wait_for("POST", EXPORT_PATH, before + len(runs), timeout=RUN_SECONDS)
    return run_ids


def kill_in_merge(airflow: AirflowInstance, sandbox: Sandbox, run: DagRun, database: str) -> None:
    """Kill the task while its merge waits for an order that we have locked; it has deleted others by then."""
    present = {row["order_uuid"] for row in read_rows(database)}
    keys = [key for key in exported_keys(sandbox, sandbox.exports[-1]) if key in present]
    with closing(psycopg2.connect(database)) as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT 1 FROM {TABLE} WHERE order_uuid = %s FOR UPDATE", (keys[-1],))
        assert cursor.fetchall()

        def not_merging() -> str:
            # a transaction sees the same statistics until its end
            cursor.execute("SELECT pg_stat_clear_snapshot()")
            cursor.execute("SELECT query FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
            waiting = [query for (query,) in cursor.fetchall()]
            return "" if any("DELETE FROM" in query for query in waiting) else f"waiting queries: {waiting}"

        airflow.wait_while(not_merging, RUN_SECONDS)
        airflow.task_process(run, "load_orders").kill()


def read_rows(database: str) -> list[dict[str, Any]]:
    """Return the rows of the table."""
    with (
        closing(psycopg2.connect(database)) as connection,
        connection.cursor(cursor_factory=psycopg2.extras.RealDictCursor) as cursor,
    ):
        cursor.execute(f"SELECT * FROM {TABLE}")
        return [dict(row) for row in cursor.fetchall()]


def test_the_table_equals_what_the_sandbox_says(airflow: AirflowInstance, sandbox: Sandbox, result: Result) -> None:
    intervals = [airflow.xcom(run, "export_orders", "export_interval") for run in result.runs]
    check_rows(result.rows, expected_rows(sandbox, intervals), ignored=DETAILS)
    # a task lists the orders when it loads them: the orders of later runs may have been requested by then
    check_details(result.rows, [moment for moment, _ in RUNS])


def test_each_run_requested_one_export_and_the_run_without_orders_none(
    airflow: AirflowInstance, sandbox: Sandbox, result: Result
) -> None:
    (scheduled,) = airflow.wait_for_runs(EXAMPLE, 1, run_type="scheduled")
    # Its interval is the last week of the real time, of which the sandbox knows no orders.
    assert [airflow.task_state(scheduled, task_id) for task_id in ("export_orders", "load_orders")] == ["skipped"] * 2
    requests = Counter((entry["path"], entry["status"]) for entry in sandbox.requests if entry["method"] == "POST")
    # once before each export, and once or more after it
    assert requests["/api/orders/", 200] > 2 * len(RUNS)
    assert requests.keys() == {("/api/orders/", 200), (EXPORT_PATH, 200)}
    assert requests[EXPORT_PATH, 200] == len(RUNS)
    assert len(sandbox.exports) == len(RUNS) == 33


def test_what_the_killed_task_had_merged_was_rolled_back(
    airflow: AirflowInstance, sandbox: Sandbox, result: Result
) -> None:
    assert airflow.task_instance(result.killed, "load_orders").try_number == 2
    loaded = airflow.xcom(result.killed, "load_orders", "export_table")
    keys = set(exported_keys(sandbox, loaded["export_uuid"]))
    counts = {"keys": len(keys), "inserted": len(keys - result.keys_before), "replaced": len(keys & result.keys_before)}
    assert loaded.items() >= {"table": TABLE, "unchanged": 0, **counts}.items()
    assert loaded["rows"] > loaded["keys"]
    assert loaded["inserted"] > 0
    assert loaded["replaced"] > 1


def test_an_old_export_that_is_loaded_again_replaces_nothing(airflow: AirflowInstance, result: Result) -> None:
    loaded = airflow.xcom(result.reloaded, "load_orders", "export_table")
    assert loaded["rows"] > 0
    assert (loaded["inserted"], loaded["replaced"], loaded["unchanged"]) == (0, 0, loaded["keys"])


def test_airflow_writes_no_password_of_the_database(airflow: AirflowInstance, result: Result) -> None:
    key = Fernet.generate_key()  # nothing is encrypted: the connections are in the environment
    contents = read_files(airflow.home, Fernet(key)) | read_tables(airflow.home / "airflow.db", Fernet(key))
    uuid = airflow.xcom(result.killed, "load_orders", "export_table")["export_uuid"]
    assert find_leaks(contents, {"uuid": uuid}).keys() > {"xcom.value"}
    assert find_leaks(contents, {"password": DATABASE_PASSWORD}) == {}
