"""A TaskFlow task that receives the UUID and the interval of the export."""

from __future__ import annotations

import pendulum
from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_crux.operators.orders import CruxOrdersExportOperator

RECEIVED: list[tuple[str, dict]] = []

with DAG("taskflow", schedule="@daily", start_date=pendulum.datetime(2026, 1, 1), catchup=False) as dag:
    export = CruxOrdersExportOperator(task_id="export")

    @task
    def use(export_uuid: str, interval: dict) -> None:
        RECEIVED.append((export_uuid, interval))

    use(export.output, export.output["export_interval"])
