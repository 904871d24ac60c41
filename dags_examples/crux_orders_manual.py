"""Choose the orders in a form, export them and store the file. All fields of the form are optional."""

from __future__ import annotations

from datetime import timedelta

import pendulum
from airflow.providers.common.compat.sdk import DAG, Asset

from airflow_provider_crux.operators.orders import CruxOrdersExportOperator
from airflow_provider_crux.params import orders_export_params
from airflow_provider_crux.transfers.crux_to_object_storage import CruxExportToObjectStorageOperator

with DAG(
    dag_id="crux_orders_manual",
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    params=orders_export_params(),
    doc_md="""
        ### Export orders manually

        Trigger this DAG, and choose an interval and filters in the form. If you leave the interval empty, it exports
        the last day before the run. It stores the file in the folder that the Airflow variable `crux_orders_folder`
        names (default `file:///tmp/crux-orders`), under the UUID of the export.
        **Each run e-mails the user to whom the token belongs.**
        """,
    tags=["crux"],
) as dag:
    export = CruxOrdersExportOperator(
        task_id="export_orders",
        lookback=timedelta(days=1),
        wait_for_completion=True,
        deferrable=True,
    )
    CruxExportToObjectStorageOperator(
        task_id="store_orders",
        export_uuid=export.output,
        path="{{ var.value.get('crux_orders_folder', 'file:///tmp/crux-orders') }}/{export_uuid}.csv",
        overwrite=True,
        retries=2,
        outlets=[Asset("crux_orders_by_hand")],
    )
