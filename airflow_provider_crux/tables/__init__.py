"""How the rows of an export reach a database. PostgreSQL and SQLite each have a class of tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_crux.exceptions import CruxInvalidRequestError

if TYPE_CHECKING:
    from airflow_provider_crux.tables.base import SqlTable


def table_class(hook: object, conn_id: str) -> type[SqlTable]:
    """Return the class of tables for a hook; raise CruxInvalidRequestError if there is none."""
    # here, so that parsing a DAG file does not import pyarrow
    from airflow_provider_crux.tables.postgres import PostgresTable
    from airflow_provider_crux.tables.sqlite import SqliteTable

    classes: dict[str, type[SqlTable]] = {"postgresql": PostgresTable, "sqlite": SqliteTable}
    name = getattr(hook, "dialect_name", "")
    if name not in classes:
        raise CruxInvalidRequestError(
            f"conn_id: connection {conn_id!r} is of the type {type(hook).__name__}; use one to PostgreSQL or SQLite"
        )
    return classes[name]
