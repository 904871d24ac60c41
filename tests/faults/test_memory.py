"""No answer fills the memory: measured in a fresh process, whose peak nothing else has raised."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.faults.cases import bomb, large, packed
from tests.faults.server import TOKEN, Fault, Wire, running

ALLOWED = 16
"""MiB: some chunks of what comes, packed and unpacked; a whole one of these answers has 190."""


@pytest.mark.parametrize("fault", [large, bomb], ids=["a body of 200 MB", "200 MB of nothing, packed"])
def test_an_answer_that_is_too_long_is_not_kept_in_memory(fault: Fault, tmp_path: Path) -> None:
    packed()
    asked: Counter[str] = Counter()

    def second_is_long(wire: Wire) -> None:
        # that of the triggerer comes after both of the worker
        asked[wire.path] += 1
        if asked[wire.path] % 2:
            wire.send(wire.good())
        else:
            fault(wire)

    with running(second_is_long) as server:
        connection = {"conn_type": "crux", "host": server.url, "password": TOKEN, "extra": {"max_retries": 0}}
        command = [sys.executable, "-m", "tests.faults.memory", server.url, server.file_url]
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
    grown = json.loads(done.stdout.splitlines()[-1])
    assert {call: kind for call, (_, kind) in grown.items()} == {
        "export": "CruxInvalidResponseError",
        "look": "CruxInvalidResponseError",
        "look, triggerer": "CruxInvalidResponseError",
        "file": "str" if fault is large else "CruxRequestRejectedError",
    }
    for call, (mebibytes, _) in grown.items():
        assert mebibytes < ALLOWED, call
