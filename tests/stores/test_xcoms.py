"""Airflow deletes what it takes for its own XComs on object storage, so no export is stored there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, ObjectStoragePath

from tests.raw_server import UUID
from tests.real_airflow.launcher import create_database
from tests.transfers.transfer import make_operator, resume

if TYPE_CHECKING:
    from tests.stores.servers import Store

SETTING = "AIRFLOW__COMMON_IO__XCOM_OBJECTSTORAGE_PATH"
REFUSED = r"path: '.*' is below '.*', where Airflow keeps its XComs \(\[common.io\] xcom_objectstorage_path\)"


@pytest.fixture
def xcoms(store: Store, connect: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that sets the folder of the XComs. No server listens where Crux Connect would be."""
    connect(host="http://127.0.0.1:9", password="x", extra={"max_retries": 0})
    return lambda path: monkeypatch.setenv(SETTING, path)


@pytest.mark.parametrize("folder", ["xcoms", "xcoms/", ""], ids=["folder", "trailing slash", "root"])
@pytest.mark.parametrize("resumed", [False, True], ids=["execute", "resume"])
def test_a_target_below_the_folder_of_the_xcoms_is_refused_before_any_request(
    store: Store, context: Any, xcoms: Any, folder: str, resumed: bool
) -> None:
    xcoms(store.url(folder))
    operator = make_operator(UUID, store.url("xcoms/2026/orders.csv"), overwrite=True)
    with pytest.raises(AirflowFailException, match=REFUSED):
        resume(operator, context, export_uuid=UUID, state="done") if resumed else operator.execute(context)


@pytest.mark.parametrize("running_store", ["s3"], indirect=True)
@pytest.mark.parametrize(
    ("folder", "refused"),
    [
        ("s3://exports/xcoms", True),  # by another connection
        ("s3a://aws_loopback@exports/xcoms", True),
        ("file:///exports/xcoms", False),
        ("s3://aws_loopback@exports/xcoms/2026/orders", False),
        ("s3://aws_loopback@exports/xcoms/2026/orders.csv", True),
        ("", False),
    ],
)
def test_only_the_same_kind_of_store_counts_whatever_scheme_and_connection(
    store: Store, context: Any, xcoms: Any, folder: str, refused: bool
) -> None:
    xcoms(folder)
    store.put("xcoms/2026/orders.csv", b"old")
    message = REFUSED if refused else "already exists"
    with pytest.raises(AirflowFailException, match=message):
        make_operator(UUID, store.url("xcoms/2026/orders.csv")).execute(context)


DAG = """
from datetime import datetime
import json, os
import airflow
from airflow.providers.common.compat.sdk import DAG, ObjectStoragePath
from airflow_provider_crux.operators.orders import CruxOrdersExportOperator
from airflow_provider_crux.transfers.crux_to_object_storage import CruxExportToObjectStorageOperator

INTERVAL = {"interval_start": "2026-01-02T00:00:00Z", "interval_end": "2026-01-02T12:00:00Z"}
TARGET = os.environ["TARGET"]
ARGUMENTS = {
    "task_id": "store",
    "overwrite": True,
    "pre_execute": lambda context: print("AT START", ObjectStoragePath(TARGET).exists(), flush=True),
}

def read(pulled):
    print("PULLED", json.dumps(pulled if isinstance(pulled, str) else list(pulled)), flush=True)

with DAG("xcoms", schedule=None, start_date=datetime(2026, 1, 1)) as dag:
    export = CruxOrdersExportOperator(task_id="export", poll_interval=0.01, **INTERVAL)
    if os.environ["MAPPED"] == "True":
        store = CruxExportToObjectStorageOperator.partial(export_uuid=export.output, **ARGUMENTS).expand(
            path=[TARGET, TARGET + "2"]
        )
    else:
        store = CruxExportToObjectStorageOperator(export_uuid=export.output, path=TARGET, **ARGUMENTS)
    dag.task(read)(store.output)


def clear_and_run_again(run):
    "Do what Airflow does when a person clears the task: dag.test() itself always makes a new run."
    from airflow.models.taskinstance import clear_task_instances
    from airflow.utils.session import create_session

    if airflow.__version__ < "3":
        from airflow.providers.fab.auth_manager import models  # the tables refer to that of the users

    with create_session() as session:
        tasks = [ti for ti in run.get_task_instances(session=session) if ti.task_id == "store"]
        clear_task_instances(tasks, session)
        if airflow.__version__ < "3":
            from airflow.models.dag import _run_task

            for ti in tasks:
                ti.task = dag.get_task("store")
                _run_task(ti=ti, session=session)
    if airflow.__version__ >= "3":
        from airflow.sdk.definitions.dag import _run_task

        for ti in tasks:
            _run_task(ti=ti, task=dag.get_task("store"))
    print("AGAIN", sorted({str(getattr(ti.state, "value", ti.state)) for ti in tasks}), flush=True)


if __name__ == "__main__":
    run = dag.test()
    print("STATE", str(getattr(run.state, "value", run.state)), flush=True)
    if run.state == "success":
        clear_and_run_again(run)
"""


