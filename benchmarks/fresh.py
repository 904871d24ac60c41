"""A fresh Python for every value: what one has imported or cached must not help the next."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from typing import Any


def value_of(code: str, env: Mapping[str, str] | None = None) -> Any:
    """Run code whose last printed line is JSON, in an Airflow home of its own, and return what that says."""
    with tempfile.TemporaryDirectory() as home:
        environment = {**os.environ, "AIRFLOW_HOME": home, "AIRFLOW__LOGGING__LOGGING_LEVEL": "CRITICAL", **(env or {})}
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, check=True, text=True
        )
    return json.loads(done.stdout.splitlines()[-1])
