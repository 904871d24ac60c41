"""What a DAG file costs that uses our operator: its import, and 500 tasks of it; against the HTTP provider's."""

from __future__ import annotations

from benchmarks import fresh
from benchmarks.figures import Goal, Row

TIMES = 15
OURS = "airflow_provider_crux.operators.orders"
THEIRS = "airflow.providers.http.operators.http"

# Any DAG file imports these itself. What is measured comes on top.
IMPORT = """
import importlib, time
from airflow.sdk import DAG, BaseOperator
began = time.perf_counter()
importlib.import_module({module!r})
print(1000 * (time.perf_counter() - began))
"""
PARSE = """
import datetime, time
from airflow.sdk import DAG, BaseOperator
from {module} import {operator} as Operator
began = time.perf_counter()
with DAG("benchmark", schedule="@daily", start_date=datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)):
    for number in range(500):
        Operator(task_id=f"task_{{number}}", {arguments})
print(1000 * (time.perf_counter() - began))
"""
PARSE_OURS = PARSE.format(
    module=OURS, operator="CruxOrdersExportOperator", arguments="line_item_status=['unallocated'], retries=2"
)
PARSE_THEIRS = PARSE.format(
    module=THEIRS, operator="HttpOperator", arguments="endpoint='orders', data={'status': 'unallocated'}, retries=2"
)


def in_turn(*codes: str) -> list[list[float]]:
    """Run each code in a fresh process, in turn, and return the values of each."""
    values = [[fresh.value_of("-c", code) for code in codes] for _ in range(TIMES + 1)]
    # the first of each may have had to write its bytecode
    return [list(of_one) for of_one in zip(*values[1:], strict=True)]


def rows() -> list[Row]:
    """Measure."""
    modules = (
        OURS,
        THEIRS,
        "airflow_provider_crux.sensors.exports",
        "airflow_provider_crux.transfers.crux_to_object_storage",
    )
    operator, http, sensor, transfer = in_turn(*(IMPORT.format(module=module) for module in modules))
    tasks, http_tasks = in_turn(PARSE_OURS, PARSE_THEIRS)
    return [
        Row("import of the operator", "ms", operator, "HttpOperator", http, Goal(0.1)),
        Row("import of the sensor", "ms", sensor, "HttpOperator", http),
        Row("import of the transfer", "ms", transfer, "HttpOperator", http),
        Row("500 tasks in a DAG file, imports aside", "ms", tasks, "HttpOperator", http_tasks),
    ]
