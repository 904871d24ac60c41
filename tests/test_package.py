"""What Airflow and pip read of the package."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib import import_module
from importlib.metadata import entry_points, metadata, version
from inspect import isabstract, isclass
from pathlib import Path

import airflow
import jsonschema
import pytest
from airflow.providers.common.compat.sdk import BaseHook, BaseOperator
from airflow.triggers.base import BaseTrigger

import airflow_provider_crux
from airflow_provider_crux.provider_info import get_provider_info


def test_the_tests_run_on_the_intended_airflow() -> None:
    expected = os.environ.get("EXPECTED_AIRFLOW_VERSION")
    if expected is None:
        pytest.skip("EXPECTED_AIRFLOW_VERSION is not set: make test sets it")
    assert version("apache-airflow") == expected


def test_the_entry_point_describes_the_provider_by_airflows_schema() -> None:
    (entry_point,) = [
        p for p in entry_points(group="apache_airflow_provider") if p.dist.name == "airflow-provider-crux"
    ]
    info = entry_point.load()()
    schema = Path(airflow.__file__).with_name("provider_info.schema.json")
    jsonschema.validate(info, json.loads(schema.read_text()))
    assert info["package-name"] == "airflow-provider-crux"
    assert info["versions"] == [version("airflow-provider-crux")]
    assert info["connection-types"][0]["connection-type"] == "crux"


def named_modules() -> list[str]:
    """Return the modules that ``provider_info`` names."""
    info = get_provider_info()
    kinds = ("operators", "sensors", "triggers", "hooks")
    names = [name for kind in kinds for entry in info[kind] for name in entry["python-modules"]]
    return [*names, *(entry["python-module"] for entry in info["transfers"])]


def modules_with_classes_for_users() -> list[str]:
    """Return the modules on disk that define an operator, a sensor, a trigger or a hook, abstract ones left out."""
    bases = (BaseOperator, BaseTrigger, BaseHook)
    folders = ("operators", "sensors", "transfers", "triggers", "hooks")
    names = [
        f"airflow_provider_crux.{folder}.{path.stem}"
        for folder in folders
        for path in Path(airflow_provider_crux.__file__).with_name(folder).glob("[!_]*.py")
    ]
    return [
        name
        for name in names
        for value in vars(import_module(name)).values()
        if isclass(value) and value.__module__ == name and issubclass(value, bases) and not isabstract(value)
    ]


def test_the_provider_names_exactly_the_modules_from_which_users_import_classes() -> None:
    assert sorted(named_modules()) == sorted(modules_with_classes_for_users())


def test_the_metadata_names_license_framework_and_python() -> None:
    meta = metadata("airflow-provider-crux")
    assert meta["License-Expression"] == "Apache-2.0"
    assert "Framework :: Apache Airflow :: Provider" in meta.get_all("Classifier")
    assert meta["Requires-Python"] == ">=3.11"


@pytest.mark.slow
def test_airflow_lists_the_provider_and_its_connection_type_without_a_warning_about_it() -> None:
    for command, expected in (
        (("list",), "airflow-provider-crux"),
        (("get", "airflow-provider-crux"), version("airflow-provider-crux")),
        (("hooks",), "airflow_provider_crux.hooks.crux.CruxHook"),
    ):
        process = subprocess.run(
            [sys.executable, "-m", "airflow", "providers", *command, "--output", "plain"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert expected in process.stdout
        warnings = [line for line in (process.stdout + process.stderr).splitlines() if "warn" in line.lower()]
        assert not [line for line in warnings if "crux" in line.lower()]


def modules_imported_by(program: str) -> list[str]:
    """Run a program in an interpreter of its own; return what it imports after ``before = set(sys.modules)``."""
    report = """
print(*sorted(name for name in set(sys.modules) - before if name.partition(".")[0] not in sys.stdlib_module_names))
"""
    process = subprocess.run([sys.executable, "-c", program + report], capture_output=True, text=True, check=True)
    return process.stdout.splitlines()[-1].split()  # Airflow 3.0 logs to the lines before


@pytest.mark.slow
def test_what_airflow_reads_at_start_up_imports_nothing_but_our_own_light_modules() -> None:
    imported = modules_imported_by("""
import sys
before = set(sys.modules)
from airflow_provider_crux.provider_info import get_provider_info
get_provider_info()
""")
    assert "airflow_provider_crux.provider_info" in imported
    light = r"airflow_provider_crux(\.(api(\.\w+)?|connection_form|exceptions|provider_info))?"
    assert [name for name in imported if not re.fullmatch(light, name)] == []


@pytest.mark.slow
def test_a_dag_file_that_imports_the_operators_imports_nothing_heavy() -> None:
    # What Airflow itself imports for any operator is not ours to save; its base class of hooks is light (Airflow 3.0
    # imports its masking with it).
    imported = modules_imported_by("""
import sys
from airflow.providers.common.compat.sdk import AirflowFailException, BaseOperator, BaseSensorOperator, conf
BaseOperator(task_id="any")
before = set(sys.modules)
import airflow_provider_crux.operators.coverage
import airflow_provider_crux.operators.orders
import airflow_provider_crux.sensors.exports
import airflow_provider_crux.transfers.crux_to_object_storage
from airflow_provider_crux.transfers.crux_to_sql import CruxExportToSqlOperator
CruxExportToSqlOperator(task_id="load", export_uuid="{{ x }}", conn_id="postgres_default", table="crux.order_lines")
""")
    assert "airflow_provider_crux.operators.orders" in imported
    allowed = r"airflow_provider_crux(\..+)?|airflow\.hooks(\.\w+)?|airflow\.sdk\.(bases\.hook|log)"
    assert [name for name in imported if not re.fullmatch(allowed, name)] == []
    transports = [f"airflow_provider_crux.hooks.{name}" for name in ("adapter", "crux_async", "files", "http")]
    assert not set(transports) & set(imported)
