"""A real Airflow on loopback for a test: scheduler, DAG processor and API server, or what the version needs of them."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import socket
import sqlite3
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tests.e2e.airflow_2 import Airflow2
from tests.e2e.airflow_3 import Airflow3
from tests.e2e.instance import AirflowInstance
from tests.e2e.processes import STARTUP_SECONDS, Part, airflow_command, ending, run_airflow

AIRFLOW_VERSION = tuple(int(part) for part in importlib.metadata.version("apache-airflow").split(".")[:2])
AIRFLOW_3 = AIRFLOW_VERSION >= (3, 0)
DATABASE = "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"

WRITER_PATIENCE_SECONDS = 30
"""How long a process waits while another one writes to SQLite."""
API_PATIENCE_SECONDS = 1
"""The same for the API server, which can wait for itself: for every request that changes something it writes to its
audit log (`log_action`) on the event loop, on which a task's request that holds the lock may still depend to finish.
Nothing moves until the wait is over. Then the refused request is sent again, by the task runner or by us."""

DEFERRING = {
    # Airflow 3.3 fails a task with "state mismatch" if the scheduler hears only after it was resumed that the process
    # that deferred it has ended (https://github.com/apache/airflow/issues/72716), and the supervisor, who is to tell
    # that, may sleep for so many seconds first. The fastest trigger takes two. With the default of 5, or with 2, two
    # in five of the runs failed whose trigger fired at once, with 1 none.
    "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
}
"""Settings where there is a triggerer."""

QUICK_TO_NOTICE = {
    # How long a task may be silent whose supervisor is gone, and how often the scheduler looks (Airflow 3, then 2).
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "20",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "3",
    "AIRFLOW__SCHEDULER__SCHEDULER_ZOMBIE_TASK_THRESHOLD": "20",
    "AIRFLOW__SCHEDULER__ZOMBIE_DETECTION_INTERVAL": "3",
    # The same for a triggerer, whose triggers the next one takes over.
    "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "10",
    "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "2",
}
"""Settings for a test that kills: what is gone is missed after 10 to 25 seconds; by default it takes up to 5 minutes.
Not for others, since a machine under load is silent for a while too."""


@contextlib.contextmanager
def running_airflow(
    home: Path,
    dags_folder: Path,
    env: Mapping[str, str],
    *,
    triggerer: bool = False,
    workers: Mapping[str, Sequence[str]] | None = None,
) -> Iterator[AirflowInstance]:
    """Run the Airflow of this interpreter's environment in a fresh `home` until the block is left.

    `env` is added to the environment of every process, and wins over the settings made here; a test that kills gives
    QUICK_TO_NOTICE. `triggerer` says whether there is to be one; `workers` gives more parts, by name, the arguments of
    each. The database is SQLite unless `env` names another. Raises AirflowTestError if Airflow is not healthy within
    STARTUP_SECONDS.
    """
    home.mkdir(parents=True, exist_ok=True)
    port = free_port()
    settings = _settings(home, dags_folder, port) | (DEFERRING if triggerer else {})
    environment = {**_clean_environment(), **settings, **env}
    run_airflow(["db", "migrate"], environment)
    sqlite = DATABASE not in env
    if sqlite:
        # Readers and one writer side by side, so that hardly anything is ever locked; the file remembers it.
        with contextlib.closing(sqlite3.connect(home / "airflow.db")) as connection:
            connection.execute("PRAGMA journal_mode = WAL")

    instance = (Airflow3 if AIRFLOW_3 else Airflow2)(home, environment)
    parts = {arguments[0]: arguments for arguments in _parts(port, triggerer)} | dict(workers or {})
    with ending(instance.parts):
        for name, arguments in parts.items():
            patience = API_PATIENCE_SECONDS if name == "api-server" else WRITER_PATIENCE_SECONDS
            own = {DATABASE: _database(home, patience)} if sqlite else {}
            command = airflow_command(arguments)
            instance.parts.append(Part(name, command, environment | own, home / f"{name}.log"))
        instance.wait(instance.unhealthy, STARTUP_SECONDS)
        yield instance


def _parts(port: int, triggerer: bool) -> list[list[str]]:
    # The log server of these binds to every address; the test reads the log files.
    parts = [["scheduler", "--skip-serve-logs"]]
    if triggerer:
        parts.append(["triggerer", "--skip-serve-logs"])
    if AIRFLOW_3:  # in Airflow 2 the scheduler parses the DAG files, and who asks reads the database
        parts.insert(0, ["api-server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"])
        parts.append(["dag-processor"])
    return parts


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


def free_port() -> int:
    """Return a port of loopback that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
