"""DAGs on real Airflow (``dag.test``), against the sandbox. Those that are no examples stand in ``dags``."""

from __future__ import annotations

import json
import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import airflow
import pendulum
import pytest
from airflow.providers.common.compat.sdk import DAG

from airflow_provider_crux.sandbox.server import running_sandbox
from airflow_provider_crux.sandbox.settings import SandboxSettings

AIRFLOW = tuple(int(part) for part in airflow.__version__.split(".")[:2])
AIRFLOW_3 = AIRFLOW >= (3, 0)
HERE = Path(__file__).parent
AIRFLOW_HOME = Path(os.environ["AIRFLOW_HOME"])
EXAMPLES = sorted((HERE.parents[1] / "dags_examples").glob("*.py"))
LOGICAL_DATE = pendulum.datetime(2026, 1, 5)
DAY = {"start_date": "2026-01-04T00:00:00.000Z", "end_date": "2026-01-05T00:00:00.000Z"}


@pytest.fixture(scope="session")
def dags_folder() -> Path:
    """Give a folder of DAGs to an Airflow with a database: Airflow 3 runs no DAG that it has not read from one."""
    folder = Path(os.environ["AIRFLOW__CORE__DAGS_FOLDER"])
    folder.mkdir()
    for path in (*EXAMPLES, *HERE.glob("dags/*.py")):
        shutil.copy(path, folder)
    command_line("db", "migrate")
    if AIRFLOW == (3, 0):
        # there dag.test() refuses to update an asset that no DAG processor has stored
        command_line("dags", "reserialize")
    return folder


def command_line(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "airflow", *arguments], check=True, capture_output=True)


@pytest.fixture
def run(dags_folder: Path):
    """Give a function that runs the DAG of one file to its end, as its author would, and gives the file's names."""

    def run_file(
        name: str,
        dag_id: str | None = None,
        at: pendulum.DateTime = LOGICAL_DATE,
        state: str = "success",
        **given: Any,
    ) -> dict[str, Any]:
        names = runpy.run_path(str(dags_folder / name))
        dags = {value.dag_id: value for value in names.values() if isinstance(value, DAG)}
        when = {"logical_date": at} if AIRFLOW_3 else {"execution_date": at}
        finished = dags[dag_id or Path(name).stem].test(**when, **given)
        assert str(getattr(finished.state, "value", finished.state)) == state
        return names

    return run_file


def asked(sandbox) -> list[dict]:
    return [request["body"] for request in sandbox.requests if request["path"] == "/api/orders/export/"]


@pytest.mark.parametrize("example", [path.name for path in EXAMPLES])
def test_each_example_runs_as_it_is(sandbox, run, example: str, monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AIRFLOW_VAR_CRUX_ORDERS_FOLDER", f"file://{tmp_path}")
    run(example)
    assert asked(sandbox) == [DAY]
    if "store_orders" in (Path(__file__).parents[2] / "dags_examples" / example).read_text():
        (stored,) = tmp_path.iterdir()
        assert stored.name in ("2026-01-04.csv", f"{sandbox.exports[0]}.csv")
        assert b"order_uuid" in stored.read_bytes()


def test_the_uuid_reaches_the_next_task(sandbox, run) -> None:
    names = run("taskflow.py")
    assert names["SEEN"] == [(*sandbox.exports, DAY)]


def test_mapped_tasks_send_one_request_each(sandbox, run) -> None:
    run("mapped.py")
    # in whichever order Airflow runs them
    assert sorted(asked(sandbox), key=lambda body: body["line_item_status"]) == [
        {"line_item_status": [status], "status_conjunction": "only", **DAY} for status in ("rejected", "unallocated")
    ]


@pytest.mark.parametrize("rendering", ["text", "native"])
def test_templates_give_the_same_request_as_text_and_as_objects(sandbox, run, rendering: str) -> None:
    run("templated.py", f"templated_{rendering}")
    assert asked(sandbox) == [
        {
            "start": 4,
            "sort": {"key": "date", "dir": "des"},
            "line_item_status": ["rejected"],
            "status_conjunction": "only",
            "start_date": "2026-01-04T18:00:00.000Z",
            "end_date": "2026-01-05T00:00:00.000Z",
        }
    ]


def test_a_manual_run_exports_the_interval_it_was_triggered_with(sandbox, run) -> None:
    run(
        "manual.py",
        run_conf={"interval_start": "2026-03-04T05:06:00.000Z", "interval_end": "2026-03-04T07:06:00+01:00"},
    )
    assert asked(sandbox) == [{"start_date": "2026-03-04T05:06:00.000Z", "end_date": "2026-03-04T06:06:00.000Z"}]


def test_a_manual_run_without_parameters_looks_back(sandbox, run) -> None:
    run("manual.py", at=LOGICAL_DATE.add(days=1))
    assert asked(sandbox) == [{"start_date": "2026-01-05T23:00:00.000Z", "end_date": "2026-01-06T00:00:00.000Z"}]


PASSWORD = "correct horse battery staple"
TOKEN = SandboxSettings().token


def test_no_secret_is_left_in_log_database_or_output(connect, run, capfd, caplog) -> None:
    with running_sandbox(SandboxSettings(password=PASSWORD)) as sandbox:
        connect(host=sandbox.url, login="sandbox", password=PASSWORD)
        run("daily.py")
        sandbox.answer_next(
            "/api/organizations/user-login/",
            200,
            body=json.dumps({"auth_token": TOKEN, "org_type": "RETAILER"}).encode(),
        )
        sandbox.answer_next("/api/orders/export/", 400, body=f"you sent Token {TOKEN} and {PASSWORD}".encode())
        run("daily.py", at=LOGICAL_DATE.add(days=1), state="failed")
        assert [request["status"] for request in sandbox.requests] == [200, 200, 200, 400]
    shown = capfd.readouterr()
    if AIRFLOW == (3, 0):
        # Its dag.test() prints what it is told to mask, and the local variables of a traceback: see docs/versions.md
        its_own = re.compile(r"^(.*Sending request +msg=MaskSecret\(|│ │).*$", re.MULTILINE)
        shown = shown._replace(out=its_own.sub("", shown.out))
    seen = [shown.out, shown.err, caplog.text]
    seen += [path.read_text(errors="replace") for path in AIRFLOW_HOME.rglob("*") if path.is_file()]
    for looked_in_the_right_place in ("Asking for an export of the orders", "you sent", "export_request"):
        assert any(looked_in_the_right_place in text for text in seen)
    for secret in (PASSWORD, TOKEN):
        assert not [text for text in seen if secret in text]
