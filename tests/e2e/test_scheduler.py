"""Tests with a real scheduler: on every kind of schedule, each run exports its interval once."""

from __future__ import annotations

import contextlib
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import psutil
import pytest

from tests.e2e import versions_page
from tests.e2e.versions_page import Row
from tests.real_airflow.instance import AirflowInstance, DagRun
from tests.real_airflow.launcher import AIRFLOW_3, AIRFLOW_VERSION
from tests.real_airflow.request_bodies import api_timestamp, canonical_json, interval_body, utc

if TYPE_CHECKING:
    from airflow_provider_crux.sandbox.state import Sandbox
    from tests.real_airflow.airflow_3 import Airflow3

pytestmark = pytest.mark.e2e

EXPORT_EXAMPLE, STORAGE_EXAMPLE, ASSET_EXAMPLE, MANUAL_EXAMPLE = (
    "crux_orders_export",
    "crux_orders_to_storage",
    "crux_orders_arrived",
    "crux_orders_manual",
)
since_3_2 = pytest.mark.skipif(AIRFLOW_VERSION < (3, 2), reason="this schedule was added in Airflow 3.2")
since_3_3 = pytest.mark.skipif(
    AIRFLOW_VERSION < (3, 3), reason="tasks get the date of their partition since Airflow 3.3"
)

# The interval that each run exports, by the date on which the run is due. In Airflow 2 the data interval of these three
# schedules starts on that date. In Airflow 3 it is empty, and the run exports the period that ends on that date.
if AIRFLOW_3:
    DAILY = {"2025-01-10": ("2025-01-09", "2025-01-10"), "2025-01-11": ("2025-01-10", "2025-01-11")}
    SIX_HOURS = {
        "2025-02-10T00:00": ("2025-02-09T18:00", "2025-02-10T00:00"),
        "2025-02-10T06:00": ("2025-02-10T00:00", "2025-02-10T06:00"),
    }
    MAPPED = {"2025-04-10": ("2025-04-09", "2025-04-10"), "2025-04-11": ("2025-04-10", "2025-04-11")}
else:
    DAILY = {"2025-01-10": ("2025-01-10", "2025-01-11"), "2025-01-11": ("2025-01-11", "2025-01-12")}
    SIX_HOURS = {
        "2025-02-10T00:00": ("2025-02-10T00:00", "2025-02-10T06:00"),
        "2025-02-10T06:00": ("2025-02-10T06:00", "2025-02-10T12:00"),
    }
    MAPPED = {"2025-04-10": ("2025-04-10", "2025-04-11"), "2025-04-11": ("2025-04-11", "2025-04-12")}
# 30 March has only 23 hours in Berlin.
BERLIN = {
    "2025-03-29T23:00": ("2025-03-28T23:00", "2025-03-29T23:00"),
    "2025-03-30T22:00": ("2025-03-29T23:00", "2025-03-30T22:00"),
}
ASSET_OR_TIME = {"2025-07-10": ("2025-07-09", "2025-07-10"), "2025-07-11": ("2025-07-10", "2025-07-11")}
MULTIPLE_CRON = {
    "2025-08-10T06:00": ("2025-08-09T18:30", "2025-08-10T06:00"),
    "2025-08-10T18:30": ("2025-08-10T06:00", "2025-08-10T18:30"),
}
PARTITION = {"2025-09-10": ("2025-09-09", "2025-09-10"), "2025-09-11": ("2025-09-10", "2025-09-11")}

# The number of runs of each DAG that exports.
RUNS = {"e2e_daily": 3, "e2e_six_hours": 2, "e2e_berlin": 2, "e2e_mapped": 2, "e2e_asset_or_time": 2}
RUNS |= {
    "e2e_today": 2,
    "e2e_manual": 1,
    "e2e_producer": 1,
    "e2e_consumer": 1,
    EXPORT_EXAMPLE: 4,
    STORAGE_EXAMPLE: 2,
    MANUAL_EXAMPLE: 2,
}
if AIRFLOW_VERSION >= (3, 2):
    RUNS |= {"e2e_multiple_cron": 2}
if AIRFLOW_VERSION >= (3, 3):
    RUNS |= {"e2e_partition": 2}

