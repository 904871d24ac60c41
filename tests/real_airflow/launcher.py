"""Starts a real Airflow on loopback, with the components that its version needs."""

from __future__ import annotations

import atexit
import contextlib
import functools
import importlib.metadata
import os
import shutil
import socket
import sqlite3
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tests.real_airflow.airflow_2 import Airflow2
from tests.real_airflow.airflow_3 import Airflow3
from tests.real_airflow.instance import AirflowInstance
from tests.real_airflow.processes import (
    STARTUP_SECONDS,
    Component,
    ForkedComponent,
    ForkServer,
    airflow_command,
    run_airflow,
    stopping_on_exit,
)

AIRFLOW_VERSION = tuple(int(part) for part in importlib.metadata.version("apache-airflow").split(".")[:2])
AIRFLOW_3 = AIRFLOW_VERSION >= (3, 0)
DATABASE_SETTING = "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"
POOL_SLOTS = 8
"""How many tasks run at once, also if AIRFLOW__CORE__PARALLELISM is higher."""

LOCK_TIMEOUT_SECONDS = 30
"""How long a process waits for the lock of SQLite while another process writes."""
API_SERVER_LOCK_TIMEOUT_SECONDS = 1
"""The same for the API server. It is short because the API server can block itself: for every request that changes
something, it writes its audit log (`log_action`) on the event loop, and a task's request that holds the lock may need
that event loop to finish. After the timeout, the task runner or the test retries the failed request."""

TRIGGERER_SETTINGS = {
    # Airflow 3.3 fails a resumed task with "state mismatch" if the scheduler has not yet learned that the process that
    # deferred the task has ended (https://github.com/apache/airflow/issues/72716). The supervisor reports the end, but
    # may sleep this many seconds first. If a trigger fires at once, as one of the secrets tests does, 40 % of the runs
    # fail with 5 (the default) or 2, and none with 1.
    "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
}
"""Settings of an Airflow with a triggerer."""

SHORT_HEARTBEAT_TIMEOUTS = {
    # How long a task may send no heartbeat, and how often the scheduler checks (first Airflow 3, then 2).
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "20",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "3",
    "AIRFLOW__SCHEDULER__SCHEDULER_ZOMBIE_TASK_THRESHOLD": "20",
    "AIRFLOW__SCHEDULER__ZOMBIE_DETECTION_INTERVAL": "3",
    # The same for a triggerer, whose triggers then move to the next one.
    "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "10",
    "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "2",
}
"""Settings for a test that kills processes: Airflow detects them within 10 to 25 seconds instead of 5 minutes. Other
tests do not use them, because heartbeats are also late on a machine under load."""


@contextlib.contextmanager
def running_airflow(
    home: Path,
    dags_folder: Path,
    env: Mapping[str, str],
    *,
    triggerer: bool = False,
    workers: Mapping[str, Sequence[str]] | None = None,
) -> Iterator[AirflowInstance]:
    """Run the Airflow of this interpreter's environment in an empty `home` until the block ends.

    `env` is added to the environment of every process and overrides the settings made here. A test that kills processes
    passes SHORT_HEARTBEAT_TIMEOUTS. `triggerer` adds a triggerer. `workers` adds components: it maps their names to
    their arguments. The database is SQLite unless `env` sets another. Raises AirflowTestError if Airflow is not healthy
    within STARTUP_SECONDS.
    """
    home.mkdir(parents=True, exist_ok=True)
    port = free_port()
    settings = _settings(home, dags_folder, port) | (TRIGGERER_SETTINGS if triggerer else {})
    environment = {**_clean_environment(), **settings, **env}
    sqlite = DATABASE_SETTING not in env
    if sqlite:
        create_database(home)
        # Readers do not block the writer in this mode, so locks are rare. The database file keeps the mode.
        with contextlib.closing(sqlite3.connect(home / "airflow.db")) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
    else:
        run_airflow(["db", "migrate"], environment)

    instance = (Airflow3 if AIRFLOW_3 else Airflow2)(home, environment)
    server = ForkServer(environment, home / "fork-server.log")
    with contextlib.closing(server), stopping_on_exit(instance.components):
        for arguments in _commands(port, triggerer):
            name = arguments[0]
            if name == "dag-processor":
                # Until it has stored a DAG, the scheduler starts no task. Without an API server, the task would fail.
                instance.wait_while(lambda: _not_listening(port), STARTUP_SECONDS)
            lock_timeout = API_SERVER_LOCK_TIMEOUT_SECONDS if name == "api-server" else LOCK_TIMEOUT_SECONDS
            database = {DATABASE_SETTING: _database(home, lock_timeout)} if sqlite else {}
            # At its end, the API server spends three seconds of one core on collecting garbage.
            graceful = name != "api-server"
            component = ForkedComponent(server, arguments, database, home / f"{name}.log", graceful=graceful)
            instance.components.append(component)
        for name, arguments in (workers or {}).items():
            component = Component(name, airflow_command(arguments), environment, home / f"{name}.log")
            instance.components.append(component)
        instance.wait_while(instance.unhealthy, STARTUP_SECONDS)
        yield instance


