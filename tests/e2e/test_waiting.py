"""Real runs wait for exports, on workers and in a real triggerer, and lose none."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests

from airflow_provider_crux.sandbox.rules import judge
from airflow_provider_crux.sandbox.server import running_sandbox
from airflow_provider_crux.sandbox.settings import SandboxSettings
from tests.e2e.airflow_instance import AIRFLOW_VERSION, QUICK_TO_NOTICE
from tests.e2e.connected import PROJECT, connected_airflow
from tests.e2e.instance import RUN_SECONDS, AirflowInstance, DagRun
from tests.e2e.test_scheduler import canonical, period, utc, wire
from tests.transfers.conftest import BUCKET, ObjectStore, running_s3  # noqa: F401 - a fixture

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_crux.sandbox.state import Sandbox

pytestmark = pytest.mark.e2e

DAGS = Path(__file__).parent / "dags_waiting"
EXAMPLE = "crux_orders_to_storage"
DAILY = utc("2026-01-10")

# The interval that each DAG exports: it tells in the sandbox who asked.
INTERVALS = {
    EXAMPLE: ("2026-01-09", "2026-01-10"),
    "e2e_to_s3": ("2018-01-01", "2020-01-01"),
    "e2e_login": ("2025-01-01", "2025-01-02"),
    "e2e_killed_task": ("2025-02-01", "2025-02-02"),
    "e2e_lost_machine": ("2025-02-02", "2025-02-03"),
    "e2e_killed_triggerer": ("2025-02-03", "2025-02-04"),
    "e2e_killed_index": ("2025-02-04", "2025-02-05"),
    "e2e_timed_out": ("2025-02-05", "2025-02-06"),
    "e2e_cleared": ("2025-02-06", "2025-02-07"),
    "e2e_fails_on_worker": ("2025-03-01", "2025-03-02"),
    "e2e_fails_deferred": ("2025-03-02", "2025-03-03"),
}
# The tasks that wait in the triggerer, by DAG.
DEFERRED = {
    EXAMPLE: ["export_orders"],
    "e2e_to_s3": ["store"],
    "e2e_login": ["export"],
    "e2e_killed_triggerer": ["export"],
    "e2e_fails_deferred": ["export"],
    "e2e_looks_fail": ["sense_deferred", "store"],
    "e2e_looks_skip": ["sense_deferred"],
}
# The tasks that look for an export that the test has made, by DAG.
LOOKING = {"e2e_looks_fail": ["poke", "sense_deferred", "store"], "e2e_looks_skip": ["poke", "sense_deferred"]}
# Of no use without Airflow's memory; and in Airflow 2 each would keep the only worker from the others.
SURVIVORS = ["e2e_timed_out", "e2e_killed_task", "e2e_lost_machine", "e2e_killed_index", "e2e_cleared"]
REMEMBERS = AIRFLOW_VERSION >= (3, 3)
since_3_3 = pytest.mark.skipif(not REMEMBERS, reason="before 3.3 Airflow remembers nothing from one try to the next")


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    """Stand in for Crux Connect; no export is done before a test says so."""
    with running_sandbox(SandboxSettings(export_seconds=None, password="only-for-this-test-0815")) as running:
        yield running


@pytest.fixture(scope="module")
def bucket(running_s3: ObjectStore) -> Iterator[ObjectStore]:  # noqa: F811 - the fixture
    """Give S3 with an empty bucket."""
    running_s3.client.create_bucket(Bucket=BUCKET)
    yield running_s3
    for name in running_s3.names():
        running_s3.client.delete_object(Bucket=BUCKET, Key=name)
    running_s3.client.delete_bucket(Bucket=BUCKET)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the folder that the Airflow variable names."""
    return tmp_path_factory.mktemp("orders")


