"""Partitions. Airflow 3.2 has them too, but a task gets only the key of its partition, not the date."""

from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG, Asset, CronPartitionTimetable, PartitionedAssetTimetable, task

from airflow_provider_crux.operators.orders import CruxOrdersExportOperator
from airflow_provider_crux.transfers.crux_to_object_storage import CruxExportToObjectStorageOperator

stored_partition = Asset("e2e://stored-partition")

# Each midnight, this schedule starts the run of the previous day's partition.
with DAG(
    "e2e_partition",
    schedule=CronPartitionTimetable("0 0 * * *", timezone="UTC", run_offset=-1),
    start_date=datetime(2025, 9, 10, tzinfo=UTC),
    end_date=datetime(2025, 9, 11, tzinfo=UTC),
    catchup=True,
):
    export = CruxOrdersExportOperator(task_id="export")
    CruxOrdersExportOperator(task_id="export_lookback", lookback=timedelta(days=3))
    CruxExportToObjectStorageOperator(
        task_id="store",
        export_uuid=export.output,
        path="{{ var.value.crux_orders_folder }}/partition-{{ dag_run.partition_key }}.csv",
        overwrite=True,
        poll_interval=1,
        outlets=[stored_partition],
    )

# With Airflow's default, run_offset=0, a run starts when its partition begins. This one is for the present year.
with DAG(
    "e2e_partition_unfinished",
    schedule=CronPartitionTimetable("0 0 1 1 *", timezone="UTC"),
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
):
    CruxOrdersExportOperator(task_id="export", retries=3)
    CruxOrdersExportOperator(task_id="export_lookback", lookback=timedelta(days=3))

# Airflow passes the partition of the run that stored a file on to the event of the asset.
with DAG(
    "e2e_partition_consumer",
    schedule=PartitionedAssetTimetable(assets=stored_partition),
    start_date=datetime(2025, 1, 1, tzinfo=UTC),
):

    @task
    def read(dag_run=None, triggering_asset_events=None):
        """Return the partition of the run, and the first days of the intervals in the events that started it."""
        events = [event for events in triggering_asset_events.values() for event in events]
        return {
            "partition_key": dag_run.partition_key,
            "intervals": [[event.extra["interval_start"], event.extra["interval_end"]] for event in events],
        }

    read()
