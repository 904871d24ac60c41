"""Schedules that a DAG file can import from the Task SDK since Airflow 3.2."""

from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG, MultipleCronTriggerTimetable

from airflow_provider_crux.operators.orders import CruxOrdersExportOperator

with DAG(
    "e2e_multiple_cron",
    schedule=MultipleCronTriggerTimetable("0 6 * * *", "30 18 * * *", timezone="UTC"),
    start_date=datetime(2025, 8, 10, 6, tzinfo=UTC),
    end_date=datetime(2025, 8, 10, 19, tzinfo=UTC),
    catchup=True,
):
    CruxOrdersExportOperator(task_id="export")
    CruxOrdersExportOperator(task_id="export_lookback", lookback=timedelta(days=3))
