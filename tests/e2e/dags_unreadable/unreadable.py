"""Exports of Airflow 2 whose first try fails after its request, and whose second try cannot read its record."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.models import crypto
from airflow.providers.common.compat.sdk import DAG, conf
from cryptography.fernet import Fernet

from airflow_provider_crux.operators.orders import CruxOrdersExportOperator


@contextmanager
def locked_database() -> Iterator[None]:
    """Lock Airflow's database, as another program does that writes for a long time."""
    file = conf.get("database", "sql_alchemy_conn").removeprefix("sqlite:///").partition("?")[0]
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        yield


@contextmanager
def changed_fernet_key() -> Iterator[None]:
    """Replace the key, and forget the one that this process has loaded, as a restart does."""
    key = os.environ["AIRFLOW__CORE__FERNET_KEY"]
    os.environ["AIRFLOW__CORE__FERNET_KEY"] = Fernet.generate_key().decode()
    crypto._fernet = None
    try:
        yield
    finally:
        os.environ["AIRFLOW__CORE__FERNET_KEY"] = key
        crypto._fernet = None


class FaultyTries(CruxOrdersExportOperator):
    """
    The operator, in a bad environment.

    :param fault: surrounds the second try.
    """

    def __init__(self, *, fault: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.fault = fault

    def execute(self, context: Any) -> str:
        number = context["ti"].try_number
        if number == 2:
            with self.fault():
                return super().execute(context)
        uuid = super().execute(context)
        if number == 1:
            raise RuntimeError("the worker is out of memory")
        return uuid


DAGS = {}
for fault in (locked_database, changed_fernet_key):
    with DAG(fault.__name__, schedule=None, start_date=datetime(2025, 1, 1, tzinfo=UTC)) as dag:
        FaultyTries(
            task_id="export",
            fault=fault,
            interval_start=datetime(2025, 5, 1, tzinfo=UTC),
            interval_end=datetime(2025, 5, 2, tzinfo=UTC),
            retries=2,
            retry_delay=timedelta(0),
            # what would need the database before the task reads its record
            do_xcom_push=False,
        )
    DAGS[dag.dag_id] = dag
