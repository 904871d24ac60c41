"""What Airflow and pip see of the package."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import entry_points, metadata, version

import pytest


def test_the_tests_run_on_the_airflow_they_were_meant_for() -> None:
    expected = os.environ.get("EXPECTED_AIRFLOW_VERSION")
    if expected is None:
        pytest.skip("EXPECTED_AIRFLOW_VERSION is not set: make test sets it")
    assert version("apache-airflow") == expected


def test_the_entry_point_describes_the_provider_by_airflows_schema() -> None:
    import json
    from pathlib import Path

    import airflow
    import jsonschema

    (point,) = [p for p in entry_points(group="apache_airflow_provider") if p.dist.name == "airflow-provider-crux"]
    info = point.load()()
    schema = Path(airflow.__file__).with_name("provider_info.schema.json")
    jsonschema.validate(info, json.loads(schema.read_text()))
    assert info["package-name"] == "airflow-provider-crux"
    assert info["versions"] == [version("airflow-provider-crux")]
    assert info["connection-types"][0]["connection-type"] == "crux"


def named_modules() -> list[str]:
    """Return the modules that Airflow is told of."""
    from airflow_provider_crux.provider_info import get_provider_info

    info = get_provider_info()
    kinds = ("operators", "sensors", "triggers", "hooks")
    named = [name for kind in kinds for entry in info[kind] for name in entry["python-modules"]]
    return [*named, *(entry["python-module"] for entry in info["transfers"])]


def test_every_module_that_the_provider_names_can_be_imported() -> None:
    from importlib import import_module

    named = named_modules()
    assert len(named) == 6
    for name in named:
        import_module(name)


def test_the_metadata_is_what_an_index_shows() -> None:
    meta = metadata("airflow-provider-crux")
    assert meta["License-Expression"] == "Apache-2.0"
    assert "Framework :: Apache Airflow :: Provider" in meta.get_all("Classifier")
    assert meta["Requires-Python"] == ">=3.11"


def test_airflow_lists_the_provider_and_its_connection_type_without_a_warning_of_ours() -> None:
    for command, expected in (
        (("list",), "airflow-provider-crux"),
        (("get", "airflow-provider-crux"), version("airflow-provider-crux")),
        (("hooks",), "airflow_provider_crux.hooks.crux.CruxHook"),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "airflow", "providers", *command, "--output", "plain"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert expected in done.stdout
        told = [line for line in (done.stdout + done.stderr).splitlines() if "warn" in line.lower()]
        assert not [line for line in told if "crux" in line.lower()]


def test_what_airflow_reads_at_start_up_costs_two_small_modules() -> None:
    program = """
import sys
before = set(sys.modules)
from airflow_provider_crux.provider_info import get_provider_info
get_provider_info()
print(*sorted(name for name in set(sys.modules) - before if name.partition(".")[0] not in sys.stdlib_module_names))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    package = "airflow_provider_crux"
    assert done.stdout.split() == [package, f"{package}.connection_form", f"{package}.provider_info"]


def test_a_dag_file_that_imports_the_operator_pays_for_nothing_heavy() -> None:
    # What Airflow itself imports for any operator is not ours to save.
    program = """
import sys
from airflow.providers.common.compat.sdk import AirflowFailException, BaseOperator, BaseSensorOperator, conf
before = set(sys.modules)
import airflow_provider_crux.operators.orders
import airflow_provider_crux.sensors.exports
import airflow_provider_crux.transfers.crux_to_object_storage
loaded = {name.partition(".")[0] for name in set(sys.modules) - before}
print(*sorted(loaded - set(sys.stdlib_module_names)))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["airflow_provider_crux"]
