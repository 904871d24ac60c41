"""A real Airflow on loopback for a test: scheduler, DAG processor and API server, or what the version needs of them.

The same calls serve Airflow 2 and 3. Airflow 3 is asked over its REST API; Airflow 2, whose web server would cost more
than the whole test, through its command line and its SQLite metadata database.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import uuid
from abc import ABC, abstractmethod
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import psutil
import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

AIRFLOW_VERSION = tuple(int(part) for part in importlib.metadata.version("apache-airflow").split(".")[:2])
AIRFLOW_3 = AIRFLOW_VERSION >= (3, 0)
DATABASE = "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"

STARTUP_SECONDS = 120
"""From the first process to a healthy Airflow; 15 to 25 s were seen on two cores."""
RUN_SECONDS = 150
"""The most that one wait for runs may take: all of a module's runs compete for the same two cores."""
POLL_SECONDS = 0.5
WRITER_PATIENCE_SECONDS = 30
"""How long a process waits while another one writes to SQLite."""
API_PATIENCE_SECONDS = 1
"""The same for the API server, which can wait for itself: for every request that changes something it writes to its
audit log (`log_action`) on the event loop, on which a task's request that holds the lock may still depend to finish.
Nothing moves until the wait is over. Then the refused request is sent again, by the task runner or by us."""
STOP_SECONDS = 15
TAIL_LINES = 40


class AirflowTestError(Exception):
    """Airflow did not do what the test waited for; the message ends with the tail of the logs."""


@dataclass(frozen=True)
class DagRun:
    """One run as the metadata database holds it; None where this version of Airflow has no such value."""

    dag_id: str
    run_id: str
    run_type: str
    state: str
    logical_date: datetime | None
    data_interval_start: datetime | None
    data_interval_end: datetime | None
    run_after: datetime | None
    partition_key: str | None = None

    @property
    def finished(self) -> bool:
        """Whether the scheduler is through with it."""
        return self.state in {"success", "failed"}


class AirflowInstance(ABC):
    """What a test asks of a running Airflow, in words that do not depend on its version."""

    def __init__(self, home: Path, environment: Mapping[str, str]) -> None:
        self.home = home
        self.environment = dict(environment)
        self.parts: list[Part] = []

    @abstractmethod
    def unhealthy(self) -> str:
        """Say what is not up yet, or return an empty string when all is."""

    @abstractmethod
    def dag_ids(self) -> set[str]:
        """Return the DAGs that the DAG processor has stored."""

    @abstractmethod
    def import_errors(self) -> dict[str, str]:
        """Return the DAG files that could not be imported, with their tracebacks."""

    @abstractmethod
    def trigger(self, dag_id: str, logical_date: datetime | None = None, conf: Mapping[str, Any] | None = None) -> str:
        """Start a manual run and return its run_id.

        Without a logical date Airflow 3 leaves it null and Airflow 2 takes now.
        """

    @abstractmethod
    def dag_runs(self, dag_id: str) -> list[DagRun]:
        """Return every run of the DAG, in the order in which they were due."""

    @abstractmethod
    def xcom(self, run: DagRun, task_id: str, key: str = "return_value", map_index: int = -1) -> Any:
        """Return an XCom's value; LookupError if the task pushed none under that key."""

    def wait_for_dags(self, dag_ids: set[str], timeout: float = RUN_SECONDS) -> None:
        """Wait until all these DAGs can be triggered; an import error anywhere ends the wait."""

        def missing() -> str:
            if errors := self.import_errors():
                raise AirflowTestError("\n".join(f"{name}:\n{trace}" for name, trace in errors.items()))
            absent = dag_ids - self.dag_ids()
            return f"no DAG named {', '.join(sorted(absent))}" if absent else ""

        self.wait(missing, timeout)

    def wait_for_runs(
        self, dag_id: str, count: int, run_type: str | None = None, timeout: float = RUN_SECONDS
    ) -> list[DagRun]:
        """Wait until the DAG has at least `count` runs (of this type) and all have succeeded; return them."""

        def runs() -> list[DagRun]:
            return [run for run in self.dag_runs(dag_id) if run_type in {None, run.run_type}]

        def unfinished() -> str:
            found = runs()
            self._refuse_failed(found)
            if len(found) >= count and all(run.finished for run in found):
                return ""
            return f"{dag_id}: {[(run.run_id, run.state) for run in found]}, expected {count} finished runs"

        self.wait(unfinished, timeout)
        return runs()

    def wait_for_run(self, dag_id: str, run_id: str, timeout: float = RUN_SECONDS) -> DagRun:
        """Wait until this run has succeeded and return it."""

        def this_run() -> DagRun:
            return next(run for run in self.dag_runs(dag_id) if run.run_id == run_id)

        def unfinished() -> str:
            run = this_run()
            self._refuse_failed([run])
            return "" if run.finished else f"{dag_id} {run_id} is {run.state}"

        self.wait(unfinished, timeout)
        return this_run()

    def wait(self, obstacle: Callable[[], str], timeout: float) -> None:
        """Poll until `obstacle` is the empty string; fail at the deadline, or when a part of Airflow has ended."""
        deadline = time.monotonic() + timeout
        while reason := obstacle():
            ended = [part.name for part in self.parts if part.process.poll() is not None]
            if ended or time.monotonic() > deadline:
                cause = f"ended too early: {', '.join(ended)}" if ended else f"not within {timeout:g} s"
                tails = "\n".join(f"--- {part.name}\n{tail(part.log)}" for part in self.parts)
                raise AirflowTestError(f"{reason} ({cause})\n{tails}")
            time.sleep(POLL_SECONDS)

    def task_log_tail(self, run: DagRun) -> str:
        """Return the last lines of each task log of the run, read from the log folder."""
        folder = self.home / "logs" / f"dag_id={run.dag_id}" / f"run_id={run.run_id}"
        return "\n".join(f"--- {log}\n{tail(log)}" for log in sorted(folder.rglob("*.log")))

    def _refuse_failed(self, runs: Sequence[DagRun]) -> None:
        for run in runs:
            if run.state == "failed":
                raise AirflowTestError(f"{run.dag_id} {run.run_id} failed\n{self.task_log_tail(run)}")


