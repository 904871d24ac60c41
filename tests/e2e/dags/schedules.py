"""One DAG for each kind of time-based schedule, and one DAG without a schedule.

Each scheduled DAG has two runs in the past and exports dates in its own month, so that the interval of a request tells
which DAG sent it. In addition, each run exports with `lookback`. `e2e_today` has one scheduled run, which is due today.
"""

from datetime import UTC, datetime, timedelta

from airflow.providers.common.compat.sdk import DAG, Param

from airflow_provider_crux.operators.orders import CruxOrdersExportOperator

try:  # the recommended import for DAG files since Airflow 3.2
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
    CruxOrdersExportOperator(task_id="export_lookback", lookback=timedelta(days=3))

with DAG(
    "e2e_six_hours",
    schedule=timedelta(hours=6),
    start_date=datetime(2025, 2, 10, tzinfo=UTC),
    end_date=datetime(2025, 2, 10, 6, tzinfo=UTC),
    catchup=True,
):
    CruxOrdersExportOperator(task_id="export")
    CruxOrdersExportOperator(task_id="export_lookback", lookback=timedelta(days=3))

# Midnight in Berlin, before and after daylight saving time starts on 30 March.
with DAG(
    "e2e_berlin",
    schedule=CronTriggerTimetable("0 0 * * *", timezone="Europe/Berlin"),
    start_date=datetime(2025, 3, 29, 23, tzinfo=UTC),
    end_date=datetime(2025, 3, 30, 22, tzinfo=UTC),
    catchup=True,
):
    CruxOrdersExportOperator(task_id="export")
    CruxOrdersExportOperator(task_id="export_lookback", lookback=timedelta(days=3))

with DAG("e2e_today", schedule="@daily", start_date=datetime(2026, 1, 1, tzinfo=UTC), catchup=False):
    CruxOrdersExportOperator(task_id="export")
    CruxOrdersExportOperator(task_id="export_lookback", lookback=timedelta(days=3))

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
