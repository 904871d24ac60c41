"""No secret leaks: real runs pass and fail in every mode, and then everything that Airflow wrote is searched."""

from __future__ import annotations

import json
import re
from contextlib import ExitStack
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from cryptography.fernet import Fernet

from tests.e2e.airflow_instance import AIRFLOW_3, AIRFLOW_VERSION
from tests.e2e.connected import connected_airflow
from tests.e2e.everything_written import finds, in_files, in_tables
from tests.e2e.instance import AirflowInstance, DagRun
from tests.e2e.processes import run_airflow
from tests.e2e.repeating_server import repeating_server
from tests.e2e.telltale_sandbox import TelltaleSandbox, telltale_sandbox

if TYPE_CHECKING:
    from collections.abc import Mapping

pytestmark = pytest.mark.e2e

DAGS = Path(__file__).parent / "dags_secrets"

# Made up; with all that is spelled in another way in JSON, a URL, a page or a Python repr.
TOKEN = "canary\"token<1>%2Fwith\\all&that+is=written'otherwise"
PASSWORD = "canary \"pässword\" <2> %2F with\\all & that + is = written 'otherwise'"
WRONG_TOKEN, WRONG_PASSWORD = TOKEN[::-1], PASSWORD[::-1]
PROXY_PASSWORD = "canary-of-a-proxy-0815-4711"
PLANTED = "canary-that-is-planted-on-purpose-4711-0815"

# Every secret that stands in a connection.
CONNECTED = {
    "token": TOKEN,
    "password": PASSWORD,
    "wrong token": WRONG_TOKEN,
    "wrong password": WRONG_PASSWORD,
    "password of the proxy": PROXY_PASSWORD,
}
CONNECTION_TABLE = {"connection.password", "connection.extra"}

# The DAGs of dags_secrets/modes.py, and of which statuses the orders are: of exports that end soon, and later.
MODES = {
    "secrets_passing_token": ("allocated", "unallocated"),
    "secrets_passing_login": ("allocated", "unallocated"),
    "secrets_failing_token": ("rejected", "backordered"),
    "secrets_failing_login": ("rejected", "backordered"),
}
WAITING = ["export_deferred", "sense_deferred", "store_deferred"]
LOOKING = ["poke", "reschedule", "sense_deferred", "store_on_worker", "store_deferred"]
FAULTS = "secrets_faults"
FILES = ["lapsed", "cut_off", "no_folder", "breaks_while_reading"]
PLANTING = "secrets_planted"
# What the log of each fault says, so that it is known to have come to where a secret is at hand.
FAULTS_SAY = {
    "ask_wrong_token": "answered 401",
    "ask_wrong_login": "Could not log in: Crux Connect answered 401",
    "ask_repeated_token": "answered 400",
    "ask_repeated_login": "Could not log in: Crux Connect answered 400",
    "ask_proxy": "answered 407",
    **{
        # the reason stands in the triggerer's log, whose last lines Airflow 3.2 may lose
        f"look_{connection}": "the triggerer says error"
        for connection in ("wrong_token", "wrong_login", "repeated_token", "repeated_login", "proxy")
    },
    "lapsed": "The presigned URL has lapsed",
    "cut_off": "did not come whole",
    "no_folder": "FileExistsError",
    "breaks_while_reading": "broken while reading",
    "breaks_while_sending": "broken while sending",
}
# Where a secret was planted: in the end, and while tasks wait in the triggerer.
PLANTED_PLACES = {
    "log of prints",
    "log of raises",
    "log of fails_in_triggerer",
    "log of parsing",
    "scheduler.log",
    "triggerer.log",
    "lineage.jsonl",
    "serialized_dag.data_compressed",
    "dag_run.conf",
    "xcom.value",
    "rendered_task_instance_fields.rendered_fields",
    "asset_event.extra" if AIRFLOW_3 else "dataset_event.extra",
    *(["task_state_store.value"] if AIRFLOW_VERSION >= (3, 3) else []),
}
PLANTED_WHILE_WAITING = {"trigger.kwargs", "task_instance.next_kwargs"}