# The DAGs of the table in docs/evidence/versions.md, in its order, and their schedules as Airflow 3 writes them.
SCHEDULES = {
    EXPORT_EXAMPLE: "@daily",
    STORAGE_EXAMPLE: "@daily",
    ASSET_EXAMPLE: "[Asset]",
    MANUAL_EXAMPLE: "None",
    "e2e_today": "@daily",
    "e2e_daily": "@daily",
    "e2e_six_hours": "timedelta(hours=6)",
    "e2e_berlin": 'CronTriggerTimetable("0 0 * * *", timezone="Europe/Berlin")',
    "e2e_multiple_cron": 'MultipleCronTriggerTimetable("0 6 * * *", "30 18 * * *", timezone="UTC")',
    "e2e_partition": 'CronPartitionTimetable("0 0 * * *", timezone="UTC", run_offset=-1)',
    "e2e_asset_or_time": "AssetOrTimeSchedule(CronTriggerTimetable(...), [Asset])",
    "e2e_consumer": "[Asset]",
}

# The tasks that export: one without `lookback`, and one with it. The only task of e2e_consumer has it.
LOOKBACK = timedelta(days=3)
LOOKBACK_TASKS = {
    "e2e_today": "export_lookback",
    "e2e_daily": "export_lookback",
    "e2e_six_hours": "export_lookback",
    "e2e_berlin": "export_lookback",
    "e2e_multiple_cron": "export_lookback",
    "e2e_partition": "export_lookback",
    "e2e_partition_unfinished": "export_lookback",
    "e2e_asset_or_time": "export_lookback",
    "e2e_consumer": "export",
}
PARTITION_CONSUMER = "e2e_partition_consumer"
UNFINISHED_PARTITION = "e2e_partition_unfinished"


@pytest.fixture(scope="module")
def manual_runs(airflow: AirflowInstance) -> dict[str, str]:
    """Trigger all manual runs, so that they run while the scheduled ones do; return the run_ids."""
    airflow.wait_for_dags({*RUNS, ASSET_EXAMPLE})
    berlin_conf = {"interval_start": "2025-05-01T00:00:00Z", "interval_end": "2025-05-02T12:30:00+02:00"}
    utc_conf = {"orders_interval_start": "2026-01-01T00:00:00Z", "orders_interval_end": "2026-01-02T00:00:00Z"}
    run_ids = {
        "e2e_producer": airflow.trigger("e2e_producer"),
        "e2e_manual": airflow.trigger("e2e_manual", conf=berlin_conf),
        "e2e_today": airflow.trigger("e2e_today"),
        "e2e_daily": airflow.trigger("e2e_daily", datetime(2025, 1, 10, 15, 30, tzinfo=UTC)),
        EXPORT_EXAMPLE: airflow.trigger(EXPORT_EXAMPLE),
        f"{EXPORT_EXAMPLE} on a date": airflow.trigger(EXPORT_EXAMPLE, datetime(2026, 2, 10, 15, 30, tzinfo=UTC)),
        MANUAL_EXAMPLE: airflow.trigger(MANUAL_EXAMPLE),
        f"{MANUAL_EXAMPLE} with an interval": airflow.trigger(MANUAL_EXAMPLE, conf=utc_conf),
    }
    airflow.backfill(EXPORT_EXAMPLE, utc("2026-03-01"))
    return run_ids


@pytest.fixture(scope="module")
def stored_runs(airflow: AirflowInstance, manual_runs: dict[str, str]) -> list[DagRun]:
    """Return the runs that wait in the triggerer and store a file: the scheduled one of today and a manual one."""
    # One after the other, because Airflow may combine the asset events of two files in one run.
    airflow.wait_for_runs(ASSET_EXAMPLE, 1)
    airflow.trigger(STORAGE_EXAMPLE, datetime(2026, 1, 10, tzinfo=UTC))
    airflow.wait_for_runs(ASSET_EXAMPLE, 2)
    return airflow.wait_for_runs(STORAGE_EXAMPLE, 2)


@pytest.mark.parametrize(
    ("dag_id", "exports"),
    [
        ("e2e_daily", DAILY),
        ("e2e_six_hours", SIX_HOURS),
        ("e2e_berlin", BERLIN),
        ("e2e_asset_or_time", ASSET_OR_TIME),
        pytest.param("e2e_multiple_cron", MULTIPLE_CRON, marks=since_3_2),
        pytest.param("e2e_partition", PARTITION, marks=since_3_3),
    ],
)
def test_scheduled_run_exports_its_interval(
    airflow: AirflowInstance, manual_runs: dict[str, str], dag_id: str, exports: dict[str, tuple[str, str]]
) -> None:
    bodies = {due_date(run): pushed_requests(airflow, run) for run in scheduled_runs(airflow, dag_id, len(exports))}

    assert bodies == {utc(date): [interval_body(*interval)] for date, interval in exports.items()}


