"""A real Airflow whose connection to Crux Connect leads to a sandbox."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import airflow_provider_crux
from airflow_provider_crux.sandbox.state import Sandbox
from tests.e2e.airflow_instance import running_airflow
from tests.e2e.instance import AirflowInstance

PROJECT = Path(airflow_provider_crux.__file__).parents[1]


@contextlib.contextmanager
def connected_airflow(
    folder: Path,
    dag_files: Iterable[Path],
    sandbox: Sandbox,
    env: Mapping[str, str] | None = None,
    *,
    triggerer: bool = False,
    workers: Mapping[str, Sequence[str]] | None = None,
) -> Iterator[AirflowInstance]:
    """Run Airflow with copies of these DAG files in an empty `folder`; `crux_default` is the sandbox.

    `env`, `triggerer` and `workers` are those of `running_airflow`.
    """
    dags = folder / "dags"
    dags.mkdir()
    for file in dag_files:
        shutil.copy(file, dags)
    connection = {"conn_type": "crux", "host": sandbox.url, "password": sandbox.settings.token}
    environment = {
        "AIRFLOW_CONN_CRUX_DEFAULT": json.dumps(connection),
        # an installed provider does not need it, a checkout does
        "PYTHONPATH": os.pathsep.join(filter(None, [str(PROJECT), os.environ.get("PYTHONPATH")])),
        **(env or {}),
    }
    with running_airflow(folder / "home", dags, environment, triggerer=triggerer, workers=workers) as instance:
        yield instance
