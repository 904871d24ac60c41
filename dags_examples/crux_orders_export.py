"""Every day: ask Crux Connect for an export of the day's orders, and hand its uuid on to the next task."""

from __future__ import annotations

import pendulum
from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_crux.operators.orders import CruxOrdersExportOperator

with DAG(
    dag_id="crux_orders_export",
    schedule="@daily",
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    doc_md=__doc__,
    tags=["crux"],
) as dag:
    # The interval is the run's data interval or, on Airflow 3 where a daily run has none, the day before it.
    export = CruxOrdersExportOperator(task_id="export_orders", retries=2)

    @task
    def announce(export_uuid: str) -> str:
        """Stand for whatever you do with the export: its uuid is the key to its file."""
        print(f"Crux Connect prepares export {export_uuid}")
        return export_uuid

    announce(export.output)
