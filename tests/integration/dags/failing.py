"""A task that fails after its request."""

from __future__ import annotations

import pendulum
from airflow.providers.common.compat.sdk import DAG

from airflow_provider_crux.operators.orders import CruxOrdersExportOperator


class Failing(CruxOrdersExportOperator):
    """The operator, which fails after the request."""

    def _finish(self, *_: object) -> str:
        raise RuntimeError("the disk is full")


with DAG("failing", schedule="@daily", start_date=pendulum.datetime(2026, 1, 1), catchup=False) as dag:
    Failing(task_id="export")
