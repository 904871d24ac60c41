"""
Measures how ``CruxHook.iter_orders`` lists 10,000 orders of the sandbox, compared with a loop over the same pages.

The loop uses one session of requests, and knows all pages beforehand. The sandbox runs in a process of its own:
``python -m benchmarks.listing serve`` prints its port, and ``python -m benchmarks.listing measure URL`` the values.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
import tracemalloc
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from benchmarks.results import Goal, Row
from benchmarks.subprocesses import run_python, running_server

COMMAND = ("-m", "benchmarks.listing")
ORDERS = 10_000
ROUNDS = 5
FIRST = datetime(2017, 1, 1, tzinfo=UTC)
LAST = FIRST + (ORDERS - 1) * timedelta(minutes=97)


def serve() -> None:
    """Serve the sandbox until the process is killed."""
    from airflow_provider_crux.sandbox.server import SandboxServer

    server = SandboxServer(on_ready=lambda: print(server.sandbox.url.rpartition(":")[2], flush=True))
    server.serve_until_stopped()


def measure(url: str) -> None:
    """Time both in turn, and print their values. The first round does not count: the sandbox makes its orders."""
    import requests

    from airflow_provider_crux.api.orders import OrdersExportRequest
    from airflow_provider_crux.hooks.crux import CruxHook

    request = OrdersExportRequest(start_date=FIRST, end_date=LAST)
    body = {**request.as_json(), "sort": {"key": "date", "dir": "asc"}}
    # what iter_orders requests
    starts = [*range(0, ORDERS, 250), ORDERS - 1]
    token = json.loads(os.environ["AIRFLOW_CONN_CRUX_DEFAULT"])["password"]

    def bare() -> Iterator[Any]:
        with requests.Session() as session:
            session.headers["Authorization"] = f"Token {token}"
            for start in starts:
                page = {**body, "start": start, "limit": start + 250}
                yield from session.post(f"{url}/api/orders/", json=page, timeout=60).json()["orders"]

    values: dict[str, list[float]] = {}

    def run(name: str, orders: Iterable[Any]) -> None:
        start, cpu_start = time.perf_counter(), time.process_time()
        uuids = {order["uuid"] for order in orders}
        values.setdefault(f"{name} CPU", []).append(time.process_time() - cpu_start)
        values.setdefault(name, []).append(time.perf_counter() - start)
        assert len(uuids) == ORDERS

    for _ in range(ROUNDS + 1):
        run("ours", CruxHook().iter_orders(request))
        run("bare", bare())
    tracemalloc.start()
    for _ in CruxHook().iter_orders(request):
        pass
    memory = tracemalloc.get_traced_memory()[1] / 2**20
    print(json.dumps({**{name: durations[1:] for name, durations in values.items()}, "MiB": memory}))


def rows() -> list[Row]:
    """Measure and return the rows."""
    from airflow_provider_crux.sandbox.state import SandboxSettings

    with running_server(*COMMAND, "serve") as port:
        url = f"http://127.0.0.1:{port}"
        connection = {"conn_type": "crux", "host": url, "password": SandboxSettings().token}
        env = {"AIRFLOW_CONN_CRUX_DEFAULT": json.dumps(connection)}
        result = run_python(*COMMAND, "measure", url, env=env)
    what = "list 10,000 orders of the sandbox"
    return [
        Row(what, "s", result["ours"], "requests.Session", result["bare"], Goal(1.1)),
        Row(f"{what}: CPU time", "s", result["ours CPU"], "requests.Session", result["bare CPU"]),
        Row(f"{what}: memory allocated by Python", "MiB", [result["MiB"]]),
    ]


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    {"serve": serve, "measure": measure}[sys.argv[1]](*sys.argv[2:])
