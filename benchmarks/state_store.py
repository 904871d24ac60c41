"""
Measures what the record of an export costs: a round trip to Airflow's task state store, on a real Airflow.

A task of a real scheduler reads and saves a record again and again, through its supervisor and the API server, into
SQLite. An export reads once, and saves three times: its intent before the request, its UUID after the response, and
that it is done.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from airflow_provider_crux.sandbox.server import running_sandbox
from benchmarks.execution import quartiles
from benchmarks.results import Row
from tests.real_airflow.sandbox_airflow import airflow_with_sandbox

_DAG = '''
"""Times the round trips."""
import time
from datetime import datetime

from airflow.sdk import DAG, get_current_context, task

ROUND_TRIPS, WARM_UP = 200, 10
START, END, NOW = "2026-01-04T00:00:00.000Z", "2026-01-05T00:00:00.000Z", "2026-01-05T00:00:07.500000+00:00"
RECORD = {
    "crux_conn_id": "crux_default",
    "export_uuid": "b9888421-594c-4d2f-9f0d-3b138a16c845",
    "interval_start": START,
    "interval_end": END,
    "requested_at": NOW,
    "request": {"start_date": START, "end_date": END},
    "accepted_at": NOW,
}

with DAG("round_trips", schedule=None, start_date=datetime(2026, 1, 1)):

    @task
    def measure():
        store = get_current_context()["task_state_store"]
        calls = {"save": lambda: store.set("crux_export", RECORD), "load": lambda: store.get("crux_export")}
        durations = {name: [] for name in calls}
        for _ in range(ROUND_TRIPS + WARM_UP):
            for name, call in calls.items():
                start = time.perf_counter()
                call()
                durations[name].append(1000 * (time.perf_counter() - start))
        return {name: values[WARM_UP:] for name, values in durations.items()}

    measure()
'''


def rows() -> list[Row]:
    """Measure and return the rows."""
    with tempfile.TemporaryDirectory() as folder, running_sandbox() as sandbox:
        dag_file = Path(folder) / "round_trips.py"
        dag_file.write_text(_DAG)
        (home := Path(folder) / "airflow").mkdir()
        with airflow_with_sandbox(home, [dag_file], sandbox) as airflow:
            airflow.wait_for_dags({"round_trips"})
            run_id = airflow.trigger("round_trips")
            run = airflow.wait_for_run("round_trips", run_id)
            durations = airflow.xcom(run, "measure")
    return [
        Row("save the record of an export in the task state store (quartiles)", "ms", quartiles(durations["save"])),
        Row("load the record of an export from the task state store (quartiles)", "ms", quartiles(durations["load"])),
    ]
