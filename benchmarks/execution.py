"""
One export, asked for on loopback: our operator against a bare ``requests.post`` and the HTTP provider's operator.

Each sends the same request to the same server, which answers at once, and makes its own connection, as every task
does. Ours checks interval and filters, tells the log, and pushes XComs: into nothing, for here there is no Airflow to
push to. ``python -m benchmarks.execution URL`` prints the values.
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

from benchmarks import fresh, server
from benchmarks.figures import Goal, Row

TIMES = 400
BODY = {"start_date": "2026-01-01T00:00:00.000Z", "end_date": "2026-01-02T00:00:00.000Z"}


class NoTask:
    """Stands for the running task where there is no Airflow."""

    def xcom_push(self, **_: object) -> None:
        """Push into nothing."""


def ways(url: str) -> dict[str, Callable[[], Callable[[], object]]]:
    """Return what to time, by name: each makes a task, whose execution is timed."""
    import requests
    from airflow.providers.http.operators.http import HttpOperator
    from airflow.sdk import DAG

    from airflow_provider_crux.operators.orders import CruxOrdersExportOperator

    path, headers = "/api/orders/export/", {"Authorization": "Token only-for-this-benchmark"}
    with DAG("benchmark", schedule="@daily") as dag:
        pass
    context: Any = {"ti": NoTask(), "params": {}, "dag": dag, "dag_run": SimpleNamespace(run_type="scheduled")}
    data = json.dumps(BODY)

    def ours() -> Callable[[], object]:
        interval = {"interval_start": BODY["start_date"], "interval_end": BODY["end_date"]}
        return partial(CruxOrdersExportOperator(task_id="ours", crux_conn_id="ours", **interval).execute, context)

    def bare() -> Callable[[], object]:
        return lambda: requests.post(f"{url}{path}", json=BODY, headers=headers, timeout=60).json()["uuid"]

    def http() -> Callable[[], object]:
        operator = HttpOperator(task_id="http", http_conn_id="http", endpoint=path, data=data, headers=headers)
        return partial(operator.execute, context)

    return {"ours": ours, "bare": bare, "http": http}


def measure(url: str) -> dict[str, list[float]]:
    """Time each way in turn; the first rounds, which import and cache, do not count."""
    timed: dict[str, list[float]] = {}
    of = ways(url)
    for name, way in [pair for _ in range(TIMES + 20) for pair in of.items()]:
        execute = way()
        began = time.perf_counter()
        execute()
        timed.setdefault(name, []).append(1000 * (time.perf_counter() - began))
    return {name: values[20:] for name, values in timed.items()}


def rows() -> list[Row]:
    """Measure."""
    with server.running() as url:
        host, _, port = url.removeprefix("http://").partition(":")
        token = {"conn_type": "crux", "host": url, "password": "only-for-this-benchmark"}
        env = {
            "AIRFLOW_CONN_OURS": json.dumps(token),
            "AIRFLOW_CONN_HTTP": json.dumps({"conn_type": "http", "host": host, "port": int(port)}),
        }
        found = fresh.value_of("-m", "benchmarks.execution", url, env=env)
    ours, bare, http = (quartiles(found[name]) for name in ("ours", "bare", "http"))
    return [
        Row("execute of one export (quartiles)", "ms", ours, "requests.post", bare, Goal(1.25)),
        Row("the same", "ms", ours, "HttpOperator", http, Goal(0.75)),
    ]


def quartiles(values: list[float]) -> list[float]:
    """Return the quartiles of many values: the extremes of 400 say more of the machine."""
    values = sorted(values)
    return [values[int(part * (len(values) - 1))] for part in (0.25, 0.5, 0.75)]


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    print(json.dumps(measure(sys.argv[1])))