class _Airflow3(AirflowInstance):
    """Airflow 3 over REST. SQLite under several tasks answers 500 (database is locked) now and then: sent again."""

    def __init__(self, home: Path, environment: Mapping[str, str]) -> None:
        super().__init__(home, environment)
        self.base_url = self.environment["AIRFLOW__API__BASE_URL"]
        self._session = _session(
            Retry(total=6, backoff_factor=0.2, status_forcelist=[500, 503], allowed_methods={"GET", "POST"})
        )
        self._impatient_session = _session(Retry(total=0))

    def unhealthy(self) -> str:
        try:
            response = self._impatient_session.get(f"{self.base_url}/api/v2/monitor/health", timeout=5)
            response.raise_for_status()
        except requests.RequestException as error:
            return f"no health answer yet: {type(error).__name__}"
        health = response.json()
        waiting = [
            part
            for part in ("metadatabase", "scheduler", "dag_processor")
            if (health.get(part) or {}).get("status") != "healthy"
        ]
        return f"not healthy: {', '.join(waiting)}" if waiting else ""

    def dag_ids(self) -> set[str]:
        return {dag["dag_id"] for dag in self._get("dags", limit=100)["dags"]}

    def import_errors(self) -> dict[str, str]:
        errors = self._get("importErrors", limit=100)["import_errors"]
        return {error["filename"]: error["stack_trace"] for error in errors}

    def trigger(self, dag_id: str, logical_date: datetime | None = None, conf: Mapping[str, Any] | None = None) -> str:
        run_id = f"manual__{uuid.uuid4()}"
        response = self._session.post(
            f"{self.base_url}/api/v2/dags/{dag_id}/dagRuns",
            json={
                "dag_run_id": run_id,
                "logical_date": logical_date and logical_date.isoformat(),
                "conf": dict(conf or {}),
            },
            timeout=30,
        )
        # The run_id is ours alone, so a conflict is the answer to a request that was sent again after it had worked.
        if response.status_code != 409:
            self._check(response)
        return run_id

    def dag_runs(self, dag_id: str) -> list[DagRun]:
        runs = self._get(f"dags/{dag_id}/dagRuns", limit=100, order_by="run_after")["dag_runs"]
        return [
            DagRun(
                dag_id=dag_id,
                run_id=run["dag_run_id"],
                run_type=run["run_type"],
                state=run["state"],
                logical_date=_moment(run["logical_date"]),
                data_interval_start=_moment(run["data_interval_start"]),
                data_interval_end=_moment(run["data_interval_end"]),
                run_after=_moment(run["run_after"]),
                partition_key=run.get("partition_key"),
            )
            for run in runs
        ]

    def xcom(self, run: DagRun, task_id: str, key: str = "return_value", map_index: int = -1) -> Any:
        run_path = f"dags/{run.dag_id}/dagRuns/{quote(run.run_id, safe='')}"
        entry = self._get(f"{run_path}/taskInstances/{task_id}/xcomEntries/{key}", map_index=map_index)
        return entry["value"]

    def _get(self, path: str, **params: Any) -> Any:
        response = self._session.get(f"{self.base_url}/api/v2/{path}", params=params, timeout=30)
        if response.status_code == 404:
            raise LookupError(f"{response.url}: {response.text}")
        return self._check(response)

    @staticmethod
    def _check(response: requests.Response) -> Any:
        if not response.ok:
            raise AirflowTestError(f"{response.url} answered {response.status_code}: {response.text[:2000]}")
        return response.json()


