"""Airflow's metrics of the tasks, as a StatsD server receives them from a process that runs a DAG."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from collections import Counter
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest

from tests.dag_runs import AIRFLOW, DAGS, LOGICAL_DATE
from tests.real_airflow.launcher import create_database
from tests.transfers.transfer import FILE_PATH, STATUS_PATH, parse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pendulum

    from airflow_provider_crux.sandbox.state import Sandbox

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif((3, 0) <= AIRFLOW < (3, 1), reason="dag.test() of Airflow 3.0 cannot retry a task"),
]

EXPORT_PATH = "/api/orders/export/"
NOT_CLOSED = b'order_uuid,sku\r\n1,"a\r\n'


def play_crux_connect(sandbox: Sandbox) -> None:
    """Let the first export fail, and finish the others when somebody waits for them."""
    sandbox.wait_for("POST", EXPORT_PATH, 2)
    sandbox.fail_export(sandbox.exports[0])
    for number in (1, 2):
        sandbox.wait_for("POST", EXPORT_PATH, number + 2)
        sandbox.wait_for("GET", STATUS_PATH + sandbox.exports[number])
        sandbox.finish_export(sandbox.exports[number])
    sandbox.wait_for("POST", EXPORT_PATH, 5)
    # the first of these polls is that of the try that resumes the export
    sandbox.wait_for("GET", STATUS_PATH + sandbox.exports[3], 2)
    sandbox.finish_export(sandbox.exports[3])


@pytest.fixture(scope="module")
def airflow_home(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return the environment of an Airflow of its own: two processes that write would break the database of SQLite."""
    home = tmp_path_factory.mktemp("metrics")
    (home / "dags").mkdir()
    shutil.copy(DAGS / "metrics.py", home / "dags")
    create_database(home)
    return {"AIRFLOW_HOME": str(home), "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags")}


@pytest.fixture
def run_and_receive(
    held_sandbox: Sandbox, airflow_home: dict[str, str], tmp_path: Path
) -> Iterator[Callable[[pendulum.DateTime, dict[str, str]], list[str]]]:
    """Return a function that runs the DAG on a date with more settings of metrics, and returns what StatsD received."""
    # the response to the first request is lost, and the first file is no valid CSV
    held_sandbox.respond_next(EXPORT_PATH, 502)
    held_sandbox.respond_next(FILE_PATH, 200, {"Content-Length": str(len(NOT_CLOSED))}, NOT_CLOSED)
    crux_connect = Thread(target=play_crux_connect, args=(held_sandbox,))
    crux_connect.start()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.setblocking(False)

        def run(date: pendulum.DateTime, settings: dict[str, str]) -> list[str]:
            environment = {
                **os.environ,
                **airflow_home,
                "AIRFLOW_VAR_CRUX_ORDERS_FOLDER": tmp_path.as_uri(),
                "AIRFLOW__METRICS__STATSD_ON": "True",
                "AIRFLOW__METRICS__STATSD_HOST": "127.0.0.1",
                "AIRFLOW__METRICS__STATSD_PORT": str(server.getsockname()[1]),
                # most of Airflow's own would fill the buffer of the socket
                "AIRFLOW__METRICS__METRICS_ALLOW_LIST": "crux",
                **settings,
            }
            dag_file = f"{airflow_home['AIRFLOW__CORE__DAGS_FOLDER']}/metrics.py"
            command = [sys.executable, dag_file, date.isoformat()]
            subprocess.run(command, env=environment, check=True, capture_output=True, timeout=300)
            return received_lines(server)

        yield run
    crux_connect.join()


@pytest.mark.parametrize("tags", ["", ",dag_id=metrics,crux_conn_id=crux_default"], ids=["plain", "with tags"])
def test_statsd_receives_each_metric_once(run_and_receive: Any, tmp_path: Path, tags: str) -> None:
    # a date of its own, because dag.test() cannot replace every run
    date = LOGICAL_DATE.add(days=len(tags))
    lines = run_and_receive(date, {"AIRFLOW__METRICS__STATSD_INFLUXDB_ENABLED": str(bool(tags))})

    rows = len(parse((tmp_path / "orders.csv").read_bytes()))
    waits = [line for line in lines if "wait_seconds" in line]
    assert Counter(line for line in lines if line not in waits) == {
        f"airflow.crux.exports.requested{tags}:1|c": 4,
        f"airflow.crux.exports.resumed{tags}:1|c": 1,
        f"airflow.crux.exports.ambiguous{tags}:1|c": 1,
        f"airflow.crux.exports.failed{tags}:1|c": 1,
        f"airflow.crux.rows{tags}:{rows}|c": 1,
    }
    # of the task that waited on the worker, of the one that was deferred, and of the sensor
    seconds = [re.fullmatch(rf"airflow\.crux\.wait_seconds{tags}:([0-9.]+)\|g", line) for line in waits]
    assert len(seconds) == 3
    assert all(match and 0 < float(match[1]) < 60 for match in seconds), waits


def test_an_error_of_the_metrics_fails_no_task(run_and_receive: Any, tmp_path: Path) -> None:
    settings = {
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]),
        "AIRFLOW__METRICS__STAT_NAME_HANDLER": "stat_names.reject_crux",
    }
    assert run_and_receive(LOGICAL_DATE.add(days=1), settings) == []
    assert parse((tmp_path / "orders.csv").read_bytes())


def received_lines(server: socket.socket) -> list[str]:
    """Return the metrics of this provider that a socket has received."""
    lines: list[str] = []
    while True:
        try:
            lines += server.recv(65535).decode().splitlines()
        except BlockingIOError:
            return [line for line in lines if line.startswith("airflow.crux.")]
