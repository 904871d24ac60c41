"""The statements for Snowflake, run on fakesnow: DuckDB behind Snowflake's own connector."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from typing import Any

import fakesnow
import pytest
import snowflake.connector
from hypothesis import given, settings

from tests.merges import Database, Loads, Row, loads


class Snowflake(Database):
    """A schema of fakesnow."""

    def __init__(self, connection: Any) -> None:
        super().__init__("snowflake")
        self._cursor = connection.cursor()

    def run(self, sql: Sequence[str]) -> None:
        for statement in sql:
            self._cursor.execute(statement)

    def insert(self, rows: Sequence[Row]) -> None:
        if rows:
            marks = ", ".join(["%s"] * len(rows[0]))
            self._cursor.executemany(f"INSERT INTO orders_staged VALUES ({marks})", rows)

    def query(self, sql: str) -> Iterable[Sequence[Any]]:
        return self._cursor.execute(sql).fetchall()


@pytest.fixture(scope="module")
def database() -> Iterator[Snowflake]:
    with (
        fakesnow.patch(),
        closing(snowflake.connector.connect(database="lake", schema="sales", timezone="UTC")) as connection,
    ):
        yield Snowflake(connection)


@settings(max_examples=25)
@given(history=loads())
def test_whatever_the_order_of_the_loads_the_table_holds_the_latest_export_of_each_order(
    database: Snowflake, history: Loads
) -> None:
    database.check(history)
