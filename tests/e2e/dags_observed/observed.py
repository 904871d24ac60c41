"""A task of each class, whose lineage and metrics the test receives."""

from datetime import UTC, datetime
from typing import Any

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_crux.operators.coverage import CruxExportCoverageOperator
from airflow_provider_crux.operators.orders import CruxOrdersExportOperator
from airflow_provider_crux.sensors.exports import CruxExportSensor
from airflow_provider_crux.transfers.crux_to_object_storage import CruxExportToObjectStorageOperator

FOLDER = "{{ var.value.crux_orders_folder }}"
START, END = datetime(2025, 6, 1, tzinfo=UTC), datetime(2025, 6, 2, tzinfo=UTC)

with DAG("observed", schedule=None, start_date=datetime(2025, 1, 1, tzinfo=UTC)):
    export = CruxOrdersExportOperator(
        task_id="export", interval_start=START, interval_end=END, wait_for_completion=True, deferrable=True
    )
    sense = CruxExportSensor(task_id="sense", export_uuid=export.output, deferrable=False)
    store = CruxExportToObjectStorageOperator(
        task_id="store",
        export_uuid=export.output,
        path=FOLDER + "/observed/{dag_id}.parquet",
        file_format="parquet",
        personal_data="hash",
        manifest=True,
    )
    later = CruxOrdersExportOperator(task_id="later", interval_start=START, interval_end=END)
    store_later = CruxExportToObjectStorageOperator(
        task_id="store_later",
        export_uuid=later.output,
        path=FOLDER + "/later/{interval_start:%Y-%m-%d}.csv",
        deferrable=True,
    )
    arguments: dict[str, Any] = {"export_uuid": later.output, "path": FOLDER + "/later/2025-06-01.csv"}
    exists = CruxExportToObjectStorageOperator(task_id="exists", **arguments)
    cover = CruxExportCoverageOperator(
        task_id="cover",
        path=FOLDER + "/observed/",
        since=START,
        until=END,
        skip_if_no_orders=True,
        trigger_rule="all_done",
    )
    export >> sense >> store >> later >> store_later >> exists >> cover
