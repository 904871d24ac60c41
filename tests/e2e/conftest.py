"""Fixtures that start a sandbox and a real Airflow once for a whole test module."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import airflow_provider_crux
from airflow_provider_crux.sandbox.server import running_sandbox
from tests.e2e.airflow_instance import AIRFLOW_VERSION, running_airflow

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_crux.sandbox.state import Sandbox
    from tests.e2e.instance import AirflowInstance

PROJECT = Path(airflow_provider_crux.__file__).parents[1]
DAGS = Path(__file__).parent / "dags"
EXAMPLE = PROJECT / "dags_examples" / "crux_orders_export.py"


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    """Stand in for Crux Connect."""
    with running_sandbox() as running:
        yield running


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory, sandbox: Sandbox) -> Iterator[AirflowInstance]:
    """Run a real Airflow with the DAGs of this folder and the project's example, connected to the sandbox."""
    folder = tmp_path_factory.mktemp("e2e")
    too_new = [] if AIRFLOW_VERSION >= (3, 2) else ["airflow_3_2.py"]
    shutil.copytree(DAGS, folder / "dags", ignore=shutil.ignore_patterns("__pycache__", *too_new))
    shutil.copy(EXAMPLE, folder / "dags")
    connection = {"conn_type": "crux", "host": sandbox.url, "password": sandbox.settings.token}
    environment = {
        "AIRFLOW_CONN_CRUX_DEFAULT": json.dumps(connection),
        # an installed provider does not need it, a checkout does
        "PYTHONPATH": os.pathsep.join(filter(None, [str(PROJECT), os.environ.get("PYTHONPATH")])),
    }
    with running_airflow(folder / "home", folder / "dags", environment) as instance:
        yield instance
