"""
Load the rows of an export into a table of a database: staged, merged by key, in one transaction.

What differs between databases is in :mod:`postgres` and :mod:`sqlite`. Names are validated before they are quoted in
the hook's own way, which does not escape a quote within a name.
"""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, Final

import pyarrow as pa  # type: ignore[import-untyped]
from airflow.providers.common.compat.sdk import AirflowException

from airflow_provider_crux.exceptions import CruxInvalidRequestError
from airflow_provider_crux.files.columns import Column, ColumnType, UnusableFileError
from airflow_provider_crux.tables.names import check_columns, is_plain_name

if TYPE_CHECKING:
    from airflow.providers.common.sql.hooks.sql import DbApiHook

    from airflow_provider_crux.files.rows import TypedRows

_LATER: Final = ("crux_requested_at", "crux_export_uuid")
"""What tells whether a row is later than another one of the same key; the UUID decides between equal times."""

BATCH_ROWS: Final = 10_000
"""Rows that are converted for the database at once."""


@dataclass(frozen=True)
class LoadedTable:
    """What became of the rows of an export: the key of some was new, and others replaced an earlier state."""

    table: str
    rows: int
    inserted: int
    updated: int

    @property
    def unchanged(self) -> int:
        """Rows of which the table already had this state or a later one."""
        return self.rows - self.inserted - self.updated


