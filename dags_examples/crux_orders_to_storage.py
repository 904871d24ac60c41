"""
Export the orders of each day, wait in the triggerer, and store the file. Its asset event starts a second DAG.

The Airflow variable ``crux_orders_folder`` names the folder: abfs://conn_id@container/orders, gs://conn_id@bucket/orders,
s3://conn_id@bucket/orders or file:///data/orders.
"""

from __future__ import annotations

import pendulum
from airflow.providers.common.compat.sdk import DAG, Asset, task

from airflow_provider_crux.operators.orders import CruxOrdersExportOperator
from airflow_provider_crux.transfers.crux_to_object_storage import CruxExportToObjectStorageOperator

ORDERS = Asset("crux_orders")

FOLDER = "{{ var.value.get('crux_orders_folder', 'file:///tmp/crux-orders') }}"

with DAG(
    dag_id="crux_orders_to_storage",
    schedule="@daily",
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    doc_md=__doc__,
    tags=["crux"],
) as dag:
    export = CruxOrdersExportOperator(
        task_id="export_orders",
        wait_for_completion=True,
        deferrable=True,
        retries=2,
    )
    CruxExportToObjectStorageOperator(
        task_id="store_orders",
        export_uuid=export.output,
        # One file per day, named after the first day of the interval, so a repeated run replaces its own file.
        path=f"{FOLDER}/{{interval_start:%Y-%m-%d}}.csv",
        overwrite=True,
        retries=2,
        outlets=[ORDERS],
    )

with DAG(
    dag_id="crux_orders_arrived",
    schedule=[ORDERS],
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    doc_md=__doc__,
    tags=["crux"],
) as arrived:

    @task
    def announce(**context) -> list[str]:
        """Replace this task with your own: the event says how many rows were stored, and for which interval."""
        # Airflow 3 and Airflow 2 use different names.
        triggering = context.get("triggering_asset_events") or context.get("triggering_dataset_events") or {}
        messages = [
            f"{event.extra['rows']} rows from {event.extra['interval_start']} to {event.extra['interval_end']}"
            for events in triggering.values()
            for event in events
        ]
        print(*messages, sep="\n")
        return messages

    announce()
