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
EXAMPLES = PROJECT / "dags_examples"


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    """Stand in for Crux Connect."""
    with running_sandbox() as running:
        yield running


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory, sandbox: Sandbox) -> Iterator[AirflowInstance]:
    """Run a real Airflow with the DAGs of this folder and the project's examples, connected to the sandbox."""
    since = {"airflow_3_2.py": (3, 2), "airflow_3_3.py": (3, 3)}
    dag_files = [file for file in DAGS.glob("*.py") if since.get(file.name, (2, 11)) <= AIRFLOW_VERSION]
    env = {"AIRFLOW_VAR_CRUX_ORDERS_FOLDER": tmp_path_factory.mktemp("orders").as_uri()}
    with connected_airflow(
        tmp_path_factory.mktemp("e2e"), [*dag_files, *EXAMPLES.glob("*.py")], sandbox, env, triggerer=True
    ) as instance:
        yield instance
