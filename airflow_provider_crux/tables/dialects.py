"""What differs between SQL databases in the statements that merge rows into a table: as data. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from airflow_provider_crux.files.columns import ColumnType


class Atomic(Enum):
    """What makes a merge all or nothing, if the database's own operator of Airflow runs it with its defaults."""

    LIST = "run these statements in one transaction"
    BEGIN_AND_COMMIT = "run these statements together; they begin and commit a transaction"
    ONE_STATEMENT = "one statement, which is all or nothing"


@dataclass(frozen=True)
class Dialect:
    """
    A kind of SQL.

    :param types: the type of a column for each type of values.
    :param atomic: what makes a merge all or nothing.
    :param quote: the character around a name.
    :param fold: what becomes of a name without quotes.
    :param max_name: the longest name, in bytes.
    :param forbidden: characters that a name cannot contain, beside the quote.
    :param replaces_tables: whether it has ``CREATE OR REPLACE TABLE``.
    :param adds_missing_columns: whether it has ``ADD COLUMN IF NOT EXISTS``.
    :param adds_columns_at_once: whether one ``ALTER TABLE`` adds several columns in that way.
    :param deletes_by_join: whether a ``DELETE`` joins the staging table, because it cannot name tables as a query can.
    """

    types: Mapping[ColumnType, str]
    atomic: Atomic
    quote: str = '"'
    fold: Callable[[str], str] = str.lower
    max_name: int = 63
    forbidden: Collection[str] = field(default_factory=frozenset)
    replaces_tables: bool = True
    adds_missing_columns: bool = True
    adds_columns_at_once: bool = False
    deletes_by_join: bool = False


def _types(text: str, integer: str, money: str, instant: str, boolean: str) -> Mapping[ColumnType, str]:
    return {
        ColumnType.TEXT: text,
        ColumnType.INTEGER: integer,
        ColumnType.MONEY: money,
        ColumnType.INSTANT: instant,
        ColumnType.BOOLEAN: boolean,
    }


DIALECTS: Final[Mapping[str, Dialect]] = {
    "postgres": Dialect(
        _types("text", "bigint", "numeric(18, 2)", "timestamptz", "boolean"), Atomic.LIST, replaces_tables=False
    ),
    # SQLite has no type for amounts, which a number would round: they are texts with two decimals. It has none for
    # instants: they are texts in UTC of one length, so that they compare.
    "sqlite": Dialect(
        _types("TEXT", "INTEGER", "TEXT", "TEXT", "INTEGER"),
        Atomic.LIST,
        replaces_tables=False,
        adds_missing_columns=False,
    ),
    "duckdb": Dialect(
        _types("VARCHAR", "BIGINT", "DECIMAL(18, 2)", "TIMESTAMP WITH TIME ZONE", "BOOLEAN"),
        Atomic.BEGIN_AND_COMMIT,
        max_name=255,
    ),
    # In a list, AUTOCOMMIT in the session parameters of the connection would decide: with true, each statement commits.
    "snowflake": Dialect(
        _types("VARCHAR", "BIGINT", "NUMBER(18, 2)", "TIMESTAMP_LTZ", "BOOLEAN"),
        Atomic.ONE_STATEMENT,
        fold=str.upper,
        max_name=255,
    ),
    # A list would be one job for each statement.
    "bigquery": Dialect(
        _types("STRING", "INT64", "NUMERIC(18, 2)", "TIMESTAMP", "BOOL"),
        Atomic.ONE_STATEMENT,
        quote="`",
        fold=str,
        max_name=300,
        forbidden=frozenset('!"$()*,./;?@[\\]^{}~'),
        # It limits how often a table is altered: five times in ten seconds.
        adds_columns_at_once=True,
    ),
    "redshift": Dialect(
        _types("VARCHAR(65535)", "BIGINT", "DECIMAL(18, 2)", "TIMESTAMPTZ", "BOOLEAN"),
        Atomic.LIST,
        max_name=127,
        replaces_tables=False,
        adds_missing_columns=False,
        deletes_by_join=True,
    ),
    # Its operator never commits: each statement is a transaction of its own.
    "databricks": Dialect(
        _types("STRING", "BIGINT", "DECIMAL(18, 2)", "TIMESTAMP", "BOOLEAN"),
        Atomic.ONE_STATEMENT,
        quote="`",
        max_name=255,
        forbidden=frozenset(" ,;{}()\n\t="),
        # A table that is replaced keeps its log, in which COPY INTO notes the files that it has loaded and now skips.
        replaces_tables=False,
        adds_missing_columns=False,
    ),
}
"""
The dialects of :func:`~airflow_provider_crux.tables.statements.merge_statements`, by the names that SQLGlot gives them.

Types and names come from the databases' own documentation, as of 2026-11.
"""
