"""
Merge the orders of the last seven days into a table of Redshift every day; it holds every order in its latest state.

The connection ``aws_redshift`` has one extra, ``{"role_arn": "..."}``: the role with which Redshift reads the bucket.
Without it, the keys of a connection become part of the SQL.
"""

from __future__ import annotations

from datetime import timedelta

import pendulum
from airflow.providers.amazon.aws.transfers.s3_to_redshift import S3ToRedshiftOperator
from airflow.providers.common.compat.sdk import DAG, Asset, task
from airflow.providers.common.sql.operators.sql import SQLExecuteQueryOperator

from airflow_provider_crux.operators.orders import CruxOrdersExportOperator
from airflow_provider_crux.tables.statements import merge_statements
from airflow_provider_crux.transfers.crux_to_object_storage import CruxExportToObjectStorageOperator

FOLDER = "s3://aws_default@my-bucket/crux-orders"
BUCKET, PREFIX = "my-bucket", "crux-orders"
SCHEMA, TABLE, STAGED = "public", "crux_orders", "crux_orders_staged"

with DAG(
    dag_id="crux_orders_to_redshift",
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
        sql = merge_statements("redshift", f"{SCHEMA}.{TABLE}", f"{SCHEMA}.{STAGED}", columns=file["columns"])
        name = file["path"].rpartition("/")[2]
        return {"file": f"{PREFIX}/{name}", "tables": sql.stage + sql.prepare, "merge": sql.merge}

    sql = statements(store.output["export_file"])
    tables = SQLExecuteQueryOperator(task_id="make_tables", conn_id="redshift_default", sql=sql["tables"])
    load = S3ToRedshiftOperator(
        task_id="load_file",
        redshift_conn_id="redshift_default",
        aws_conn_id="aws_redshift",
        s3_bucket=BUCKET,
        s3_key=sql["file"],
        schema=SCHEMA,
        table=STAGED,
        # Empties the staging table first. UPSERT would replace newer rows by older ones.
        method="REPLACE",
        copy_options=["FORMAT AS PARQUET"],
    )
    # A list is one transaction.
    merge = SQLExecuteQueryOperator(
        task_id="merge_orders",
        conn_id="redshift_default",
        sql=sql["merge"],
        outlets=[Asset("crux_orders_table")],
    )
    tables >> load >> merge
