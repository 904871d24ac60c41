"""The uuid, and the body that was sent, handed on under TaskFlow."""

from __future__ import annotations

import pendulum
from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_crux.operators.orders import CruxOrdersExportOperator

SEEN: list[tuple[str, dict]] = []

with DAG("taskflow", schedule="@daily", start_date=pendulum.datetime(2026, 1, 1), catchup=False) as dag:
    export = CruxOrdersExportOperator(task_id="export")

    @task
    def use(export_uuid: str, sent: dict) -> None:
        SEEN.append((export_uuid, sent))

    use(export.output, export.output["export_request"])
