"""Tests the example DAGs and those in ``dags`` with ``dag.test()`` against the sandbox."""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import pendulum
import pytest

from airflow_provider_crux.api import polling
from airflow_provider_crux.sandbox.server import running_sandbox
from airflow_provider_crux.sandbox.state import ManualClock, SandboxSettings
from airflow_provider_crux.task import upstream
from airflow_provider_crux.task import waiting as deferral
from tests import daily_lookbacks
from tests.dag_runs import AIRFLOW, EXAMPLES, LOGICAL_DATE, XCOMS, query, run_airflow

pytestmark = pytest.mark.e2e

AIRFLOW_3 = AIRFLOW >= (3, 0)
AIRFLOW_HOME = Path(os.environ["AIRFLOW_HOME"])
BACKFILL_EXAMPLE = "crux_orders_backfill.py"
TABLE_EXAMPLE = f"{daily_lookbacks.EXAMPLE}.py"
TOKEN = SandboxSettings().token
DAY = {"start_date": "2026-01-04T00:00:00.000Z", "end_date": "2026-01-05T00:00:00.000Z"}


def request_bodies(sandbox) -> list[dict]:
    return [request["body"] for request in sandbox.requests if request["path"] == "/api/orders/export/"]


@pytest.mark.parametrize(
    "example", [path.name for path in EXAMPLES if path.name not in (BACKFILL_EXAMPLE, TABLE_EXAMPLE)]
)
def test_each_example_runs_unchanged(sandbox, run, example: str, monkeypatch, tmp_path: Path) -> None:
    # otherwise the trigger polls first after up to half a minute, as the defaults of the examples say
    monkeypatch.setattr(deferral, "MIN_RESUME_DELAY", 0)
    monkeypatch.setattr(polling.random, "uniform", lambda low, high: low)
    monkeypatch.setenv("AIRFLOW_VAR_CRUX_ORDERS_FOLDER", f"file://{tmp_path}")
    run(example)
    assert request_bodies(sandbox) == [DAY]
    if "store_orders" in (Path(__file__).parents[2] / "dags_examples" / example).read_text():
        (file,) = tmp_path.iterdir()
        assert file.name in ("2026-01-04.csv", f"{sandbox.exports[0]}.csv")
        assert b"order_uuid" in file.read_bytes()


BACKFILL_DATES = pendulum.interval(LOGICAL_DATE, LOGICAL_DATE.add(months=1)).range("days")


@pytest.fixture
def backfill(connect, run, monkeypatch, tmp_path: Path):
    """Return a sandbox, and a function that runs the example for these days and returns those that it requested."""
    monkeypatch.setenv("AIRFLOW_VAR_CRUX_ORDERS_FOLDER", tmp_path.as_uri())

    def load(since: str, until: str, state: str = "success") -> list[tuple[str, str]]:
        before = len(request_bodies(sandbox))
        days = {"since": since, "until": until}
        run(BACKFILL_EXAMPLE, logical_date=next(BACKFILL_DATES), state=state, run_conf=days)
        bodies = request_bodies(sandbox)[before:]
        # Airflow runs mapped tasks in any order.
        return sorted((body["start_date"][:10], body["end_date"][:10]) for body in bodies)

    with running_sandbox() as sandbox:
        connect(host=sandbox.url, password=TOKEN, extra={"hash_key": "a key of this test", "max_retries": 0})
        yield sandbox, load


def test_the_backfill_example_requests_only_what_is_missing(
    backfill, monkeypatch, tmp_path: Path, *, logged, caplog
) -> None:
    sandbox, load_days = backfill
    load = functools.partial(load_days, "2025-03-01", "2025-03-31")
    sandbox.respond_next("/api/orders/export/", 400)
    weeks = [("2025-03-01", "2025-03-08"), ("2025-03-08", "2025-03-15"), ("2025-03-15", "2025-03-22")]
    weeks += [("2025-03-22", "2025-03-29"), ("2025-03-29", "2025-03-31")]
    assert load(state="failed") == weeks
    files = [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.parquet")]
    assert len(files) == len(weeks) - 1
    (missing,) = [week for week in weeks if f"history/dt={week[0]}/000000.parquet" not in files]
    start, end = (f"{day}T00:00:00+00:00" for day in missing)
    assert f"1 gap in '{tmp_path.as_uri()}/history/': {start} to {end}. Export" in logged() + caplog.text

    assert load() == [missing]
    assert load() == []

    (tmp_path / "history" / "dt=2025-03-08" / "000000.parquet").unlink()
    shutil.rmtree(tmp_path / "history" / "dt=2025-03-22")
    assert load() == [weeks[1], weeks[3]]
    assert load() == []

    # Whoever cannot know what is stored requests nothing.
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "history").write_text("not a folder")
    monkeypatch.setenv("AIRFLOW_VAR_CRUX_ORDERS_FOLDER", (tmp_path / "other").as_uri())
    assert load(state="failed") == []


