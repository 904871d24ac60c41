"""The statements for PostgreSQL, and those for Redshift, which descends from it, on a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from typing import Any

import psycopg2
import pytest
from hypothesis import given, settings

from tests.merges import Database, Loads, Row, loads


class Postgres(Database):
    """A connection; a list of statements is one transaction, as for ``SQLExecuteQueryOperator``."""

    def __init__(self, dialect: str, connection: Any) -> None:
        super().__init__(dialect)
        self._connection = connection

    def run(self, sql: Sequence[str]) -> None:
        with self._connection, self._connection.cursor() as cursor:
            for statement in sql:
                cursor.execute(statement)

    def insert(self, rows: Sequence[Row]) -> None:
        if rows:
            marks = ", ".join(["%s"] * len(rows[0]))
            with self._connection, self._connection.cursor() as cursor:
                cursor.executemany(f"INSERT INTO orders_staged VALUES ({marks})", rows)

    def query(self, sql: str) -> Iterable[Sequence[Any]]:
        with self._connection, self._connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchall()


@pytest.fixture(scope="module", params=["postgres", "redshift"])
def statements_database(address: str, request: pytest.FixtureRequest) -> Iterator[Postgres]:
    with closing(psycopg2.connect(address)) as connection:
        yield Postgres(request.param, connection)


@settings(max_examples=50)
@given(history=loads())
def test_whatever_the_order_of_the_loads_the_table_holds_the_latest_export_of_each_order(
    statements_database: Postgres, history: Loads
) -> None:
    statements_database.check(history)


def test_a_merge_that_fails_changes_nothing(statements_database: Postgres) -> None:
    database = statements_database
    database.reset()
    database.load(database.rows_of(1, {"x": [("a", 1)]}))
    before = database.sorted_rows()
    database.run(database.statements.stage)
    database.insert(database.rows_of(2, {"x": [("a", 2)]}))
    database.run(["ALTER TABLE orders ADD CHECK (quantity < 2)"])
    with pytest.raises(psycopg2.IntegrityError):
        database.run(database.statements.merge)
    assert database.sorted_rows() == before
