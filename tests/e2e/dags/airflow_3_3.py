"""Partitions: Airflow 3.2 has them too, but tells a task only the key of its partition, not its date."""

from datetime import UTC, datetime

from airflow.sdk import DAG, CronPartitionTimetable

from airflow_provider_crux.operators.orders import CruxOrdersExportOperator

# Each midnight it is the turn of the partition of the day before.
with DAG(
    "e2e_partition",
    schedule=CronPartitionTimetable("0 0 * * *", timezone="UTC", run_offset=-1),
    start_date=datetime(2025, 9, 10, tzinfo=UTC),
    end_date=datetime(2025, 9, 11, tzinfo=UTC),
    catchup=True,
):
    CruxOrdersExportOperator(task_id="export")