class Written(NamedTuple):
    """
    What there is to search.

    :param places: all that Airflow had written in the end, by place; opened.
    :param while_waiting: the tables while tasks waited in the triggerer.
    :param secrets: everything that must not be seen, by name.
    """

    places: dict[str, bytes]
    while_waiting: dict[str, bytes]
    secrets: dict[str, str]

    def of_task(self, dag_id: str, task_id: str) -> str:
        """Return the logs of a task, the triggerer's included."""
        folder = (f"dag_id={dag_id}/", f"/task_id={task_id}/")
        return b"\n".join(text for place, text in self.places.items() if all(part in place for part in folder)).decode(
            errors="replace"
        )


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """Run everything on a real Airflow that logs all it can, end it, and collect what it wrote."""
    folder, key = tmp_path_factory.mktemp("secrets"), Fernet.generate_key()
    home, orders = folder / "home", folder / "orders"
    orders.mkdir()
    (orders / "a_file").touch()
    with ExitStack() as stack:
        telltale = stack.enter_context(telltale_sandbox(TOKEN, PASSWORD))
        repeating = stack.enter_context(repeating_server())
        environment = everything_logged(home) | {"AIRFLOW__CORE__FERNET_KEY": key.decode()}
        airflow = stack.enter_context(
            connected_airflow(folder, DAGS.glob("*.py"), telltale.sandbox, environment, triggerer=True)
        )
        store_connections(airflow, connections(telltale.sandbox.url, repeating))
        while_waiting = run_all(airflow, telltale, orders, Fernet(key))
    places = in_files(home, Fernet(key)) | in_tables(home / "airflow.db", Fernet(key))
    return Written(places, while_waiting, CONNECTED | telltale.given_out)


def everything_logged(home: Path) -> dict[str, str]:
    """Return the settings with which Airflow writes most, and most of it in disguise."""
    lineage = {"type": "file", "log_file_path": str(home / "lineage.jsonl"), "append": True}
    settings = {
        "AIRFLOW__CORE__PARALLELISM": "8",
        "AIRFLOW__CORE__COMPRESS_SERIALIZED_DAGS": "True",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "DEBUG",
        "AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps(lineage),
        "AIRFLOW__OPENLINEAGE__INCLUDE_FULL_TASK_INFO": "True",
        "AIRFLOW__OPENLINEAGE__DEBUG_MODE": "True",
        "SECRETS_PLANTED": PLANTED,
    }
    if not AIRFLOW_3:
        # several tasks at once on SQLite, which the harness has prepared for it
        settings["AIRFLOW__CORE__EXECUTOR"] = "LocalExecutor"
        settings["_AIRFLOW__SKIP_DATABASE_EXECUTOR_COMPATIBILITY_CHECK"] = "1"
    return settings


def connections(sandbox_url: str, repeating: str) -> dict[str, dict[str, Any]]:
    """Return what stands in the connections, by id."""
    to_sandbox = {"conn_type": "crux", "host": sandbox_url}
    to_repeating = {"conn_type": "crux", "host": f"http://{repeating}"}
    proxy = {"proxy": f"http://somebody:{PROXY_PASSWORD}@{repeating}", "max_retries": 0}
    login = {"login": "sandbox"}
    return {
        "crux_token": to_sandbox | {"password": TOKEN},
        "crux_login": to_sandbox | login | {"password": PASSWORD},
        "crux_wrong_token": to_sandbox | {"password": WRONG_TOKEN},
        "crux_wrong_login": to_sandbox | login | {"password": WRONG_PASSWORD},
        "crux_repeated_token": to_repeating | {"password": TOKEN},
        "crux_repeated_login": to_repeating | login | {"password": PASSWORD},
        "crux_proxy": to_sandbox | {"password": TOKEN, "extra": proxy},
    }


def store_connections(airflow: AirflowInstance, stored: Mapping[str, dict[str, Any]]) -> None:
    """Put the connections into Airflow's database, the first two as the README has it; keep what was printed."""
    told = []
    for conn_id in ("crux_token", "crux_login"):
        options = [f"--conn-{name.removeprefix('conn_')}={value}" for name, value in stored[conn_id].items()]
        told.append(run_airflow(["connections", "add", conn_id, *options], airflow.environment))
    file = airflow.home.parent / "connections.json"
    file.write_text(json.dumps({conn_id: stored[conn_id] for conn_id in list(stored)[2:]}))
    told.append(run_airflow(["connections", "import", str(file)], airflow.environment))
    (airflow.home / "connections.log").write_text("\n".join(told))


