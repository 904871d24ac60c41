"""One mapped task per status."""

from __future__ import annotations

import pendulum
from airflow.providers.common.compat.sdk import DAG

from airflow_provider_crux.operators.orders import CruxOrdersExportOperator

with DAG("mapped", schedule="@daily", start_date=pendulum.datetime(2026, 1, 1), catchup=False) as dag:
    CruxOrdersExportOperator.partial(task_id="export", status_conjunction="only").expand(
        line_item_status=[["unallocated"], ["rejected"]]
    )
