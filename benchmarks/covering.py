"""
Measures how coverage is computed from 10,000 manifests in every store: its time, memory, and requests.

It runs in the environment of ``make stores``, because the providers of all stores do not fit into that of the other
benchmarks. A relay in front of each server counts the requests. A new process measures each value:
``python -m benchmarks.covering check URL``.
"""

from __future__ import annotations

import json
import logging
import os
import re
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from subprocess import PIPE, run
from threading import Thread
from typing import TYPE_CHECKING

from benchmarks.results import Goal, Row
from benchmarks.storing import peak_memory
from benchmarks.subprocesses import run_python

if TYPE_CHECKING:
    from tests.stores.servers import Store

COMMAND = ("-m", "benchmarks.covering")
STORES = Path(__file__).parents[1] / ".venv" / "3.3.2-stores" / "bin" / "python"
FILES = 10_000
FIRST = datetime(2024, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
_REQUEST = re.compile(rb"(?:GET|HEAD|PUT|POST|DELETE) (\S*orders\S*) HTTP/1\.1\r\n")


def check(url: str) -> None:
    """Check the coverage of the folder, and print time and memory. An empty folder first loads what any needs."""
    from airflow_provider_crux.operators.coverage import CruxExportCoverageOperator

    def gaps(folder: str) -> int:
        arguments = {"since": FIRST, "until": FIRST + FILES * HOUR, "do_xcom_push": False}
        return len(CruxExportCoverageOperator(task_id="check", path=f"{url}{folder}/", **arguments).execute({}))

    assert gaps("nothing") > 0
    memory_before, start = peak_memory(), time.monotonic()
    assert gaps("orders") == 0
    seconds = time.monotonic() - start
    print(json.dumps({"s": seconds, "MiB": peak_memory() - memory_before}))


@contextmanager
def counted(port: int, requests: Counter[str]) -> Iterator[int]:
    """Relay connections to a port, count the requests for the folder, and return the port of the relay."""

    def pump(source: socket.socket, target: socket.socket, *, count: bool) -> None:
        while data := source.recv(65536):
            if count:
                requests.update("read" if b"manifest" in path else "list" for path in _REQUEST.findall(data))
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)

    def relay() -> None:
        while True:
            try:
                client, _ = server.accept()
            except OSError:  # closed
                return
            upstream = socket.create_connection(("127.0.0.1", port))
            Thread(target=pump, args=(client, upstream), kwargs={"count": True}, daemon=True).start()
            Thread(target=pump, args=(upstream, client), kwargs={"count": False}, daemon=True).start()

    with socket.create_server(("127.0.0.1", 0), backlog=128) as server:
        Thread(target=relay, daemon=True).start()
        yield server.getsockname()[1]


def fill(store: Store) -> None:
    """Let the store's own client store the files of all hours, and their manifests."""
    from tests.manifests import manifest, manifest_name

    def put(hour: int) -> None:
        start = FIRST + hour * HOUR
        name = f"orders/dt={start:%Y-%m-%d}/{start:%H}.csv"
        store.put(name, b"12345678")
        store.put(manifest_name(name), json.dumps(manifest(start, start + HOUR)).encode())

    store.create_container(store.container)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(put, range(FILES)))


def measure() -> None:
    """Measure every store in turn, and print the results."""
    from tests.stores.servers import Disk, connection_variable, running_azurite, running_gcs, running_s3

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # moto's server logs a line for each request otherwise
    results = {}
    crux = {
        "AIRFLOW_CONN_CRUX_DEFAULT": json.dumps({"conn_type": "crux", "host": "http://127.0.0.1:9", "password": "t"})
    }

    @contextmanager
    def disk() -> Iterator[Disk]:
        with tempfile.TemporaryDirectory() as folder:
            yield Disk(folder)

    for running in (running_azurite, running_gcs, running_s3, disk):
        with running() as store:
            fill(store)
            name, connection = connection_variable(store)
            requests: Counter[str] = Counter()
            if isinstance(store, Disk):
                result = run_python(*COMMAND, "check", store.url(""), env=crux)
            else:
                port = store.endpoint.rpartition(":")[2]
                with counted(int(port), requests) as relay:
                    env = {**crux, name: connection.replace(f":{port}", f":{relay}")}
                    result = run_python(*COMMAND, "check", store.url(""), env=env)
            results[store.name] = {**result, **requests}
    print(json.dumps(results))


def rows() -> list[Row]:
    """Measure and return the rows; none if the environment of the stores is not installed."""
    if not STORES.exists():
        print("Skipped: coverage of 10,000 manifests in every store; make stores installs what it needs", flush=True)
        return []
    environment = {**os.environ, "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false"}
    completed = run([STORES, *COMMAND, "measure"], env=environment, stdout=PIPE, check=True, text=True)
    table = []
    for name, result in json.loads(completed.stdout.splitlines()[-1]).items():
        what = f"coverage of 10,000 manifests, {name}"
        table += [
            Row(what, "s", [result["s"]]),
            Row(f"{what}: memory above the idle process", "MiB", [result["MiB"]]),
        ]
        if "list" in result:
            goal = Goal(3 * FILES // 100)
            table.append(Row(f"{what}: requests besides one for each manifest", "", [result["list"]], goal=goal))
    return table


if __name__ == "__main__":
    {"check": check, "measure": measure}[sys.argv[1]](*sys.argv[2:])
