"""A real scheduler runs DAGs of every kind of schedule; each run exports the time that it stands for, once."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import psutil
import pytest

from tests.e2e import versions
from tests.e2e.airflow_instance import AIRFLOW_3, AIRFLOW_VERSION
from tests.e2e.instance import AirflowInstance, DagRun
from tests.e2e.versions import Row

if TYPE_CHECKING:
    from airflow_provider_crux.sandbox.state import Sandbox
    from tests.e2e.airflow_3 import Airflow3

pytestmark = pytest.mark.e2e

EXAMPLE, STORING, ARRIVED, BY_HAND = (
    "crux_orders_export",
    "crux_orders_to_storage",
    "crux_orders_arrived",
    "crux_orders_manual",
)
since_3_2 = pytest.mark.skipif(AIRFLOW_VERSION < (3, 2), reason="the schedule exists since Airflow 3.2")
since_3_3 = pytest.mark.skipif(AIRFLOW_VERSION < (3, 3), reason="a task knows its partition's date since Airflow 3.3")

# What is sent for a run, by the date on which it is due. Airflow 2 gives a run of these three the period that begins on
# that date; Airflow 3 gives it an interval of no length, and what is exported is the period that ended there.
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
# The day of 30 March has 23 hours.
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

# How many runs each DAG gets that exports.
RUNS = {"e2e_daily": 3, "e2e_six_hours": 2, "e2e_berlin": 2, "e2e_mapped": 2, "e2e_asset_or_time": 2}
RUNS |= {"e2e_manual": 1, "e2e_producer": 1, "e2e_consumer": 1, EXAMPLE: 4, STORING: 2, BY_HAND: 2}
if AIRFLOW_VERSION >= (3, 2):
    RUNS |= {"e2e_multiple_cron": 2}
if AIRFLOW_VERSION >= (3, 3):
    RUNS |= {"e2e_partition": 2}

# What stands in docs/versions.md, in this order: schedules by the name that Airflow 3 has for them.
SCHEDULES = {
    EXAMPLE: "@daily",
    STORING: "@daily",
    ARRIVED: "[Asset]",
    BY_HAND: "None",
    "e2e_daily": "@daily",
    "e2e_six_hours": "timedelta(hours=6)",
    "e2e_berlin": 'CronTriggerTimetable("0 0 * * *", timezone="Europe/Berlin")',
    "e2e_multiple_cron": 'MultipleCronTriggerTimetable("0 6 * * *", "30 18 * * *", timezone="UTC")',
    "e2e_partition": 'CronPartitionTimetable("0 0 * * *", timezone="UTC", run_offset=-1)',
    "e2e_asset_or_time": "AssetOrTimeSchedule(CronTriggerTimetable(...), [Asset])",
    "e2e_consumer": "[Asset]",
}
# What the test says of a run beyond how it came about.
HOW = {"e2e_consumer": ", with `lookback` 1 h"}


@pytest.fixture(scope="module")
def manual_runs(airflow: AirflowInstance) -> dict[str, str]:
    """Start every manual run at once, so that they run beside the scheduled ones; return the run_ids."""
    airflow.wait_for_dags({*RUNS, ARRIVED})
    parameters = {"interval_start": "2025-05-01T00:00:00Z", "interval_end": "2025-05-02T12:30:00+02:00"}
    conf = {"interval_start": "2026-01-01T00:00:00Z", "interval_end": "2026-01-02T00:00:00Z"}
    started = {
        "e2e_producer": airflow.trigger("e2e_producer"),
        "e2e_manual": airflow.trigger("e2e_manual", conf=parameters),
        "e2e_daily": airflow.trigger("e2e_daily", datetime(2025, 1, 10, 15, 30, tzinfo=UTC)),
        EXAMPLE: airflow.trigger(EXAMPLE),
        f"{EXAMPLE} on a date": airflow.trigger(EXAMPLE, datetime(2026, 2, 10, 15, 30, tzinfo=UTC)),
        BY_HAND: airflow.trigger(BY_HAND),
        f"{BY_HAND} with an interval": airflow.trigger(BY_HAND, conf=conf),
    }
    airflow.backfill(EXAMPLE, utc("2026-03-01"))
    return started


@pytest.fixture(scope="module")
def stored_runs(airflow: AirflowInstance, manual_runs: dict[str, str]) -> list[DagRun]:
    """Return the runs that wait in the triggerer and store: today's, and then one by hand."""
    # One after the other: Airflow may start one run of the reader for two files.
    airflow.wait_for_runs(ARRIVED, 1)
    airflow.trigger(STORING, datetime(2026, 1, 10, tzinfo=UTC))
    airflow.wait_for_runs(ARRIVED, 2)
    return airflow.wait_for_runs(STORING, 2)


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
def test_scheduled_run_exports_its_period(
    airflow: AirflowInstance, manual_runs: dict[str, str], dag_id: str, exports: dict[str, tuple[str, str]]
) -> None:
    sent = {due(run): requests_of(airflow, run) for run in scheduled_runs(airflow, dag_id, len(exports))}

    assert sent == {utc(date): [period(*interval)] for date, interval in exports.items()}


