"""No response fills the memory: measured in a fresh process, whose peak nothing else has raised."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.faults.cases import compressed_body, compressed_zeros, large_body
from tests.raw_server import TOKEN, Connection, Fault, raw_server

# starts processes
pytestmark = pytest.mark.slow

ALLOWED = 16
"""MiB: some chunks of what arrives, compressed and decompressed; each of these responses has 190 in total."""


@pytest.mark.parametrize(
    "fault", [large_body, compressed_body], ids=["a body of 200 MB", "200 MB of zeros, compressed"]
)
def test_long_response_is_not_kept_in_memory(fault: Fault, tmp_path: Path) -> None:
    compressed_zeros()
    requests: Counter[str] = Counter()

    def every_second_is_long(connection: Connection) -> None:
        # worker and triggerer use the same path, one after the other
        requests[connection.path] += 1
        if requests[connection.path] % 2:
            connection.send(connection.normal_response())
        else:
            fault(connection)

    with raw_server(every_second_is_long) as server:
        connection = {"conn_type": "crux", "host": server.url, "password": TOKEN, "extra": {"max_retries": 0}}
        command = [sys.executable, "-m", "tests.faults.memory", server.file_url]
        environment = {**os.environ, "AIRFLOW_HOME": str(tmp_path), "AIRFLOW_CONN_CRUX_DEFAULT": json.dumps(connection)}
        done = subprocess.run(
            command,
            env=environment,
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
    growth = json.loads(done.stdout.splitlines()[-1])
    assert {operation: outcome for operation, (_, outcome) in growth.items()} == {
        "export": "CruxInvalidResponseError",
        "poll": "CruxInvalidResponseError",
        "poll (triggerer)": "CruxInvalidResponseError",
        "download": "str" if fault is large_body else "CruxUnavailableError",
    }
    for operation, (mebibytes, _) in growth.items():
        assert mebibytes < ALLOWED, operation
