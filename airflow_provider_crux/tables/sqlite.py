"""A table in SQLite."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any, ClassVar

from airflow_provider_crux.files.rows import TypedRows
from airflow_provider_crux.tables.base import SqlTable, database_error, instant_text, scalar, stored_name
from airflow_provider_crux.tables.dialects import DIALECTS


class SqliteTable(SqlTable):
    """A table in SQLite."""

    types: ClassVar = DIALECTS["sqlite"].types

    def _begin(self, connection: Any) -> None:
        connection.isolation_level = None  # no implicit transactions beside this one
        connection.execute("BEGIN IMMEDIATE")

    def _stage(self, cursor: Any, rows: TypedRows) -> None:
        marks = ", ".join("?" for _ in self._columns)
        for batch in self._batches(rows):
            values = zip(*(map(_as_sqlite, column.to_pylist()) for column in batch.columns), strict=True)
            cursor.executemany(f"INSERT INTO {self._staging} VALUES ({marks})", values)  # noqa: S608 - our own name

    def _prepare_staged(self, cursor: Any) -> None:
        keys = self._staged_key_columns
        if keys:
            cursor.execute(f"CREATE INDEX temp.{self._staging}_key ON {self._staging} ({keys})")

    def _open(self, cursor: Any) -> bool:
        # the transaction has locked the whole database
        schema, _, table = self.name.rpartition(".")
        cursor.execute("SELECT count(*) FROM pragma_table_info(?, ?)", (table, schema or None))
        return scalar(cursor) > 0

    def _create_index(self, cursor: Any) -> None:
        schema, _, table = self.name.rpartition(".")
        name = "_".join(map(stored_name, (table, *self._key, "idx")))
        qualified = self._quoted(*filter(None, (schema, name)))
        cursor.execute(f"CREATE INDEX IF NOT EXISTS {qualified} ON {self._quoted(table)} ({self._key_columns})")

    @staticmethod
    def _folded(name: str) -> str:
        return name.encode().lower().decode()  # only ASCII letters, as SQLite does

    def _error_text(self, error: Exception) -> str:
        return f"{type(error).__name__}: {error}"  # SQLite's messages name columns, never values

    def _is_about_data(self, error: Exception, connection: Any) -> bool:
        return isinstance(
            error, (database_error(connection, "IntegrityError"), database_error(connection, "DataError"))
        )


def _as_sqlite(value: Any) -> Any:
    """Return amounts and instants as texts; those of instants have one length, so that they compare."""
    if isinstance(value, datetime):
        return instant_text(value)
    return str(value) if isinstance(value, Decimal) else value
