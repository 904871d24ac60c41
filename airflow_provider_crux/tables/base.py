"""
Load the rows of an export into a table of a database: staged, merged by key, in one transaction.

What differs between databases is in :mod:`postgres` and :mod:`sqlite`. Names are checked before they are quoted in the
hook's own way, which does not escape a quote within a name. A statement that contains names has no parameters, because
a driver would read a percent sign in it.
"""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, Final

import pyarrow as pa  # type: ignore[import-untyped]
from airflow.providers.common.compat.sdk import AirflowException

from airflow_provider_crux.exceptions import CruxInvalidRequestError
from airflow_provider_crux.files.columns import EXPORT_COLUMNS, Column, ColumnType
from airflow_provider_crux.tables.keys import Keys
from airflow_provider_crux.tables.merge import LATER, Merge
from airflow_provider_crux.tables.names import is_plain_name

if TYPE_CHECKING:
    from datetime import datetime

    from airflow.providers.common.sql.hooks.sql import DbApiHook

    from airflow_provider_crux.files.rows import TypedRows

BATCH_ROWS: Final = 10_000
"""Rows that are converted for the database at once."""


@dataclass(frozen=True)
class LoadedTable:
    """
    What became of an export.

    :param table: the table, as the database found it.
    :param rows: rows of the file.
    :param keys: distinct keys of the rows.
    :param inserted: keys that the table did not have.
    :param replaced: keys whose rows in the table were of an earlier export, whether they changed or not.
    """

    table: str
    rows: int
    keys: int
    inserted: int
    replaced: int

    @property
    def unchanged(self) -> int:
        """Keys whose rows in the table are of this export or a later one."""
        return self.keys - self.inserted - self.replaced