def test_lookback_goes_back_from_the_end_of_the_same_interval(
    airflow: AirflowInstance, manual_runs: dict[str, str]
) -> None:
    dag_ids = [dag_id for dag_id, task_id in LOOKBACK_TASKS.items() if task_id != "export" and dag_id in RUNS]
    for run in [run for dag_id in dag_ids for run in airflow.wait_for_runs(dag_id, RUNS[dag_id])]:
        (own,) = pushed_requests(airflow, run)
        end = datetime.fromisoformat(own["end_date"])
        lookback = lookback_request(airflow, run)
        assert (run.dag_id, lookback) == (run.dag_id, own | {"start_date": api_timestamp(end - LOOKBACK)})


@since_3_3
def test_partition_aware_dag_runs_once_for_each_stored_partition(
    airflow: AirflowInstance, manual_runs: dict[str, str]
) -> None:
    producer_runs = scheduled_runs(airflow, "e2e_partition", len(PARTITION))
    consumer_runs = airflow.wait_for_runs(PARTITION_CONSUMER, len(PARTITION))

    stored = {run.partition_key: pushed_requests(airflow, run)[0] for run in producer_runs}
    assert [airflow.xcom(run, "read") for run in consumer_runs] == [
        {"partition_key": run.partition_key, "intervals": [list(stored[run.partition_key].values())]}
        for run in consumer_runs
    ]
    assert sorted(run.partition_key for run in consumer_runs) == sorted(stored)


@since_3_3
def test_partition_that_has_not_ended_fails_immediately_unless_lookback_is_set(
    airflow: AirflowInstance, manual_runs: dict[str, str]
) -> None:
    (run,) = unfinished_partition_runs(airflow)

    start = run.run_after
    assert start is not None
    assert airflow.task_states(run) == {"export[-1]": "failed", "export_lookback[-1]": "success"}
    assert airflow.task_instance(run, "export").try_number == 1
    log = airflow.task_log_tail(run, "export")
    assert f"from {start.isoformat()} to {start.replace(year=start.year + 1).isoformat()}, has not ended" in log
    assert "Set run_offset=-1 in its schedule (CronPartitionTimetable 0 0 1 1 *), or lookback" in log
    assert lookback_request(airflow, run) == {
        "start_date": api_timestamp(start - LOOKBACK),
        "end_date": api_timestamp(start),
    }


def test_each_map_index_exports_the_interval_with_its_own_status(
    airflow: AirflowInstance, manual_runs: dict[str, str]
) -> None:
    bodies = {
        due_date(run): pushed_requests(airflow, run) for run in scheduled_runs(airflow, "e2e_mapped", len(MAPPED))
    }

    assert bodies == {
        utc(date): [interval_body(*interval) | {"line_item_status": [status]} for status in ("unallocated", "rejected")]
        for date, interval in MAPPED.items()
    }


def test_manual_run_exports_the_last_complete_day_before_its_logical_date(
    airflow: AirflowInstance, manual_runs: dict[str, str]
) -> None:
    run = airflow.wait_for_run("e2e_daily", manual_runs["e2e_daily"])

    assert pushed_requests(airflow, run) == [interval_body("2025-01-09", "2025-01-10")]


def test_manual_run_without_a_logical_date_exports_the_last_complete_day(
    airflow: AirflowInstance, manual_runs: dict[str, str]
) -> None:
    run = airflow.wait_for_run(EXPORT_EXAMPLE, manual_runs[EXPORT_EXAMPLE])

    assert (run.logical_date is None) == AIRFLOW_3
    triggered = run.run_after or run.data_interval_end
    assert triggered is not None
    midnight = triggered.replace(hour=0, minute=0, second=0, microsecond=0)
    assert pushed_requests(airflow, run) == [
        {"start_date": api_timestamp(midnight - timedelta(days=1)), "end_date": api_timestamp(midnight)}
    ]


