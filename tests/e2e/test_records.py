"""
Tests on a real scheduler that the record of an export outlives the faults of Airflow, and ends with a Clear.

On Airflow 3 the tasks reach the execution API through a relay, which makes it fail. The faults of the database of
Airflow 2 are in ``test_unreadable_records.py``.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.execution_api_relay import ExecutionApiRelay, Fault, execution_api_relay
from tests.real_airflow.airflow_3 import Airflow3
from tests.real_airflow.instance import RUN_SECONDS, AirflowInstance, DagRun
from tests.real_airflow.launcher import AIRFLOW_3, AIRFLOW_VERSION, SHORT_HEARTBEAT_TIMEOUTS
from tests.real_airflow.sandbox_airflow import airflow_with_sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_crux.sandbox.state import Sandbox

pytestmark = pytest.mark.e2e

DAGS = Path(__file__).parent / "dags_records"
# Before it, a task remembers its export in a Variable.
HAS_TASK_STATE_STORE = AIRFLOW_VERSION >= (3, 3)
VARIABLES_OF_AIRFLOW_3 = AIRFLOW_3 and not HAS_TASK_STATE_STORE

FAULTS = {
    "records_read_fails": Fault(try_number=2, method="GET", status=500),
    # what the API server of Airflow 3.0 to 3.2 also responds if it cannot read its database
    "records_read_says_absent": Fault(try_number=2, method="GET", status=404),
    "records_intent_not_saved": Fault(try_number=1, method="PUT", status=500),
}
# The day in June 2025 that each DAG exports. It identifies the DAG in the request log of the sandbox.
DAYS = {
    "records_other_task_cleared": 1,
    "records_killed_in_callback": 2,
    "records_read_fails": 3,
    "records_read_says_absent": 4,
    "records_intent_not_saved": 5,
    "records_fewer_retries": 6,
}
DAG_IDS = [dag_id for dag_id in DAYS if AIRFLOW_3 or dag_id not in FAULTS]
only_airflow_2 = pytest.mark.skipif(AIRFLOW_3, reason="Airflow 3 calls the callbacks after it has stored the success")
only_airflow_3 = pytest.mark.skipif(not AIRFLOW_3, reason="tasks of Airflow 2 do not use an API")


@pytest.fixture(scope="module")
def relay() -> Iterator[ExecutionApiRelay]:
    """Run the relay between the tasks of Airflow 3 and the execution API."""
    with execution_api_relay(FAULTS) as running:
        yield running


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of this Airflow; ``dags`` in it has the DAG files."""
    return tmp_path_factory.mktemp("records")


@pytest.fixture(scope="module")
def airflow(folder: Path, sandbox: Sandbox, relay: ExecutionApiRelay) -> Iterator[AirflowInstance]:
    """Run a real Airflow, connected to the sandbox."""
    env = {
        **SHORT_HEARTBEAT_TIMEOUTS,
        "AIRFLOW__CORE__PARALLELISM": "8",
        # A request that fails because of a locked database is repeated, but does not wait long.
        "AIRFLOW__WORKERS__EXECUTION_API_RETRIES": "3",
        "AIRFLOW__WORKERS__EXECUTION_API_RETRY_WAIT_MIN": "0.1",
        "AIRFLOW__WORKERS__EXECUTION_API_RETRY_WAIT_MAX": "0.5",
        # A test edits a DAG file.
        "AIRFLOW__CORE__MIN_SERIALIZED_DAG_UPDATE_INTERVAL": "1",
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "5",
        "AIRFLOW__SCHEDULER__MIN_FILE_PROCESS_INTERVAL": "5",
    }
    if AIRFLOW_3:
        env["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"] = relay.url
    with airflow_with_sandbox(folder, DAGS.glob("*.py"), sandbox, env) as instance:
        relay.api_url = instance.environment.get("AIRFLOW__API__BASE_URL", "")
        yield instance


@pytest.fixture(scope="module", autouse=True)
def runs(airflow: AirflowInstance, folder: Path) -> dict[str, DagRun]:
    """Start a run of each DAG, and do what must not wait for other tests; return the runs."""
    airflow.wait_for_dags(set(DAG_IDS))
    if AIRFLOW_3:
        runs = {dag_id: airflow.dag_run(dag_id, airflow.trigger(dag_id)) for dag_id in DAG_IDS}
    else:
        airflow.wait_while(
            lambda: "" if all(map(airflow.dag_runs, DAG_IDS)) else "not every DAG has a run", RUN_SECONDS
        )
        runs = {dag_id: airflow.dag_runs(dag_id)[0] for dag_id in DAG_IDS}
    run = runs["records_other_task_cleared"]
    airflow.wait_for_task(run, "other", "success")
    airflow.wait_for_task(run, "export", "up_for_retry")
    airflow.clear(run, "other")
    assert airflow.task_state(run, "export") == "up_for_retry"
    run = runs["records_fewer_retries"]
    airflow.wait_for_run(run.dag_id, run.run_id)
    file = folder / "dags" / "fewer_retries.py"
    file.write_text(file.read_text().replace("RETRIES = 1", "RETRIES = 0"))
    return runs


