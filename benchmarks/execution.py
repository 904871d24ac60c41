"""
Measures the execution of one export on loopback: our operator, a bare ``requests.post`` and HttpOperator.

Our operator runs twice: as it is, and with ``durable=False``, when it records nothing for the next try.

All send the same request to the same server, which responds immediately, and open a new connection, as every task
does. Our operator also validates interval and filters, logs, and pushes XComs, which are discarded because no Airflow
runs. ``python -m benchmarks.execution URL`` prints the values.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

from benchmarks import server
from benchmarks.results import Goal, Row
from benchmarks.subprocesses import run_python

EXECUTIONS = 400
WARM_UP_EXECUTIONS = 20
BODY = {"start_date": "2026-01-01T00:00:00.000Z", "end_date": "2026-01-02T00:00:00.000Z"}


class FakeTaskInstance:
    """Replaces the task instance, because no Airflow runs."""

    try_number = 1
    max_tries = 0
    dag_id, task_id, run_id, map_index = "benchmark", "ours", "manual", -1

    def xcom_push(self, **_: object) -> None:
        """Discard the XCom."""


class FakeStateStore:
    """Replaces Airflow's task state store."""

    def get(self, _: str) -> None:
        """Return nothing, as for a first try."""

    def set(self, _: str, __: object) -> None:
        """Discard the record."""


def contenders(url: str) -> dict[str, Callable[[], Callable[[], object]]]:
    """Return the contenders by name. Each creates a task and returns its execution, which is measured."""
    import requests
    from airflow.providers.http.operators.http import HttpOperator
    from airflow.sdk import DAG

    from airflow_provider_crux.operators.orders import CruxOrdersExportOperator

    path, headers = "/api/orders/export/", {"Authorization": "Token only-for-this-benchmark"}
    with DAG("benchmark", schedule="@daily") as dag:
        pass
    dag_run = SimpleNamespace(run_type="scheduled")
    context: Any = {
        "ti": FakeTaskInstance(),
        "params": {},
        "dag": dag,
        "dag_run": dag_run,
        "task_state_store": FakeStateStore(),
    }
    data = json.dumps(BODY)

    def ours(**arguments: bool) -> Callable[[], object]:
        interval = {"interval_start": BODY["start_date"], "interval_end": BODY["end_date"]}
        operator = CruxOrdersExportOperator(task_id="ours", crux_conn_id="ours", **interval, **arguments)
        return partial(operator.execute, context)

    def bare() -> Callable[[], object]:
        return lambda: requests.post(f"{url}{path}", json=BODY, headers=headers, timeout=60).json()["uuid"]

    def http() -> Callable[[], object]:
        operator = HttpOperator(task_id="http", http_conn_id="http", endpoint=path, data=data, headers=headers)
        return partial(operator.execute, context)

    return {"ours": ours, "not durable": partial(ours, durable=False), "bare": bare, "http": http}


def measure(url: str) -> dict[str, list[float]]:
    """Time the contenders in turn. The first executions do not count, because they import modules and fill caches."""
    durations: dict[str, list[float]] = {}
    creators = contenders(url)
    for _ in range(EXECUTIONS + WARM_UP_EXECUTIONS):
        for name, create in creators.items():
            execute = create()
            start = time.perf_counter()
            execute()
            durations.setdefault(name, []).append(1000 * (time.perf_counter() - start))
    return {name: values[WARM_UP_EXECUTIONS:] for name, values in durations.items()}


def rows() -> list[Row]:
    """Measure and return the rows."""
    with server.running() as url:
        host, _, port = url.removeprefix("http://").partition(":")
        connection = {"conn_type": "crux", "host": url, "password": "only-for-this-benchmark"}
        env = {
            "AIRFLOW_CONN_OURS": json.dumps(connection),
            "AIRFLOW_CONN_HTTP": json.dumps({"conn_type": "http", "host": host, "port": int(port)}),
        }
        durations = run_python("-m", "benchmarks.execution", url, env=env)
    ours, not_durable, bare, http = (quartiles(values) for values in durations.values())
    return [
        Row("execute one export (quartiles)", "ms", ours, "requests.post", bare, Goal(1.3)),
        Row("execute one export (quartiles)", "ms", ours, "HttpOperator", http),
        Row("execute one export, not durable (quartiles)", "ms", not_durable, "HttpOperator", http, Goal(1)),
    ]


def quartiles(values: list[float]) -> list[float]:
    """Return the quartiles, because minimum and maximum of many values depend mostly on the machine."""
    values = sorted(values)
    return [values[int(part * (len(values) - 1))] for part in (0.25, 0.5, 0.75)]


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    print(json.dumps(measure(sys.argv[1])))
