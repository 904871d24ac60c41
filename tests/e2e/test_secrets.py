"""Tests that no secret leaks: runs succeed and fail in every mode, then the tests search all that Airflow wrote."""

from __future__ import annotations

import json
import re
from contextlib import ExitStack
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from cryptography.fernet import Fernet

from tests.e2e.canaries import HASH_KEY, PASSWORD, PLANTED, PROXY_PASSWORD, TOKEN, WRONG_PASSWORD, WRONG_TOKEN
from tests.e2e.canary_sandbox import CanarySandbox, canary_sandbox
from tests.e2e.echo_server import echo_server
from tests.e2e.leak_search import find_leaks, read_files, read_tables
from tests.real_airflow.instance import AirflowInstance, DagRun
from tests.real_airflow.launcher import AIRFLOW_3, AIRFLOW_VERSION
from tests.real_airflow.processes import run_airflow
from tests.real_airflow.sandbox_airflow import airflow_with_sandbox

if TYPE_CHECKING:
    from collections.abc import Mapping

pytestmark = pytest.mark.e2e

DAGS = Path(__file__).parent / "dags_secrets"

CONNECTION_SECRETS = {
    "token": TOKEN,
    "password": PASSWORD,
    "wrong token": WRONG_TOKEN,
    "wrong password": WRONG_PASSWORD,
    "password of the proxy": PROXY_PASSWORD,
    "hash key": HASH_KEY,
}
# The only places where the secrets of the connections belong.
CONNECTION_COLUMNS = {"connection.password", "connection.extra"}

# The DAGs of dags_secrets/modes.py, with the status filters of their fast and slow exports.
MODES = {
    "secrets_passing_token": ("allocated", "unallocated"),
    "secrets_passing_login": ("allocated", "unallocated"),
    "secrets_failing_token": ("rejected", "backordered"),
    "secrets_failing_login": ("rejected", "backordered"),
}
DEFERRED_TASKS = ["export_deferred", "sense_deferred", "store_deferred"]
# These tasks wait for exports that the test creates.
TASKS_WITH_EXPORT = ["poke", "reschedule", "sense_deferred", "store_on_worker", "store_deferred"]
FAILURES = "secrets_failures"
FILE_FAILURES = ["expired_url", "truncated_file", "no_folder", "crash_while_reading"]
PLANTED_DAG = "secrets_planted"
# A part of the log of each failing task, to prove that the task failed where it held a secret.
FAILURE_LOGS = {
    "request_wrong_token": "returned HTTP 401",
    "request_wrong_login": "Could not log in: Crux Connect returned HTTP 401",
    "request_echoed_token": "returned HTTP 400",
    "request_echoed_login": "Could not log in: Crux Connect returned HTTP 400",
    "request_proxy": "returned HTTP 407",
    "request_missing": "Connection 'crux_missing' does not exist",
    **{
        # The reason is in the log of the triggerer, whose last lines Airflow 3.2 may lose.
        f"poll_{connection}": "state in the trigger event: unknown"
        for connection in ("wrong_token", "wrong_login", "echoed_token", "echoed_login", "proxy", "missing")
    },
    "expired_url": "The presigned URL has expired",
    "truncated_file": "was incomplete",
    "no_folder": "FileExistsError",
    "crash_while_reading": "crash while reading",
    "crash_while_sending": "crash while sending",
}
# Where the search must find the planted secret, after all runs and while tasks are deferred.
PLANTED_PLACES = {
    "log of log_secret",
    "log of raise_secret",
    "log of fail_in_triggerer",
    "log of parsing",
    "scheduler.log",
    "triggerer.log",
    "lineage.jsonl",
    "serialized_dag.data_compressed",
    "dag_run.conf",
    *(
        ["xcom_v2.value", "rtif_v2.rendered_fields"]
        if AIRFLOW_VERSION >= (3, 4)
        else ["xcom.value", "rendered_task_instance_fields.rendered_fields"]
    ),
    "asset_event.extra" if AIRFLOW_3 else "dataset_event.extra",
    *(["task_state_store.value"] if AIRFLOW_VERSION >= (3, 3) else []),
}
PLANTED_COLUMNS_WHILE_DEFERRED = {"trigger.kwargs", "task_instance.next_kwargs"}