@only_airflow_3
def test_try_that_cannot_read_its_record_requests_nothing_and_the_next_one_resumes(
    airflow: AirflowInstance, sandbox: Sandbox, relay: ExecutionApiRelay, runs: dict[str, DagRun]
) -> None:
    run = runs["records_read_fails"]
    airflow.wait_for_run(run.dag_id, run.run_id)

    assert_resumed(airflow, sandbox, run)
    assert airflow.task_instance(run, "export").try_number == 3
    assert relay.failed[run.dag_id] >= 1


@pytest.mark.skipif(not VARIABLES_OF_AIRFLOW_3, reason="Airflow says 'not found' only if it could read its database")
def test_try_whose_record_is_wrongly_reported_as_absent_requests_nothing_and_the_next_one_resumes(
    airflow: AirflowInstance, sandbox: Sandbox, relay: ExecutionApiRelay, runs: dict[str, DagRun]
) -> None:
    run = runs["records_read_says_absent"]
    airflow.wait_for_run(run.dag_id, run.run_id)

    assert_resumed(airflow, sandbox, run)
    assert airflow.task_instance(run, "export").try_number == 3
    assert relay.failed[run.dag_id] >= 2  # the record, and the Variable that tests whether reading works


@only_airflow_3
def test_try_that_cannot_save_its_intent_requests_nothing(
    airflow: AirflowInstance, sandbox: Sandbox, relay: ExecutionApiRelay, runs: dict[str, DagRun]
) -> None:
    run = runs["records_intent_not_saved"]
    airflow.wait_for_run(run.dag_id, run.run_id)

    assert_resumed(airflow, sandbox, run)
    assert airflow.task_instance(run, "export").try_number == 2
    assert relay.failed[run.dag_id] >= 1


@only_airflow_2
def test_try_that_is_killed_before_its_success_is_stored_is_resumed(
    airflow: AirflowInstance, sandbox: Sandbox, runs: dict[str, DagRun]
) -> None:
    run = runs["records_killed_in_callback"]
    airflow.wait_for_run(run.dag_id, run.run_id)

    assert_resumed(airflow, sandbox, run)
    assert airflow.task_instance(run, "export").try_number == 2


@only_airflow_3
def test_clear_requests_another_export_although_the_record_was_not_removed(
    airflow: AirflowInstance, sandbox: Sandbox, runs: dict[str, DagRun]
) -> None:
    run = runs["records_killed_in_callback"]
    airflow.wait_for_run(run.dag_id, run.run_id)
    assert (record_key(run) in airflow.variable_keys()) == VARIABLES_OF_AIRFLOW_3
    assert len(exports_of(sandbox, run.dag_id)) == 1

    airflow.clear(run, "export")
    airflow.wait_for_task(run, "export", "success", try_number=2)
    assert len(exports_of(sandbox, run.dag_id)) == 2
    wait_for_removed_record(airflow, run)


def test_clear_requests_another_export_also_after_retries_were_lowered(
    airflow: AirflowInstance, sandbox: Sandbox, runs: dict[str, DagRun]
) -> None:
    run = runs["records_fewer_retries"]
    if isinstance(airflow, Airflow3):  # the command of Airflow 2 reads the file
        airflow.wait_while(
            lambda: "the edited file is not parsed yet" if airflow.retries(run.dag_id, "export") else "", RUN_SECONDS
        )

    airflow.clear(run, "export")
    airflow.wait_for_task(run, "export", "success", try_number=2)
    assert len(exports_of(sandbox, run.dag_id)) == 2
    wait_for_removed_record(airflow, run)


def test_clear_of_another_task_while_this_one_waits_for_its_retry_requests_nothing(
    airflow: AirflowInstance, sandbox: Sandbox, runs: dict[str, DagRun]
) -> None:
    run = airflow.wait_for_run("records_other_task_cleared", runs["records_other_task_cleared"].run_id)

    assert_resumed(airflow, sandbox, run)
    assert airflow.task_instance(run, "other").try_number == 2


def exports_of(sandbox: Sandbox, dag_id: str) -> list[dict[str, Any]]:
    """Return the requests for an export of the DAG's day."""
    start_date = f"2025-06-{DAYS[dag_id]:02}T00:00:00.000Z"
    return [
        request
        for request in sandbox.requests
        if request["path"] == "/api/orders/export/" and request["body"]["start_date"] == start_date
    ]


def assert_resumed(airflow: AirflowInstance, sandbox: Sandbox, run: DagRun) -> None:
    """Assert that the run requested one export, in whichever try, and no longer remembers it."""
    assert len(exports_of(sandbox, run.dag_id)) == 1
    assert airflow.xcom(run, "export") in sandbox.exports
    wait_for_removed_record(airflow, run)


def record_key(run: DagRun) -> str:
    """Return the key of the Variable in which the task remembers its export below Airflow 3.3."""
    return f"crux_export:{run.dag_id}:export:{run.run_id}:-1"


def wait_for_removed_record(airflow: AirflowInstance, run: DagRun) -> None:
    """Wait until no Variable is left. The task removes it after Airflow has stored its success."""

    def left() -> str:
        keys = [
            key
            for key in airflow.variable_keys()
            if key.startswith((f"crux_export:{run.dag_id}:", "crux_export:probe:"))
        ]
        return f"Variables are left: {keys}" if keys else ""

    airflow.wait_while(left, RUN_SECONDS)
