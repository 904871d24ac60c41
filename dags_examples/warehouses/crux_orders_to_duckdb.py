"""
Merge the orders of the last seven days into a table of DuckDB every day; it holds every order in its latest state.

The Airflow variables ``crux_orders_folder`` and ``crux_orders_duckdb`` name the folder of the files and the database.
The worker needs the package ``duckdb``, and for a folder on S3 DuckDB's own extension and secret.
"""

from __future__ import annotations

import re
from datetime import timedelta

import pendulum
from airflow.providers.common.compat.sdk import DAG, Asset, task

from airflow_provider_crux.operators.orders import CruxOrdersExportOperator
from airflow_provider_crux.tables.statements import merge_statements
from airflow_provider_crux.transfers.crux_to_object_storage import CruxExportToObjectStorageOperator

FOLDER = "{{ var.value.get('crux_orders_folder', 'file:///tmp/crux-orders') }}"
DATABASE = "{{ var.value.get('crux_orders_duckdb', '/tmp/crux-orders.duckdb') }}"

with DAG(
    dag_id="crux_orders_to_duckdb",
    schedule="@daily",
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    # Only one process at a time can write to the database.
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

    @task(outlets=[Asset("crux_orders_table")])
    def merge_orders(file: dict, database: str) -> None:
        """Load the file into the staging table, and merge it."""
        import duckdb

        # DuckDB knows neither file:// nor the connection in s3://aws_default@my-bucket
        path = re.sub(r"(?<=://)[^/]*@", "", file["path"]).removeprefix("file://")
        sql = merge_statements("duckdb", "crux_orders", "crux_orders_staged", columns=file["columns"])
        # by name, and without columns that a folder such as dt=2026-01-02 would add
        load = "INSERT INTO crux_orders_staged BY NAME SELECT * FROM read_parquet(?, hive_partitioning = false)"
        with duckdb.connect(database) as connection:
            for statement in sql.stage:
                connection.execute(statement)
            connection.execute(load, [path])
            for statement in [*sql.prepare, *sql.merge]:
                connection.execute(statement)

    merge_orders(store.output["export_file"], DATABASE)
