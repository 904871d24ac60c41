"""DAGs that an asset update triggers (Airflow 2: dataset), alone or in addition to a cron schedule."""

from datetime import UTC, datetime, timedelta

from airflow.providers.common.compat.sdk import DAG, Asset

from airflow_provider_crux.operators.orders import CruxOrdersExportOperator

try:  # the recommended import for DAG files since Airflow 3.2
    from airflow.sdk import AssetOrTimeSchedule, CronTriggerTimetable
except ImportError:
    from airflow.timetables.datasets import DatasetOrTimeSchedule
    from airflow.timetables.trigger import CronTriggerTimetable

    def AssetOrTimeSchedule(timetable, assets):  # noqa: N802 - replaces the class
        return DatasetOrTimeSchedule(timetable=timetable, datasets=assets)


stock = Asset("e2e://stock")
never_updated = Asset("e2e://never-updated")

with DAG("e2e_producer", schedule=None, start_date=datetime(2025, 1, 1, tzinfo=UTC)):
    CruxOrdersExportOperator(
        task_id="export",
        interval_start=datetime(2025, 6, 1, tzinfo=UTC),
        interval_end=datetime(2025, 6, 2, tzinfo=UTC),
        outlets=[stock],
    )

with DAG("e2e_consumer", schedule=[stock], start_date=datetime(2025, 1, 1, tzinfo=UTC)):
    CruxOrdersExportOperator(task_id="export", lookback=timedelta(days=3))

with DAG(
    "e2e_asset_or_time",
    schedule=AssetOrTimeSchedule(timetable=CronTriggerTimetable("0 0 * * *", timezone="UTC"), assets=[never_updated]),
    start_date=datetime(2025, 7, 10, tzinfo=UTC),
    end_date=datetime(2025, 7, 11, tzinfo=UTC),
    catchup=True,
):
    CruxOrdersExportOperator(task_id="export")
    CruxOrdersExportOperator(task_id="export_lookback", lookback=timedelta(days=3))
