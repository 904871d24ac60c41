"""Tests that tasks of a real Airflow wait for exports, on workers and in the triggerer, and never lose one."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests

from airflow_provider_crux.sandbox.csv_file import COLUMNS
from airflow_provider_crux.sandbox.server import running_sandbox
from airflow_provider_crux.sandbox.state import SandboxSettings
from airflow_provider_crux.sandbox.validation import validate
from tests.object_store import BUCKET, ObjectStore, running_s3  # noqa: F401 - a fixture
from tests.real_airflow.instance import RUN_SECONDS, AirflowInstance, DagRun
from tests.real_airflow.launcher import AIRFLOW_VERSION, SHORT_HEARTBEAT_TIMEOUTS
from tests.real_airflow.request_bodies import api_timestamp, canonical_json, interval_body, utc
from tests.real_airflow.sandbox_airflow import REPOSITORY, airflow_with_sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_crux.sandbox.state import Sandbox

pytestmark = pytest.mark.e2e

DAGS = Path(__file__).parent / "dags_waiting"
EXAMPLE = "crux_orders_to_storage"
EXAMPLE_DATE = utc("2026-01-10")

# The interval that each DAG exports. It identifies the DAG in the request log of the sandbox.
INTERVALS = {
    EXAMPLE: ("2026-01-09", "2026-01-10"),
    "e2e_to_s3": ("2018-01-01", "2020-01-01"),
    "e2e_login": ("2025-01-01", "2025-01-02"),
    "e2e_killed_task": ("2025-02-01", "2025-02-02"),
    "e2e_lost_machine": ("2025-02-02", "2025-02-03"),
    "e2e_killed_triggerer": ("2025-02-03", "2025-02-04"),
    "e2e_killed_map_index": ("2025-02-04", "2025-02-05"),
    "e2e_timed_out": ("2025-02-05", "2025-02-06"),
    "e2e_cleared": ("2025-02-06", "2025-02-07"),
    "e2e_failed_then_cleared": ("2025-02-07", "2025-02-08"),
    "e2e_failed_then_discarded": ("2025-02-08", "2025-02-09"),
    "e2e_fails_on_worker": ("2025-03-01", "2025-03-02"),
    "e2e_fails_deferred": ("2025-03-02", "2025-03-03"),
}
# The tasks that wait in the triggerer, by DAG.
DEFERRED_TASKS = {
    EXAMPLE: ["export_orders"],
    "e2e_to_s3": ["store"],
    "e2e_login": ["export"],
    "e2e_killed_triggerer": ["export"],
    "e2e_fails_deferred": ["export"],
    "e2e_poll_fails": ["sense_deferred", "store"],
    "e2e_poll_skips": ["sense_deferred"],
}
# The tasks that wait for an export which the test creates, by DAG.
TASKS_WITH_EXPORT = {
    "e2e_poll_fails": ["poke", "sense_deferred", "store"],
    "e2e_poll_skips": ["poke", "sense_deferred", "sense_failed"],
}
RESUMING_DAGS = [
    "e2e_timed_out",
    "e2e_killed_task",
    "e2e_lost_machine",
    "e2e_killed_map_index",
    "e2e_cleared",
    "e2e_failed_then_cleared",
    "e2e_failed_then_discarded",
]
# These DAGs request a second export, as their tests expect.
REPEATING_DAGS = ["e2e_cleared", "e2e_failed_then_discarded"]
# Before it, a task remembers its export in a Variable.
HAS_TASK_STATE_STORE = AIRFLOW_VERSION >= (3, 3)
# The option keep_task_state of 3.4 prevents it.
CLEAR_DISCARDS_TASK_STATE = AIRFLOW_VERSION >= (3, 4)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    """Run a sandbox instead of Crux Connect. No export is done until a test finishes it."""
    with running_sandbox(SandboxSettings(export_seconds=None, password="only-for-this-test-0815")) as running:
        yield running


@pytest.fixture(scope="module")
def bucket(running_s3: ObjectStore) -> Iterator[ObjectStore]:  # noqa: F811 - the fixture
    """Return an S3 server with an empty bucket."""
    running_s3.client.create_bucket(Bucket=BUCKET)
    yield running_s3
    for name in running_s3.names():
        running_s3.client.delete_object(Bucket=BUCKET, Key=name)
    running_s3.client.delete_bucket(Bucket=BUCKET)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder in the Airflow variable crux_orders_folder."""
    return tmp_path_factory.mktemp("orders")