def test_each_map_index_exports_the_period_for_its_own_status(
    airflow: AirflowInstance, manual_runs: dict[str, str]
) -> None:
    sent = {due(run): requests_of(airflow, run) for run in scheduled_runs(airflow, "e2e_mapped", len(MAPPED))}

    assert sent == {
        utc(date): [period(*interval) | {"line_item_status": [status]} for status in ("unallocated", "rejected")]
        for date, interval in MAPPED.items()
    }


def test_manual_run_exports_the_last_whole_day_before_its_logical_date(
    airflow: AirflowInstance, manual_runs: dict[str, str]
) -> None:
    run = airflow.wait_for_run("e2e_daily", manual_runs["e2e_daily"])

    assert requests_of(airflow, run) == [period("2025-01-09", "2025-01-10")]


def test_manual_run_without_a_logical_date_exports_the_last_whole_day(
    airflow: AirflowInstance, manual_runs: dict[str, str]
) -> None:
    run = airflow.wait_for_run(EXAMPLE, manual_runs[EXAMPLE])

    assert (run.logical_date is None) == AIRFLOW_3
    triggered = run.run_after or run.data_interval_end
    assert triggered is not None
    midnight = triggered.replace(hour=0, minute=0, second=0, microsecond=0)
    assert requests_of(airflow, run) == [{"start_date": wire(midnight - timedelta(days=1)), "end_date": wire(midnight)}]


def test_parameters_of_a_manual_run_say_what_is_exported(airflow: AirflowInstance, manual_runs: dict[str, str]) -> None:
    run = airflow.wait_for_run("e2e_manual", manual_runs["e2e_manual"])

    assert (run.logical_date is None) == AIRFLOW_3
    assert requests_of(airflow, run) == [
        period("2025-05-01T00:00", "2025-05-02T10:30")
        | {
            "start": 0,
            "limit": 99,
            "sort": {"key": "date", "dir": "asc"},
            "line_item_status": ["unallocated", "backordered"],
            "status_conjunction": "or",
        }
    ]


def test_run_started_by_an_asset_looks_back_from_when_it_was_due(
    airflow: AirflowInstance, manual_runs: dict[str, str]
) -> None:
    airflow.wait_for_run("e2e_producer", manual_runs["e2e_producer"])
    (run,) = airflow.wait_for_runs("e2e_consumer", 1)

    end = run.run_after or run.data_interval_end
    assert end is not None
    assert requests_of(airflow, run) == [
        {"start_date": wire(end - timedelta(hours=1)), "end_date": wire(end)},
    ]


def test_example_exports_the_day_and_hands_the_uuid_on(airflow: AirflowInstance, manual_runs: dict[str, str]) -> None:
    runs = scheduled_runs(airflow, EXAMPLE, 1)

    for run in runs:  # two where midnight passes during the test
        midnight, day = due(run), timedelta(days=1)
        start, end = (midnight - day, midnight) if AIRFLOW_3 else (midnight, midnight + day)
        assert requests_of(airflow, run) == [{"start_date": wire(start), "end_date": wire(end)}]
        assert [airflow.xcom(run, "announce")] == xcoms(airflow, run, "return_value")


def test_examples_wait_in_the_triggerer_and_store_their_files(
    airflow: AirflowInstance, manual_runs: dict[str, str], stored_runs: list[DagRun]
) -> None:
    for run in [*stored_runs, *airflow.wait_for_runs(BY_HAND, 2)]:
        file = airflow.xcom(run, "store_orders", "export_file")
        assert [file["export_uuid"]] == xcoms(airflow, run, "return_value")
        assert Path(urlsplit(file["path"]).path).stat().st_size == file["bytes"] > 0


@pytest.mark.skipif(not AIRFLOW_3, reason="Airflow 2 shows the arguments as they were rendered")
def test_rendered_fields_show_what_was_exported_though_nothing_was_given(
    airflow: Airflow3, manual_runs: dict[str, str]
) -> None:
    run = airflow.wait_for_run("e2e_daily", manual_runs["e2e_daily"])

    fields = airflow.rendered_fields(run, "export")
    exported = period("2025-01-09", "2025-01-10")
    assert (fields["interval_start"], fields["interval_end"]) == (exported["start_date"], exported["end_date"])