@pytest.fixture(scope="module")
def airflow(
    tmp_path_factory: pytest.TempPathFactory, sandbox: Sandbox, bucket: ObjectStore, folder: Path
) -> Iterator[AirflowInstance]:
    """Run a real Airflow with a triggerer."""
    login = {"login": sandbox.settings.user, "password": sandbox.settings.password}
    env = {
        **QUICK_TO_NOTICE,
        # every wait on a worker occupies one
        "AIRFLOW__CORE__PARALLELISM": "8",
        "AIRFLOW_CONN_CRUX_LOGIN": json.dumps({"conn_type": "crux", "host": sandbox.url, **login}),
        "AIRFLOW_CONN_AWS_LOOPBACK": bucket.connection,
        "AIRFLOW_VAR_CRUX_ORDERS_FOLDER": folder.as_uri(),
    }
    dag_files = [*DAGS.glob("*.py"), PROJECT / "dags_examples" / f"{EXAMPLE}.py"]
    with connected_airflow(tmp_path_factory.mktemp("e2e"), dag_files, sandbox, env, triggerer=True) as instance:
        yield instance


@pytest.fixture(scope="module")
def looked_for(sandbox: Sandbox) -> dict[str, dict[str, str]]:
    """Make the exports that sensors and a transfer look for; by DAG and task. Those of the pokes fail by themselves."""
    exports = {dag_id: {task_id: made_export(sandbox) for task_id in tasks} for dag_id, tasks in LOOKING.items()}
    for uuids in exports.values():
        fail_after_a_look(sandbox, uuids["poke"])
    return exports


@pytest.fixture(scope="module")
def deferred(airflow: AirflowInstance, looked_for: dict[str, dict[str, str]]) -> dict[str, DagRun]:
    """Start every run that waits in the triggerer, and return them when they all do."""
    airflow.wait_for_dags({*INTERVALS, *LOOKING})
    runs = {dag_id: start(airflow, dag_id, conf=looked_for.get(dag_id)) for dag_id in DEFERRED}
    for dag_id, tasks in DEFERRED.items():
        for task_id in tasks:
            airflow.wait_for_task(runs[dag_id], task_id, "deferred")
    return runs


@pytest.fixture(scope="module", autouse=True)
def started(
    airflow: AirflowInstance,
    sandbox: Sandbox,
    looked_for: dict[str, dict[str, str]],
    deferred: dict[str, DagRun],
) -> dict[str, DagRun]:
    """
    Start the runs that wait on a worker too, and return all.

    Not all at once: two cores would be so late with everything that Airflow 3.3 fails deferred tasks, see DEFERRING.
    """
    on_workers = ["e2e_fails_on_worker", *(SURVIVORS if REMEMBERS else [])]
    runs = deferred | {dag_id: start(airflow, dag_id) for dag_id in on_workers}
    # first the one that in Airflow 2 keeps all others waiting
    fails_on_worker = the_export(airflow, sandbox, "e2e_fails_on_worker")
    wait_for_looks(sandbox, fails_on_worker, 1)
    # what takes its time while the other tests run: the example looks every 30 seconds
    sandbox.finish_export(the_export(airflow, sandbox, EXAMPLE))
    fails_deferred = the_export(airflow, sandbox, "e2e_fails_deferred")
    for uuid in [fails_on_worker, fails_deferred, *(uuid for uuids in looked_for.values() for uuid in uuids.values())]:
        sandbox.fail_export(uuid)
    return runs


@since_3_3
def test_wait_that_ran_out_of_time_is_taken_up_by_the_next_try(
    airflow: AirflowInstance, sandbox: Sandbox, started: dict[str, DagRun]
) -> None:
    run = started["e2e_timed_out"]
    uuid = the_export(airflow, sandbox, run.dag_id)
    airflow.wait_for_task(run, "export", "up_for_retry")
    sandbox.finish_export(uuid)

    run = airflow.wait_for_run(run.dag_id, run.run_id)
    assert airflow.xcom(run, "export") == uuid
    assert airflow.task_instance(run, "export").try_number > 1
    assert asked(sandbox, run.dag_id) == [uuid]


@since_3_3
def test_killed_task_takes_its_export_up_again(
    airflow: AirflowInstance, sandbox: Sandbox, started: dict[str, DagRun]
) -> None:
    run = started["e2e_killed_task"]
    uuid = the_export(airflow, sandbox, run.dag_id)
    wait_for_looks(sandbox, uuid, 1)
    airflow.task_process(run, "export").kill()
    airflow.wait_for_task(run, "export", "running", try_number=2)
    sandbox.finish_export(uuid)

    run = airflow.wait_for_run(run.dag_id, run.run_id)
    assert airflow.xcom(run, "export") == uuid
    assert asked(sandbox, run.dag_id) == [uuid]


