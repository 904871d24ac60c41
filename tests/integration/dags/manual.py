"""A DAG for manual runs, with or without an interval."""

from __future__ import annotations

from datetime import timedelta

import pendulum
from airflow.providers.common.compat.sdk import DAG, Param

from airflow_provider_crux.operators.orders import CruxOrdersExportOperator

PARAMS = {name: Param(None, type=["null", "string"], format="date-time") for name in ("interval_start", "interval_end")}

with DAG("manual", schedule=None, start_date=pendulum.datetime(2026, 1, 1), params=PARAMS) as dag:
    CruxOrdersExportOperator(task_id="export", lookback=timedelta(hours=1))
