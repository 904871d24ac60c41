"""A mapped task with an argument that only Airflow's expansion makes known, and retries that cannot fix it."""

from __future__ import annotations

from datetime import timedelta

import pendulum
from airflow.providers.common.compat.sdk import DAG

from airflow_provider_crux.operators.orders import CruxOrdersExportOperator

with DAG("mapped_invalid", schedule="@daily", start_date=pendulum.datetime(2026, 1, 1), catchup=False) as dag:
    CruxOrdersExportOperator.partial(task_id="export", retries=2, retry_delay=timedelta(0)).expand(limit=[-1])
