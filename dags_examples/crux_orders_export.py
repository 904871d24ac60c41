"""Export the orders of each day, and pass the UUID of the export to the next task."""

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
    # Exports the run's data interval. On Airflow 3 the data interval of a daily run has no length: the run exports the
    # day before.
    export = CruxOrdersExportOperator(task_id="export_orders", retries=2)

    @task
    def announce(export_uuid: str) -> str:
        """Replace this task with your own: the UUID identifies the export and its file."""
        print(f"Crux Connect prepares export {export_uuid}")
        return export_uuid

    announce(export.output)
