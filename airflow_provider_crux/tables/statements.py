"""The statements that merge exports into a table, as texts. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from airflow_provider_crux.api.orders import describe
from airflow_provider_crux.exceptions import CruxInvalidRequestError
from airflow_provider_crux.files.columns import COLUMNS, EXPORT_COLUMNS, column_named
from airflow_provider_crux.tables.dialects import DIALECTS, Atomic, Dialect
from airflow_provider_crux.tables.merge import LATER, Merge
from airflow_provider_crux.tables.names import is_plain_name

_SAMPLE: Final = "2019"
"""The list of columns that the specification publishes."""
_HELPERS: Final = frozenset({"crux_insert", "crux_rank"})
"""Columns that the statements add to rows on their way: one of the file would take their place."""


class MergeStatements(NamedTuple):
    """
    What :func:`merge_statements` returns, in the order in which to run it.

    :param stage: make the staging table, empty, with the columns of the file in their order. Run it before the load.
    :param prepare: create the table if it is missing, and add columns that it lacks. Some databases commit after each.
    :param merge: merge the staged rows into the table, all or nothing: one list for one task, or one statement.
    """

    stage: list[str]
    prepare: list[str]
    merge: list[str]


def merge_statements(
    dialect: str,
    table: str,
    staged: str,
    key: Sequence[str] = ("order_uuid",),
    columns: Sequence[str] | None = None,
) -> MergeStatements:
    """
    Return the statements that merge stored files, once a warehouse has loaded them into a staging table.

    The rule is that of ``CruxExportToSqlOperator``: all rows with the same key are replaced together, by the export
    that was requested last. So exports may overlap, and come in any order and more than once. The staging table may
    hold several exports, but each file only once.

    Airflow's operators run the three lists in turn. The merge is all or nothing if one task runs it, with the
    defaults of the database's own operator: :class:`~airflow_provider_crux.tables.dialects.Atomic` says why.

    :param dialect: ``postgres``, ``sqlite``, ``duckdb``, ``snowflake``, ``bigquery``, ``redshift`` or ``databricks``.
    :param table: the table, with a schema, dataset or catalog before it or without.
    :param staged: the table into which the files were loaded.
    :param key: the columns of the key.
    :param columns: the names of the file's columns: ``columns`` of the XCom ``export_file``, or of the manifest. Those
        that say which export a row comes from may be among them or not. Default: those of the published sample.
    :return: what makes the staging table, what makes the table, and what merges.
    :raises CruxInvalidRequestError: if a name is not possible in this dialect, a column of the key is missing, or both
        tables are the same.
    """
    known = DIALECTS.get(dialect)
    if known is None:
        raise CruxInvalidRequestError(f"dialect: {describe(dialect)} is not known; use one of {', '.join(DIALECTS)}")
    names = _Names(dialect, known)
    if columns is None:
        columns = [column.name for column in COLUMNS if _SAMPLE in column.lists]
    added = {column.name for column in EXPORT_COLUMNS}
    stored = [*(column_named(name) for name in columns if name not in added), *EXPORT_COLUMNS]
    quoted = names.columns([column.name for column in stored])
    missing = [name for name in key if name not in quoted]
    if missing or not key:
        raise CruxInvalidRequestError(f"key: {describe(missing)} is not among the columns; use columns of the file")
    target, source = names.table("table", table), names.table("staged", staged)
    parts, others = (name.casefold().split(".") for name in (str(table), str(staged)))
    shared = min(len(parts), len(others))
    if parts[-shared:] == others[-shared:]:
        raise CruxInvalidRequestError(
            f"staged: {describe(staged)} may be the table itself, which would be emptied; use another name, or "
            "give both their schema"
        )
    keys = [quoted[name] for name in key]
    later = (quoted[LATER[0]], quoted[LATER[1]])
    merge = Merge(table=target, staged=source, key=keys, columns=[*quoted.values()], later=later)
    definitions = [f"{quoted[column.name]} {known.types[column.type]}" for column in stored]
    return MergeStatements(
        _stage(known, source, definitions), _prepare(known, target, definitions), _merge(known, merge)
    )


def _stage(dialect: Dialect, staged: str, definitions: Sequence[str]) -> list[str]:
    body = f"TABLE {staged} ({', '.join(definitions)})"
    return (
        [f"CREATE OR REPLACE {body}"]
        if dialect.replaces_tables
        else [f"DROP TABLE IF EXISTS {staged}", f"CREATE {body}"]
    )


def _prepare(dialect: Dialect, table: str, definitions: Sequence[str]) -> list[str]:
    create = f"CREATE TABLE IF NOT EXISTS {table} ({', '.join(definitions)})"
    if not dialect.adds_missing_columns:
        return [create]
    columns = [f"ADD COLUMN IF NOT EXISTS {definition}" for definition in definitions]
    changes = [", ".join(columns)] if dialect.adds_columns_at_once else columns
    return [create, *(f"ALTER TABLE {table} {change}" for change in changes)]


def _merge(dialect: Dialect, merge: Merge) -> list[str]:
    latest = replace(merge, staged=_latest(merge))
    # if the latest staged export of a key is later than its rows in the table, then one of all staged exports is
    delete = merge.delete_by_join if dialect.deletes_by_join else merge.delete
    match dialect.atomic:
        case Atomic.ONE_STATEMENT:
            return [latest.one_statement]
        case Atomic.BEGIN_AND_COMMIT:
            return ["BEGIN", delete, latest.insert, "COMMIT"]
        case Atomic.LIST:
            return [delete, latest.insert]


def _latest(merge: Merge) -> str:
    """Return a query for the staged rows of each key's latest export."""
    moment, uuid = merge.later
    order = f"PARTITION BY {', '.join(merge.key)} ORDER BY {moment} DESC NULLS LAST, {uuid} DESC NULLS LAST"
    ranked = f"SELECT r.*, RANK() OVER ({order}) AS crux_rank FROM {merge.staged} AS r"  # noqa: S608 - quoted
    return f"(SELECT {', '.join(merge.columns)} FROM ({ranked}) AS r WHERE crux_rank = 1)"  # noqa: S608


