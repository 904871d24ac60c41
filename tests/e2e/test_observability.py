"""Tests with a real scheduler of what others see: metrics, OpenLineage, and the partitions of assets."""

from __future__ import annotations

import json
import socket
from collections import defaultdict
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

import pytest

from airflow_provider_crux.files.columns import COLUMNS, EXPORT_COLUMNS
from airflow_provider_crux.sandbox.csv_file import COLUMNS as FILE_COLUMNS
from airflow_provider_crux.sandbox.server import running_sandbox
from airflow_provider_crux.sandbox.state import SandboxSettings
from airflow_provider_crux.task.waiting import MIN_RESUME_DELAY
from tests.real_airflow.launcher import AIRFLOW_VERSION
from tests.real_airflow.sandbox_airflow import airflow_with_sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_crux.sandbox.state import Sandbox
    from tests.real_airflow.instance import AirflowInstance

pytestmark = pytest.mark.e2e

DAGS = Path(__file__).parent / "dags_observed"
HAS_PARTITIONS = AIRFLOW_VERSION >= (3, 3)
DAG_FILES = [DAGS / "observed.py", *([DAGS / "partitions.py"] if HAS_PARTITIONS else [])]
needs_partitions = pytest.mark.skipif(not HAS_PARTITIONS, reason="tasks name partitions since Airflow 3.3")

DEFERRED = ("export", "store_later")

Names = tuple[str, str]
"""Namespace and name of a dataset."""


