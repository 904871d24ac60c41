"""Schedules that exist since Airflow 3.2, or that a DAG file imports from the Task SDK since then."""

from datetime import UTC, datetime

from airflow.sdk import DAG, CronPartitionTimetable, MultipleCronTriggerTimetable

from airflow_provider_crux.operators.orders import CruxOrdersExportOperator

with DAG(
    "e2e_multiple_cron",
    schedule=MultipleCronTriggerTimetable("0 6 * * *", "30 18 * * *", timezone="UTC"),
    start_date=datetime(2025, 8, 10, 6, tzinfo=UTC),
    end_date=datetime(2025, 8, 10, 19, tzinfo=UTC),
    catchup=True,
):
    CruxOrdersExportOperator(task_id="export")

# Each midnight it is the turn of the partition of the day before.
with DAG(
    "e2e_partition",
    schedule=CronPartitionTimetable("0 0 * * *", timezone="UTC", run_offset=-1),
    start_date=datetime(2025, 9, 10, tzinfo=UTC),
    end_date=datetime(2025, 9, 11, tzinfo=UTC),
    catchup=True,
):
    CruxOrdersExportOperator(task_id="export")
