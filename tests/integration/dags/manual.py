"""A DAG for manual runs, with or without an interval."""

from __future__ import annotations

from datetime import timedelta

import pendulum
from airflow.providers.common.compat.sdk import DAG, Param

from airflow_provider_crux.operators.orders import CruxOrdersExportOperator

INSTANT = {"type": ["null", "string"], "format": "date-time"}
PARAMS = {
    "orders_interval_start": Param(None, **INSTANT),
    "orders_interval_end": Param(None, **INSTANT),
    # of another task
    "interval_start": Param("2020-01-01T00:00:00Z", **INSTANT),
    "limit": 3,
}

with DAG("manual", schedule=None, start_date=pendulum.datetime(2026, 1, 1), params=PARAMS) as dag:
    CruxOrdersExportOperator(task_id="export", lookback=timedelta(hours=1))