def test_manual_run_exports_the_interval_of_its_parameters(
    airflow: AirflowInstance, manual_runs: dict[str, str]
) -> None:
    run = airflow.wait_for_run("e2e_manual", manual_runs["e2e_manual"])

    assert (run.logical_date is None) == AIRFLOW_3
    assert pushed_requests(airflow, run) == [
        interval_body("2025-05-01T00:00", "2025-05-02T10:30")
        | {
            "start": 0,
            "limit": 99,
            "sort": {"key": "date", "dir": "asc"},
            "line_item_status": ["unallocated", "backordered"],
            "status_conjunction": "or",
        }
    ]


def test_asset_triggered_run_exports_the_lookback_before_it_was_due(
    airflow: AirflowInstance, manual_runs: dict[str, str]
) -> None:
    airflow.wait_for_run("e2e_producer", manual_runs["e2e_producer"])
    (run,) = airflow.wait_for_runs("e2e_consumer", 1)

    end = run.run_after or run.data_interval_end
    assert end is not None
    assert pushed_requests(airflow, run) == [
        {"start_date": api_timestamp(end - LOOKBACK), "end_date": api_timestamp(end)},
    ]


def test_example_exports_the_day_and_returns_the_uuid(airflow: AirflowInstance, manual_runs: dict[str, str]) -> None:
    runs = scheduled_runs(airflow, EXPORT_EXAMPLE, 1)

    for run in runs:  # two if the test runs past midnight
        midnight, day = due_date(run), timedelta(days=1)
        start, end = (midnight - day, midnight) if AIRFLOW_3 else (midnight, midnight + day)
        assert pushed_requests(airflow, run) == [{"start_date": api_timestamp(start), "end_date": api_timestamp(end)}]
        assert [airflow.xcom(run, "announce")] == xcoms(airflow, run, "return_value")


def test_examples_wait_in_the_triggerer_and_store_files(
    airflow: AirflowInstance, manual_runs: dict[str, str], stored_runs: list[DagRun]
) -> None:
    for run in [*stored_runs, *airflow.wait_for_runs(MANUAL_EXAMPLE, 2)]:
        file = airflow.xcom(run, "store_orders", "export_file")
        assert [file["export_uuid"]] == xcoms(airflow, run, "return_value")
        assert Path(urlsplit(file["path"]).path).stat().st_size == file["bytes"] > 0


@pytest.mark.skipif(not AIRFLOW_3, reason="Airflow 2 does not update rendered fields during execution")
def test_rendered_fields_show_the_exported_interval_without_arguments(
    airflow: Airflow3, manual_runs: dict[str, str]
) -> None:
    run = airflow.wait_for_run("e2e_daily", manual_runs["e2e_daily"])

    fields = airflow.rendered_fields(run, "export")
    body = interval_body("2025-01-09", "2025-01-10")
    assert (fields["interval_start"], fields["interval_end"]) == (body["start_date"], body["end_date"])


def test_versions_page_shows_the_interval_of_each_run(
    airflow: AirflowInstance, manual_runs: dict[str, str], stored_runs: list[DagRun]
) -> None:
    for dag_id, count in RUNS.items():
        airflow.wait_for_runs(dag_id, count)
    table = versions_page.format_table(
        table_row(airflow, manual_runs, run) for dag_id in SCHEDULES for run in table_runs(airflow, dag_id)
    )

    if versions_page.RECORD:
        versions_page.write_table(table)
    assert versions_page.read_table() == table, "run make versions and review the changes of docs/evidence/versions.md"


def test_no_export_was_requested_twice(
    airflow: AirflowInstance, sandbox: Sandbox, manual_runs: dict[str, str], stored_runs: list[DagRun]
) -> None:
    runs = [run for dag_id, count in RUNS.items() for run in airflow.wait_for_runs(dag_id, count)]

    requests = [entry for entry in sandbox.requests if entry["path"] == "/api/orders/export/"]
    assert {(entry["method"], entry["status"]) for entry in requests} == {("POST", 200)}
    pushed_bodies = [body for run in runs for body in pushed_requests(airflow, run)]
    runs += unfinished_partition_runs(airflow)
    pushed_bodies += [body for run in runs for body in pushed_requests_with_lookback(airflow, run)]
    assert Counter(map(canonical_json, pushed_bodies)) == Counter(canonical_json(entry["body"]) for entry in requests)
    uuids = [uuid for run in runs if run.state == "success" for uuid in xcoms(airflow, run, "return_value")]
    uuids += [airflow.xcom(run, "export_lookback") for run in runs if has_second_task(run)]
    assert sorted(uuids) == sorted(sandbox.exports)


