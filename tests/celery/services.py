"""PostgreSQL and Redis for one test: on loopback, on free ports, gone with everything in them when it ends."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg2
import redis

from tests.e2e.airflow_instance import free_port
from tests.e2e.processes import STARTUP_SECONDS, AirflowTestError, Part, ending, wait

DATABASE_USER = "airflow"


@contextlib.contextmanager
def running_postgres() -> Iterator[str]:
    """Run a PostgreSQL server with an empty database and give its address, without a driver's name."""
    # not below pytest's folders: PostgreSQL refuses to run as root, and no other user may enter those
    with tempfile.TemporaryDirectory(prefix="crux-postgres-", ignore_cleanup_errors=True) as name:
        user = "postgres" if os.geteuid() == 0 else None
        if user:
            shutil.chown(name, user)
        folder, port = Path(name), free_port()
        subprocess.run(
            # trust: who can reach this port of loopback may read what a test has made up
            [
                _postgres("initdb"),
                "--pgdata",
                folder / "data",
                "--username",
                DATABASE_USER,
                "--auth=trust",
                "--no-sync",
            ],
            user=user,
            cwd=folder,
            stdout=subprocess.DEVNULL,
            check=True,
        )
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(port),
            "unix_socket_directories": "",
            # as many connections as all of Airflow's processes hold; what is lost in a power cut is a test
            "max_connections": "400",
            "fsync": "off",
        }
        options = [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
        command = [_postgres("postgres"), "-D", str(folder / "data"), *options]
        address = f"{DATABASE_USER}@127.0.0.1:{port}/postgres"
        # the log outside of the folder, which is PostgreSQL's own
        with tempfile.NamedTemporaryFile(prefix="crux-postgres-", suffix=".log") as log:
            part = Part("postgres", command, dict(os.environ), Path(log.name), user)
            with ending([part]):
                _wait(part, lambda: psycopg2.connect(f"postgresql://{address}").close(), psycopg2.OperationalError)
                yield address


@contextlib.contextmanager
def running_redis(folder: Path) -> Iterator[str]:
    """Run a Redis server that writes nothing to disk and give its URL."""
    port = free_port()
    settings = {"bind": "127.0.0.1", "port": str(port), "save": "", "appendonly": "no", "dir": str(folder)}
    command = [_found("redis-server"), *(word for key, value in settings.items() for word in (f"--{key}", value))]
    part = Part("redis", command, dict(os.environ), folder / "redis.log")
    with ending([part]), contextlib.closing(redis.Redis(port=port)) as client:
        _wait(part, client.ping, redis.ConnectionError)
        yield f"redis://127.0.0.1:{port}/0"


def _postgres(program: str) -> str:
    # Debian keeps them apart, by version
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return _found(program, os.pathsep.join([*map(str, folders), os.environ.get("PATH", os.defpath)]))


def _found(program: str, path: str | None = None) -> str:
    found = shutil.which(program, path=path)
    if not found:
        raise AirflowTestError(f"{program} is not installed: run make celery")
    return found


def _wait(part: Part, attempt: Callable[[], object], refused: type[Exception]) -> None:
    def obstacle() -> str:
        try:
            attempt()
        except refused as error:
            return f"no {part.name}: {error}"
        return ""

    wait([part], obstacle, STARTUP_SECONDS)
