"""Fixtures that start a sandbox and a real Airflow once for a whole test module."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from airflow_provider_crux.sandbox.server import running_sandbox
from tests.e2e.airflow_instance import AIRFLOW_VERSION
from tests.e2e.connected import PROJECT, connected_airflow

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_crux.sandbox.state import Sandbox
    from tests.e2e.instance import AirflowInstance

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
    too_new = set() if AIRFLOW_VERSION >= (3, 2) else {"airflow_3_2.py"}
    dag_files = [file for file in DAGS.glob("*.py") if file.name not in too_new]
    with connected_airflow(tmp_path_factory.mktemp("e2e"), [*dag_files, EXAMPLE], sandbox) as instance:
        yield instance