def _session(retry: Retry) -> requests.Session:
    session = requests.Session()
    # a proxy that the developer's shell names must not be asked for 127.0.0.1
    session.trust_env = False
    session.mount("http://", HTTPAdapter(max_retries=retry))
    return session


class _Airflow2(AirflowInstance):
    """Airflow 2 through its metadata database, whose tables no longer change, and its command line."""

    def unhealthy(self) -> str:
        running = self._rows("SELECT id FROM job WHERE job_type = 'SchedulerJob' AND state = 'running'")
        return "" if running else "the scheduler has not registered its job"

    def dag_ids(self) -> set[str]:
        # The command line triggers from the serialized DAG, which is written after the row in `dag`.
        return {row["dag_id"] for row in self._rows("SELECT dag_id FROM serialized_dag")}

    def import_errors(self) -> dict[str, str]:
        rows = self._rows("SELECT filename, stacktrace FROM import_error")
        return {row["filename"]: row["stacktrace"] for row in rows}

    def trigger(self, dag_id: str, logical_date: datetime | None = None, conf: Mapping[str, Any] | None = None) -> str:
        run_id = f"manual__{uuid.uuid4()}"
        arguments = ["dags", "trigger", dag_id, "--run-id", run_id, "--conf", json.dumps(dict(conf or {}))]
        if logical_date is not None:
            arguments += ["--exec-date", logical_date.isoformat()]
        run_airflow(arguments, self.environment)
        return run_id

    def dag_runs(self, dag_id: str) -> list[DagRun]:
        rows = self._rows("SELECT * FROM dag_run WHERE dag_id = ? ORDER BY execution_date", dag_id)
        return [
            DagRun(
                dag_id=dag_id,
                run_id=row["run_id"],
                run_type=row["run_type"],
                state=row["state"],
                logical_date=_moment(row["execution_date"]),
                data_interval_start=_moment(row["data_interval_start"]),
                data_interval_end=_moment(row["data_interval_end"]),
                run_after=None,
            )
            for row in rows
        ]

    def xcom(self, run: DagRun, task_id: str, key: str = "return_value", map_index: int = -1) -> Any:
        rows = self._rows(
            "SELECT value FROM xcom WHERE dag_id = ? AND run_id = ? AND task_id = ? AND key = ? AND map_index = ?",
            *(run.dag_id, run.run_id, task_id, key, map_index),
        )
        if not rows:
            raise LookupError(f"{run.dag_id} {run.run_id} {task_id}[{map_index}] pushed no XCom {key}")
        return json.loads(rows[0]["value"])

    def _rows(self, statement: str, *values: object) -> list[sqlite3.Row]:
        with contextlib.closing(sqlite3.connect(self.home / "airflow.db", timeout=30)) as connection:
            connection.row_factory = sqlite3.Row
            return connection.execute(statement, values).fetchall()


class Part:
    """One process of Airflow's, leader of a session of its own, so that all it starts can be found and ended."""

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self.name = arguments[0]
        self.log = log
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "airflow", *arguments],
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def members(self) -> list[psutil.Process]:
        """Return every live process of the session.

        Airflow puts some of its children into process groups of their own, but none leaves the session.
        """
        return [process for process in psutil.process_iter() if _session_of(process.pid) == self.process.pid]


