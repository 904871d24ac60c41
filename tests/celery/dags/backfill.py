"""Exports and stores the orders of each day. A pool and task limits keep a long backfill from overloading anything."""

from datetime import UTC, datetime, timedelta

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_crux.operators.orders import CruxOrdersExportOperator
from airflow_provider_crux.transfers.crux_to_object_storage import CruxExportToObjectStorageOperator

with DAG(
    "celery_backfill",
    schedule="@daily",
    start_date=datetime(2020, 1, 1, tzinfo=UTC),
    catchup=False,
    # Not paused, but with an end date in the past: only the backfill creates runs.
    is_paused_upon_creation=False,
    end_date=datetime(2025, 12, 31, tzinfo=UTC),
    default_args={"retries": 5, "retry_delay": timedelta(seconds=5)},
):
    export = CruxOrdersExportOperator(
        task_id="export_orders",
        wait_for_completion=True,
        deferrable=True,
        poll_interval=3,
        pool="crux",
    )
    CruxExportToObjectStorageOperator(
        task_id="store_orders",
        export_uuid=export.output,
        path="{{ var.value.crux_orders_folder }}/{interval_start:%Y-%m-%d}.csv",
        overwrite=True,
        max_active_tis_per_dag=4,
    )
