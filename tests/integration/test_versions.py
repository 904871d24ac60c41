"""Runs the examples over each version of the API and each list of columns that the vendor has published."""

from __future__ import annotations

import functools
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from airflow_provider_crux.api import polling
from airflow_provider_crux.sandbox.csv_file import COLUMN_LISTS, write_csv
from airflow_provider_crux.sandbox.orders import filter_orders
from airflow_provider_crux.sandbox.server import running_sandbox
from airflow_provider_crux.sandbox.state import ManualClock, Sandbox, SandboxSettings
from airflow_provider_crux.sandbox.versions import VERSIONS
from airflow_provider_crux.task import waiting
from tests import daily_lookbacks
from tests.dag_runs import LOGICAL_DATE, XCOMS, query

pytestmark = pytest.mark.e2e

DAYS = daily_lookbacks.DAYS[:4]
ADDED = ["crux_export_uuid", "crux_interval_start", "crux_interval_end", "crux_requested_at"]
PERSONAL = {"name", "phone", "address1", "address2", "postal_code", "tracking_number"}


@pytest.fixture(params=COLUMN_LISTS)
def columns(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=VERSIONS)
def sandbox(request: pytest.FixtureRequest, columns: str, connect, monkeypatch) -> Iterator[Sandbox]:
    """Run a sandbox of a version whose files have these columns; ``crux_default`` uses it."""
    # dag.test() runs the trigger itself: it can resume the task at once
    monkeypatch.setattr(waiting, "MIN_RESUME_DELAY", 0)
    monkeypatch.setattr(polling.random, "uniform", lambda low, high: low)
    server = SandboxSettings(api_version=request.param, columns=columns)
    with running_sandbox(server, clock=ManualClock(DAYS[-1] + timedelta(days=8))) as running:
        extra = {"api_version": request.param, "hash_key": "a key of this test", "max_retries": 0}
        connect(host=running.url, password=server.token, extra=extra)
        yield running


def header(columns: str) -> list[str]:
    return write_csv([], columns).decode("utf-8-sig").strip().split(",")


def test_a_stored_file_is_the_one_that_was_exported(
    sandbox: Sandbox, columns: str, run, *, monkeypatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AIRFLOW_VAR_CRUX_ORDERS_FOLDER", tmp_path.as_uri())
    run("crux_orders_to_storage.py", logical_date=LOGICAL_DATE)
    (export,) = map(sandbox.get_export, sandbox.exports)
    assert export is not None
    orders = filter_orders(export.query, export.created_at)
    assert orders
    assert (tmp_path / "2026-01-04.csv").read_bytes() == write_csv(orders, columns)


def test_a_backfill_stores_each_interval_once(
    sandbox: Sandbox, columns: str, run, *, monkeypatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AIRFLOW_VAR_CRUX_ORDERS_FOLDER", tmp_path.as_uri())
    load = functools.partial(run, "crux_orders_backfill.py", run_conf={"since": "2025-03-01", "until": "2025-03-12"})
    load(logical_date=LOGICAL_DATE)
    assert len(sandbox.exports) == 2
    exports = {}
    for manifest in tmp_path.rglob("_*.manifest.json"):
        fields = json.loads(manifest.read_text())
        table = pq.read_table(fields["path"].removeprefix("file://"))
        export = exports[fields["export_uuid"]] = sandbox.get_export(fields["export_uuid"])
        assert export is not None
        orders = filter_orders(export.query, export.created_at)
        assert fields["columns"] == table.column_names == [*header(columns), *ADDED]
        assert fields["orders"] == len(orders) == len(set(table["order_uuid"].to_pylist()))
        assert fields["rows"] == table.num_rows == sum(len(list(COLUMN_LISTS[columns](order))) for order in orders)
        for name in PERSONAL.intersection(table.column_names):
            assert {len(value) for value in table[name].to_pylist()} <= {0, 64}
    assert set(exports) == set(sandbox.exports)

    # everything is there, so another run e-mails nobody
    load(logical_date=LOGICAL_DATE.add(days=1))
    assert len(sandbox.exports) == 2


def test_a_table_holds_the_latest_state_of_each_order(
    connect, sandbox: Sandbox, run, *, monkeypatch, tmp_path: Path
) -> None:
    database = tmp_path / "orders.db"
    monkeypatch.setenv("AIRFLOW_CONN_CRUX_ORDERS", json.dumps({"conn_type": "sqlite", "host": str(database)}))
    monkeypatch.setenv("AIRFLOW_VAR_CRUX_ORDERS_CONN_ID", "crux_orders")
    for day in (DAYS[3], DAYS[0], DAYS[2]):
        sandbox.clock.advance(timedelta(days=3).total_seconds())
        run(f"{daily_lookbacks.EXAMPLE}.py", logical_date=day, poll_interval=0.1)

    assert len(sandbox.exports) == 3
    with closing(sqlite3.connect(database)) as connection:
        connection.row_factory = sqlite3.Row
        rows = [dict(row) for row in connection.execute(f"SELECT * FROM {daily_lookbacks.TABLE}")]
    xcoms = map(json.loads, query(f"SELECT value FROM {XCOMS} WHERE key = 'export_interval'"))
    intervals = [interval for interval in xcoms if interval["export_uuid"] in sandbox.exports]
    # tests/transfers compares the details of each version
    expected = daily_lookbacks.expected_rows(sandbox, intervals)
    daily_lookbacks.check_rows(rows, expected, ignored=daily_lookbacks.DETAILS)
    assert all(row["order_created_at"] and row["line_item_status"] for row in rows)