def _session_of(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except OSError:  # gone, or not ours to ask
        return None


def stop(parts: Sequence[Part]) -> None:
    """End the parts and all they started: a polite signal to each group, and after STOP_SECONDS no longer polite."""
    for part in parts:
        if part.process.poll() is None:
            os.killpg(part.process.pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    for part in parts:
        with contextlib.suppress(subprocess.TimeoutExpired):
            part.process.wait(max(0.0, deadline - time.monotonic()))
    for part in parts:
        for process in part.members():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        part.process.wait()


@contextlib.contextmanager
def running_airflow(home: Path, dags_folder: Path, env: Mapping[str, str]) -> Iterator[AirflowInstance]:
    """Run the Airflow of this interpreter's environment in a fresh `home` until the block is left.

    `env` is added to the environment of every process, and wins over the settings made here. Raises AirflowTestError
    if Airflow is not healthy within STARTUP_SECONDS. While it runs, SIGTERM is taken for Ctrl-C, so that a test session
    that is cancelled leaves no process behind.
    """
    home.mkdir(parents=True, exist_ok=True)
    port = _free_port()
    environment = {**_clean_environment(), **_settings(home, dags_folder, port), **env}
    run_airflow(["db", "migrate"], environment)
    # Readers and one writer side by side, so that hardly anything is ever locked; the file remembers it.
    with contextlib.closing(sqlite3.connect(home / "airflow.db")) as connection:
        connection.execute("PRAGMA journal_mode = WAL")

    instance = (_Airflow3 if AIRFLOW_3 else _Airflow2)(home, environment)
    handler = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        for arguments in _parts(port):
            patience = API_PATIENCE_SECONDS if arguments[0] == "api-server" else WRITER_PATIENCE_SECONDS
            own = {DATABASE: _database(home, patience)}
            instance.parts.append(Part(arguments, environment | own, home / f"{arguments[0]}.log"))
        instance.wait(instance.unhealthy, STARTUP_SECONDS)
        yield instance
    finally:
        stop(instance.parts)
        signal.signal(signal.SIGTERM, handler)


def run_airflow(arguments: Sequence[str], environment: Mapping[str, str]) -> str:
    """Run one command of the airflow command line and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "airflow", *arguments],
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=STARTUP_SECONDS,
        check=False,
    )
    if done.returncode:
        last = "\n".join(done.stdout.splitlines()[-TAIL_LINES:])
        raise AirflowTestError(f"airflow {' '.join(arguments)} ended with {done.returncode}\n{last}")
    return done.stdout


def tail(log: Path) -> str:
    """Return the last lines of a log file."""
    with log.open(errors="replace") as lines:
        return "\n".join(_readable(line.rstrip("\n")) for line in deque(lines, TAIL_LINES))


def _readable(line: str) -> str:
    """Shorten a line of an Airflow 3 task log, where a traceback is one JSON object of many kilobytes."""
    try:
        entry = json.loads(line)
        errors = [
            f"    {error['exc_type']}: {error['exc_value']} ({_innermost(error['frames'])})"
            for error in entry.get("error_detail") or []
        ]
        return "\n".join([f"{entry['timestamp']} {entry['level']} {entry['event']}", *errors])
    except (ValueError, TypeError, KeyError, AttributeError):  # plain text, or another shape of JSON
        return line


def _innermost(frames: Sequence[Mapping[str, Any]]) -> str:
    return " < ".join(f"{frame['filename']}:{frame['lineno']}" for frame in reversed(frames[-3:]))


def _parts(port: int) -> list[list[str]]:
    # The log server of a scheduler binds to every address; the test reads the log files.
    scheduler = ["scheduler", "--skip-serve-logs"]
    if not AIRFLOW_3:
        return [scheduler]  # it parses the DAG files too
    return [
        ["api-server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"],
        scheduler,
        ["dag-processor"],
    ]


def _clean_environment() -> dict[str, str]:
    """Return this process's environment without Airflow settings of the developer's or of another test's."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW_")}
    # The executor of Airflow 2 starts `airflow` by name: the one beside this interpreter, venv activated or not.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    return inherited | {"PATH": path, "NO_PROXY": "127.0.0.1,localhost", "no_proxy": "127.0.0.1,localhost"}


def _settings(home: Path, dags_folder: Path, port: int) -> dict[str, str]:
    base_url = f"http://127.0.0.1:{port}"
    common = {
        "AIRFLOW_HOME": home,
        "AIRFLOW__CORE__DAGS_FOLDER": dags_folder,
        "AIRFLOW__CORE__LOAD_EXAMPLES": False,
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": False,
        "AIRFLOW__CORE__PARALLELISM": 4,
        DATABASE: _database(home, WRITER_PATIENCE_SECONDS),
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": home / "logs",
        "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_SERVER_HOST": "127.0.0.1",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": False,
    }
    if AIRFLOW_3:
        extra = {
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": port,
            "AIRFLOW__API__BASE_URL": base_url,
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{base_url}/execution/",
            "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": True,
            # A loaded machine may take longer over the first request than the five seconds of the default, and a
            # task that asks a second time whether it may start is told that it runs already, and fails.
            "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": 30,
            "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": 10,
            # The files do not change: parsing them every 30 s takes the cores from the tasks. Not so rarely that a
            # file whose DAGs could not be stored is never tried again.
            "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": 60,
        }
    else:
        extra = {
            # the only one that Airflow 2 runs on SQLite
            "AIRFLOW__CORE__EXECUTOR": "SequentialExecutor",
            "AIRFLOW__SCHEDULER__DAG_DIR_LIST_INTERVAL": 10,
            "AIRFLOW__SCHEDULER__MIN_FILE_PROCESS_INTERVAL": 60,
        }
    return {name: str(value) for name, value in (common | extra).items()}


def _database(home: Path, patience: int) -> str:
    return f"sqlite:///{home / 'airflow.db'}?timeout={patience}"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _moment(value: str | None) -> datetime | None:
    """Read a time stamp of the REST API's or of SQLite's, which leaves the time zone out and means UTC."""
    if value is None:
        return None
    moment = datetime.fromisoformat(value)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
