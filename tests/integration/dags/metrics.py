"""
Tasks one after the other, with a different fate each: the test decides what Crux Connect does.

As a program, it runs the DAG with ``dag.test()``, in a process of its own, because Airflow reads the settings of its
metrics once.
"""

from __future__ import annotations

import sys
from datetime import timedelta
from typing import Any

import pendulum
from airflow.providers.common.compat.sdk import DAG

from airflow_provider_crux.operators.orders import CruxOrdersExportOperator
from airflow_provider_crux.sensors.exports import CruxExportSensor
from airflow_provider_crux.transfers.crux_to_object_storage import CruxExportToObjectStorageOperator


def fail_in_first_try(context: Any, result: object = None) -> None:
    """Fail the first try after its export was requested."""
    if context["ti"].try_number == 1:
        raise RuntimeError("the first try fails")


with DAG("metrics", schedule="@daily", start_date=pendulum.datetime(2026, 1, 1), catchup=False) as dag:
    always: dict[str, Any] = {"trigger_rule": "all_done"}
    waits: dict[str, Any] = {"wait_for_completion": True, "poll_interval": 0.1, **always}
    ambiguous = CruxOrdersExportOperator(task_id="ambiguous", on_ambiguous="fail", retries=3)
    failed = CruxOrdersExportOperator(task_id="failed", **waits)
    waiting = CruxOrdersExportOperator(task_id="waiting", **waits)
    deferred = CruxOrdersExportOperator(task_id="deferred", deferrable=True, **waits)
    export = CruxOrdersExportOperator(
        task_id="export", retries=1, retry_delay=timedelta(0), post_execute=fail_in_first_try, **always
    )
    sense = CruxExportSensor(task_id="sense", export_uuid=export.output, poke_interval=0.1)
    folder = "{{ var.value.crux_orders_folder }}"
    broken = CruxExportToObjectStorageOperator(
        task_id="broken", export_uuid=export.output, path=f"{folder}/broken.csv", overwrite=True
    )
    store = CruxExportToObjectStorageOperator(
        task_id="store", export_uuid=export.output, path=f"{folder}/orders.csv", overwrite=True
    )
    ambiguous >> failed >> waiting >> deferred >> export >> sense >> broken >> store

if __name__ == "__main__":
    from airflow_provider_crux.task import waiting as module

    # dag.test() runs the trigger itself, so that it can resume the task at once
    module.MIN_RESUME_DELAY = 0.0
    dag.test(pendulum.parse(sys.argv[1]))
