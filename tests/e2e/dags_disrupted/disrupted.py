"""
Exports whose tries a server disrupts, see `disrupted_api.py`. The logical date of a run identifies it in its requests.

A try tells the server that it begins, so that the server knows its processes, and when `execute` is called.
"""

import json
import os
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_crux.operators.orders import CruxOrdersExportOperator

# They list the orders, which sends a request right before the export is requested, and poll right after it.
WATCHED = {"skip_if_no_orders": True, "wait_for_completion": True, "deferrable": False, "poll_interval": 1}
SHAPES = {
    "plain": {},
    "watched": WATCHED,
    "timed": {**WATCHED, "execution_timeout": timedelta(seconds=float(os.environ["CRUX_DISRUPTED_TIMEOUT"]))},
}


def announce_try(context):
    """Tell the server which process runs which try."""
    task_instance = context["ti"]
    body = {
        "run": task_instance.run_id,
        "try_number": task_instance.try_number,
        "pid": os.getpid(),
        "logical_date": context["logical_date"].isoformat(),
    }
    connection = HTTPConnection("127.0.0.1", int(os.environ["CRUX_DISRUPTED_PORT"]), timeout=30)
    connection.request("POST", "/tries/", json.dumps(body))
    connection.getresponse().read()
    connection.close()


for policy in ("fail", "retry"):
    for shape, arguments in SHAPES.items():
        with DAG(
            f"disrupted_{policy}_{shape}",
            schedule=None,
            start_date=datetime(2024, 1, 1, tzinfo=UTC),
            max_active_runs=500,
            max_active_tasks=500,
        ):
            CruxOrdersExportOperator(
                task_id="export",
                lookback=timedelta(minutes=1),
                on_ambiguous=policy,
                retries=2,
                retry_delay=timedelta(seconds=1),
                pre_execute=announce_try,
                **arguments,
            )