def test_the_backfill_example_e_mails_nobody_for_an_interval_without_orders(backfill, tmp_path: Path) -> None:
    sandbox, load_days = backfill
    # the first order of the sandbox is that of January 1
    load = functools.partial(load_days, "2016-12-10", "2017-01-08")
    weeks = [("2016-12-31", "2017-01-07"), ("2017-01-07", "2017-01-08")]
    assert load() == weeks
    assert load() == []
    assert load() == []

    # The list of the first week cannot be read once, so it is a gap: the export lists again, and is skipped.
    sandbox.respond_next("/api/orders/", 500)
    assert load() == []
    shutil.rmtree(tmp_path / "history" / "dt=2017-01-07")
    sandbox.respond_next("/api/orders/", 500)
    assert load() == weeks[1:]
    assert len(list(tmp_path.rglob("*.parquet"))) == 2
    assert len(sandbox.exports) == 3


def read_sqlite(database: Path) -> list[dict[str, Any]]:
    with closing(sqlite3.connect(database)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute(f"SELECT * FROM {daily_lookbacks.TABLE}")]


def read_duckdb(database: Path) -> list[dict[str, Any]]:
    with duckdb.connect(database) as connection:
        table = connection.sql(f"FROM {daily_lookbacks.TABLE}")
        return [dict(zip(table.columns, row, strict=True)) for row in table.fetchall()]


@pytest.mark.parametrize(
    ("example", "read"),
    [(TABLE_EXAMPLE, read_sqlite), ("warehouses/crux_orders_to_duckdb.py", read_duckdb)],
)
def test_daily_runs_with_lookback_keep_each_order_once_in_its_latest_state(
    connect, run, monkeypatch, tmp_path: Path, *, example: str, read: Callable[[Path], list[dict[str, Any]]]
) -> None:
    file = EXAMPLES[0].parent / example
    database = tmp_path / "orders.db"
    monkeypatch.setenv("AIRFLOW_CONN_CRUX_ORDERS", json.dumps({"conn_type": "sqlite", "host": str(database)}))
    monkeypatch.setenv("AIRFLOW_VAR_CRUX_ORDERS_CONN_ID", "crux_orders")
    monkeypatch.setenv("AIRFLOW_VAR_CRUX_ORDERS_DUCKDB", str(database))
    monkeypatch.setenv("AIRFLOW_VAR_CRUX_ORDERS_FOLDER", (tmp_path / "orders").as_uri())
    # dag.test() runs the trigger itself: it can resume the task at once
    monkeypatch.setattr(deferral, "MIN_RESUME_DELAY", 0)
    runs = daily_lookbacks.shuffled_runs()
    clock = ManualClock(runs[0][0])
    with running_sandbox(clock=clock) as sandbox:
        connect(host=sandbox.url, password=TOKEN)
        # its orders do not exist yet: it is skipped
        run(file, logical_date=daily_lookbacks.DAYS[-1] + timedelta(days=10))
        assert not database.exists()
        assert sandbox.exports == []
        for moment, logical_date in runs:
            clock.advance((moment - clock()).total_seconds())
            run(file, logical_date=logical_date, poll_interval=0.1)

        assert len(request_bodies(sandbox)) == len(sandbox.exports) == len(runs) == 33
        xcoms = query(f"SELECT value FROM {XCOMS} WHERE dag_id = '{file.stem}' AND key = 'export_interval'")
        expected = daily_lookbacks.expected_rows(sandbox, map(json.loads, xcoms), details=example == TABLE_EXAMPLE)
        daily_lookbacks.check_rows(read(database), expected)


