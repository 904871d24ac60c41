"""The fixture ``crux_sandbox`` in a project of a user: pytest runs there as a process, and finds the entry point."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest

import airflow_provider_crux
from airflow_provider_crux.sandbox.state import SandboxSettings
from tests.test_docs import FENCE

ROOT = Path(airflow_provider_crux.__file__).parent.parent
PAGE = Path(__file__).parents[2] / "docs/testing-with-the-sandbox.md"
EXAMPLES = PAGE.parents[1] / "dags_examples"

USES_IT = """
import json
import os
import socket
from datetime import UTC, datetime

import pytest

from airflow_provider_crux.api.orders import OrdersExportRequest
from airflow_provider_crux.sandbox.state import SandboxSettings

REQUEST = OrdersExportRequest(start_date=datetime(2026, 1, 1, tzinfo=UTC), end_date=datetime(2026, 1, 2, tzinfo=UTC))
ports = []

def test_its_connection_leads_to_it(crux_sandbox):
    from airflow_provider_crux.hooks.crux import CruxHook

    uuid = CruxHook().export_orders(REQUEST)
    assert crux_sandbox.exports == [uuid]
    assert [request["path"] for request in crux_sandbox.requests] == ["/api/orders/export/"]
    scheme, host, port = crux_sandbox.url.split(":")
    assert (scheme, host) == ("http", "//127.0.0.1")
    ports.append(int(port))

def test_it_ended_with_its_test():
    assert "AIRFLOW_CONN_CRUX_DEFAULT" not in os.environ
    with socket.socket() as client:
        assert client.connect_ex(("127.0.0.1", *ports)) != 0

def test_the_next_one_has_received_nothing(crux_sandbox):
    assert crux_sandbox.requests == []
    assert "extra" not in json.loads(os.environ["AIRFLOW_CONN_CRUX_DEFAULT"])

@pytest.mark.parametrize("crux_sandbox", [SandboxSettings(api_version="timp", export_seconds=5)], indirect=True)
def test_its_settings_and_those_of_the_connection_are_of_another_version(crux_sandbox):
    assert crux_sandbox.settings.export_seconds == 5
    assert crux_sandbox.api.export_path == "/timp/orders/search/export/"
    assert json.loads(os.environ["AIRFLOW_CONN_CRUX_DEFAULT"])["extra"] == {"api_version": "timp"}
"""

IMPORTS = """
import sys

def test_modules():
    assert {"airflow", "starlette", "uvicorn"}.isdisjoint(sys.modules)
    assert {name for name in sys.modules if name.startswith("airflow_provider_crux")} == {
        "airflow_provider_crux", "airflow_provider_crux.sandbox", "airflow_provider_crux.sandbox.pytest_plugin"
    }
"""

WITHOUT_THE_EXTRA = """
import sys

sys.modules["uvicorn"] = None

def test_that_uses_it(crux_sandbox):
    pass

def test_that_does_not():
    pass
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Create a folder of tests, beside the metadata of a package with the pytest plugins of ``pyproject.toml``."""
    plugins = tomllib.loads((PAGE.parents[1] / "pyproject.toml").read_text())["project"]["entry-points"]["pytest11"]
    metadata = tmp_path / "site/crux_from_source-1.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: crux-from-source\nVersion: 1\n")
    lines = [f"{name} = {target}" for name, target in plugins.items()]
    (metadata / "entry_points.txt").write_text("\n".join(["[pytest11]", *lines]))
    (tmp_path / "project/tests").mkdir(parents=True)
    return tmp_path / "project"


def run_pytest(project: Path) -> str:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW_")}
    environment = {
        "AIRFLOW_HOME": str(project.parent / "airflow"),
        "AIRFLOW__METRICS__TIMER_UNIT_CONSISTENCY": "True",
        "PYTHONPATH": os.pathsep.join([str(project.parent / "site"), str(ROOT)]),
    }
    process = subprocess.run(
        [sys.executable, "-m", "pytest", "-rA", "-p", "no:cacheprovider", "-W", "error::pytest.PytestWarning", "tests"],
        cwd=project,
        env=inherited | environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return process.stdout + process.stderr


def outcome(output: str) -> str:
    return ", ".join(re.findall(r"\d+ (?:passed|failed|errors?)", output.rstrip().splitlines()[-1]))


@pytest.mark.slow
def test_a_test_gets_a_sandbox_and_a_connection_to_it(project: Path) -> None:
    (project / "tests/test_orders.py").write_text(USES_IT)
    output = run_pytest(project)
    assert outcome(output) == "4 passed", output


@pytest.mark.slow
def test_a_project_that_does_not_use_it_imports_nothing_heavy(project: Path) -> None:
    (project / "tests/test_modules.py").write_text(IMPORTS)
    output = run_pytest(project)
    assert outcome(output) == "1 passed", output


@pytest.mark.slow
def test_without_the_extra_only_a_test_that_uses_it_fails_and_says_what_to_install(project: Path) -> None:
    (project / "tests/test_extra.py").write_text(WITHOUT_THE_EXTRA)
    output = run_pytest(project)
    assert outcome(output) == "1 passed, 1 error", output
    assert "crux_sandbox needs pip install 'airflow-provider-crux[sandbox]': " in output
    assert "Traceback" not in output


USES_THE_FIXTURE_OF_THE_PAGE = """
def test_the_connection_leads_to_it(slow_sandbox):
    from airflow_provider_crux.hooks.crux import CruxHook

    assert CruxHook("crux_outlet").test_connection()[0]
    assert [entry["method"] for entry in slow_sandbox.requests] == ["GET", "POST"]
    assert slow_sandbox.settings.export_seconds == 20
"""


@pytest.mark.e2e
def test_the_tests_of_the_page_pass_as_they_are(project: Path) -> None:
    airflow_2 = version("apache-airflow").startswith("2.")
    shutil.copytree(EXAMPLES, project / "dags")
    for block in FENCE.finditer(PAGE.read_text()):
        if file := re.match("# (tests/.*)\n", block[3]):
            (project / file[1]).write_text(block[3])
    # what the comment says
    for name in ("crux_orders_export", "another_version"):
        test = project / f"tests/test_{name}.py"
        source, comment = test.read_text(), "  # Airflow 2: execution_date="
        assert f'(logical_date=pendulum.datetime(2026, 1, 5, tz="UTC")){comment}' in source
        if airflow_2:
            test.write_text(source.replace("(logical_date=", "(execution_date="))
    with (project / "tests/test_another_connection.py").open("a") as file_of_the_fixture:
        file_of_the_fixture.write(USES_THE_FIXTURE_OF_THE_PAGE)
    output = run_pytest(project)
    assert outcome(output) == "3 passed", output
    assert "Crux Connect is preparing export" in output  # the log of the task
    # in dag.test(), Airflow 3.0 itself logs the messages that name secrets to be masked
    output = re.sub(r"msg=MaskSecret\(.*", "", output)
    assert SandboxSettings().token not in output
