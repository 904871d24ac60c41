"""Exports that overlap, loaded in any order: what the statements that merge must make of them, in any database."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, NamedTuple

import sqlglot
from hypothesis import strategies as st
from sqlglot import expressions as exp

from airflow_provider_crux.files.columns import EXPORT_COLUMNS
from airflow_provider_crux.tables.statements import MergeStatements, merge_statements

TABLE, STAGED = "orders", "orders_staged"
COLUMNS = ("order_uuid", "sku", "quantity", "cost (USD)")
STAGED_COLUMNS = (*COLUMNS, *(column.name for column in EXPORT_COLUMNS))
FIRST = datetime(2026, 1, 1, tzinfo=UTC)

Row = tuple[Any, ...]
Export = Mapping[str, Sequence[tuple[str, int]]]
"""The SKU and the quantity of each row of each order."""


@cache
def in_duckdb(statements: str, dialect: str) -> list[str]:
    """Translate statements of a dialect into those of DuckDB, which changes one column at a time."""
    parsed: list[Any] = []
    for statement in sqlglot.parse(statements, read=dialect):
        if isinstance(statement, exp.Alter):
            parsed += [exp.Alter(**{**statement.args, "actions": [action]}) for action in statement.args["actions"]]
        else:
            parsed.append(statement)
    return [statement.sql("duckdb") for statement in parsed]


class Loads(NamedTuple):
    """
    Exports, by their number, which decides when they were requested, and which of them each run loads.

    The first two were requested at the same moment.
    """

    exports: Sequence[Export]
    runs: Sequence[Sequence[int]]


@st.composite
def loads(draw: st.DrawFn) -> Loads:
    """Draw up to four exports of up to three orders, and up to five runs that load some of them, or none."""
    rows = st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 1)), min_size=1, max_size=3)
    exports = draw(st.lists(st.dictionaries(st.sampled_from("xyz"), rows, max_size=3), min_size=1, max_size=4))
    numbers = st.lists(st.sampled_from(range(len(exports))), unique=True)
    return Loads(exports, draw(st.lists(numbers, min_size=1, max_size=5)))


def rows_of(number: int, export: Export) -> list[Row]:
    """Return the rows of a stored file. The number of its export decides when that was requested."""
    moment = FIRST + timedelta(minutes=max(number, 1))
    return [
        (order, sku, quantity, f"{number}", f"u{number}", None, None, moment)
        for order, lines in export.items()
        for sku, quantity in lines
    ]


def latest(exports: Mapping[int, Export]) -> list[tuple[int, Export]]:
    """Return each order of the exports, in the state of its latest one, with the number of that export."""
    orders = {order: number for number in sorted(exports) for order in exports[number]}
    return [(number, {order: exports[number][order]}) for order, number in orders.items()]


class Database(ABC):
    """A database that runs the statements of a dialect."""

    def __init__(self, dialect: str) -> None:
        self.dialect = dialect

    @abstractmethod
    def run(self, sql: Sequence[str]) -> None:
        """Run statements as the database's own operator does, if one list is one task."""

    @abstractmethod
    def insert(self, rows: Sequence[Row]) -> None:
        """Insert rows into the staging table, as a loader does."""

    @abstractmethod
    def query(self, sql: str) -> Iterable[Sequence[Any]]:
        """Return the rows of a query."""

    def instant(self, value: datetime) -> Any:
        """Return an instant as this database stores it."""
        return value

    @property
    def columns(self) -> Sequence[str]:
        """The columns of the file: one with a name that only some databases accept."""
        return COLUMNS[:-1] if self.dialect in ("bigquery", "databricks") else COLUMNS

    @property
    def statements(self) -> MergeStatements:
        return merge_statements(self.dialect, TABLE, STAGED, columns=self.columns)

    def load(self, rows: Sequence[Row]) -> None:
        """Do what an example DAG does with a file."""
        sql = self.statements
        self.run(sql.stage)
        self.insert(rows)
        self.run(sql.prepare)
        self.run(sql.merge)

    def rows_of(self, number: int, export: Export) -> list[Row]:
        """Return the rows of a stored file, as this database stores them."""
        indices = [*range(len(self.columns)), *range(len(COLUMNS), len(STAGED_COLUMNS))]
        return [(*(row[index] for index in indices[:-1]), self.instant(row[-1])) for row in rows_of(number, export)]

    def sorted_rows(self) -> list[Row]:
        return sorted(map(tuple, self.query(f"SELECT * FROM {TABLE}")), key=repr)

    def reset(self) -> None:
        """Drop the table."""
        self.run([f"DROP TABLE IF EXISTS {TABLE}"])

    def check(self, history: Loads) -> None:
        """Load the exports into a new table, and fail unless it has the rows of each order's latest export alone."""
        self.reset()
        for run in history.runs:
            self.load([row for number in run for row in self.rows_of(number, history.exports[number])])
            self.run(self.statements.merge)  # a second time it changes nothing
        expected = latest({number: history.exports[number] for run in history.runs for number in run})
        assert self.sorted_rows() == sorted((row for order in expected for row in self.rows_of(*order)), key=repr)
