"""What is downstream of a lookback and of filled gaps: DAGs that run once for each day that was stored again."""

from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG, Asset, CronPartitionTimetable, PartitionedAssetTimetable, PartitionedAtRuntime, task

from airflow_provider_crux.operators.orders import CruxOrdersExportOperator
from airflow_provider_crux.transfers.crux_to_object_storage import CruxExportToObjectStorageOperator

FOLDER = "{{ var.value.crux_orders_folder }}"
START_DATE = datetime(2025, 1, 1, tzinfo=UTC)
looked_back, filled, plain = (Asset(f"observed://{name}") for name in ("looked-back", "filled", "plain"))


def store(export, asset, mapped=False):
    """Store each export in a file of its own, and tell who reads the asset."""
    arguments = {"task_id": "store", "path": FOLDER + "/{dag_id}/{export_uuid}.csv", "outlets": [asset]}
    if mapped:
        return CruxExportToObjectStorageOperator.partial(**arguments).expand(export_uuid=export.output)
    return CruxExportToObjectStorageOperator(export_uuid=export.output, **arguments)


with DAG(
    "partitions_lookback",
    schedule=CronPartitionTimetable("0 0 * * *", timezone="Europe/Berlin", run_offset=-1, key_format="%Y-%m-%d"),
    start_date=datetime(2025, 9, 9, 22, tzinfo=UTC),
    end_date=datetime(2025, 9, 9, 22, tzinfo=UTC),
    catchup=True,
):
    store(CruxOrdersExportOperator(task_id="export", lookback=timedelta(days=3)), looked_back)

# The schedule of a DAG that is triggered, and whose tasks say which partitions they store.
with DAG("partitions_filled", schedule=PartitionedAtRuntime(), start_date=START_DATE):
    gaps = [
        {"interval_start": "2025-07-01T00:00:00Z", "interval_end": "2025-07-02T00:00:00Z"},
        {"interval_start": "2025-07-05T18:00:00Z", "interval_end": "2025-07-07T06:00:00Z"},
    ]
    store(CruxOrdersExportOperator.partial(task_id="export").expand_kwargs(gaps), filled, mapped=True)

with DAG("partitions_plain", schedule=None, start_date=START_DATE):
    store(CruxOrdersExportOperator(task_id="export", lookback=timedelta(days=3)), plain)

for name, asset in {"looked_back": looked_back, "filled": filled}.items():
    with DAG(f"reads_{name}", schedule=PartitionedAssetTimetable(assets=asset), start_date=START_DATE):

        @task
        def read(dag_run=None, triggering_asset_events=None):
            """Return the partition, and how many events started its run."""
            return [dag_run.partition_key, sum(map(len, triggering_asset_events.values()))]

        read()

with DAG("reads_plain", schedule=[plain], start_date=START_DATE):

    @task
    def read_all():
        """Do nothing."""

    read_all()