@pytest.fixture(scope="module")
def airflow(
    tmp_path_factory: pytest.TempPathFactory, sandbox: Sandbox, bucket: ObjectStore, folder: Path
) -> Iterator[AirflowInstance]:
    """Run a real Airflow with a triggerer, connected to the sandbox and S3."""
    login = {"login": sandbox.settings.user, "password": sandbox.settings.password}
    env = {
        **SHORT_HEARTBEAT_TIMEOUTS,
        # Each wait on a worker occupies one slot.
        "AIRFLOW__CORE__PARALLELISM": "8",
        "AIRFLOW_CONN_CRUX_LOGIN": json.dumps({"conn_type": "crux", "host": sandbox.url, **login}),
        "AIRFLOW_CONN_AWS_LOOPBACK": bucket.connection,
        "AIRFLOW_VAR_CRUX_ORDERS_FOLDER": folder.as_uri(),
    }
    dag_files = [*DAGS.glob("*.py"), REPOSITORY / "dags_examples" / f"{EXAMPLE}.py"]
    with airflow_with_sandbox(
        tmp_path_factory.mktemp("e2e"), dag_files, sandbox, env, triggerer=True, secrets_backend=True
    ) as instance:
        yield instance


@pytest.fixture(scope="module")
def created_exports(sandbox: Sandbox) -> dict[str, dict[str, str]]:
    """Create the exports that sensors and the transfer wait for; return their UUIDs by DAG and task."""
    exports = {
        dag_id: {task_id: create_export(sandbox) for task_id in tasks} for dag_id, tasks in TASKS_WITH_EXPORT.items()
    }
    for uuids in exports.values():
        fail_after_next_poll(sandbox, uuids["poke"])
    sandbox.fail_export(exports["e2e_poll_skips"]["sense_failed"])
    return exports


@pytest.fixture(scope="module")
def deferred_runs(airflow: AirflowInstance, created_exports: dict[str, dict[str, str]]) -> dict[str, DagRun]:
    """Start every run that waits in the triggerer; return the runs when all are deferred."""
    airflow.wait_for_dags({*INTERVALS, *TASKS_WITH_EXPORT})
    runs = {dag_id: start_run(airflow, dag_id, conf=created_exports.get(dag_id)) for dag_id in DEFERRED_TASKS}
    for dag_id, tasks in DEFERRED_TASKS.items():
        for task_id in tasks:
            airflow.wait_for_task(runs[dag_id], task_id, "deferred")
    return runs


@pytest.fixture(scope="module", autouse=True)
def runs(
    airflow: AirflowInstance,
    sandbox: Sandbox,
    created_exports: dict[str, dict[str, str]],
    deferred_runs: dict[str, DagRun],
) -> dict[str, DagRun]:
    """
    Start the runs that wait on a worker; return these and the deferred runs.

    They start after the others are deferred, because under load Airflow 3.3 fails deferred tasks: see
    TRIGGERER_SETTINGS.
    """
    runs = deferred_runs | {dag_id: start_run(airflow, dag_id) for dag_id in ["e2e_fails_on_worker", *RESUMING_DAGS]}
    fails_on_worker = wait_for_export(airflow, sandbox, "e2e_fails_on_worker")
    wait_for_polls(sandbox, fails_on_worker, 1)
    # The example polls every 30 seconds. Finish its export now, so that it ends while the other tests run.
    sandbox.finish_export(wait_for_export(airflow, sandbox, EXAMPLE))
    fails_deferred = wait_for_export(airflow, sandbox, "e2e_fails_deferred")
    for uuid in [
        fails_on_worker,
        fails_deferred,
        *(uuid for uuids in created_exports.values() for uuid in uuids.values()),
    ]:
        sandbox.fail_export(uuid)
    return runs