def test_next_task_receives_the_uuid_and_the_interval(sandbox, run) -> None:
    names = run("taskflow.py")
    ((uuid, interval),) = names["RECEIVED"]
    assert [uuid] == [interval["export_uuid"]] == sandbox.exports
    assert interval["request"] == DAY


def test_every_store_knows_the_interval_of_its_export_and_reads_no_other_record(
    sandbox, run, tmp_path: Path, monkeypatch
) -> None:
    """Two of five exports are skipped, so the map index of a store is not that of its export."""
    monkeypatch.setenv("STORES_FOLDER", str(tmp_path))
    reads: list[str] = []
    read_records = upstream._records

    def counting(context: Any, source: str) -> Iterator[object]:
        for record in read_records(context, source):
            reads.append(f"{context['ti'].task_id} of {source}")
            yield record

    monkeypatch.setattr(upstream, "_records", counting)
    run("stores.py")
    days = ("2026-01-02", "2026-01-04", "2026-01-05")
    mapped = [f"{name}-{day}.csv" for name in ("mapped", "one", "two") for day in days]
    stored = sorted(path.name for path in tmp_path.glob("*.csv"))
    assert stored == sorted([*mapped, "output-2026-01-05.csv", "template-2026-01-05.csv"])
    manifests = [json.loads(path.read_bytes()) for path in sorted(tmp_path.glob("*.manifest.json"))]
    assert [manifest["interval_start"] for manifest in manifests] == [f"{day}T00:00:00.000Z" for day in days] * 3
    assert all(manifest["requested_at"] for manifest in manifests)
    # each reads its record for the path, and for the manifest
    assert reads.count("mapped_store of mapped_export") == 2 * len(days)
    assert reads.count("store of export") == reads.count("store_of_template of export") == 1


def test_mapped_tasks_send_one_request_each(sandbox, run) -> None:
    run("mapped.py")
    # Airflow runs them in any order.
    assert sorted(request_bodies(sandbox), key=lambda body: body["line_item_status"]) == [
        {"line_item_status": [status], "status_conjunction": "only", **DAY} for status in ("rejected", "unallocated")
    ]


def test_an_invalid_argument_of_a_mapped_task_is_not_retried(sandbox, run, caplog) -> None:
    caplog.set_level("INFO")
    run("mapped_invalid.py", state="failed")
    assert caplog.text.count("[DAG TEST] running task <TaskInstance: mapped_invalid.export") == 1
    assert sandbox.requests == []


@pytest.mark.parametrize("rendering", ["text", "native", "sort"])
def test_templates_rendered_as_text_or_native_objects_give_the_same_request(sandbox, run, rendering: str) -> None:
    run("templated.py", f"templated_{rendering}")
    assert request_bodies(sandbox) == [
        {
            "start": 4,
            "sort": {"key": "date", "dir": "des"},
            "line_item_status": ["rejected"],
            "status_conjunction": "only",
            "start_date": "2026-01-04T18:00:00.000Z",
            "end_date": "2026-01-05T00:00:00.000Z",
        }
    ]


def test_a_day_rendered_as_a_number_is_a_day(sandbox, run) -> None:
    run("templated.py", "templated_days")
    assert request_bodies(sandbox) == [DAY]


# what 3.0 stores after a task that will be retried is answered with 404 in its dag.test()
no_retry_in_dag_test = pytest.mark.skipif(
    (3, 0) <= AIRFLOW < (3, 1), reason="dag.test() of Airflow 3.0 cannot retry a task"
)


@no_retry_in_dag_test
def test_a_try_that_failed_after_execute_is_resumed(sandbox, run) -> None:
    run("failing_after_execute.py")
    assert [request["method"] for request in sandbox.requests] == ["POST", "GET"]


CRUX_VARIABLES = "SELECT key FROM variable WHERE key LIKE 'crux_export%'"


@pytest.mark.parametrize(
    "file", ["daily.py", "mapped.py", pytest.param("failing_after_execute.py", marks=no_retry_in_dag_test)]
)
def test_no_variable_remains_of_a_task_that_succeeded(sandbox, run, file: str) -> None:
    # a date of its own, because dag.test() of Airflow 2 cannot replace a run
    run(file, logical_date=LOGICAL_DATE.add(days=10))
    assert query(CRUX_VARIABLES) == []