class Statsd:
    """A StatsD server on loopback."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._ending = Event()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.settimeout(0.2)
        self.port: int = self._socket.getsockname()[1]
        self._thread = Thread(target=self._receive)
        self._thread.start()

    def _receive(self) -> None:
        while not self._ending.is_set():
            with suppress(TimeoutError):
                self.lines += self._socket.recv(65535).decode().splitlines()

    def stop(self) -> None:
        self._ending.set()
        self._thread.join()
        self._socket.close()


class Observed(NamedTuple):
    """
    What was received of a run of the DAG ``observed``.

    :param events: those of OpenLineage, by task and type, in the order of their arrival.
    :param lines: those of StatsD.
    """

    events: dict[tuple[str, str], list[dict[str, Any]]]
    lines: list[str]

    def datasets(self, task_id: str, event_type: str, side: str) -> list[list[Names]]:
        """Return the inputs or outputs in each event of a task."""
        return [
            [(dataset["namespace"], dataset["name"]) for dataset in event[side]]
            for event in self.events[task_id, event_type]
        ]


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    """Run a sandbox that holds every export until the test finishes it."""
    with running_sandbox(SandboxSettings(export_seconds=None)) as running:
        yield running


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("observed")


@pytest.fixture(scope="module")
def statsd() -> Iterator[Statsd]:
    server = Statsd()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def airflow(folder: Path, sandbox: Sandbox, statsd: Statsd) -> Iterator[AirflowInstance]:
    """Run a real Airflow that keeps all XComs on object storage, and tells what it does."""
    connection = {"conn_type": "crux", "host": sandbox.url, "password": sandbox.settings.token}
    lineage = {"type": "file", "log_file_path": str(folder / "lineage.jsonl"), "append": True}
    (folder / "xcoms").mkdir()
    env = {
        "AIRFLOW_CONN_CRUX_DEFAULT": json.dumps(connection | {"extra": {"hash_key": "a key of this test"}}),
        "AIRFLOW_VAR_CRUX_ORDERS_FOLDER": (folder / "orders").as_uri(),
        "AIRFLOW__CORE__XCOM_BACKEND": "airflow.providers.common.io.xcom.backend.XComObjectStorageBackend",
        "AIRFLOW__COMMON_IO__XCOM_OBJECTSTORAGE_PATH": (folder / "xcoms").as_uri(),
        "AIRFLOW__COMMON_IO__XCOM_OBJECTSTORAGE_THRESHOLD": "0",
        "AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps(lineage),
        # Airflow ends what takes longer than ten seconds by default, as it does on a machine under load.
        "AIRFLOW__OPENLINEAGE__EXECUTION_TIMEOUT": "120",
        "AIRFLOW__METRICS__STATSD_ON": "True",
        "AIRFLOW__METRICS__STATSD_HOST": "127.0.0.1",
        "AIRFLOW__METRICS__STATSD_PORT": str(statsd.port),
        "AIRFLOW__METRICS__STATSD_INFLUXDB_ENABLED": "True",
        "AIRFLOW__METRICS__METRICS_ALLOW_LIST": "crux",
    }
    with airflow_with_sandbox(folder, DAG_FILES, sandbox, env, triggerer=True, quick_polls=True) as instance:
        yield instance


@pytest.fixture(scope="module")
def observed(airflow: AirflowInstance, sandbox: Sandbox, folder: Path, statsd: Statsd) -> Observed:
    """Run the DAG, whose two exports are finished when a task is deferred, and return what was received."""
    airflow.wait_for_dags({"observed"})
    run = airflow.dag_run("observed", airflow.trigger("observed"))
    for number, task_id in enumerate(DEFERRED):
        airflow.wait_for_task(run, task_id, "deferred")
        sandbox.finish_export(exports_of_day(sandbox, "2025-06-01")[number])
    airflow.wait_for_run("observed", run.run_id)
    # those of the other DAGs
    sandbox.settings = SandboxSettings()
    events = defaultdict(list)
    for line in (folder / "lineage.jsonl").read_text().splitlines():
        event = json.loads(line)
        dag_id, _, task_id = event["job"]["name"].partition(".")
        if dag_id == run.dag_id and task_id:
            events[task_id, event["eventType"]].append(event)
    return Observed(events, [line for line in statsd.lines if ",dag_id=observed" in line])


def exports_of_day(sandbox: Sandbox, start: str) -> list[str]:
    """Return the exports of an interval that begins on this day."""
    requests = [request for request in sandbox.requests if request["path"] == "/api/orders/export/"]
    pairs = zip(requests, sandbox.exports, strict=False)
    return [uuid for request, uuid in pairs if request["body"]["start_date"].startswith(start)]


def test_no_task_is_reported_as_reading_or_writing_its_xcoms(observed: Observed, folder: Path) -> None:
    assert list((folder / "xcoms").rglob("*.*")) or list((folder / "xcoms").rglob("*"))
    events = [event for group in observed.events.values() for event in group]
    names = {dataset["name"] for event in events for dataset in (*event["inputs"], *event["outputs"])}
    assert names
    assert not [name for name in names if "xcoms" in name]


def test_each_task_reports_what_it_reads_and_writes(observed: Observed, sandbox: Sandbox, folder: Path) -> None:
    orders = (f"crux://{urlsplit(sandbox.url).netloc}", "orders")
    stored, later = (
        ("file", f"{folder}/orders/{name}") for name in ("observed/observed.parquet", "later/2025-06-01.csv")
    )
    # the events on start and on completion; the file with the day of its interval is known when it is stored
    expected = {
        "export": ([orders], [], []),
        "sense": ([orders], [], []),
        "store": ([orders], [stored], [stored]),
        "later": ([orders], [], []),
        "store_later": ([orders], [], [later]),
        "cover": ([("file", f"{folder}/orders/observed"), orders], [], []),
    }
    assert {
        task_id: (
            observed.datasets(task_id, "COMPLETE", "inputs"),
            observed.datasets(task_id, "START", "outputs"),
            observed.datasets(task_id, "COMPLETE", "outputs"),
        )
        for task_id in expected
    } == {
        task_id: ([reads], [planned] * len(observed.events[task_id, "START"]), [written])
        for task_id, (reads, planned, written) in expected.items()
    }
    assert {task_id: len(observed.events[task_id, "START"]) for task_id in expected} == {
        **dict.fromkeys(expected, 1),
        **dict.fromkeys(DEFERRED, 2),
    }
    for task_id, (reads, _, _) in expected.items():
        assert observed.datasets(task_id, "START", "inputs") == [reads] * len(observed.events[task_id, "START"])
    assert observed.datasets("exists", "FAIL", "inputs") == [[orders]]
    assert observed.datasets("exists", "FAIL", "outputs") == [[]]


def test_columns_of_a_file_have_a_meaning_and_an_origin(observed: Observed, sandbox: Sandbox) -> None:
    (event,) = observed.events["store", "COMPLETE"]
    (file,) = event["outputs"]
    known = {column.name: column for column in (*COLUMNS, *EXPORT_COLUMNS)}
    names = [*FILE_COLUMNS, *(column.name for column in EXPORT_COLUMNS)]
    fields = file["facets"]["schema"]["fields"]
    assert [(field["name"], field["description"]) for field in fields] == [
        (name, known[name].meaning) for name in names
    ]
    types = {field["name"]: field["type"] for field in fields}
    assert (types["name"], types["quantity"], types["crux_requested_at"]) == (
        "string",
        "int64",
        "timestamp[us, tz=UTC]",
    )

    sources = file["facets"]["columnLineage"]["fields"]
    assert set(sources) == set(FILE_COLUMNS)
    for name, source in sources.items():
        (origin,) = source["inputFields"]
        assert (origin["namespace"], origin["name"], origin["field"]) == (
            f"crux://{urlsplit(sandbox.url).netloc}",
            "orders",
            name,
        )
        (transformation,) = origin["transformations"]
        subtype = "TRANSFORMATION" if known[name].personal else "IDENTITY"
        assert (transformation["type"], transformation["subtype"]) == ("DIRECT", subtype)
        assert transformation["masking"] is known[name].personal
    assert file["outputFacets"]["outputStatistics"]["rowCount"] > 0


def test_metrics_come_from_the_processes_of_the_tasks(observed: Observed) -> None:
    tags = ",dag_id=observed,crux_conn_id=crux_default"
    counts: dict[str, list[float]] = defaultdict(list)
    for line in observed.lines:
        name, _, value = line.rpartition(":")
        counts[name].append(float(value.partition("|")[0]))
    assert counts[f"airflow.crux.exports.requested{tags}"] == [1, 1]
    assert len(counts[f"airflow.crux.rows{tags}"]) == 2
    waits = counts[f"airflow.crux.wait_seconds{tags}"]
    assert len(waits) == len(DEFERRED)
    # a task that is deferred does not resume before
    assert all(MIN_RESUME_DELAY <= wait < 300 for wait in waits)


@needs_partitions
def test_a_lookback_starts_a_run_for_each_of_its_days(airflow: AirflowInstance, observed: Observed) -> None:
    (run,) = airflow.wait_for_runs("partitions_lookback", 1)
    runs = airflow.wait_for_runs("reads_lookback", 3)

    assert run.partition_key == "2025-09-09"
    assert sorted(run.partition_key for run in runs) == ["2025-09-07", "2025-09-08", "2025-09-09"]


@needs_partitions
def test_filled_gaps_start_a_run_for_each_day_they_touch(airflow: AirflowInstance, observed: Observed) -> None:
    airflow.wait_for_run("partitions_filled", airflow.trigger("partitions_filled"))
    days = [f"2025-07-{day:02}" for day in (1, 5, 6, 7)]

    runs = airflow.wait_for_runs("reads_filled", len(days))
    assert sorted(run.partition_key for run in runs) == [f"{day}T00:00:00" for day in days]
    runs = airflow.wait_for_runs("reads_filled_days", len(days))
    assert sorted(run.partition_key for run in runs) == days


@needs_partitions
def test_a_dag_without_partitions_still_starts_those_that_are_scheduled_on_the_asset(
    airflow: AirflowInstance, observed: Observed
) -> None:
    airflow.wait_for_run("partitions_plain", airflow.trigger("partitions_plain"))

    (run,) = airflow.wait_for_runs("reads_plain", 1)
    assert run.partition_key is None
