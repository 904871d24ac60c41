"""An export that the transfer waits for in the triggerer, and one over a connection that logs in."""

from datetime import UTC, datetime, timedelta

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_crux.operators.orders import CruxOrdersExportOperator
from airflow_provider_crux.transfers.exports import CruxExportToObjectStorageOperator

# two years: a file so large that S3 gets it in parts
with DAG("e2e_to_s3", schedule=None, start_date=datetime(2025, 1, 1, tzinfo=UTC)):
    export = CruxOrdersExportOperator(
        task_id="export",
        interval_start=datetime(2018, 1, 1, tzinfo=UTC),
        interval_end=datetime(2020, 1, 1, tzinfo=UTC),
        # Airflow 3.0 on two busy cores was seen to fail a task that it had not begun
        retries=2,
        retry_delay=timedelta(seconds=1),
    )
    CruxExportToObjectStorageOperator(
        task_id="store",
        export_uuid=export.output,
        path="s3://aws_loopback@exports/orders.csv",
        deferrable=True,
        poll_interval=1,
    )

with DAG("e2e_login", schedule=None, start_date=datetime(2025, 1, 1, tzinfo=UTC)):
    CruxOrdersExportOperator(
        task_id="export",
        interval_start=datetime(2025, 1, 1, tzinfo=UTC),
        interval_end=datetime(2025, 1, 2, tzinfo=UTC),
        wait_for_completion=True,
        deferrable=True,
        poll_interval=1,
        crux_conn_id="crux_login",
    )