class SqlTable(ABC):
    """
    A table that receives exports. ``key`` identifies a row; ``create`` creates the table and adds missing columns.

    :raises CruxInvalidRequestError: if the key is not among the columns.
    :raises UnusableFileError: if a table cannot have a column of this name.
    """

    types: ClassVar[Mapping[ColumnType, str]]

    def __init__(
        self, hook: DbApiHook, table: str, *, columns: Sequence[Column], key: Sequence[str], create: bool
    ) -> None:
        check_columns(columns, key)
        quote = partial(_quote, hook)
        self.name = table
        self._hook = hook
        self._columns = columns
        self._table = ".".join(map(quote, table.split(".")))
        self._staging = f"crux_staging_{secrets.token_hex(8)}"
        self._names = {column.name: quote(column.name) for column in columns}
        self._key_columns = key
        self._key = [self._names[name] for name in key]
        self._create = create

    def load(self, rows: TypedRows) -> LoadedTable:
        """
        Merge rows into the table, all or none. If reading the rows raises, the table stays as it was.

        :raises AirflowException: if the database rejects something. The message shows no value of a row.
        :raises CruxInvalidRequestError: if the table does not fit.
        """
        with closing(self._hook.get_conn()) as connection:
            try:
                with self._transaction(connection) as cursor:
                    return self._load(cursor, rows)
            except database_error(connection) as error:
                problem = self._error_text(error)
        # here, because the database's own error may show values: it must not be the context of this one
        raise AirflowException(
            f"Could not load the export into table {self.name!r}; the table is as it was. The database says: {problem}"
        )

    def _load(self, cursor: Any, rows: TypedRows) -> LoadedTable:
        if self._create and self._load_new_table(cursor, rows):
            return LoadedTable(self.name, rows.rows, rows.rows, 0)
        cursor.execute(f"CREATE TEMPORARY TABLE {self._staging} ({self._definitions()})")
        self._stage(cursor, rows)
        self._lock(cursor)
        self._check_keys(cursor)
        self._prepare_table(cursor)
        inserted, merged = self._merge(cursor)
        cursor.execute(f"DROP TABLE {self._staging}")
        return LoadedTable(self.name, rows.rows, inserted, merged - inserted)

    def _load_new_table(self, cursor: Any, rows: TypedRows) -> bool:  # noqa: ARG002 - for PostgreSQL
        """Create the table and fill it without staging if there is none; return whether it did."""
        return False

    def _merge(self, cursor: Any) -> tuple[int, int]:
        """Merge the staged rows, and return how many were inserted, and inserted or updated."""
        same_key = " AND ".join(f"t.{name} = s.{name}" for name in self._key)
        existing = f"SELECT 1 FROM {self._table} AS t WHERE {same_key}"  # noqa: S608 - quoted names
        cursor.execute(f"SELECT count(*) FROM {self._staging} AS s WHERE NOT EXISTS ({existing})")  # noqa: S608
        inserted = scalar(cursor)
        cursor.execute(self._merge_statement())
        return inserted, cursor.rowcount

    @abstractmethod
    def _begin(self, connection: Any) -> None:
        """Begin a transaction."""

    @abstractmethod
    def _stage(self, cursor: Any, rows: TypedRows) -> None:
        """Write the rows to the staging table."""

    @abstractmethod
    def _lock(self, cursor: Any) -> None:
        """Wait until no other task merges into the table."""

    @contextmanager
    def _transaction(self, connection: Any) -> Iterator[Any]:
        try:
            self._begin(connection)
            with closing(connection.cursor()) as cursor:
                yield cursor
            connection.commit()
        except BaseException:
            with suppress(database_error(connection)):  # a connection that is lost has no transaction
                connection.rollback()
            raise

    @abstractmethod
    def _error_text(self, error: Exception) -> str:
        """Return what a database's error says without its values."""

    def _definition(self, column: Column) -> str:
        return f"{self._names[column.name]} {self.types[column.type]}"

    def _definitions(self) -> str:
        return ", ".join(map(self._definition, self._columns))

    def _prepare_table(self, cursor: Any) -> None:
        if self._create:
            key = f"PRIMARY KEY ({', '.join(self._key)})"
            cursor.execute(f"CREATE TABLE IF NOT EXISTS {self._table} ({self._definitions()}, {key})")
        cursor.execute(f"SELECT * FROM {self._table} WHERE 1 = 0")  # noqa: S608 - a quoted name
        present = {entry[0].lower() for entry in cursor.description}
        missing = [column for column in self._columns if column.name.lower() not in present]
        if missing and not self._create:
            names = ", ".join(column.name for column in missing)
            raise CruxInvalidRequestError(
                f"table: {self.name!r} lacks the columns {names}; add them, or set create_table=True"
            )
        for column in missing:
            cursor.execute(f"ALTER TABLE {self._table} ADD COLUMN {self._definition(column)}")

    def _check_keys(self, cursor: Any) -> None:
        # a text is never missing
        nullable = [c.name for c in self._columns if c.name in self._key_columns and c.type is not ColumnType.TEXT]
        if nullable:
            missing = " OR ".join(f"{self._names[name]} IS NULL" for name in nullable)
            cursor.execute(f"SELECT count(*) FROM {self._staging} WHERE {missing}")  # noqa: S608 - quoted names
            if count := scalar(cursor):
                raise UnusableFileError(
                    f"{count} rows have no value in the key {', '.join(nullable)}; use other columns"
                )
        keys = ", ".join(self._key)
        repeated = f"SELECT {keys} FROM {self._staging} GROUP BY {keys} HAVING count(*) > 1"  # noqa: S608 - quoted names
        cursor.execute(f"SELECT count(*) FROM ({repeated}) AS repeated")  # noqa: S608
        if count := scalar(cursor):
            raise UnusableFileError(
                f"{count} values of the key {', '.join(self._key_columns)} occur in several rows; use a key that "
                "identifies a row, for example key=('order_uuid', 'line_item_uuid')"
            )

    def _merge_statement(self) -> str:
        names = ", ".join(self._names.values())
        changes = ", ".join(f"{name} = excluded.{name}" for name in self._names.values() if name not in self._key)
        requested_at, uuid = (self._names[name] for name in _LATER)
        return (
            f"INSERT INTO {self._table} AS t ({names}) SELECT {names} FROM {self._staging} WHERE true "  # noqa: S608
            f"ON CONFLICT ({', '.join(self._key)}) DO UPDATE SET {changes} WHERE t.{requested_at} IS NULL "
            f"OR (excluded.{requested_at}, excluded.{uuid}) > (t.{requested_at}, t.{uuid})"
        )


def batches(rows: TypedRows) -> Iterator[pa.RecordBatch]:
    """Yield the rows of an export in batches."""
    for table in rows:
        yield from table.to_batches(max_chunksize=BATCH_ROWS)


def _quote(hook: DbApiHook, name: str) -> str:
    """
    Quote a name that was validated as the hook does, but always: the hook does not know every reserved word.

    A name that could stand without quotes means the same as without them, that is, in lower case.
    """
    return hook.escape_word_format.format(name.lower() if is_plain_name(name) else name)


def scalar(cursor: Any) -> int:
    """Return the one value of the one row; the connection decides which type a row has."""
    row = cursor.fetchone()
    return int(next(iter(row.values())) if isinstance(row, Mapping) else row[0])


def database_error(connection: Any, name: str = "Error") -> type[Exception]:
    """Return a class of errors of a connection's driver, by default the base of all (PEP 249)."""
    driver = import_module(type(connection).__module__.partition(".")[0])
    error: type[Exception] = getattr(driver, name)
    return error
