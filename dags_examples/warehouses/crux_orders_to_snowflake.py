"""
Merge the orders of the last seven days into a table of Snowflake every day; it holds every order in its latest state.

``STAGE`` is an external stage of Snowflake for the folder: ``CREATE STAGE crux_orders_stage URL =
's3://my-bucket/crux-orders/' STORAGE_INTEGRATION = ...``. The connection ``snowflake_default`` names the database and
the schema of the stage and of both tables.
"""

from __future__ import annotations

from datetime import timedelta

import pendulum
from airflow.providers.common.compat.sdk import DAG, Asset, task
from airflow.providers.common.sql.operators.sql import SQLExecuteQueryOperator
from airflow.providers.snowflake.transfers.copy_into_snowflake import CopyFromExternalStageToSnowflakeOperator

from airflow_provider_crux.operators.orders import CruxOrdersExportOperator
from airflow_provider_crux.tables.statements import merge_statements
from airflow_provider_crux.transfers.crux_to_object_storage import CruxExportToObjectStorageOperator

FOLDER = "s3://aws_default@my-bucket/crux-orders"
STAGE = "crux_orders_stage"
TABLE, STAGED = "crux_orders", "crux_orders_staged"

with DAG(
    dag_id="crux_orders_to_snowflake",
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
        sql = merge_statements("snowflake", TABLE, STAGED, columns=file["columns"])
        name = file["path"].rpartition("/")[2]
        return {"files": [name], "tables": sql.stage + sql.prepare, "merge": sql.merge}

    sql = statements(store.output["export_file"])
    tables = SQLExecuteQueryOperator(task_id="make_tables", conn_id="snowflake_default", sql=sql["tables"])
    load = CopyFromExternalStageToSnowflakeOperator(
        task_id="load_file",
        snowflake_conn_id="snowflake_default",
        table=STAGED,
        stage=STAGE,
        files=sql["files"],
        # Otherwise instants shift by the time zone of the session.
        file_format="(TYPE = PARQUET USE_LOGICAL_TYPE = TRUE)",
        copy_options="MATCH_BY_COLUMN_NAME = CASE_INSENSITIVE",
    )
    merge = SQLExecuteQueryOperator(
        task_id="merge_orders",
        conn_id="snowflake_default",
        sql=sql["merge"],
        outlets=[Asset("crux_orders_table")],
    )
    tables >> load >> merge
