"""A table in SQLite."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any, ClassVar

from airflow_provider_crux.files.columns import ColumnType
from airflow_provider_crux.files.rows import TypedRows
from airflow_provider_crux.tables.base import SqlTable, batches


class SqliteTable(SqlTable):
    """A table in SQLite. It has no type for instants: they are texts in UTC of one length, so that they compare."""

    types: ClassVar = {
        ColumnType.TEXT: "TEXT",
        ColumnType.INTEGER: "INTEGER",
        ColumnType.MONEY: "DECIMAL(18, 2)",
        ColumnType.INSTANT: "TEXT",
    }

    def _begin(self, connection: Any) -> None:
        connection.isolation_level = None  # no implicit transactions beside this one
        connection.execute("BEGIN IMMEDIATE")

    def _stage(self, cursor: Any, rows: TypedRows) -> None:
        marks = ", ".join("?" for _ in self._columns)
        for batch in batches(rows):
            values = zip(*(map(_as_sqlite, column.to_pylist()) for column in batch.columns), strict=True)
            cursor.executemany(f"INSERT INTO {self._staging} VALUES ({marks})", values)  # noqa: S608 - our own name

    def _lock(self, cursor: Any) -> None:
        """The transaction has locked the whole database."""  # noqa: D401

    def _error_text(self, error: Exception) -> str:
        return f"{type(error).__name__}: {error}"  # SQLite's messages name columns, never values


def _as_sqlite(value: Any) -> Any:
    if isinstance(value, Decimal):
        return str(value)
    return value.isoformat(sep=" ", timespec="microseconds") if isinstance(value, datetime) else value