@pytest.fixture
def connected_sandbox(sandbox: Any, connect: Any) -> Any:
    connect(host=sandbox.url, password=sandbox.settings.token)
    return sandbox


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an Airflow home of its own: the class of the XComs is chosen when Airflow is imported."""
    folder = tmp_path_factory.mktemp("airflow")
    (folder / "dags").mkdir()
    (folder / "dags" / "xcoms.py").write_text(DAG)
    create_database(folder)
    return folder


def environment(home: Path, **variables: str) -> dict[str, str]:
    return os.environ | {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
        "AIRFLOW__CORE__XCOM_BACKEND": "airflow.providers.common.io.xcom.backend.XComObjectStorageBackend",
        **variables,
    }


@pytest.mark.slow
@pytest.mark.parametrize("running_store", ["s3", "disk"], indirect=True)
@pytest.mark.parametrize(
    ("threshold", "mapped"),
    [("0", True), (str(1024 * 1024), False)],
    ids=["all XComs, mapped", "large XComs, one task"],
)
def test_a_file_beside_the_xcoms_is_pulled_as_its_path_and_survives_a_rerun_and_one_below_is_refused(
    store: Store, connected_sandbox: Any, home: Path, threshold: str, mapped: bool
) -> None:

    def run(target: str) -> list[str]:
        variables = {
            SETTING: store.url("xcoms"),
            "AIRFLOW__COMMON_IO__XCOM_OBJECTSTORAGE_THRESHOLD": threshold,
            "TARGET": target,
            "MAPPED": str(mapped),
        }
        task = subprocess.run(
            [sys.executable, str(home / "dags" / "xcoms.py")],
            env=environment(home, **variables),
            check=False,
            capture_output=True,
            text=True,
        )
        return (task.stdout + task.stderr).splitlines()

    def after(word: str, lines: list[str]) -> list[str]:
        return [line.partition(f"{word} ")[2] for line in lines if f"{word} " in line]

    target = store.url("lake/orders.csv")
    lines = run(target)
    assert after("STATE", lines) == ["success"], "\n".join(lines[-60:])
    assert after("AGAIN", lines) == ["['success']"], "\n".join(lines[-60:])
    # Airflow has deleted the XComs of the earlier run of the task, but not the file
    assert after("AT START", lines)[0] == "False"
    assert after("AT START", lines)[-1 - mapped :] == ["True"] * (1 + mapped)
    paths = [target, f"{target}2"] if mapped else target
    assert [json.loads(pulled) for pulled in after("PULLED", lines)] == [paths]
    names = [name for name in store.names() if name.startswith("lake/")]
    assert names == ["lake/orders.csv", "lake/orders.csv2"][: 1 + mapped]
    assert store.content("lake/orders.csv").startswith(b"\xef\xbb\xbf")
    assert ObjectStoragePath(target).exists()

    lines = run(store.url("xcoms/orders.csv"))
    assert after("STATE", lines) == ["failed"]
    assert any("where Airflow keeps its XComs ([common.io] xcom_objectstorage_path)" in line for line in lines)
    assert "xcoms/orders.csv" not in store.names()
