"""
Merge the orders of the last seven days into a table every day; it holds every order once, in its latest state.

The Airflow variable ``crux_orders_conn_id`` names the connection to PostgreSQL or SQLite (default
``postgres_default``).
"""

from __future__ import annotations

from datetime import timedelta

import pendulum
from airflow.providers.common.compat.sdk import DAG, Asset

from airflow_provider_crux.operators.orders import CruxOrdersExportOperator
from airflow_provider_crux.transfers.crux_to_sql import CruxExportToSqlOperator

with DAG(
    dag_id="crux_orders_to_table",
    schedule="@daily",
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    doc_md=__doc__,
    tags=["crux"],
) as dag:
    export = CruxOrdersExportOperator(
        task_id="export_orders",
        # An order changes after its day is over: it is allocated, then gets tracking numbers, or is canceled.
        lookback=timedelta(days=7),
        # Without orders there is no export, so nobody gets an e-mail.
        skip_if_no_orders=True,
        wait_for_completion=True,
        deferrable=True,
        retries=2,
    )
    CruxExportToSqlOperator(
        task_id="load_orders",
        export_uuid=export.output,
        conn_id="{{ var.value.get('crux_orders_conn_id', 'postgres_default') }}",
        # The exports overlap; the rows of an order are replaced together.
        table="crux_orders",
        # When each order came, its status and its tracking numbers are not in the file, but in the list of orders.
        order_details="if_available",
        retries=2,
        outlets=[Asset("crux_orders_table")],
    )
