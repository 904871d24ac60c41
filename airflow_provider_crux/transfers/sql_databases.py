"""Which class of tables serves a database."""

from __future__ import annotations

from typing import Final

from airflow_provider_crux.exceptions import CruxInvalidRequestError
from airflow_provider_crux.transfers.postgres_table import PostgresTable
from airflow_provider_crux.transfers.sql_table import SqlTable
from airflow_provider_crux.transfers.sqlite_table import SqliteTable

_TABLES: Final[dict[str, type[SqlTable]]] = {"postgresql": PostgresTable, "sqlite": SqliteTable}


def table_class(hook: object, conn_id: str) -> type[SqlTable]:
    """
    Return the class of tables for a hook.

    :raises CruxInvalidRequestError: if there is none.
    """
    name = getattr(hook, "dialect_name", None)
    if name not in _TABLES:
        raise CruxInvalidRequestError(
            f"conn_id: connection {conn_id!r} is of the type {type(hook).__name__}; use one to PostgreSQL or SQLite"
        )
    return _TABLES[name]
