"""Measures what a DAG file pays for our operator compared with HttpOperator: the import, and 500 tasks."""

from __future__ import annotations

from benchmarks.results import Goal, Row
from benchmarks.subprocesses import run_python

ROUNDS = 15
OURS = "airflow_provider_crux.operators.orders"
THEIRS = "airflow.providers.http.operators.http"

# Every DAG file imports DAG and BaseOperator. Only the additional time is measured.
IMPORT = """
import importlib, time
from airflow.sdk import DAG, BaseOperator
start = time.perf_counter()
importlib.import_module({module!r})
print(1000 * (time.perf_counter() - start))
"""
PARSE = """
import datetime, time
from airflow.sdk import DAG, BaseOperator
from {module} import {operator} as Operator
start = time.perf_counter()
with DAG("benchmark", schedule="@daily", start_date=datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)):
    for number in range(500):
        Operator(task_id=f"task_{{number}}", {arguments})
print(1000 * (time.perf_counter() - start))
"""
PARSE_OURS = PARSE.format(
    module=OURS, operator="CruxOrdersExportOperator", arguments="line_item_status=['unallocated'], retries=2"
)
PARSE_THEIRS = PARSE.format(
    module=THEIRS, operator="HttpOperator", arguments="endpoint='orders', data={'status': 'unallocated'}, retries=2"
)


def measure_in_turn(*codes: str) -> list[list[float]]:
    """Run the codes in turn, each in a new process, and return the values of each code."""
    rounds = [[run_python("-c", code) for code in codes] for _ in range(ROUNDS + 1)]
    # The first round does not count, because it may have to write bytecode.
    return [list(values) for values in zip(*rounds[1:], strict=True)]


def rows() -> list[Row]:
    """Measure and return the rows."""
    modules = (
        OURS,
        THEIRS,
        "airflow_provider_crux.sensors.exports",
        "airflow_provider_crux.transfers.crux_to_object_storage",
    )
    operator, http, sensor, transfer = measure_in_turn(*(IMPORT.format(module=module) for module in modules))
    tasks, http_tasks = measure_in_turn(PARSE_OURS, PARSE_THEIRS)
    return [
        Row("import of the operator", "ms", operator, "HttpOperator", http, Goal(0.2)),
        Row("import of the sensor", "ms", sensor, "HttpOperator", http),
        Row("import of the transfer", "ms", transfer, "HttpOperator", http),
        Row("parse 500 tasks, without imports", "ms", tasks, "HttpOperator", http_tasks),
    ]