class SqlTable(ABC):
    """
    A table that receives an export.

    :param hook: the hook of the database.
    :param table: the table, with a schema or without.
    :param columns: the columns of the rows, which a table can have.
    :param origin: the values of :data:`EXPORT_COLUMNS`, which are the same in all rows.
    :param key: the columns of the key.
    :param create: whether to create the table, and to add columns that it lacks.
    """

    types: ClassVar[Mapping[ColumnType, str]]
    reserved_columns: ClassVar[Collection[str]] = ()
    """Names in lower case that a column cannot have."""

    def __init__(
        self,
        hook: DbApiHook,
        table: str,
        *,
        columns: Sequence[Column],
        origin: Sequence[str | datetime | None],
        key: Sequence[str],
        create: bool,
    ) -> None:
        self._hook = hook
        self.name = table
        self._table = self._quoted(*table.split("."))
        self._staging = f"crux_staging_{secrets.token_hex(8)}"
        self._columns = columns
        self._origin = dict(zip(EXPORT_COLUMNS, map(_literal, origin), strict=True))
        self._key = key
        self._keys = Keys(key)
        self._create = create

    def load(self, rows: TypedRows) -> LoadedTable:
        """
        Merge rows into the table, all or none. If reading the rows raises, the table stays as it was.

        :raises AirflowException: if the database rejects something. The message shows no value of a row.
        :raises CruxInvalidRequestError: if the table does not fit, or cannot hold a value.
        :raises UnusableFileError: if a row has no value in the key.
        """
        with closing(self._hook.get_conn()) as connection:
            try:
                with self._transaction(connection) as cursor:
                    return self._load(cursor, rows)
            except database_error(connection) as error:
                problem = self._error_text(error)
                is_final = self._is_about_data(error, connection)
        # here, because the database's own error may show values: it must not be the context of this one
        message = (
            f"Could not load the export into table {self.name!r}; the table is as it was. The database says: {problem}"
        )
        raise CruxInvalidRequestError(message) if is_final else AirflowException(message)

    def _load(self, cursor: Any, rows: TypedRows) -> LoadedTable:
        if self._create and self._load_new_table(cursor, rows):
            keys = self._keys.count
            return LoadedTable(self.resolved_name, rows.rows, keys, keys, 0)
        cursor.execute(f"CREATE TEMPORARY TABLE {self._staging} ({self._definitions(self._columns)})")
        self._stage(cursor, rows)
        self._prepare_staged(cursor)
        exists = self._open(cursor)
        self._prepare_table(cursor, exists=exists)
        keys = self._keys.count
        inserted, replaced = self._run_merge(cursor, keys)
        cursor.execute(f"DROP TABLE {self._staging}")
        return LoadedTable(self.resolved_name, rows.rows, keys, inserted, replaced)

    def _load_new_table(self, cursor: Any, rows: TypedRows) -> bool:  # noqa: ARG002 - for PostgreSQL
        """Create the table and fill it without staging if there is none; return whether it did."""
        return False

    def _run_merge(self, cursor: Any, keys: int) -> tuple[int, int]:
        """Merge the staged rows, and return how many of their keys were inserted and replaced."""
        merge = self._merge
        cursor.execute(merge.count_unchanged_keys)
        unchanged = scalar(cursor)
        deleted = self._delete_earlier(cursor, merge)
        # without the join, which takes as long as half the insertion, if it would exclude nothing
        cursor.execute(merge.insert if unchanged else merge.insert_all)
        # a key can be counted twice, if its rows are of earlier and of later exports that were loaded with another key
        replaced = min(deleted, keys - unchanged)
        return keys - unchanged - replaced, replaced

    def _delete_earlier(self, cursor: Any, merge: Merge) -> int:
        """Delete the rows that are to be replaced, and return how many keys they have."""
        cursor.execute(merge.count_replaced_keys)
        deleted = scalar(cursor)
        cursor.execute(merge.delete)
        return deleted

    @property
    def resolved_name(self) -> str:
        """The table, as the database found it."""
        return self.name

    @abstractmethod
    def _begin(self, connection: Any) -> None:
        """Begin a transaction."""

    @abstractmethod
    def _stage(self, cursor: Any, rows: TypedRows) -> None:
        """Write the rows to the staging table."""

    @abstractmethod
    def _prepare_staged(self, cursor: Any) -> None:
        """Prepare the staging table for the merge."""

    @abstractmethod
    def _open(self, cursor: Any) -> bool:
        """Wait until no other task merges into the table, and return whether the table exists."""

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

    @abstractmethod
    def _is_about_data(self, error: Exception, connection: Any) -> bool:
        """Tell whether the table cannot hold a row, so that a retry fails in the same way."""

    @property
    def _merge(self) -> Merge:
        origin = ", ".join(
            f"CAST({value} AS {self.types[column.type]}) AS {self._quoted(column.name)}"
            for column, value in self._origin.items()
        )
        return Merge(
            table=self._table,
            staged=f"(SELECT r.*, {origin} FROM {self._staging} AS r)",  # noqa: S608 - our own name
            key=[*map(self._quoted, self._key)],
            columns=[self._quoted(column.name) for column in self._all_columns],
            later=(self._quoted(LATER[0]), self._quoted(LATER[1])),
        )

    @property
    def _all_columns(self) -> list[Column]:
        return [*self._columns, *EXPORT_COLUMNS]

    def _definitions(self, columns: Sequence[Column]) -> str:
        return ", ".join(f"{self._quoted(column.name)} {self.types[column.type]}" for column in columns)

    def _prepare_table(self, cursor: Any, *, exists: bool) -> None:
        """Create the table, or add the columns that it lacks."""
        if not exists:
            if not self._create:
                raise CruxInvalidRequestError(
                    f"table: {self.name!r} does not exist; create it, or set create_table=True"
                )
            self._create_table(cursor)
            self._create_index(cursor)
            return
        cursor.execute(f"SELECT * FROM {self._table} WHERE 1 = 0")  # noqa: S608 - a quoted name
        present = {self._folded(entry[0]) for entry in cursor.description}
        missing = [column for column in self._all_columns if self._folded(stored_name(column.name)) not in present]
        if missing and not self._create:
            names = ", ".join(column.name for column in missing)
            raise CruxInvalidRequestError(
                f"table: {self.name!r} lacks the columns {names}; add them, or set create_table=True"
            )
        for column in missing:
            cursor.execute(f"ALTER TABLE {self._table} ADD COLUMN {self._definitions([column])}")

    def _create_table(self, cursor: Any) -> None:
        cursor.execute(f"CREATE TABLE {self._table} ({self._definitions(self._all_columns)})")

    @abstractmethod
    def _create_index(self, cursor: Any) -> None:
        """Create an index on the key of a new table."""

    @property
    def _key_columns(self) -> str:
        """The columns of the key, for a statement."""
        return ", ".join(map(self._quoted, self._key))

    @property
    def _staged_key_columns(self) -> str:
        """Those of them that are staged, which may be none."""
        return ", ".join(self._quoted(column.name) for column in self._columns if column.name in self._key)

    @staticmethod
    def _folded(name: str) -> str:
        """Return a column's name as the database compares it."""
        return name

    def _batches(self, rows: TypedRows) -> Iterator[pa.RecordBatch]:
        """Yield the rows of an export in batches."""
        for table in rows:
            self._keys.add(table)
            yield from table.to_batches(max_chunksize=BATCH_ROWS)

    def _quoted(self, *names: str) -> str:
        """
        Quote checked names as the hook does, but always: the hook does not know every reserved word.

        A name that could be without quotes means the same as without them, that is, in lower case.
        """
        return ".".join(self._hook.escape_word_format.format(stored_name(name)) for name in names)


def stored_name(name: str) -> str:
    """Return how a column or table is called in the database."""
    return name.lower() if is_plain_name(name) else name


def _literal(value: str | datetime | None) -> str:
    """Return a UUID or an instant for a statement."""
    if value is None:
        return "NULL"
    text = value if isinstance(value, str) else instant_text(value)
    return "'" + text.replace("'", "''") + "'"


def instant_text(moment: datetime) -> str:
    """Return an instant in UTC as statements and SQLite have it."""
    return moment.isoformat(sep=" ", timespec="microseconds")


def scalar(cursor: Any) -> int:
    """Return the one value of the one row."""
    return int(values_of(cursor.fetchone())[0])


def values_of(row: Any) -> list[Any]:
    """Return the values of a row; the connection decides which type it has."""
    return list(row.values() if isinstance(row, Mapping) else row)


def database_error(connection: Any, name: str = "Error") -> type[Exception]:
    """Return a class of errors of a connection's driver, by default the base of all (PEP 249)."""
    driver = import_module(type(connection).__module__.partition(".")[0])
    error: type[Exception] = getattr(driver, name)
    return error