class AirflowOutput(NamedTuple):
    """
    Everything that Airflow wrote.

    :param contents: the decoded files and tables after all runs, by place.
    :param tables_while_deferred: the decoded tables while tasks were deferred, by place.
    :param secrets: everything that must not be in them, by name.
    """

    contents: dict[str, bytes]
    tables_while_deferred: dict[str, bytes]
    secrets: dict[str, str]

    def task_logs(self, dag_id: str, task_id: str) -> str:
        """Return the logs of a task, including those of the triggerer."""
        folders = (f"dag_id={dag_id}/", f"/task_id={task_id}/")
        logs = [content for place, content in self.contents.items() if all(folder in place for folder in folders)]
        return b"\n".join(logs).decode(errors="replace")


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> AirflowOutput:
    """Run all DAGs on a real Airflow with its most verbose settings, stop it, and collect what it wrote."""
    folder, key = tmp_path_factory.mktemp("secrets"), Fernet.generate_key()
    home, orders = folder / "home", folder / "orders"
    orders.mkdir()
    (orders / "a_file").touch()
    with ExitStack() as stack:
        canary = stack.enter_context(canary_sandbox(TOKEN, PASSWORD))
        echo_address = stack.enter_context(echo_server())
        environment = verbose_settings(home) | {"AIRFLOW__CORE__FERNET_KEY": key.decode()}
        airflow = stack.enter_context(
            airflow_with_sandbox(folder, DAGS.glob("*.py"), canary.sandbox, environment, triggerer=True)
        )
        store_connections(airflow, connections(canary.sandbox.url, echo_address))
        tables_while_deferred = run_all(airflow, canary, orders, Fernet(key))
    contents = read_files(home, Fernet(key)) | read_tables(home / "airflow.db", Fernet(key))
    return AirflowOutput(contents, tables_while_deferred, CONNECTION_SECRETS | canary.issued_secrets)


@pytest.fixture(scope="module")
def leaks(output: AirflowOutput) -> dict[str, list[str]]:
    """Search everything that Airflow wrote for all secrets; return what each place contains."""
    return find_leaks(output.contents, output.secrets)


def verbose_settings(home: Path) -> dict[str, str]:
    """Return settings with which Airflow writes as much as possible, and much of it encoded."""
    lineage = {"type": "file", "log_file_path": str(home / "lineage.jsonl"), "append": True}
    return {
        "AIRFLOW__CORE__PARALLELISM": "8",
        "AIRFLOW__CORE__COMPRESS_SERIALIZED_DAGS": "True",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "DEBUG",
        "AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps(lineage),
        # Airflow ends what takes longer than ten seconds by default, as it does on a machine under load.
        "AIRFLOW__OPENLINEAGE__EXECUTION_TIMEOUT": "120",
        "AIRFLOW__OPENLINEAGE__INCLUDE_FULL_TASK_INFO": "True",
        "AIRFLOW__OPENLINEAGE__DEBUG_MODE": "True",
        "SECRETS_PLANTED": PLANTED,
    }


def connections(sandbox_url: str, echo_address: str) -> dict[str, dict[str, Any]]:
    """Return the fields of the connections, by connection ID."""
    sandbox = {"conn_type": "crux", "host": sandbox_url}
    echo = {"conn_type": "crux", "host": f"http://{echo_address}"}
    proxy = {"proxy": f"http://somebody:{PROXY_PASSWORD}@{echo_address}", "max_retries": 0}
    login = {"login": "sandbox"}
    return {
        "crux_token": sandbox | {"password": TOKEN},
        "crux_login": sandbox | login | {"password": PASSWORD},
        "crux_hash": sandbox | {"password": TOKEN, "extra": {"hash_key": HASH_KEY}},
        "crux_wrong_token": sandbox | {"password": WRONG_TOKEN},
        "crux_wrong_login": sandbox | login | {"password": WRONG_PASSWORD},
        "crux_echoed_token": echo | {"password": TOKEN},
        "crux_echoed_login": echo | login | {"password": PASSWORD},
        "crux_proxy": sandbox | {"password": TOKEN, "extra": proxy},
    }


def store_connections(airflow: AirflowInstance, fields: Mapping[str, dict[str, Any]]) -> None:
    """Store the connections in Airflow's database, two with the command of the documentation; keep the output."""
    outputs = []
    for conn_id in ("crux_token", "crux_login"):
        options = [f"--conn-{name.removeprefix('conn_')}={value}" for name, value in fields[conn_id].items()]
        outputs.append(run_airflow(["connections", "add", conn_id, *options], airflow.environment))
    file = airflow.home.parent / "connections.json"
    file.write_text(json.dumps({conn_id: fields[conn_id] for conn_id in list(fields)[2:]}))
    outputs.append(run_airflow(["connections", "import", str(file)], airflow.environment))
    (airflow.home / "connections.log").write_text("\n".join(outputs))


