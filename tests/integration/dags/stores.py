"""Tasks that store exports, each in another way downstream of the task that requests them."""

from __future__ import annotations

import os
from datetime import datetime

from airflow.providers.common.compat.sdk import DAG, BaseOperator

from airflow_provider_crux.operators.orders import CruxOrdersExportOperator
from airflow_provider_crux.transfers.crux_to_object_storage import CruxExportToObjectStorageOperator

FOLDER = f"file://{os.environ['STORES_FOLDER']}"
DAYS = ("1990-01-01", "2026-01-02", "1990-01-03", "2026-01-04", "2026-01-05")
INTERVALS = [{"interval_start": f"{day}T00:00:00Z", "interval_end": f"{day}T12:00:00Z"} for day in DAYS]


class Nothing(BaseOperator):
    """Do nothing."""

    def execute(self, context):
        """Do nothing."""


with DAG("stores", schedule=None, start_date=datetime(2026, 1, 1)) as dag:
    other = Nothing(task_id="another_task")

    mapped = CruxOrdersExportOperator.partial(task_id="mapped_export", skip_if_no_orders=True).expand_kwargs(INTERVALS)
    mapped_store = CruxExportToObjectStorageOperator.partial(
        task_id="mapped_store",
        path=f"{FOLDER}/mapped-{{interval_start:%Y-%m-%d}}.csv",
        manifest=True,
        trigger_rule="none_failed",
    ).expand(export_uuid=mapped.output)
    CruxExportToObjectStorageOperator.partial(
        task_id="store_of_several_arguments", manifest=True, trigger_rule="none_failed"
    ).expand(
        export_uuid=mapped.output,
        path=[f"{FOLDER}/{name}-{{interval_start:%Y-%m-%d}}.csv" for name in ("one", "two")],
    )

    export = CruxOrdersExportOperator(task_id="export", **INTERVALS[-1])
    store = CruxExportToObjectStorageOperator(
        task_id="store", export_uuid=export.output, path=f"{FOLDER}/output-{{interval_start:%Y-%m-%d}}.csv"
    )
    template = CruxExportToObjectStorageOperator(
        task_id="store_of_template",
        export_uuid="{{ ti.xcom_pull('export') }}",
        path=f"{FOLDER}/template-{{interval_start:%Y-%m-%d}}.csv",
    )
    export >> template
    other >> [mapped_store, store, template]
