"""Exports the orders of each day and stores them, so politely that a backfill of many days troubles nobody."""

from datetime import UTC, datetime, timedelta

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_crux.operators.orders import CruxOrdersExportOperator
from airflow_provider_crux.transfers.exports import CruxExportToObjectStorageOperator

DAY = "{{ ti.xcom_pull(task_ids='export_orders', key='export_window')['interval_start'][:10] }}"

with DAG(
    "celery_backfilled",
    schedule="@daily",
    start_date=datetime(2020, 1, 1, tzinfo=UTC),
    catchup=False,
    # only what the backfill asks for runs
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
        path=f"{{{{ var.value.crux_orders_folder }}}}/{DAY}.csv",
        overwrite=True,
        max_active_tis_per_dag=4,
    )
