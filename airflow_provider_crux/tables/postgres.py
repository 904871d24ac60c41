"""A table in PostgreSQL."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar, Final

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.csv  # type: ignore[import-untyped]

from airflow_provider_crux.files.columns import ColumnType
from airflow_provider_crux.files.rows import TypedRows, each_once
from airflow_provider_crux.tables.base import SqlTable, batches, database_error, scalar

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_COPY_BYTES: Final = 256 * 1024

_NAMING_CLASSES: Final = frozenset({"08", "25", "28", "3F", "40", "42", "53", "54", "55", "57", "58"})
"""The classes of SQLSTATE whose messages name tables and the like. Others, also those of triggers, may show a value."""


class PostgresTable(SqlTable):
    """A table in PostgreSQL, also with psycopg 3; rows are staged by COPY."""

    types: ClassVar = {
        ColumnType.TEXT: "text",
        ColumnType.INTEGER: "bigint",
        ColumnType.MONEY: "numeric(18, 2)",
        ColumnType.INSTANT: "timestamptz",
    }

    def _begin(self, connection: Any) -> None:
        connection.autocommit = False

    def _stage(self, cursor: Any, rows: TypedRows) -> None:
        sql = f"COPY {self._staging} FROM STDIN WITH (FORMAT csv)"
        blocks = map(_as_csv, batches(rows))
        if not hasattr(cursor, "copy_expert"):  # psycopg 3
            with cursor.copy(sql) as copy:
                for block in blocks:
                    copy.write(block)
            return
        reader = _BlockReader(blocks)
        try:
            cursor.copy_expert(sql, io.BufferedReader(reader), size=_COPY_BYTES)
        except Exception:
            if reader.error is not None:  # psycopg2 raises one of its own instead
                raise reader.error from None
            raise

    def _lock(self, cursor: Any) -> None:
        # also before the table exists, until the transaction ends; another task may leave out the schema
        name = self.name.lower().rpartition(".")[2]
        cursor.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", (f"airflow_provider_crux {name}",))

    def _load_new_table(self, cursor: Any, rows: TypedRows) -> bool:
        # a third of the time of a merge: rows are written once, and the index is built at the end
        if self._exists(cursor):
            return False
        self._lock(cursor)
        if self._exists(cursor):  # another task has just created it
            return False
        cursor.execute(f"CREATE TABLE {self._table} ({self._definitions()})")
        # nobody else sees this table until the transaction ends, so nothing needs to be staged
        self._staging = self._table
        self._stage(cursor, rows)
        self._add_primary_key(cursor)
        return True

    def _add_primary_key(self, cursor: Any) -> None:
        statement = f"ALTER TABLE {self._table} ADD PRIMARY KEY ({', '.join(self._key)})"
        cursor.execute("SAVEPOINT without_key")
        with suppress(database_error(cursor.connection, "IntegrityError")):
            cursor.execute(statement)
            return
        # Only now, because this costs as much as the index. Not in an except block: the database's error shows values.
        cursor.execute("ROLLBACK TO SAVEPOINT without_key")
        self._check_keys(cursor)
        cursor.execute(statement)

    def _exists(self, cursor: Any) -> bool:
        # a query, because to_regclass() remembers for a while that there was no table
        schema, _, table = self.name.lower().rpartition(".")
        cursor.execute(
            "SELECT count(*) FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace "
            "WHERE c.relname = %s AND (n.nspname = %s OR (%s = '' AND n.nspname = ANY (current_schemas(true))))",
            (table, schema, schema),
        )
        return scalar(cursor) > 0

    def _error_text(self, error: Exception) -> str:
        diagnostics: Any = getattr(error, "diag", None)
        state = getattr(diagnostics, "sqlstate", None)
        if state is None:  # not the database but its driver: the connection is lost
            return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
        # a value is at the end of the place: "COPY ..., line 3, column name: "Ada""
        place = re.search(r"COPY \w+, (line \d+(, column \w+)?)", getattr(diagnostics, "context", None) or "")
        constraint = getattr(diagnostics, "constraint_name", None)
        message = getattr(diagnostics, "message_primary", None) if state[:2] in _NAMING_CLASSES else None
        details = [message, constraint and f"constraint {constraint}", place and place[1]]
        return ", ".join([f"SQLSTATE {state}", *filter(None, details)])


class _BlockReader(io.RawIOBase):
    """Let psycopg2 read blocks of bytes like a file; it keeps the error that ends them."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks = filter(None, blocks)
        self._rest = b""
        self.error: BaseException | None = None

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Read some bytes; 0 at the end."""
        view = memoryview(buffer).cast("B")
        try:
            content = self._rest or next(self._blocks, b"")
        except BaseException as error:
            self.error = error
            raise
        count = min(len(view), len(content))
        view[:count], self._rest = content[:count], content[count:]
        return count


def _as_csv(batch: pa.RecordBatch) -> bytes:
    """Return rows as COPY reads them: what is quoted is a value, also an empty text; what is empty is NULL."""
    block = io.BytesIO()
    options = pyarrow.csv.WriteOptions(include_header=False, quoting_style="all_valid")
    # Arrow needs ten times as long to format an instant as any other value
    columns = [
        each_once(column, _as_text) if pa.types.is_timestamp(column.type) else column for column in batch.columns
    ]
    pyarrow.csv.write_csv(pa.record_batch(columns, names=batch.schema.names), block, options)
    return block.getvalue()


def _as_text(instants: pa.Array) -> pa.Array:
    return instants.cast(pa.string())
