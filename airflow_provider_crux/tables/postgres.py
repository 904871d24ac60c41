"""A table in PostgreSQL."""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any, ClassVar, Final

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.csv  # type: ignore[import-untyped]

from airflow_provider_crux.exceptions import CruxInvalidRequestError
from airflow_provider_crux.files.arrow_rows import each_once
from airflow_provider_crux.files.rows import TypedRows
from airflow_provider_crux.tables.base import SqlTable, scalar, values_of
from airflow_provider_crux.tables.dialects import DIALECTS
from airflow_provider_crux.tables.merge import Merge

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

log = logging.getLogger(__name__)

_COPY_BYTES: Final = 256 * 1024
_WORK_MEM: Final = "64MB"

_NAMING_CLASSES: Final = frozenset({"08", "25", "28", "3F", "40", "42", "53", "54", "55", "57", "58"})
"""The classes of SQLSTATE whose messages name tables and the like. Others may show a value."""
_DATA_CLASSES: Final = frozenset({"22", "23", "54"})
"""The classes of SQLSTATE for a value that does not fit, a constraint, and a limit of the database."""

_RELATIONS: Final = "pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace"


class PostgresTable(SqlTable):
    """A table in PostgreSQL, also with psycopg 3; rows are staged by COPY."""

    types: ClassVar = DIALECTS["postgres"].types
    reserved_columns: ClassVar = frozenset({"cmax", "cmin", "ctid", "tableoid", "xmax", "xmin"})

    _schema = ""
    _relation = ""

    @property
    def resolved_name(self) -> str:
        """The table with its schema."""
        return f"{self._schema}.{self._relation}"

    def _begin(self, connection: Any) -> None:
        connection.autocommit = False
        # each statement sees what others committed before it, so also what was committed while we waited for the lock;
        # with a snapshot of the whole transaction, the database would reject most of several loads at once
        with closing(connection.cursor()) as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")

    def _stage(self, cursor: Any, rows: TypedRows) -> None:
        names = ", ".join(self._quoted(column.name) for column in self._columns)
        # the connection may have another encoding, by default that of the database
        sql = f"COPY {self._staging} ({names}) FROM STDIN WITH (FORMAT csv, ENCODING 'UTF8')"
        blocks = map(_as_csv, self._batches(rows))
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

    def _prepare_staged(self, cursor: Any) -> None:
        # nobody else analyzes a temporary table
        keys = self._staged_key_columns
        cursor.execute(f"ANALYZE {self._staging} ({keys})" if keys else f"ANALYZE {self._staging}")
        # for the keys of a million rows; until the transaction ends, and never less than what the server has
        cursor.execute(
            f"SELECT set_config('work_mem', '{_WORK_MEM}', true) "
            f"WHERE pg_size_bytes(current_setting('work_mem')) < pg_size_bytes('{_WORK_MEM}')"
        )

    def _open(self, cursor: Any) -> bool:
        locked = ""
        while True:
            exists = self._resolve(cursor)
            if locked == self.resolved_name:
                break
            # also before the table exists, until the transaction ends
            locked = self.resolved_name
            key = f"airflow_provider_crux {locked}"
            cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (key,))
        self._warn_of_similar_tables(cursor)
        return exists

    def _resolve(self, cursor: Any) -> bool:
        """Find the table as the server does, and return whether it exists; a new one will be in the current schema."""
        schema, _, table = self.name.lower().rpartition(".")
        # a query, because to_regclass() remembers for a while that there was no table
        cursor.execute(
            f"SELECT n.nspname FROM {_RELATIONS} "  # noqa: S608 - our own text
            "WHERE c.relname = %s AND (n.nspname = %s OR (%s = '' AND n.nspname = ANY (current_schemas(true)))) "
            "ORDER BY array_position(current_schemas(true), n.nspname) LIMIT 1",
            (table, schema, schema),
        )
        row = cursor.fetchone()
        if row is None and not schema:
            cursor.execute("SELECT current_schema()")
            (schema,) = values_of(cursor.fetchone())
            if schema is None:
                raise CruxInvalidRequestError(
                    f"table: no schema of the search path exists; add the schema, for example 'public.{self.name}'"
                )
        self._schema, self._relation = schema if row is None else values_of(row)[0], table
        self._table = ".".join(map(self._hook.escape_word_format.format, (self._schema, self._relation)))
        return row is not None

    def _warn_of_similar_tables(self, cursor: Any) -> None:
        cursor.execute(
            f"SELECT c.relname FROM {_RELATIONS} "  # noqa: S608 - our own text
            "WHERE n.nspname = %s AND lower(c.relname) = %s AND c.relname <> %s AND c.relkind IN ('r', 'p', 'v', 'f')",
            (self._schema, self._relation, self._relation),
        )
        for row in cursor.fetchall():
            log.warning(
                'Schema %s also has the table "%s". The rows are loaded into %s',
                self._schema,
                values_of(row)[0],
                self._relation,
            )

    def _load_new_table(self, cursor: Any, rows: TypedRows) -> bool:
        # a third of the time of a merge: rows are written once, and the index is built at the end
        if self._resolve(cursor) or self._open(cursor):  # the second, if another task has just created it
            return False
        self._create_table(cursor)
        names = [self._quoted(column.name) for column in self._origin]
        defaults = zip(names, self._origin.values(), strict=True)
        self._alter(cursor, [f"ALTER {name} SET DEFAULT {value}" for name, value in defaults])
        # nobody else sees this table until the transaction ends, so nothing needs to be staged
        self._staging = self._table
        self._stage(cursor, rows)
        self._alter(cursor, [f"ALTER {name} DROP DEFAULT" for name in names])
        self._create_index(cursor)
        return True

    def _alter(self, cursor: Any, changes: Sequence[str]) -> None:
        cursor.execute(f"ALTER TABLE {self._table} {', '.join(changes)}")

    def _create_index(self, cursor: Any) -> None:
        # the server finds a name: the obvious one may belong to the index of a table that was renamed
        cursor.execute(f"CREATE INDEX ON {self._table} ({self._key_columns})")

    def _delete_earlier(self, cursor: Any, merge: Merge) -> int:
        keys = ", ".join(merge.key)
        deleted = f"{merge.delete} RETURNING {', '.join(f't.{name}' for name in merge.key)}"
        # half the time of a count before
        cursor.execute(f"WITH d AS ({deleted}) SELECT count(*) FROM (SELECT DISTINCT {keys} FROM d) AS k")  # noqa: S608
        return scalar(cursor)

    def _error_text(self, error: Exception) -> str:
        diagnostics: Any = getattr(error, "diag", None)
        state = getattr(diagnostics, "sqlstate", None)
        if state is None:  # not the database but its driver: the connection is lost
            return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
        # a value is at the end of the place: "COPY ..., line 3, column name: "Ada""
        place = re.search(r"COPY \w+, (line \d+(, column \w+)?)", getattr(diagnostics, "context", None) or "")
        column = getattr(diagnostics, "column_name", None)
        constraint = getattr(diagnostics, "constraint_name", None)
        # a function in PL/pgSQL may raise any text, in any class
        is_own = getattr(diagnostics, "source_function", None) != "exec_stmt_raise"
        message = getattr(diagnostics, "message_primary", None) if is_own and state[:2] in _NAMING_CLASSES else None
        details = [
            message,
            column and f"column {column}",
            constraint and f"constraint {constraint}",
            place and place[1],
        ]
        return ", ".join([f"SQLSTATE {state}", *filter(None, details)])

    def _is_about_data(self, error: Exception, connection: Any) -> bool:  # noqa: ARG002 - for SQLite
        state = getattr(getattr(error, "diag", None), "sqlstate", None) or ""
        return state[:2] in _DATA_CLASSES


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
