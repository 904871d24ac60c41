"""The statements that merge staged rows: run on what is here, parsed and transpiled for what is not."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import duckdb
import pytest
import sqlglot
from hypothesis import given
from hypothesis import strategies as st
from sqlglot import expressions as exp

from airflow_provider_crux.exceptions import CruxInvalidRequestError
from airflow_provider_crux.tables.dialects import DIALECTS
from airflow_provider_crux.tables.statements import MergeStatements, merge_statements

if TYPE_CHECKING:
    from collections.abc import Sequence

COLUMNS = ["order_uuid", "sku", "quantity", "cost (USD)"]
STAGED = [*COLUMNS, "crux_export_uuid", "crux_interval_start", "crux_interval_end", "crux_requested_at"]
FIRST = datetime(2026, 1, 1, tzinfo=UTC)
MERGED = [name for name in DIALECTS if name in {"snowflake", "bigquery", "databricks"}]
FORBIDDING = ["bigquery", "databricks"]

dialects = pytest.mark.parametrize("dialect", DIALECTS)

# an export is the rows of each of its orders; the first two were requested at the same moment, the last at none
rows = st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 1)), min_size=1, max_size=3)
exports = st.lists(st.dictionaries(st.sampled_from("xyz"), rows, max_size=3), min_size=1, max_size=4)
Row = tuple[Any, ...]


def columns_of(dialect: str) -> list[str]:
    return [name for name in COLUMNS if dialect not in FORBIDDING or "(" not in name]


def statements(dialect: str, **arguments: Any) -> MergeStatements:
    return merge_statements(dialect, "orders", "orders_staged", **{"columns": columns_of(dialect), **arguments})


def staged_rows(dialect: str, number: int, export: dict[str, list[tuple[str, int]]]) -> list[Row]:
    """Return the rows of an export. Its number decides when it was requested."""
    at = FIRST + timedelta(minutes=max(number, 1))
    moment = at.isoformat() if dialect == "sqlite" else at
    return [
        (order, sku, quantity, *([f"{number}"] if "cost (USD)" in columns_of(dialect) else []), f"u{number}", None, None)
        + (moment,)
        for order, lines in export.items()
        for sku, quantity in lines
    ]


def latest(dialect: str, loaded: Sequence[tuple[int, dict[str, list[tuple[str, int]]]]]) -> list[Row]:
    """Return the rows that a table must hold: of each order those of the latest export that has it."""
    state: dict[str, list[Row]] = {}
    for number, export in sorted(loaded, key=lambda entry: entry[0]):
        for order in export:
            state[order] = staged_rows(dialect, number, {order: export[order]})
    return sorted((row for group in state.values() for row in group), key=repr)


class Runner:
    """Runs the statements of a dialect on a database that is here; for a warehouse, DuckDB after a translation."""

    def __init__(self, dialect: str) -> None:
        self.dialect = dialect
        self.connection: Any = (
            sqlite3.connect(":memory:", isolation_level=None) if dialect == "sqlite" else duckdb.connect()
        )
        if dialect != "sqlite":
            self.connection.execute("SET TimeZone = 'UTC'")

    def run(self, sql: Sequence[str]) -> None:
        for statement in sql:
            self.connection.execute(
                statement
                if self.dialect in ("sqlite", "duckdb")
                else sqlglot.transpile(statement, read=self.dialect, write="duckdb")[0]
            )

    def merge(self, staged: Sequence[Row]) -> None:
        sql = statements(self.dialect)
        self.run(sql.stage)
        if staged:
            marks = ", ".join("?" * len(staged[0]))
            self.connection.executemany(f"INSERT INTO orders_staged VALUES ({marks})", staged)
        self.run(sql.prepare)
        self.run(sql.merge)

    def rows(self) -> list[Row]:
        return sorted(map(tuple, self.connection.execute("SELECT * FROM orders").fetchall()), key=repr)


@dialects
@given(data=st.data(), history=exports)
def test_whatever_the_order_of_the_loads_the_table_holds_the_latest_export_of_each_order(
    dialect: str, data: st.DataObject, history: list[dict[str, list[tuple[str, int]]]]
) -> None:
    loads = data.draw(st.lists(st.lists(st.sampled_from(range(len(history))), unique=True), max_size=5), "loads")
    runner = Runner(dialect)
    with closing(runner.connection):
        for numbers in loads:
            runner.merge([row for number in numbers for row in staged_rows(dialect, number, history[number])])
            runner.run(statements(dialect).merge)  # a second time it changes nothing
        if loads:
            expected = latest(dialect, [(number, history[number]) for numbers in loads for number in numbers])
            assert runner.rows() == expected