def test_the_page_says_which_interval_each_logical_date_was_given(
    airflow: AirflowInstance, manual_runs: dict[str, str], stored_runs: list[DagRun]
) -> None:
    for dag_id, count in RUNS.items():
        airflow.wait_for_runs(dag_id, count)
    seen = versions.table(row(airflow, manual_runs, run) for dag_id in SCHEDULES for run in page_runs(airflow, dag_id))

    if versions.RECORD:
        versions.record(seen)
    assert versions.on_page() == seen, "run make versions, and read what has changed"


def test_nothing_was_sent_twice(
    airflow: AirflowInstance, sandbox: Sandbox, manual_runs: dict[str, str], stored_runs: list[DagRun]
) -> None:
    runs = [run for dag_id, count in RUNS.items() for run in airflow.wait_for_runs(dag_id, count)]

    asked = [entry for entry in sandbox.requests if entry["path"] == "/api/orders/export/"]
    assert {(entry["method"], entry["status"]) for entry in asked} == {("POST", 200)}
    pushed = [body for run in runs for body in requests_of(airflow, run)]
    assert Counter(map(canonical, pushed)) == Counter(canonical(entry["body"]) for entry in asked)
    uuids = [uuid for run in runs for uuid in xcoms(airflow, run, "return_value")]
    assert sorted(uuids) == sorted(sandbox.exports)


def test_airflow_listens_on_this_machine_only(airflow: AirflowInstance) -> None:
    processes = [process for part in airflow.parts for process in part.members()]

    sockets = []
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):  # a task's process may end meanwhile
            sockets += process.net_connections("inet")
    assert processes
    assert sockets or not AIRFLOW_3  # the parts of Airflow 2 need none
    assert {socket.laddr.ip for socket in sockets if socket.status == psutil.CONN_LISTEN} <= {"127.0.0.1"}


def scheduled_runs(airflow: AirflowInstance, dag_id: str, count: int) -> list[DagRun]:
    """Wait for the runs of a DAG that its schedule starts, and return them."""
    return airflow.wait_for_runs(dag_id, count, run_type="scheduled")


def requests_of(airflow: AirflowInstance, run: DagRun) -> list[dict[str, Any]]:
    """Return the body that each task instance of the run says it sent."""
    return xcoms(airflow, run, "export_request")


def xcoms(airflow: AirflowInstance, run: DagRun, key: str) -> list[Any]:
    """Return an XCom of each task instance of the run."""
    task_id = "export_orders" if run.dag_id.startswith("crux_") else "export"
    map_indexes = (0, 1) if run.dag_id == "e2e_mapped" else (-1,)
    return [airflow.xcom(run, task_id, key, index) for index in map_indexes]


def due(run: DagRun) -> datetime:
    """Return the date on which the run was due; a partition's run has no logical date."""
    date = run.logical_date or run.run_after
    assert date is not None
    return date


def utc(text: str) -> datetime:
    """Read a date or a moment in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def wire(moment: datetime) -> str:
    """Write a moment as the API wants it: in UTC, to the second, with milliseconds that are always 000."""
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%S}.000Z"


def period(start: str, end: str) -> dict[str, Any]:
    """Return the body of a request for this period and nothing else."""
    return {"start_date": wire(utc(start)), "end_date": wire(utc(end))}


def canonical(body: dict[str, Any]) -> str:
    """Write a body so that equal ones are equal text."""
    return json.dumps(body, sort_keys=True)


def page_runs(airflow: AirflowInstance, dag_id: str) -> list[DagRun]:
    """Return the runs of a DAG that this Airflow has, by date and not by who came first."""
    runs = airflow.dag_runs(dag_id) if dag_id in {*RUNS, ARRIVED} else []
    return sorted(runs, key=lambda run: (run.run_type, run.logical_date or utc("9999-01-01"), run.run_after))


def row(airflow: AirflowInstance, manual_runs: dict[str, str], run: DagRun) -> Row:
    """Return what the page says of a run."""
    how = HOW.get(run.dag_id, "")
    if run.run_id == manual_runs[f"{BY_HAND} with an interval"]:
        how = ", with an interval"
    if run.partition_key:
        how = f", partition {run.partition_key}"
    if run.dag_id == ARRIVED:
        ((start, end),) = (told.split(" from ")[1].split(" to ") for told in airflow.xcom(run, "announce"))
    else:
        (body,) = requests_of(airflow, run)
        start, end = body["start_date"], body["end_date"]
    return Row(SCHEDULES[run.dag_id], run, (datetime.fromisoformat(start), datetime.fromisoformat(end)), how)