def run_all(airflow: AirflowInstance, telltale: TelltaleSandbox, orders: Path, key: Fernet) -> dict[str, bytes]:
    """Run all DAGs, and return what stood in the tables while tasks waited in the triggerer."""
    airflow.wait_for_dags({*MODES, FAULTS, PLANTING})
    folder = {"folder": orders.as_uri()}
    runs = {PLANTING: start(airflow, PLANTING, {"planted": PLANTED})}
    for dag_id, (soon, later) in MODES.items():
        made = {task_id: telltale.made_export(later if task_id in WAITING else soon) for task_id in LOOKING}
        runs[dag_id] = start(airflow, dag_id, folder | made)
    files = {task_id: telltale.made_export("allocated") for task_id in FILES}
    telltale.let_lapse(files["lapsed"])
    telltale.cut_off(files["cut_off"])
    runs[FAULTS] = start(airflow, FAULTS, folder | files)

    for task_id in ("prints", "keeps"):
        airflow.wait_for_task(runs[PLANTING], task_id, "success")
    for task_id in ("raises", "fails_in_triggerer"):
        airflow.wait_for_task(runs[PLANTING], task_id, "failed")
    for dag_id, task_id in [(PLANTING, "defers"), *product(MODES, WAITING)]:
        airflow.wait_for_task(runs[dag_id], task_id, "deferred")
    while_waiting = in_tables(airflow.home / "airflow.db", key)
    telltale.end_later_exports()

    tasks = {dag_id: {*WAITING, *LOOKING, "export_on_worker"} for dag_id in MODES} | {FAULTS: set(FAULTS_SAY)}
    for dag_id, task_ids in tasks.items():
        state = "success" if "passing" in dag_id else "failed"
        airflow.wait_for_run(dag_id, runs[dag_id].run_id, state=state)
        ended = {task_id: airflow.task_state(runs[dag_id], task_id) for task_id in task_ids}
        assert (dag_id, ended) == (dag_id, dict.fromkeys(task_ids, state))
    return while_waiting


def start(airflow: AirflowInstance, dag_id: str, conf: dict[str, str]) -> DagRun:
    """Start a run."""
    return airflow.dag_run(dag_id, airflow.trigger(dag_id, conf=conf))


def test_no_secret_is_in_anything_that_airflow_wrote(written: Written) -> None:
    found = finds(written.places, written.secrets)

    assert {place: found[place] for place in found if place not in CONNECTION_TABLE} == {}


def test_no_secret_is_in_the_database_while_tasks_wait_in_the_triggerer(written: Written) -> None:
    found = finds(written.while_waiting, written.secrets)

    assert {place: found[place] for place in found if place not in CONNECTION_TABLE} == {}


def test_search_finds_the_secrets_of_the_connections_where_they_belong(written: Written) -> None:
    found = finds(written.places, written.secrets)

    assert set(found) >= CONNECTION_TABLE
    # there were logins of workers and of the triggerer, and URLs
    assert len([name for name in written.secrets if name.startswith("token ")]) > 2 * len(WAITING)
    assert len([name for name in written.secrets if name.startswith("signature ")]) > len(FILES)


def test_search_finds_what_was_planted_in_every_kind_of_place(written: Written) -> None:
    planted = {"planted": PLANTED}
    found = {
        re.sub(r"logs/dag_id=.*/task_id=(\w+)/.*", r"log of \1", place) for place in finds(written.places, planted)
    }
    found = {re.sub(r"logs/(dag_processor|scheduler)/.*/planted.py.log", "log of parsing", place) for place in found}

    assert found >= PLANTED_PLACES
    assert set(finds(written.while_waiting, planted)) >= PLANTED_WHILE_WAITING


def test_every_task_failed_where_a_secret_was_at_hand(written: Written) -> None:
    logs = {task_id: written.of_task(FAULTS, task_id) for task_id in FAULTS_SAY}

    assert {task_id: said in logs[task_id] for task_id, said in FAULTS_SAY.items()} == dict.fromkeys(FAULTS_SAY, True)


def test_openlineage_was_told_of_the_stored_files_and_of_the_failures(written: Written) -> None:
    events = [json.loads(line) for line in written.places["lineage.jsonl"].splitlines() if line.startswith(b"{")]

    stored = {output["name"].rpartition("/")[2] for event in events for output in event["outputs"]}
    assert stored >= {
        f"{dag_id}_{where}.csv" for dag_id in MODES if "passing" in dag_id for where in ("on_worker", "deferred")
    }
    assert {event["job"]["name"] for event in events if event["eventType"] == "FAIL"} >= {
        f"{FAULTS}.{task_id}" for task_id in FAULTS_SAY
    }
