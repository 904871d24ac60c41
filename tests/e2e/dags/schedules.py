"""One DAG for each way to be due by the clock, and one that never is.

Every scheduled DAG is due twice, at dates long past, and exports a month of its own: the interval that the sandbox was
asked for tells which DAG asked.
"""

from datetime import UTC, datetime, timedelta

from airflow.providers.common.compat.sdk import DAG, Param

from airflow_provider_crux.operators.orders import CruxOrdersExportOperator

try:  # since 3.2 the place that a DAG file is meant to import from
    from airflow.sdk import CronTriggerTimetable
except ImportError:
    from airflow.timetables.trigger import CronTriggerTimetable

with DAG(
    "e2e_daily",
    schedule="@daily",
    start_date=datetime(2025, 1, 10, tzinfo=UTC),
    end_date=datetime(2025, 1, 11, tzinfo=UTC),
    catchup=True,
):
    CruxOrdersExportOperator(task_id="export")

with DAG(
    "e2e_six_hours",
    schedule=timedelta(hours=6),
    start_date=datetime(2025, 2, 10, tzinfo=UTC),
    end_date=datetime(2025, 2, 10, 6, tzinfo=UTC),
    catchup=True,
):
    CruxOrdersExportOperator(task_id="export")

# Midnight in Berlin, before and after the night of 30 March, when that day lost an hour.
with DAG(
    "e2e_berlin",
    schedule=CronTriggerTimetable("0 0 * * *", timezone="Europe/Berlin"),
    start_date=datetime(2025, 3, 29, 23, tzinfo=UTC),
    end_date=datetime(2025, 3, 30, 22, tzinfo=UTC),
    catchup=True,
):
    CruxOrdersExportOperator(task_id="export")

with DAG(
    "e2e_mapped",
    schedule="@daily",
    start_date=datetime(2025, 4, 10, tzinfo=UTC),
    end_date=datetime(2025, 4, 11, tzinfo=UTC),
    catchup=True,
):
    CruxOrdersExportOperator.partial(task_id="export").expand(line_item_status=[["unallocated"], ["rejected"]])

with DAG(
    "e2e_manual",
    schedule=None,
    start_date=datetime(2025, 1, 1, tzinfo=UTC),
    params={
        "interval_start": Param(None, type=["null", "string"], format="date-time"),
        "interval_end": Param(None, type=["null", "string"], format="date-time"),
    },
):
    CruxOrdersExportOperator(
        task_id="export",
        interval_start="{{ params.interval_start }}",
        interval_end="{{ params.interval_end }}",
        start=0,
        limit=99,
        sort={"key": "date", "dir": "asc"},
        line_item_status=["unallocated", "backordered"],
        status_conjunction="or",
    )