def create_database(home: Path) -> None:
    """Create the SQLite database of an Airflow home, unless it has one."""
    if not (home / "airflow.db").exists():
        shutil.copy(_migrated_database(), home / "airflow.db")


@functools.cache
def _migrated_database() -> Path:
    """Return a database without rows. It takes several seconds to make."""
    home = Path(tempfile.mkdtemp(dir=os.environ.get("AIRFLOW_HOME")))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    settings = {"AIRFLOW_HOME": str(home), "AIRFLOW__CORE__DEFAULT_POOL_TASK_SLOT_COUNT": str(POOL_SLOTS)}
    run_airflow(["db", "migrate"], _clean_environment() | settings)
    return home / "airflow.db"


def _commands(port: int, triggerer: bool) -> list[list[str]]:
    # Their log server would listen on every address. It is not needed, because tests read the log files.
    commands = [["scheduler", "--skip-serve-logs"]]
    if triggerer:
        commands.append(["triggerer", "--skip-serve-logs"])
    if AIRFLOW_3:  # in Airflow 2 the scheduler parses the DAG files, and the tests read the database
        commands.insert(0, ["api-server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"])
        commands.append(["dag-processor"])
    return commands


def _clean_environment() -> dict[str, str]:
    """Return this process's environment without the Airflow settings of the developer or of another test."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW_")}
    # The executor of Airflow 2 starts `airflow` by name. It must find the one of this interpreter's environment.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    return inherited | {
        "PATH": path,
        "PYTHONUNBUFFERED": "1",  # a log is complete whenever a component is killed
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
    }


def _settings(home: Path, dags_folder: Path, port: int) -> dict[str, str]:
    base_url = f"http://127.0.0.1:{port}"
    common = {
        "AIRFLOW_HOME": home,
        "AIRFLOW__CORE__DAGS_FOLDER": dags_folder,
        "AIRFLOW__CORE__LOAD_EXAMPLES": False,
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": False,
        "AIRFLOW__CORE__PARALLELISM": 4,
        DATABASE_SETTING: _database(home, LOCK_TIMEOUT_SECONDS),
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": home / "logs",
        "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_SERVER_HOST": "127.0.0.1",
        # Each step of a run waits this long, in seconds. With 0.5 instead of the default of 1, the tests take a tenth
        # less time and need a twentieth more of the CPU.
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": 0.5,
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
            # On a machine under load, the first request can take longer than the default timeout of five seconds. If a
            # task then retries its request to start, the API server rejects it as already running and the task fails.
            "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": 30,
            "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": 10,
            # The files do not change, and parsing them every 30 s slows the tasks down. They are still parsed again, in
            # case their DAGs could not be stored the first time.
            "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": 60,
        }
    else:
        extra = {
            # Run several tasks at once, although the database is SQLite, whose write-ahead log makes that possible.
            "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
            "_AIRFLOW__SKIP_DATABASE_EXECUTOR_COMPATIBILITY_CHECK": "1",
            "AIRFLOW__SCHEDULER__DAG_DIR_LIST_INTERVAL": 10,
            "AIRFLOW__SCHEDULER__MIN_FILE_PROCESS_INTERVAL": 60,
        }
    return {name: str(value) for name, value in (common | extra).items()}


def _database(home: Path, lock_timeout: int) -> str:
    return f"sqlite:///{home / 'airflow.db'}?timeout={lock_timeout}"


def _not_listening(port: int) -> str:
    with socket.socket() as client:
        return "the API server accepts no connections" if client.connect_ex(("127.0.0.1", port)) else ""


def free_port() -> int:
    """Return a loopback port on which no process listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