@pytest.fixture(scope="module", autouse=True)
def lost_machine(airflow: AirflowInstance, sandbox: Sandbox, runs: dict[str, DagRun]) -> str:
    """Kill all processes of a task; return the UUID of its export. Airflow notices it while the other tests run."""
    run = runs["e2e_lost_machine"]
    uuid = wait_for_export(airflow, sandbox, run.dag_id)
    wait_for_polls(sandbox, uuid, 1)
    task, supervisor = airflow.task_process(run, "export"), airflow.supervisor_process(run, "export")
    supervisor.kill()  # first, because it would report the end of the task
    task.kill()
    return uuid


def test_next_try_resumes_the_export_after_a_timeout(
    airflow: AirflowInstance, sandbox: Sandbox, runs: dict[str, DagRun]
) -> None:
    run = runs["e2e_timed_out"]
    uuid = wait_for_export(airflow, sandbox, run.dag_id)
    airflow.wait_for_task(run, "export", "up_for_retry")
    assert_record_exists(airflow, run)
    sandbox.finish_export(uuid)

    wait_for_resumed_run(airflow, sandbox, run, uuid)
    assert airflow.task_instance(run, "export").try_number > 1


def test_next_try_resumes_the_export_of_a_killed_task(
    airflow: AirflowInstance, sandbox: Sandbox, runs: dict[str, DagRun]
) -> None:
    run = runs["e2e_killed_task"]
    uuid = wait_for_export(airflow, sandbox, run.dag_id)
    wait_for_polls(sandbox, uuid, 1)
    assert_record_exists(airflow, run)
    airflow.task_process(run, "export").kill()
    wait_for_next_try(airflow, run)
    sandbox.finish_export(uuid)

    wait_for_resumed_run(airflow, sandbox, run, uuid)


def test_next_try_of_a_killed_map_index_resumes_its_own_export(
    airflow: AirflowInstance, sandbox: Sandbox, runs: dict[str, DagRun]
) -> None:
    run = runs["e2e_killed_map_index"]
    airflow.wait_while(
        lambda: "" if len(exports_of(sandbox, run.dag_id)) == 2 else "fewer than two exports", RUN_SECONDS
    )
    uuids_by_status = {sandbox.get_export(uuid).query.statuses: uuid for uuid in exports_of(sandbox, run.dag_id)}
    uuids = [uuids_by_status["unallocated",], uuids_by_status["rejected",]]
    for uuid in uuids:
        wait_for_polls(sandbox, uuid, 1)
    for index in (0, 1):
        assert_record_exists(airflow, run, index)
    airflow.task_process(run, "export", 1).kill()
    wait_for_next_try(airflow, run, 1)
    for uuid in uuids:
        sandbox.finish_export(uuid)

    run = airflow.wait_for_run(run.dag_id, run.run_id)
    assert [airflow.xcom(run, "export", map_index=index) for index in (0, 1)] == uuids
    assert sorted(exports_of(sandbox, run.dag_id)) == sorted(uuids)
    for index in (0, 1):
        wait_for_removed_record(airflow, run, index)


def test_task_that_is_cleared_after_it_failed_resumes_the_export(
    airflow: AirflowInstance, sandbox: Sandbox, runs: dict[str, DagRun]
) -> None:
    run = runs["e2e_failed_then_cleared"]
    uuid = wait_for_export(airflow, sandbox, run.dag_id)
    airflow.wait_for_run(run.dag_id, run.run_id, state="failed")
    assert_record_exists(airflow, run)
    sandbox.finish_export(uuid)
    airflow.clear(run, "export", keep_task_state=CLEAR_DISCARDS_TASK_STATE)

    wait_for_resumed_run(airflow, sandbox, run, uuid)


