"""The simplest DAG: one task without arguments."""

from __future__ import annotations

import pendulum
from airflow.providers.common.compat.sdk import DAG

from airflow_provider_crux.operators.orders import CruxOrdersExportOperator

with DAG("daily", schedule="@daily", start_date=pendulum.datetime(2026, 1, 1), catchup=False) as dag:
    CruxOrdersExportOperator(task_id="export")
