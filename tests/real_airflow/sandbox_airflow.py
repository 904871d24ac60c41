"""Starts a real Airflow that is connected to a sandbox instead of Crux Connect."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import airflow_provider_crux
from airflow_provider_crux.sandbox.state import Sandbox
from tests.real_airflow.instance import AirflowInstance
from tests.real_airflow.launcher import running_airflow

REPOSITORY = Path(airflow_provider_crux.__file__).parents[1]


@contextlib.contextmanager
def airflow_with_sandbox(
    folder: Path,
    dag_files: Iterable[Path],
    sandbox: Sandbox,
    env: Mapping[str, str] | None = None,
    *,
    triggerer: bool = False,
    quick_polls: bool = False,
    secrets_backend: bool = False,
    workers: Mapping[str, Sequence[str]] | None = None,
) -> Iterator[AirflowInstance]:
    """Run Airflow in an empty `folder` with copies of these DAG files; connection `crux_default` is the sandbox.

    The connection is in the environment or, with `secrets_backend`, only in Airflow's secrets backend of local files.
    With `quick_polls`, every wait for an export polls as in `airflow_local_settings.py`, whatever its DAG says.
    `env`, `triggerer` and `workers` are passed to `running_airflow`.
    """
    dags = folder / "dags"
    dags.mkdir()
    for file in dag_files:
        shutil.copy(file, dags)
    if quick_polls:
        config = folder / "home" / "config"
        config.mkdir(parents=True)
        shutil.copy(Path(__file__).parent / "airflow_local_settings.py", config)
    connection = {"conn_type": "crux", "host": sandbox.url, "password": sandbox.settings.token}
    if secrets_backend:
        file = folder / "connections.json"
        file.write_text(json.dumps({"crux_default": connection}))
        settings = {
            "AIRFLOW__SECRETS__BACKEND": "airflow.secrets.local_filesystem.LocalFilesystemBackend",
            "AIRFLOW__SECRETS__BACKEND_KWARGS": json.dumps({"connections_file_path": str(file)}),
        }
    else:
        settings = {"AIRFLOW_CONN_CRUX_DEFAULT": json.dumps(connection)}
    environment = {
        **settings,
        # needed if the provider runs from a checkout instead of an installed package
        "PYTHONPATH": os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH")])),
        **(env or {}),
    }
    with running_airflow(folder / "home", dags, environment, triggerer=triggerer, workers=workers) as instance:
        yield instance