@pytest.mark.skipif(not CLEAR_DISCARDS_TASK_STATE, reason="before Airflow 3.4, every Clear keeps the task state")
def test_clear_of_a_failed_task_that_discards_its_state_requests_another_export(
    airflow: AirflowInstance, sandbox: Sandbox, runs: dict[str, DagRun]
) -> None:
    run = runs["e2e_failed_then_discarded"]
    uuid = wait_for_export(airflow, sandbox, run.dag_id)
    airflow.wait_for_run(run.dag_id, run.run_id, state="failed")
    sandbox.finish_export(uuid)
    airflow.clear(run, "export")

    # It would succeed if it resumed the first export.
    airflow.wait_for_run(run.dag_id, run.run_id, state="failed")
    assert len(exports_of(sandbox, run.dag_id)) == 2


def test_task_that_is_cleared_after_it_succeeded_requests_another_export(
    airflow: AirflowInstance, sandbox: Sandbox, runs: dict[str, DagRun]
) -> None:
    run = runs["e2e_cleared"]
    first = wait_for_export(airflow, sandbox, run.dag_id)
    sandbox.finish_export(first)
    run = airflow.wait_for_run(run.dag_id, run.run_id)
    assert airflow.xcom(run, "export") == first
    wait_for_removed_record(airflow, run)

    airflow.clear(run, "export")
    airflow.wait_while(lambda: "" if len(exports_of(sandbox, run.dag_id)) == 2 else "no second export", RUN_SECONDS)
    second = exports_of(sandbox, run.dag_id)[1]
    sandbox.finish_export(second)

    run = airflow.wait_for_run(run.dag_id, run.run_id)
    assert airflow.xcom(run, "export") == second
    assert exports_of(sandbox, run.dag_id) == [first, second]
    wait_for_removed_record(airflow, run)


def test_token_that_expires_during_a_wait_causes_one_login(
    airflow: AirflowInstance, sandbox: Sandbox, runs: dict[str, DagRun]
) -> None:
    run = runs["e2e_login"]
    uuid = wait_for_export(airflow, sandbox, run.dag_id)
    wait_for_polls(sandbox, uuid, 1)
    sandbox.expire_tokens()
    # One poll is rejected (HTTP 401), and then repeated.
    wait_for_polls(sandbox, uuid, len(poll_statuses(sandbox, uuid)) + 2)
    sandbox.finish_export(uuid)

    run = airflow.wait_for_run(run.dag_id, run.run_id)
    assert airflow.xcom(run, "export") == uuid
    log_in, submit, poll = "/api/organizations/user-login/", "/api/orders/export/", f"/api/data/export/{uuid}/"
    requests = [
        (entry["path"], entry["status"])
        for entry in sandbox.requests
        if entry["path"] in (log_in, poll) or is_export_request(entry, run.dag_id)
    ]
    assert [request for request, _ in groupby(requests)] == [
        (log_in, 200),  # on the worker
        (submit, 200),
        (log_in, 200),  # in the triggerer
        (poll, 200),
        (poll, 401),
        (log_in, 200),
        (poll, 200),
    ]


def test_next_triggerer_continues_the_wait_of_a_killed_one(
    airflow: AirflowInstance, sandbox: Sandbox, runs: dict[str, DagRun]
) -> None:
    run = runs["e2e_killed_triggerer"]
    uuid = wait_for_export(airflow, sandbox, run.dag_id)
    wait_for_polls(sandbox, uuid, 1)
    assert_record_exists(airflow, run)
    airflow.kill_component("triggerer")
    poll_count = len(poll_statuses(sandbox, uuid))
    airflow.restart_component("triggerer")
    wait_for_polls(sandbox, uuid, poll_count + 1)
    assert airflow.task_state(run, "export") == "deferred"
    sandbox.finish_export(uuid)

    wait_for_resumed_run(airflow, sandbox, run, uuid)
    assert airflow.task_instance(run, "export").try_number == 1


