"""An export whose number of retries the test lowers by editing a copy of this file."""

from datetime import UTC, datetime

import airflow
from airflow.providers.common.compat.sdk import DAG

from airflow_provider_crux.operators.orders import CruxOrdersExportOperator

RETRIES = 1
SCHEDULE = "@once" if airflow.__version__.startswith("2.") else None

with DAG("records_fewer_retries", schedule=SCHEDULE, start_date=datetime(2025, 1, 1, tzinfo=UTC)):
    CruxOrdersExportOperator(
        task_id="export",
        interval_start=datetime(2025, 6, 6, tzinfo=UTC),
        interval_end=datetime(2025, 6, 7, tzinfo=UTC),
        retries=RETRIES,
    )
