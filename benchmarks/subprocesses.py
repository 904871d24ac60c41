"""Runs each measurement in a new Python process, so that earlier imports and caches do not affect it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any


def run_python(*arguments: str, env: Mapping[str, str] | None = None) -> Any:
    """Run Python with an empty Airflow home, and return the last line of its output, parsed as JSON."""
    with tempfile.TemporaryDirectory() as home:
        environment = {**os.environ, "AIRFLOW_HOME": home, "AIRFLOW__LOGGING__LOGGING_LEVEL": "CRITICAL", **(env or {})}
        command = [sys.executable, *arguments]
        completed = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True, text=True)
    return json.loads(completed.stdout.splitlines()[-1])


@contextmanager
def running_server(*arguments: str) -> Iterator[int]:
    """Run Python as a server that prints its port. The value is that port; the server is killed at the end."""
    command = [sys.executable, *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline())
        finally:
            process.kill()