def run_all(airflow: AirflowInstance, canary: CanarySandbox, orders: Path, key: Fernet) -> dict[str, bytes]:
    """Run all DAGs and return the decoded tables while tasks were deferred."""
    airflow.wait_for_dags({*MODES, FAILURES, PLANTED_DAG})
    folder = {"folder": orders.as_uri()}
    runs = {PLANTED_DAG: start_run(airflow, PLANTED_DAG, {"planted": PLANTED})}
    for dag_id, (fast, slow) in MODES.items():
        exports = {
            task_id: canary.create_export(slow if task_id in DEFERRED_TASKS else fast) for task_id in TASKS_WITH_EXPORT
        }
        runs[dag_id] = start_run(airflow, dag_id, folder | exports)
    files = {task_id: canary.create_export("allocated") for task_id in FILE_FAILURES}
    canary.expire_file_urls(files["expired_url"])
    canary.truncate_file(files["truncated_file"])
    runs[FAILURES] = start_run(airflow, FAILURES, folder | files)

    for task_id in ("log_secret", "store_secret"):
        airflow.wait_for_task(runs[PLANTED_DAG], task_id, "success")
    for task_id in ("raise_secret", "fail_in_triggerer", "fail_to_load_trigger"):
        airflow.wait_for_task(runs[PLANTED_DAG], task_id, "failed")
    for dag_id, task_id in [(PLANTED_DAG, "defer_secret"), *product(MODES, DEFERRED_TASKS)]:
        airflow.wait_for_task(runs[dag_id], task_id, "deferred")
    tables_while_deferred = read_tables(airflow.home / "airflow.db", key)
    canary.finish_slow_exports()

    tasks = {dag_id: {*DEFERRED_TASKS, *TASKS_WITH_EXPORT, "export_on_worker"} for dag_id in MODES}
    tasks[FAILURES] = set(FAILURE_LOGS)
    for dag_id, task_ids in tasks.items():
        state = "success" if "passing" in dag_id else "failed"
        airflow.wait_for_run(dag_id, runs[dag_id].run_id, state=state)
        states = {task_id: airflow.task_state(runs[dag_id], task_id) for task_id in task_ids}
        assert (dag_id, states) == (dag_id, dict.fromkeys(task_ids, state))
    return tables_while_deferred


def start_run(airflow: AirflowInstance, dag_id: str, conf: dict[str, str]) -> DagRun:
    """Trigger a run and return it."""
    return airflow.dag_run(dag_id, airflow.trigger(dag_id, conf=conf))


def test_airflow_writes_no_secret(leaks: dict[str, list[str]]) -> None:
    assert {place: leaks[place] for place in leaks if place not in CONNECTION_COLUMNS} == {}


def test_database_holds_no_secret_while_tasks_are_deferred(output: AirflowOutput) -> None:
    leaks = find_leaks(output.tables_while_deferred, output.secrets)

    assert {place: leaks[place] for place in leaks if place not in CONNECTION_COLUMNS} == {}


def test_search_finds_the_secrets_of_the_connections_where_they_belong(
    output: AirflowOutput, leaks: dict[str, list[str]]
) -> None:
    assert set(leaks) >= CONNECTION_COLUMNS
    assert any(leak.startswith("hash key: ") for leak in leaks["connection.extra"])
    # Workers and the triggerer logged in, and the sandbox issued URLs.
    assert len([name for name in output.secrets if name.startswith("token ")]) > 2 * len(DEFERRED_TASKS)
    assert len([name for name in output.secrets if name.startswith("signature ")]) > len(FILE_FAILURES)


def test_search_finds_a_planted_secret_in_every_kind_of_place(output: AirflowOutput) -> None:
    secrets = {"planted": PLANTED}
    places = {
        re.sub(r"logs/dag_id=.*/task_id=(\w+)/.*", r"log of \1", place)
        for place in find_leaks(output.contents, secrets)
    }
    places = {re.sub(r"logs/(dag_processor|scheduler)/.*/planted.py.log", "log of parsing", place) for place in places}

    assert places >= PLANTED_PLACES
    assert set(find_leaks(output.tables_while_deferred, secrets)) >= PLANTED_COLUMNS_WHILE_DEFERRED


def test_every_failing_task_failed_where_it_held_a_secret(output: AirflowOutput) -> None:
    logs = {task_id: output.task_logs(FAILURES, task_id) for task_id in FAILURE_LOGS}
    wrong = {task_id for task_id, text in FAILURE_LOGS.items() if text not in logs[task_id]}

    # If Airflow itself failed a task, only its scheduler knows why.
    lines = output.contents["scheduler.log"].decode(errors="replace").splitlines()
    errors = [line for line in lines if "error" in line.lower() and any(f".{task_id} " in line for task_id in wrong)]
    assert wrong == set(), "\n".join([*errors, *(logs[task_id][-2000:] for task_id in wrong)])


def test_openlineage_receives_the_stored_files_and_the_failures(output: AirflowOutput) -> None:
    events = [json.loads(line) for line in output.contents["lineage.jsonl"].splitlines() if line.startswith(b"{")]

    file_names = {dataset["name"].rpartition("/")[2] for event in events for dataset in event["outputs"]}
    assert file_names >= {
        f"{dag_id}_{mode}.csv" for dag_id in MODES if "passing" in dag_id for mode in ("on_worker", "deferred")
    }
    assert {event["job"]["name"] for event in events if event["eventType"] == "FAIL"} >= {
        f"{FAILURES}.{task_id}" for task_id in FAILURE_LOGS
    }