@since_3_3
def test_task_whose_machine_is_lost_takes_its_export_up_again(
    airflow: AirflowInstance, sandbox: Sandbox, started: dict[str, DagRun]
) -> None:
    run = started["e2e_lost_machine"]
    uuid = the_export(airflow, sandbox, run.dag_id)
    wait_for_looks(sandbox, uuid, 1)
    task, supervisor = airflow.task_process(run, "export"), airflow.supervisor_process(run, "export")
    supervisor.kill()  # first: it would tell of the task's end
    task.kill()
    airflow.wait_for_task(run, "export", "running", try_number=2)
    sandbox.finish_export(uuid)

    run = airflow.wait_for_run(run.dag_id, run.run_id)
    assert airflow.xcom(run, "export") == uuid
    assert asked(sandbox, run.dag_id) == [uuid]


@since_3_3
def test_killed_map_index_takes_its_own_export_up_again(
    airflow: AirflowInstance, sandbox: Sandbox, started: dict[str, DagRun]
) -> None:
    run = started["e2e_killed_index"]
    airflow.wait(lambda: "" if len(asked(sandbox, run.dag_id)) == 2 else "not both indexes have asked", RUN_SECONDS)
    of_status = {sandbox.export(uuid).query.statuses: uuid for uuid in asked(sandbox, run.dag_id)}
    uuids = [of_status["unallocated",], of_status["rejected",]]
    for uuid in uuids:
        wait_for_looks(sandbox, uuid, 1)
    airflow.task_process(run, "export", 1).kill()
    airflow.wait_for_task(run, "export", "running", 1, try_number=2)
    for uuid in uuids:
        sandbox.finish_export(uuid)

    run = airflow.wait_for_run(run.dag_id, run.run_id)
    assert [airflow.xcom(run, "export", map_index=index) for index in (0, 1)] == uuids
    assert sorted(asked(sandbox, run.dag_id)) == sorted(uuids)


@since_3_3
def test_cleared_task_asks_for_another_export(
    airflow: AirflowInstance, sandbox: Sandbox, started: dict[str, DagRun]
) -> None:
    run = started["e2e_cleared"]
    first = the_export(airflow, sandbox, run.dag_id)
    sandbox.finish_export(first)
    run = airflow.wait_for_run(run.dag_id, run.run_id)
    assert airflow.xcom(run, "export") == first

    airflow.clear(run, "export")
    airflow.wait(lambda: "" if len(asked(sandbox, run.dag_id)) == 2 else "no second export", RUN_SECONDS)
    second = asked(sandbox, run.dag_id)[1]
    sandbox.finish_export(second)

    run = airflow.wait_for_run(run.dag_id, run.run_id)
    assert airflow.xcom(run, "export") == second
    assert asked(sandbox, run.dag_id) == [first, second]


def test_token_that_expires_in_mid_wait_costs_one_login(
    airflow: AirflowInstance, sandbox: Sandbox, started: dict[str, DagRun]
) -> None:
    run = started["e2e_login"]
    uuid = the_export(airflow, sandbox, run.dag_id)
    wait_for_looks(sandbox, uuid, 1)
    sandbox.expire_tokens()
    # the one that is refused, and the same once more
    wait_for_looks(sandbox, uuid, len(looks(sandbox, uuid)) + 2)
    sandbox.finish_export(uuid)

    run = airflow.wait_for_run(run.dag_id, run.run_id)
    assert airflow.xcom(run, "export") == uuid
    log_in, ask, look = "/api/organizations/user-login/", "/api/orders/export/", f"/api/data/export/{uuid}/"
    told = [
        (entry["path"], entry["status"])
        for entry in sandbox.requests
        if entry["path"] in (log_in, look) or is_post_of(entry, run.dag_id)
    ]
    assert [step for step, _ in groupby(told)] == [
        (log_in, 200),  # the worker
        (ask, 200),
        (log_in, 200),  # the triggerer
        (look, 200),
        (look, 401),
        (log_in, 200),
        (look, 200),
    ]