def test_airflow_listens_on_this_machine_only(airflow: AirflowInstance) -> None:
    processes = [process for component in airflow.components for process in component.processes()]

    sockets = []
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):  # the process of a task may end at any time
            sockets += process.net_connections("inet")
    assert processes
    assert sockets or not AIRFLOW_3  # the components of Airflow 2 open no sockets
    assert {socket.laddr.ip for socket in sockets if socket.status == psutil.CONN_LISTEN} <= {"127.0.0.1"}


def scheduled_runs(airflow: AirflowInstance, dag_id: str, count: int) -> list[DagRun]:
    """Wait until the scheduled runs of a DAG have succeeded, and return them."""
    return airflow.wait_for_runs(dag_id, count, run_type="scheduled")


def unfinished_partition_runs(airflow: AirflowInstance) -> list[DagRun]:
    """Wait until the run for the partition that has not ended has failed, and return it; only Airflow 3.3 has it."""
    return airflow.wait_for_runs(UNFINISHED_PARTITION, 1, state="failed") if AIRFLOW_VERSION >= (3, 3) else []


def pushed_requests(airflow: AirflowInstance, run: DagRun) -> list[dict[str, Any]]:
    """Return the request body that each task instance of the run pushed as XCom."""
    return [interval["request"] for interval in xcoms(airflow, run, "export_interval")]


def lookback_request(airflow: AirflowInstance, run: DagRun, task_id: str = "export_lookback") -> dict[str, Any]:
    """Return the request body that the task with `lookback` pushed."""
    request: dict[str, Any] = airflow.xcom(run, task_id, "export_interval")["request"]
    return request


def has_second_task(run: DagRun) -> bool:
    """Return whether the run exports once more, with `lookback`."""
    return LOOKBACK_TASKS.get(run.dag_id) == "export_lookback"


def pushed_requests_with_lookback(airflow: AirflowInstance, run: DagRun) -> list[dict[str, Any]]:
    """Return the request body of the second task, in a list that is empty if the run has none."""
    return [lookback_request(airflow, run)] if has_second_task(run) else []


def xcoms(airflow: AirflowInstance, run: DagRun, key: str) -> list[Any]:
    """Return the XCom with this key of each task instance of the run."""
    task_id = "export_orders" if run.dag_id.startswith("crux_") else "export"
    map_indexes = (0, 1) if run.dag_id == "e2e_mapped" else (-1,)
    return [airflow.xcom(run, task_id, key, index) for index in map_indexes]


def due_date(run: DagRun) -> datetime:
    """Return the date on which the run was due. The run of a partition has no logical date."""
    date = run.logical_date or run.run_after
    assert date is not None
    return date


def table_runs(airflow: AirflowInstance, dag_id: str) -> list[DagRun]:
    """Return the runs of a DAG in the order of the table, which does not depend on which run started first."""
    runs = airflow.dag_runs(dag_id) if dag_id in {*RUNS, ASSET_EXAMPLE} else []
    return sorted(runs, key=lambda run: (run.run_type, run.logical_date or utc("9999-01-01"), run.run_after))


def table_row(airflow: AirflowInstance, manual_runs: dict[str, str], run: DagRun) -> Row:
    """Return the row of a run."""
    detail = ""
    if run.run_id == manual_runs[f"{MANUAL_EXAMPLE} with an interval"]:
        detail = ", with an interval"
    if run.partition_key:
        detail = f", partition {run.partition_key}"
    lookback_task = LOOKBACK_TASKS.get(run.dag_id)
    exported = with_lookback = None
    if run.dag_id == ASSET_EXAMPLE:
        ((start, end),) = (message.split(" from ")[1].split(" to ") for message in airflow.xcom(run, "announce"))
        exported = datetime.fromisoformat(start), datetime.fromisoformat(end)
    elif lookback_task != "export":
        exported = interval_of(*pushed_requests(airflow, run))
    if lookback_task is not None:
        with_lookback = interval_of(lookback_request(airflow, run, lookback_task))
    return Row(SCHEDULES[run.dag_id], run, exported, with_lookback, detail)


def interval_of(body: dict[str, Any]) -> versions_page.Interval:
    """Return the interval of a request body."""
    return datetime.fromisoformat(body["start_date"]), datetime.fromisoformat(body["end_date"])
