"""Runs Redis for one test, on a free loopback port, and deletes its data afterwards."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import redis

from tests.postgres.server import find_program, wait_for_service
from tests.real_airflow.launcher import free_port
from tests.real_airflow.processes import Component, stopping_on_exit


@contextlib.contextmanager
def running_redis(folder: Path) -> Iterator[str]:
    """Run a Redis server that writes nothing to disk. The value is its URL."""
    port = free_port()
    settings = {"bind": "127.0.0.1", "port": str(port), "save": "", "appendonly": "no", "dir": str(folder)}
    command = [
        find_program("redis-server"),
        *(word for key, value in settings.items() for word in (f"--{key}", value)),
    ]
    component = Component("redis", command, dict(os.environ), folder / "redis.log")
    with stopping_on_exit([component]), contextlib.closing(redis.Redis(port=port)) as client:
        wait_for_service(component, client.ping, redis.ConnectionError)
        yield f"redis://127.0.0.1:{port}/0"