def test_triggerer_that_is_killed_is_followed_by_another_that_goes_on_waiting(
    airflow: AirflowInstance, sandbox: Sandbox, started: dict[str, DagRun]
) -> None:
    run = started["e2e_killed_triggerer"]
    uuid = the_export(airflow, sandbox, run.dag_id)
    wait_for_looks(sandbox, uuid, 1)
    airflow.kill_part("triggerer")
    seen = len(looks(sandbox, uuid))
    airflow.start_part("triggerer")
    wait_for_looks(sandbox, uuid, seen + 1)
    assert airflow.task_state(run, "export") == "deferred"
    sandbox.finish_export(uuid)

    run = airflow.wait_for_run(run.dag_id, run.run_id)
    assert airflow.xcom(run, "export") == uuid
    assert airflow.task_instance(run, "export").try_number == 1
    assert asked(sandbox, run.dag_id) == [uuid]


@pytest.mark.parametrize("dag_id", ["e2e_fails_on_worker", "e2e_fails_deferred"])
def test_failed_export_fails_the_run_that_asked_for_it(
    airflow: AirflowInstance, sandbox: Sandbox, started: dict[str, DagRun], dag_id: str
) -> None:
    airflow.wait_for_run(dag_id, started[dag_id].run_id, state="failed")

    assert len(asked(sandbox, dag_id)) == 1


def test_failed_export_fails_sensors_and_transfer_at_once(
    airflow: AirflowInstance, started: dict[str, DagRun], folder: Path
) -> None:
    run = airflow.wait_for_run("e2e_looks_fail", started["e2e_looks_fail"].run_id, state="failed")

    for task_id in LOOKING[run.dag_id]:
        task = airflow.task_instance(run, task_id)
        assert (task_id, task.state, task.try_number) == (task_id, "failed", 1)
    assert not (folder / "failed.csv").exists()


def test_failed_export_skips_a_soft_sensor(airflow: AirflowInstance, started: dict[str, DagRun]) -> None:
    run = airflow.wait_for_run("e2e_looks_skip", started["e2e_looks_skip"].run_id)

    for task_id in LOOKING[run.dag_id]:
        task = airflow.task_instance(run, task_id)
        assert (task_id, task.state, task.try_number) == (task_id, "skipped", 1)


def test_transfer_that_waited_in_the_triggerer_stores_a_large_file_in_s3(
    airflow: AirflowInstance, sandbox: Sandbox, started: dict[str, DagRun], bucket: ObjectStore
) -> None:
    run = started["e2e_to_s3"]
    uuid = the_export(airflow, sandbox, run.dag_id)
    sandbox.finish_export(uuid)

    run = airflow.wait_for_run(run.dag_id, run.run_id)
    file = served(sandbox, uuid)
    assert sha256(bucket.content("orders.csv")) == sha256(file)
    assert airflow.xcom(run, "store", "export_file") == {
        "path": airflow.xcom(run, "store"),
        "bytes": len(file),
        "rows": rows_of(file),
        "sha256": sha256(file),
        "export_uuid": uuid,
    }
    # S3 writes behind a hyphen how many parts there were
    assert "-" in bucket.client.head_object(Bucket=BUCKET, Key="orders.csv")["ETag"]
    assert bucket.unfinished() == []
    assert asked(sandbox, run.dag_id) == [uuid]


def test_example_waits_in_the_triggerer_stores_the_day_and_starts_its_reader(
    airflow: AirflowInstance, sandbox: Sandbox, started: dict[str, DagRun], folder: Path
) -> None:
    run = airflow.wait_for_run(EXAMPLE, started[EXAMPLE].run_id)

    (uuid,) = asked(sandbox, EXAMPLE)
    file, stored = served(sandbox, uuid), folder / "2026-01-09.csv"
    assert sha256(stored.read_bytes()) == sha256(file)
    asked_for = {"export_uuid": uuid, **window(EXAMPLE)}
    assert airflow.xcom(run, "export_orders") == uuid
    assert airflow.xcom(run, "export_orders", "export_window") == asked_for
    assert airflow.xcom(run, "store_orders", "export_file") == {
        "path": stored.as_uri(),
        "bytes": len(file),
        "rows": rows_of(file),
        "sha256": sha256(file),
        "export_uuid": uuid,
    }
    (arrived,) = airflow.wait_for_runs("crux_orders_arrived", 1)
    start, end = window(EXAMPLE).values()
    assert airflow.xcom(arrived, "announce") == [f"{rows_of(file)} rows from {start} to {end}"]


