"""
Merge the orders of the last seven days into a table of Databricks every day; it holds every order in its latest state.

``LOCATION`` is the folder as Databricks names it, which must be able to read it. The connection ``databricks_default``
names the SQL warehouse in its extra ``http_path``.
"""

from __future__ import annotations

from datetime import timedelta

import pendulum
from airflow.providers.common.compat.sdk import DAG, Asset, task
from airflow.providers.databricks.operators.databricks_sql import DatabricksCopyIntoOperator, DatabricksSqlOperator

from airflow_provider_crux.operators.orders import CruxOrdersExportOperator
from airflow_provider_crux.tables.statements import merge_statements
from airflow_provider_crux.transfers.crux_to_object_storage import CruxExportToObjectStorageOperator

FOLDER = "s3://aws_default@my-bucket/crux-orders"
LOCATION = "s3://my-bucket/crux-orders"
TABLE, STAGED = "lakehouse.sales.crux_orders", "lakehouse.sales.crux_orders_staged"

with DAG(
    dag_id="crux_orders_to_databricks",
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
        """Return the SQL for the columns of this file."""
        sql = merge_statements("databricks", TABLE, STAGED, columns=file["columns"])
        name = file["path"].rpartition("/")[2]
        return {"file": f"{LOCATION}/{name}", "tables": sql.stage + sql.prepare, "merge": sql.merge}

    sql = statements(store.output["export_file"])
    tables = DatabricksSqlOperator(task_id="make_tables", databricks_conn_id="databricks_default", sql=sql["tables"])
    load = DatabricksCopyIntoOperator(
        task_id="load_file",
        databricks_conn_id="databricks_default",
        table_name=STAGED,
        file_location=sql["file"],
        file_format="PARQUET",
    )
    # Each statement commits, so this is one statement.
    merge = DatabricksSqlOperator(
        task_id="merge_orders",
        databricks_conn_id="databricks_default",
        sql=sql["merge"],
        outlets=[Asset("crux_orders_table")],
    )
    tables >> load >> merge
