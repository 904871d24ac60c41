"""A task whose first try fails when Airflow pushes the return value."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pendulum
from airflow.providers.common.compat.sdk import DAG

from airflow_provider_crux.operators.orders import CruxOrdersExportOperator


class Unserializable:
    """A value that XCom does not accept."""


class FailingAfterExecute(CruxOrdersExportOperator):
    """The operator, whose first try returns a value that Airflow cannot push."""

    def execute(self, context: Any) -> Any:
        uuid = super().execute(context)
        return Unserializable() if context["ti"].try_number == 1 else uuid


with DAG("failing_after_execute", schedule="@daily", start_date=pendulum.datetime(2026, 1, 1), catchup=False) as dag:
    FailingAfterExecute(task_id="export", retries=1, retry_delay=timedelta(0))