def test_no_export_was_asked_for_twice(
    airflow: AirflowInstance, sandbox: Sandbox, started: dict[str, DagRun], looked_for: dict[str, dict[str, str]]
) -> None:
    posts = [entry for entry in sandbox.requests if entry["path"] == "/api/orders/export/"]

    assert {(entry["method"], entry["status"]) for entry in posts} == {("POST", 200)}
    once = [canonical(entry["body"]) for entry in posts if not is_post_of(entry, "e2e_cleared")]
    assert sorted(once) == sorted(set(once))
    made_here = [uuid for uuids in looked_for.values() for uuid in uuids.values()]
    assert len(sandbox.exports) == len(posts) + len(made_here)


def start(airflow: AirflowInstance, dag_id: str, conf: dict[str, str] | None = None) -> DagRun:
    """Start a run."""
    return airflow.dag_run(dag_id, airflow.trigger(dag_id, DAILY if dag_id == EXAMPLE else None, conf))


def body(dag_id: str) -> dict[str, Any]:
    """Return the interval that the DAG exports, as it is sent."""
    return period(*INTERVALS[dag_id])


def window(dag_id: str) -> dict[str, str]:
    """Return the same, as the tasks hand it on."""
    return {"interval_start": body(dag_id)["start_date"], "interval_end": body(dag_id)["end_date"]}


def is_post_of(entry: dict[str, Any], dag_id: str) -> bool:
    """Tell whether a request is one for an export of this DAG's interval."""
    return entry["path"] == "/api/orders/export/" and body(dag_id).items() <= entry["body"].items()


def asked(sandbox: Sandbox, dag_id: str) -> list[str]:
    """Return the exports of this DAG's interval; there are as many as there were requests."""
    start_date = body(dag_id)["start_date"]
    return [uuid for uuid in sandbox.exports if wire(sandbox.export(uuid).query.start_date) == start_date]


def the_export(airflow: AirflowInstance, sandbox: Sandbox, dag_id: str) -> str:
    """Wait until the DAG has asked for an export, and return which."""
    airflow.wait(lambda: "" if asked(sandbox, dag_id) else f"{dag_id} has asked for no export", RUN_SECONDS)
    return asked(sandbox, dag_id)[0]


def looks(sandbox: Sandbox, uuid: str) -> list[int]:
    """Return what was answered to every look at the export."""
    path = f"/api/data/export/{uuid}/"
    return [entry["status"] for entry in sandbox.requests if entry["path"] == path and entry["status"] is not None]


def wait_for_looks(sandbox: Sandbox, uuid: str, count: int) -> None:
    """Wait until the export has been looked at so often."""
    sandbox.wait_for("GET", f"/api/data/export/{uuid}/", count, RUN_SECONDS)


def made_export(sandbox: Sandbox) -> str:
    """Make an export that no task has asked for."""
    return sandbox.add_export(judge(period("2025-04-01", "2025-04-02")))


def fail_after_a_look(sandbox: Sandbox, uuid: str) -> None:
    """Let an export fail, but answer the next look as before: on Airflow 2 who pokes keeps all others waiting."""
    waits = json.dumps({"uuid": uuid, "status": "pending", "url": None}).encode()
    sandbox.answer_next(f"/api/data/export/{uuid}/", 200, {"Content-Type": "application/json"}, waits)
    sandbox.fail_export(uuid)


def served(sandbox: Sandbox, uuid: str) -> bytes:
    """Fetch the export's file from the sandbox as anybody may."""
    with requests.Session() as session:
        session.trust_env = False
        path, headers = f"/api/data/export/{uuid}/", {"Authorization": f"Token {sandbox.settings.token}"}
        url = session.get(f"{sandbox.url}{path}", headers=headers, timeout=60).json()["url"]
        return session.get(url, timeout=60).content


def rows_of(file: bytes) -> int:
    """Count a CSV file's records without the header."""
    return len(list(csv.reader(io.StringIO(file.decode("utf-8-sig"), newline="")))) - 1


def sha256(file: bytes) -> str:
    """Return what tells one file from another; a failed comparison of two files would print both."""
    return hashlib.sha256(file).hexdigest()
