"""A transfer that waits in the triggerer, and an operator whose connection uses a login instead of a token."""

from datetime import UTC, datetime, timedelta

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_crux.operators.orders import CruxOrdersExportOperator
from airflow_provider_crux.transfers.crux_to_object_storage import CruxExportToObjectStorageOperator

# The file of two years is so large that it is uploaded to S3 in several parts.
with DAG("e2e_to_s3", schedule=None, start_date=datetime(2025, 1, 1, tzinfo=UTC)):
    export = CruxOrdersExportOperator(
        task_id="export",
        interval_start=datetime(2018, 1, 1, tzinfo=UTC),
        interval_end=datetime(2020, 1, 1, tzinfo=UTC),
        # On a machine under load, Airflow 3.0 sometimes fails a task before it has started.
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
        retries=2,
        retry_delay=timedelta(seconds=1),
    )
