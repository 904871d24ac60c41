"""
Merge the orders of the last seven days into a table of BigQuery every day; it holds every order in its latest state.

The connection ``google_cloud_default`` must be able to write to the bucket and to the dataset, which must exist.
"""

from __future__ import annotations

from datetime import timedelta

import pendulum
from airflow.providers.common.compat.sdk import DAG, Asset, task
from airflow.providers.google.cloud.operators.bigquery import BigQueryInsertJobOperator
from airflow.providers.google.cloud.transfers.gcs_to_bigquery import GCSToBigQueryOperator

from airflow_provider_crux.operators.orders import CruxOrdersExportOperator
from airflow_provider_crux.tables.statements import merge_statements
from airflow_provider_crux.transfers.crux_to_object_storage import CruxExportToObjectStorageOperator

FOLDER = "gs://google_cloud_default@my-bucket/crux-orders"
BUCKET, PREFIX = "my-bucket", "crux-orders"
TABLE, STAGED = "my-project.sales.crux_orders", "my-project.sales.crux_orders_staged"
LOCATION = "EU"

with DAG(
    dag_id="crux_orders_to_bigquery",
    schedule="@daily",
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    # All runs use one staging table.
    max_active_runs=1,
    default_args={"retries": 2},
    doc_md=__doc__,
    tags=["crux"],
) as dag:
    export = CruxOrdersExportOperator(task_id="export_orders", lookback=timedelta(days=7), skip_if_no_orders=True)
    store = CruxExportToObjectStorageOperator(
        task_id="store_orders",
        export_uuid=export.output,
        path=f"{FOLDER}/{{interval_end:%Y-%m-%d}}.parquet",
        file_format="parquet",
        overwrite=True,
        deferrable=True,
    )

    @task
    def statements(file: dict) -> dict:
        """Return the SQL for the columns of this file, each list as one text."""
        sql = merge_statements("bigquery", TABLE, STAGED, columns=file["columns"])
        name = file["path"].rpartition("/")[2]
        # The load makes the staging table itself, so sql.stage is not needed.
        return {"file": f"{PREFIX}/{name}", "table": ";\n".join(sql.prepare), "merge": ";\n".join(sql.merge)}

    sql = statements(store.output["export_file"])
    load = GCSToBigQueryOperator(
        task_id="load_file",
        gcp_conn_id="google_cloud_default",
        location=LOCATION,
        bucket=BUCKET,
        source_objects=[sql["file"]],
        source_format="PARQUET",
        destination_project_dataset_table=STAGED,
        # Otherwise the second load would fail.
        write_disposition="WRITE_TRUNCATE",
    )
    table = BigQueryInsertJobOperator(
        task_id="make_table",
        gcp_conn_id="google_cloud_default",
        location=LOCATION,
        configuration={"query": {"query": sql["table"], "useLegacySql": False}},
    )
    merge = BigQueryInsertJobOperator(
        task_id="merge_orders",
        gcp_conn_id="google_cloud_default",
        location=LOCATION,
        configuration={"query": {"query": sql["merge"], "useLegacySql": False}},
        outlets=[Asset("crux_orders_table")],
    )
    [load, table] >> merge