@pytest.mark.parametrize("dag_id", ["e2e_fails_on_worker", "e2e_fails_deferred"])
def test_failed_export_fails_the_run_that_requested_it(
    airflow: AirflowInstance, sandbox: Sandbox, runs: dict[str, DagRun], dag_id: str
) -> None:
    airflow.wait_for_run(dag_id, runs[dag_id].run_id, state="failed")

    assert len(exports_of(sandbox, dag_id)) == 1


def test_failed_export_fails_sensors_and_transfer_without_retries(
    airflow: AirflowInstance, runs: dict[str, DagRun], folder: Path
) -> None:
    run = airflow.wait_for_run("e2e_poll_fails", runs["e2e_poll_fails"].run_id, state="failed")

    for task_id in TASKS_WITH_EXPORT[run.dag_id]:
        task = airflow.task_instance(run, task_id)
        assert (task_id, task.state, task.try_number) == (task_id, "failed", 1)
    assert not (folder / "failed.csv").exists()


def test_missing_connection_fails_a_task_without_retries(airflow: AirflowInstance, runs: dict[str, DagRun]) -> None:
    run = airflow.wait_for_run("e2e_poll_fails", runs["e2e_poll_fails"].run_id, state="failed")

    task = airflow.task_instance(run, "no_connection")
    assert (task.state, task.try_number) == ("failed", 1)
    assert "Connection 'crux_missing' does not exist" in airflow.task_log_tail(run)


def test_failed_export_skips_sensors_with_soft_fail(airflow: AirflowInstance, runs: dict[str, DagRun]) -> None:
    run = airflow.wait_for_run("e2e_poll_skips", runs["e2e_poll_skips"].run_id)

    for task_id in TASKS_WITH_EXPORT[run.dag_id]:
        task = airflow.task_instance(run, task_id)
        assert (task_id, task.state, task.try_number) == (task_id, "skipped", 1)


def test_deferred_transfer_stores_a_large_file_in_s3(
    airflow: AirflowInstance, sandbox: Sandbox, runs: dict[str, DagRun], bucket: ObjectStore
) -> None:
    run = runs["e2e_to_s3"]
    uuid = wait_for_export(airflow, sandbox, run.dag_id)
    sandbox.finish_export(uuid)

    run = airflow.wait_for_run(run.dag_id, run.run_id)
    file = download(sandbox, uuid)
    assert sha256(bucket.content("orders.csv")) == sha256(file)
    assert airflow.xcom(run, "store", "export_file") == {
        "path": airflow.xcom(run, "store"),
        "format": "csv",
        "bytes": len(file),
        "rows": rows_of(file),
        "sha256": sha256(file),
        "columns": list(COLUMNS),
        "export_uuid": uuid,
    }
    # After a multipart upload, the ETag ends with a hyphen and the number of parts.
    assert "-" in bucket.client.head_object(Bucket=BUCKET, Key="orders.csv")["ETag"]
    assert bucket.pending_uploads() == []
    assert exports_of(sandbox, run.dag_id) == [uuid]


def test_example_waits_in_the_triggerer_stores_the_day_and_triggers_the_asset_dag(
    airflow: AirflowInstance, sandbox: Sandbox, runs: dict[str, DagRun], folder: Path
) -> None:
    run = airflow.wait_for_run(EXAMPLE, runs[EXAMPLE].run_id)

    (uuid,) = exports_of(sandbox, EXAMPLE)
    file, path = download(sandbox, uuid), folder / "2026-01-09.csv"
    assert sha256(path.read_bytes()) == sha256(file)
    assert airflow.xcom(run, "export_orders") == uuid
    interval = airflow.xcom(run, "export_orders", "export_interval")
    assert datetime.fromisoformat(interval.pop("requested_at")) <= sandbox.get_export(uuid).created_at
    assert interval == {"export_uuid": uuid, **exported_interval(EXAMPLE), "request": request_body(EXAMPLE)}
    assert airflow.xcom(run, "store_orders", "export_file") == {
        "path": path.as_uri(),
        "format": "csv",
        "bytes": len(file),
        "rows": rows_of(file),
        "sha256": sha256(file),
        "columns": list(COLUMNS),
        "export_uuid": uuid,
    }
    (asset_run,) = airflow.wait_for_runs("crux_orders_arrived", 1)
    start, end = exported_interval(EXAMPLE).values()
    assert airflow.xcom(asset_run, "announce") == [f"{rows_of(file)} rows from {start} to {end}"]