@dataclass(frozen=True)
class _Names:
    """The names of one dialect."""

    name: str
    dialect: Dialect

    def table(self, argument: str, name: str) -> str:
        parts = str(name).split(".")
        if not 1 <= len(parts) <= 3 or not all(map(self._can_be_quoted, parts)):
            raise CruxInvalidRequestError(
                f"{argument}: {describe(name)} is not the name of a table in {self.name}; use one to three names with "
                "dots between them"
            )
        return ".".join(map(self._quoted, parts))

    def columns(self, names: Sequence[str]) -> dict[str, str]:
        """Return the quoted name of each column."""
        forbidden = [name for name in names if not self._can_be_quoted(name) or name.lower() in _HELPERS]
        folded = [name.lower() for name in names]
        forbidden += [name for index, name in enumerate(names) if name.lower() in folded[:index]]
        if forbidden:
            raise CruxInvalidRequestError(
                f"columns: {', '.join(map(describe, forbidden))} cannot be names of columns in {self.name}, or "
                "differ only in case from another one; leave them out"
            )
        return {name: self._quoted(name) for name in names}

    def _can_be_quoted(self, name: str) -> bool:
        forbidden = {self.dialect.quote, *self.dialect.forbidden}
        return 0 < len(name.encode()) <= self.dialect.max_name and not forbidden & set(name) and name.isprintable()

    def _quoted(self, name: str) -> str:
        quote = self.dialect.quote
        # what needs no quotes means the same as without them, so that a loader finds it, too
        return f"{quote}{self.dialect.fold(name) if is_plain_name(name) else name}{quote}"
