"""Fixtures that start a sandbox and a real Airflow once per test module."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from airflow_provider_crux.sandbox.server import running_sandbox
from tests.real_airflow.launcher import AIRFLOW_VERSION
from tests.real_airflow.sandbox_airflow import REPOSITORY, airflow_with_sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_crux.sandbox.state import Sandbox
    from tests.real_airflow.instance import AirflowInstance

DAGS = Path(__file__).parent / "dags"
# their exports would count as those of the other DAGs
WITH_TESTS_OF_THEIR_OWN = ("crux_orders_backfill.py", "crux_orders_to_table.py")
EXAMPLES = [file for file in (REPOSITORY / "dags_examples").glob("*.py") if file.name not in WITH_TESTS_OF_THEIR_OWN]
MINIMUM_VERSIONS = {"airflow_3_2.py": (3, 2), "airflow_3_3.py": (3, 3)}


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    """Run a sandbox instead of Crux Connect."""
    with running_sandbox() as running:
        yield running


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory, sandbox: Sandbox) -> Iterator[AirflowInstance]:
    """Run a real Airflow with the example DAGs and those in `dags`, connected to the sandbox.

    They poll more often than by default; the default is tested in `test_waiting.py`.
    """
    dag_files = [file for file in DAGS.glob("*.py") if MINIMUM_VERSIONS.get(file.name, (2, 11)) <= AIRFLOW_VERSION]
    env = {"AIRFLOW_VAR_CRUX_ORDERS_FOLDER": tmp_path_factory.mktemp("orders").as_uri()}
    with airflow_with_sandbox(
        tmp_path_factory.mktemp("e2e"), [*dag_files, *EXAMPLES], sandbox, env, triggerer=True, quick_polls=True
    ) as instance:
        yield instance