def test_example_exports_and_stores_with_a_connection_that_only_a_secrets_backend_knows(
    airflow: AirflowInstance, runs: dict[str, DagRun]
) -> None:
    run = airflow.wait_for_run(EXAMPLE, runs[EXAMPLE].run_id)

    # The fixture saw it deferred.
    assert "export_orders" in DEFERRED_TASKS[EXAMPLE]
    assert airflow.xcom(run, "store_orders", "export_file")["bytes"] > 0
    assert "LocalFilesystemBackend" in airflow.environment["AIRFLOW__SECRETS__BACKEND"]
    assert "AIRFLOW_CONN_CRUX_DEFAULT" not in airflow.environment
    assert "crux_default" not in airflow.connection_ids()


def test_next_try_resumes_the_export_of_a_lost_machine(
    airflow: AirflowInstance, sandbox: Sandbox, runs: dict[str, DagRun], lost_machine: str
) -> None:
    run = runs["e2e_lost_machine"]
    airflow.wait_for_task(run, "export", "running", try_number=2)
    assert_record_exists(airflow, run)
    sandbox.finish_export(lost_machine)

    wait_for_resumed_run(airflow, sandbox, run, lost_machine)


def test_no_export_was_requested_twice(
    airflow: AirflowInstance, sandbox: Sandbox, runs: dict[str, DagRun], created_exports: dict[str, dict[str, str]]
) -> None:
    posts = [entry for entry in sandbox.requests if entry["path"] == "/api/orders/export/"]

    assert {(entry["method"], entry["status"]) for entry in posts} == {("POST", 200)}
    repeating = [entry for entry in posts if any(is_export_request(entry, dag_id) for dag_id in REPEATING_DAGS)]
    bodies = [canonical_json(entry["body"]) for entry in posts if entry not in repeating]
    assert sorted(bodies) == sorted(set(bodies))
    created_by_test = [uuid for uuids in created_exports.values() for uuid in uuids.values()]
    assert len(sandbox.exports) == len(posts) + len(created_by_test)


def start_run(airflow: AirflowInstance, dag_id: str, conf: dict[str, str] | None = None) -> DagRun:
    """Trigger a run and return it."""
    return airflow.dag_run(dag_id, airflow.trigger(dag_id, EXAMPLE_DATE if dag_id == EXAMPLE else None, conf))


def request_body(dag_id: str) -> dict[str, Any]:
    """Return the request body with the interval of the DAG."""
    return interval_body(*INTERVALS[dag_id])


def exported_interval(dag_id: str) -> dict[str, str]:
    """Return the interval of the DAG, as its task pushes it to XCom."""
    body = request_body(dag_id)
    return {"interval_start": body["start_date"], "interval_end": body["end_date"]}


def is_export_request(entry: dict[str, Any], dag_id: str) -> bool:
    """Return whether a request submits an export of the DAG's interval."""
    return entry["path"] == "/api/orders/export/" and request_body(dag_id).items() <= entry["body"].items()


def exports_of(sandbox: Sandbox, dag_id: str) -> list[str]:
    """Return the UUIDs of the exports of the DAG's interval, one for each successful request."""
    start_date = request_body(dag_id)["start_date"]
    return [uuid for uuid in sandbox.exports if api_timestamp(sandbox.get_export(uuid).query.start_date) == start_date]


def wait_for_export(airflow: AirflowInstance, sandbox: Sandbox, dag_id: str) -> str:
    """Wait until the DAG has requested an export, and return its UUID."""
    airflow.wait_while(lambda: "" if exports_of(sandbox, dag_id) else f"{dag_id} has requested no export", RUN_SECONDS)
    return exports_of(sandbox, dag_id)[0]


