"""Templates in every templated argument, in one DAG rendered as text and in another as native objects."""

from __future__ import annotations

import pendulum
from airflow.providers.common.compat.sdk import DAG, Param

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


def templated(dag_id: str, native: bool) -> DAG:
    with DAG(
        dag_id,
        schedule="@daily",
        start_date=pendulum.datetime(2026, 1, 1),
        catchup=False,
        params=PARAMS,
        render_template_as_native_obj=native,
    ) as dag:
        CruxOrdersExportOperator(task_id="export", **ARGUMENTS)
    return dag


text_dag = templated("templated_text", native=False)
native_dag = templated("templated_native", native=True)
