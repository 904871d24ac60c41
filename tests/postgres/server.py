"""Runs PostgreSQL for a test, on a free loopback port, and deletes its data afterwards."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg2

from tests.real_airflow.launcher import free_port
from tests.real_airflow.processes import STARTUP_SECONDS, AirflowTestError, Component, stopping_on_exit, wait_while

DATABASE_USER = "airflow"


@contextlib.contextmanager
def running_postgres() -> Iterator[str]:
    """Run a PostgreSQL server with an empty database. The value is its address, without the name of a driver."""
    # PostgreSQL refuses to run as root, and other users have no access to pytest's folders.
    with tempfile.TemporaryDirectory(prefix="crux-postgres-", ignore_cleanup_errors=True) as name:
        user = "postgres" if os.geteuid() == 0 else None
        if user:
            shutil.chown(name, user)
        folder, port = Path(name), free_port()
        subprocess.run(
            # Authentication is not needed: the server is only reachable on loopback and holds only test data.
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
            # Airflow's processes hold many connections. Test data need not survive a power failure.
            "max_connections": "400",
            "fsync": "off",
        }
        options = [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
        command = [_postgres("postgres"), "-D", str(folder / "data"), *options]
        address = f"{DATABASE_USER}@127.0.0.1:{port}/postgres"
        # The log is outside of the folder, which belongs to PostgreSQL's user.
        with tempfile.NamedTemporaryFile(prefix="crux-postgres-", suffix=".log") as log:
            component = Component("postgres", command, dict(os.environ), Path(log.name), user)
            with stopping_on_exit([component]):
                wait_for_service(
                    component, lambda: psycopg2.connect(f"postgresql://{address}").close(), psycopg2.OperationalError
                )
                yield address


def _postgres(program: str) -> str:
    # Debian installs each version into its own folder.
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return find_program(program, os.pathsep.join([*map(str, folders), os.environ.get("PATH", os.defpath)]))


def find_program(program: str, path: str | None = None) -> str:
    """Return the path of a program."""
    executable = shutil.which(program, path=path)
    if not executable:
        raise AirflowTestError(f"{program} is not installed: run scripts/install_services.sh")
    return executable


def wait_for_service(component: Component, connect: Callable[[], object], connection_error: type[Exception]) -> None:
    """Wait until a service accepts connections."""

    def unreachable() -> str:
        try:
            connect()
        except connection_error as error:
            return f"cannot connect to {component.name}: {error}"
        return ""

    wait_while([component], unreachable, STARTUP_SECONDS)