def record_key(run: DagRun, map_index: int = -1) -> str:
    """Return the key of the Variable in which the task instance remembers its export."""
    return f"crux_export:{run.dag_id}:export:{run.run_id}:{map_index}"


def assert_record_exists(airflow: AirflowInstance, run: DagRun, map_index: int = -1) -> None:
    """Assert that the task instance remembers its export: in a Variable if Airflow has no task state store."""
    assert (record_key(run, map_index) in airflow.variable_keys()) == (not HAS_TASK_STATE_STORE)


def wait_for_removed_record(airflow: AirflowInstance, run: DagRun, map_index: int = -1) -> None:
    """Wait until the Variable is gone. The task removes it after Airflow has recorded its success."""
    key = record_key(run, map_index)
    airflow.wait_while(lambda: f"the Variable {key} exists" if key in airflow.variable_keys() else "", RUN_SECONDS)


def wait_for_resumed_run(airflow: AirflowInstance, sandbox: Sandbox, run: DagRun, uuid: str) -> None:
    """Wait until the run succeeds; assert that it has this export, requested no other, and no longer remembers it."""
    airflow.wait_for_run(run.dag_id, run.run_id)
    assert airflow.xcom(run, "export") == uuid
    assert exports_of(sandbox, run.dag_id) == [uuid]
    wait_for_removed_record(airflow, run)


def wait_for_next_try(airflow: AirflowInstance, run: DagRun, map_index: int = -1) -> None:
    """Wait until the next try of a killed task runs. In Airflow 3.0 the task fails, and a person has to clear it."""
    if AIRFLOW_VERSION == (3, 0):
        airflow.wait_for_task(run, "export", "failed", map_index)
        if map_index < 0:  # the scheduler would also fail a run whose last task is cleared at the same time
            airflow.wait_for_run(run.dag_id, run.run_id, state="failed")
        airflow.clear(run, "export", only_failed=True)
    airflow.wait_for_task(run, "export", "running", map_index, try_number=2)


def poll_statuses(sandbox: Sandbox, uuid: str) -> list[int]:
    """Return the HTTP status of each finished poll of the export."""
    path = f"/api/data/export/{uuid}/"
    return [entry["status"] for entry in sandbox.requests if entry["path"] == path and entry["status"] is not None]


def wait_for_polls(sandbox: Sandbox, uuid: str, count: int) -> None:
    """Wait until the export has been polled `count` times."""
    sandbox.wait_for("GET", f"/api/data/export/{uuid}/", count, RUN_SECONDS)


def create_export(sandbox: Sandbox) -> str:
    """Create an export that no task has requested."""
    return sandbox.add_export(validate(interval_body("2025-04-01", "2025-04-02")))


def fail_after_next_poll(sandbox: Sandbox, uuid: str) -> None:
    """Fail an export after its next poll. In Airflow 2, a sensor that pokes longer would block all other tasks."""
    pending = json.dumps({"uuid": uuid, "status": "pending", "url": None}).encode()
    sandbox.respond_next(f"/api/data/export/{uuid}/", 200, {"Content-Type": "application/json"}, pending)
    sandbox.fail_export(uuid)


def download(sandbox: Sandbox, uuid: str) -> bytes:
    """Download the export's file from the sandbox, without the provider."""
    with requests.Session() as session:
        session.trust_env = False
        path, headers = f"/api/data/export/{uuid}/", {"Authorization": f"Token {sandbox.settings.token}"}
        url = session.get(f"{sandbox.url}{path}", headers=headers, timeout=60).json()["url"]
        return session.get(url, timeout=60).content


def rows_of(file: bytes) -> int:
    """Count the records of a CSV file without the header."""
    return len(list(csv.reader(io.StringIO(file.decode("utf-8-sig"), newline="")))) - 1


def sha256(file: bytes) -> str:
    """Return the digest of a file. If two files differ, pytest then prints digests instead of files."""
    return hashlib.sha256(file).hexdigest()
