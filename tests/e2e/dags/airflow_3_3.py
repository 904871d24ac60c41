"""Partitions. Airflow 3.2 has them too, but a task gets only the key of its partition, not the date."""

from datetime import UTC, datetime

from airflow.sdk import DAG, CronPartitionTimetable

from airflow_provider_crux.operators.orders import CruxOrdersExportOperator

# Each midnight, this schedule starts the run of the previous day's partition.
with DAG(
    "e2e_partition",
    schedule=CronPartitionTimetable("0 0 * * *", timezone="UTC", run_offset=-1),
    start_date=datetime(2025, 9, 10, tzinfo=UTC),
    end_date=datetime(2025, 9, 11, tzinfo=UTC),
    catchup=True,
):
    CruxOrdersExportOperator(task_id="export")
