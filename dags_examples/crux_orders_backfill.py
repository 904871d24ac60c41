"""
Load the orders of a long time, and export again whatever is missing whenever the DAG runs again.

Intervals without orders are left out: Crux Connect lists them first, which e-mails nobody.

The files are Parquet, below ``history`` in the folder that the Airflow variable ``crux_orders_folder`` names. Personal
data is hashed: set the extra ``hash_key`` of the connection. **Each export e-mails the user to whom the token
belongs.**
"""

from __future__ import annotations

from datetime import timedelta

import pendulum
from airflow.providers.common.compat.sdk import DAG, Asset, Param

from airflow_provider_crux.operators.coverage import CruxExportCoverageOperator
from airflow_provider_crux.operators.orders import CruxOrdersExportOperator
from airflow_provider_crux.transfers.crux_to_object_storage import CruxExportToObjectStorageOperator

FOLDER = "{{ var.value.get('crux_orders_folder', 'file:///tmp/crux-orders') }}/history"

with DAG(
    dag_id="crux_orders_backfill",
    schedule="@daily",
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    # A second run at the same time would export the same intervals again.
    max_active_runs=1,
    params={
        "since": Param("2026-01-01", type="string", format="date", title="From", description="First day to load."),
        "until": Param(
            None, type=["null", "string"], format="date", title="Until", description="Day to end before. Empty: now."
        ),
    },
    default_args={"retries": 2},
    doc_md=__doc__,
    tags=["crux"],
) as dag:
    gaps = CruxExportCoverageOperator(
        task_id="find_gaps",
        path=f"{FOLDER}/",
        since="{{ params.since }}",
        until="{{ params.until }}",
        max_interval=timedelta(days=7),
        skip_if_no_orders=True,
    )
    export = CruxOrdersExportOperator.partial(
        task_id="export_orders",
        # Lists an interval again whose list could not be read before.
        skip_if_no_orders=True,
        # One request after the other: a long time is many exports.
        max_active_tis_per_dag=1,
    ).expand_kwargs(gaps.output)
    store = CruxExportToObjectStorageOperator.partial(
        task_id="store_orders",
        # An interval can start at any second, so the file is named after day and time.
        path=f"{FOLDER}/dt={{interval_start:%Y-%m-%d}}/{{interval_start:%H%M%S}}.parquet",
        file_format="parquet",
        personal_data="hash",
        manifest=True,
        overwrite=True,
        deferrable=True,
        # If one export failed, store the others: the next run requests only what is missing.
        trigger_rule="all_done",
    ).expand(export_uuid=export.output)
    check = CruxExportCoverageOperator(
        task_id="check",
        path=f"{FOLDER}/",
        since="{{ params.since }}",
        # The same end as before. By default it is now, a little later than the end of the last file.
        until=gaps.output["until"],
        fail_on_gap=True,
        skip_if_no_orders=True,
        # If there was no gap, the tasks before are skipped.
        trigger_rule="none_failed",
        # Here, not on the mapped task, of which every index would emit an event: this is one, and nothing is missing.
        outlets=[Asset("crux_orders_history")],
    )
    store >> check
