"""The examples that store files, and the one that checks coverage, with ``dag.test()`` on every kind of store."""

from __future__ import annotations

import functools
import io
import json
from typing import TYPE_CHECKING, Any

import pyarrow.parquet
import pytest

from airflow_provider_crux.api import polling
from airflow_provider_crux.task import waiting
from tests.dag_runs import AIRFLOW, LOGICAL_DATE, XCOMS, _terminate_handler, dags_folder, query, run
from tests.manifests import manifest_name

if TYPE_CHECKING:
    from airflow_provider_crux.sandbox.state import Sandbox
    from tests.stores.servers import Store

__all__ = ["_terminate_handler", "dags_folder", "run"]

pytestmark = pytest.mark.e2e

EXPORT_PATH = "/api/orders/export/"
BACKFILL = "crux_orders_backfill"
# a week, a week, and two days
STARTS, END = ("2025-03-01", "2025-03-08", "2025-03-15"), "2025-03-17"
INTERVALS = list(zip(STARTS, (*STARTS[1:], END), strict=True))


@pytest.fixture(autouse=True)
def _examples_store_there(store: Store, connect, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the examples store files there, and spare them the wait before the first poll."""
    connect(host=sandbox.url, password=sandbox.settings.token, extra={"hash_key": "a key of this test"})
    monkeypatch.setenv("AIRFLOW_VAR_CRUX_ORDERS_FOLDER", store.url("lake"))
    monkeypatch.setattr(waiting, "MIN_RESUME_DELAY", 0)
    monkeypatch.setattr(polling.random, "uniform", lambda low, high: low)


def requested(sandbox: Sandbox) -> list[tuple[str, str]]:
    """Return the intervals of all requests for an export; Airflow runs mapped tasks in any order."""
    bodies = [request["body"] for request in sandbox.requests if request["path"] == EXPORT_PATH]
    return sorted((body["start_date"][:10], body["end_date"][:10]) for body in bodies)


def last_coverage() -> dict[str, Any]:
    """Return what the last task of the backfill found."""
    (value,) = query(
        f"SELECT value FROM {XCOMS} WHERE dag_id = '{BACKFILL}' AND task_id = 'check' AND key = 'coverage' "
        "ORDER BY timestamp DESC LIMIT 1"
    )
    return json.loads(value)


def asset_events() -> list[int]:
    """Return the map indexes of the tasks of the backfill that emitted events; on Airflow 2, nothing."""
    if AIRFLOW < (3, 0):
        return []
    return query(f"SELECT source_map_index FROM asset_event WHERE source_dag_id = '{BACKFILL}'")


def test_the_examples_store_their_exports_and_a_second_run_replaces_its_own_file(
    store: Store,
    sandbox: Sandbox,
    run,
) -> None:
    daily = "lake/2026-01-04.csv"
    run("crux_orders_export.py")
    assert store.names() == []
    run("crux_orders_to_storage.py")
    content = store.content(daily)
    assert b"order_uuid" in content
    store.put(daily, b"older")
    run("crux_orders_to_storage.py")
    assert store.content(daily) == content
    run("crux_orders_manual.py")
    assert sorted(store.names()) == sorted([daily, f"lake/{sandbox.exports[-1]}.csv"])
    assert store.content(f"lake/{sandbox.exports[-1]}.csv") == content
    assert store.unfinished() == []


def test_the_backfill_example_stores_what_is_missing_and_proves_that_nothing_is(
    store: Store,
    sandbox: Sandbox,
    run,
) -> None:
    days = {"since": STARTS[0], "until": END}
    backfill = functools.partial(run, f"{BACKFILL}.py", run_conf=days)
    files = [f"lake/history/dt={start}/000000.parquet" for start in STARTS]
    stored = sorted([*files, *map(manifest_name, files)])

    events = asset_events()
    backfill()
    assert requested(sandbox) == INTERVALS
    assert store.names() == stored
    coverage = last_coverage()
    assert (coverage["gaps"], coverage["files"], coverage["overlaps"]) == (0, 3, 0)
    assert coverage["covered_seconds"] == 16 * 24 * 3600
    rows = [pyarrow.parquet.read_table(io.BytesIO(store.content(file))).num_rows for file in files]
    assert coverage["rows"] == sum(rows)
    assert all(rows)

    # What another process deletes is seen, although the example listed the folder twice in this one.
    store.delete(files[1])
    backfill(logical_date=LOGICAL_DATE.add(days=1))
    assert requested(sandbox) == sorted([*INTERVALS, INTERVALS[1]])
    assert store.names() == stored

    backfill(logical_date=LOGICAL_DATE.add(days=2))
    assert len(requested(sandbox)) == len(INTERVALS) + 1
    assert (last_coverage()["gaps"], last_coverage()["covered_seconds"]) == (0, 16 * 24 * 3600)
    if AIRFLOW >= (3, 0):  # dag.test() of Airflow 2 emits no event of an asset that is new
        assert asset_events() == [*events, -1, -1, -1]