@pytest.mark.skipif(AIRFLOW >= (3, 3), reason="Airflow has a task state store")
def test_the_variable_of_a_task_that_failed_remains(sandbox, run) -> None:
    try:
        run("failing.py", state="failed")
        (key,) = query(CRUX_VARIABLES)
        # Airflow 3 names the run by the present
        assert key.startswith("crux_export:failing:export:manual__2026-")
        assert key.endswith(":-1")
    finally:
        query("DELETE FROM variable")


def test_a_clear_raises_max_tries(sandbox, run) -> None:
    # with that a completed record ends, see ExportStateStore
    run_id = run("taskflow.py", logical_date=LOGICAL_DATE.add(days=2))["dag_run"].run_id
    task = f"task_id = 'export' AND run_id = '{run_id}'"
    max_tries = f"SELECT max_tries FROM task_instance WHERE {task} ORDER BY try_number DESC LIMIT 1"
    before = query(max_tries)
    run_airflow("tasks", "clear", "--yes", "--task-regex", "export", "taskflow")
    assert before == [0]
    assert query(max_tries) == [1]


def test_a_parameter_that_the_dag_does_not_declare_is_of_no_concern(sandbox, run) -> None:
    conf = {"orders_interval_start": "2020-01-01", "orders_limit": 5, "interval_start": "2020-01-01"}
    run("daily.py", logical_date=LOGICAL_DATE.add(days=20), run_conf=conf)
    assert request_bodies(sandbox) == [
        {"start_date": "2026-01-24T00:00:00.000Z", "end_date": "2026-01-25T00:00:00.000Z"}
    ]


def test_manual_run_exports_the_interval_of_its_parameters(sandbox, run) -> None:
    run(
        "manual.py",
        run_conf={
            "orders_interval_start": "2026-03-04T05:06:00.000Z",
            "orders_interval_end": "2026-03-04T07:06:00+01:00",
        },
    )
    assert request_bodies(sandbox) == [
        {"start_date": "2026-03-04T05:06:00.000Z", "end_date": "2026-03-04T06:06:00.000Z"}
    ]


def test_manual_run_without_parameters_exports_the_lookback(sandbox, run) -> None:
    run("manual.py", logical_date=LOGICAL_DATE.add(days=1))
    assert request_bodies(sandbox) == [
        {"start_date": "2026-01-05T23:00:00.000Z", "end_date": "2026-01-06T00:00:00.000Z"}
    ]


PASSWORD = "correct horse battery staple"


def test_logs_database_and_output_contain_no_secret(connect, run, capfd, caplog) -> None:
    with running_sandbox(SandboxSettings(password=PASSWORD)) as sandbox:
        connect(host=sandbox.url, login="sandbox", password=PASSWORD)
        run("daily.py")
        sandbox.respond_next(
            "/api/organizations/user-login/",
            200,
            body=json.dumps({"auth_token": TOKEN, "org_type": "RETAILER"}).encode(),
        )
        sandbox.respond_next("/api/orders/export/", 400, body=f"you sent Token {TOKEN} and {PASSWORD}".encode())
        run("daily.py", logical_date=LOGICAL_DATE.add(days=1), state="failed")
        assert [request["status"] for request in sandbox.requests] == [200, 200, 200, 400]
    printed = capfd.readouterr()
    if AIRFLOW == (3, 0):
        # Its dag.test() prints the values to mask and the local variables of a traceback, see docs/versions.md.
        known_leaks = re.compile(r"^(.*Sending request +msg=MaskSecret\(|│ │).*$", re.MULTILINE)
        printed = printed._replace(out=known_leaks.sub("", printed.out))
    texts = [printed.out, printed.err, caplog.text]
    texts += [path.read_text(errors="replace") for path in AIRFLOW_HOME.rglob("*") if path.is_file()]
    # These prove that the texts contain the log, the response and the database.
    for expected_text in ("Requesting an export of the orders from", "you sent", "export_interval"):
        assert any(expected_text in text for text in texts)
    for secret in (PASSWORD, TOKEN):
        assert not [text for text in texts if secret in text]
