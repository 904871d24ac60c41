"""Templates in every templated argument, rendered as text or as native objects."""

from __future__ import annotations

import pendulum
from airflow.providers.common.compat.sdk import DAG, Param

from airflow_provider_crux.api.orders import Sort
from airflow_provider_crux.operators.orders import CruxOrdersExportOperator

ARGUMENTS = {
    "interval_start": "{{ dag_run.logical_date - macros.timedelta(hours=params.hours) }}",
    "interval_end": "{{ dag_run.logical_date }}",
    "start": "{{ params.start }}",
    "limit": "{{ params.limit }}",
    "sort": "{{ params.sort }}",
    "line_item_status": "{{ params.statuses }}",
    "status_conjunction": "{{ params.conjunction }}",
    "crux_conn_id": "crux_{{ params.region }}",
}
PARAMS = {
    "hours": 6,
    "start": 4,
    "limit": Param(None, type=["null", "integer"]),
    "sort": {"key": "date", "dir": "desc"},
    "statuses": ["rejected"],
    "conjunction": "only",
    "region": "default",
}


def templated(dag_id: str, *, native: bool, **arguments: object) -> DAG:
    with DAG(
        dag_id,
        schedule="@daily",
        start_date=pendulum.datetime(2026, 1, 1),
        catchup=False,
        params=PARAMS,
        render_template_as_native_obj=native,
    ) as dag:
        CruxOrdersExportOperator(task_id="export", **arguments)
    return dag


SORT = Sort(key="{{ params.sort.key }}", dir="{{ params.sort.dir }}")
YESTERDAY = "{{ macros.ds_format(macros.ds_add(ds, -1), '%Y-%m-%d', '%Y%m%d') }}"

text_dag = templated("templated_text", native=False, **ARGUMENTS)
native_dag = templated("templated_native", native=True, **ARGUMENTS)
sort_dag = templated("templated_sort", native=False, **(ARGUMENTS | {"sort": SORT}))
days_dag = templated("templated_days", native=True, interval_start=YESTERDAY, interval_end="{{ ds_nodash }}")
