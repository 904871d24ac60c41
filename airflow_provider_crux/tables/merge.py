"""The rule by which rows are merged, as SQL. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

LATER: Final = ("crux_requested_at", "crux_export_uuid")
"""What tells whether an export was requested later than another one; the UUID decides between equal times."""


@dataclass(frozen=True)
class Merge:
    """
    All rows with the same key are replaced together, by the export that was requested last.

    So the rows of one key always come from one export, and nothing in it need be unique. Run :attr:`delete` and
    :attr:`insert` in one transaction.

    :param table: the table; it and all other names are quoted.
    :param staged: the rows of one export: a table, or a query in parentheses.
    :param key: the columns of the key.
    :param columns: all columns of the staged rows.
    :param later: the columns that tell which of two exports was requested later: the second one decides between exports
        of the same moment.
    """

    table: str
    staged: str
    key: Sequence[str]
    columns: Sequence[str]
    later: tuple[str, str]

    @property
    def delete(self) -> str:
        """Delete the rows whose key the export has, and that an export loaded that was requested earlier."""
        source = f"SELECT 1 FROM {self.staged} AS s WHERE {self._same_key()} AND ({self._earlier()})"  # noqa: S608
        return f"DELETE FROM {self.table} AS t WHERE EXISTS ({source})"  # noqa: S608 - quoted names

    @property
    def delete_by_join(self) -> str:
        """The same, for a database in which the table of a ``DELETE`` has no other name; needs a staging table."""
        condition = f"{self._same_key(self.table, self.staged)} AND ({self._earlier(self.table, self.staged)})"
        return f"DELETE FROM {self.table} USING {self.staged} WHERE {condition}"  # noqa: S608 - quoted names

    @property
    def insert(self) -> str:
        """Insert the rows of the export whose key the table does not have, or no longer has."""
        present = f"SELECT 1 FROM {self.table} AS t WHERE {self._same_key()}"  # noqa: S608
        return f"{self.insert_all} WHERE NOT EXISTS ({present})"

    @property
    def insert_all(self) -> str:
        """Insert all rows of the export: the same, if the table has none of its keys."""
        values = ", ".join(f"s.{name}" for name in self.columns)
        return f"INSERT INTO {self.table} ({', '.join(self.columns)}) SELECT {values} FROM {self.staged} AS s"  # noqa: S608

    @property
    def count_replaced_keys(self) -> str:
        """Count the keys of the rows that :attr:`delete` will delete."""
        return self._count_keys(self._earlier())

    @property
    def count_unchanged_keys(self) -> str:
        """Count the keys of the export that the table has from an export that was requested later, or from this one."""
        return self._count_keys(self._not_earlier)

    def _count_keys(self, condition: str) -> str:
        keys = ", ".join(f"s.{name}" for name in self.key)
        rows = f"SELECT 1 FROM {self.table} AS t WHERE {self._same_key()} AND ({condition})"  # noqa: S608
        distinct = f"SELECT DISTINCT {keys} FROM {self.staged} AS s WHERE EXISTS ({rows})"  # noqa: S608
        return f"SELECT count(*) FROM ({distinct}) AS k"  # noqa: S608

    def _same_key(self, table: str = "t", staged: str = "s") -> str:
        return " AND ".join(f"{staged}.{name} = {table}.{name}" for name in self.key)

    def _earlier(self, table: str = "t", staged: str = "s") -> str:
        moment, uuid = (f"{table}.{name}" for name in self.later)
        staged_moment, staged_uuid = (f"{staged}.{name}" for name in self.later)
        same = f"{moment} = {staged_moment} AND {uuid} < {staged_uuid}"
        return f"{moment} IS NULL OR {moment} < {staged_moment} OR ({same})"

    @property
    def _not_earlier(self) -> str:
        moment, uuid = self.later
        same = f"t.{moment} = s.{moment} AND (t.{uuid} >= s.{uuid} OR t.{uuid} IS NULL)"
        unknown = f"s.{moment} IS NULL AND t.{moment} IS NOT NULL"
        return f"t.{moment} > s.{moment} OR ({same}) OR ({unknown})"

    @property
    def one_statement(self) -> str:
        """
        Delete and insert in one statement, for a database in which no transaction can have several.

        Its source has each row to insert, and each of their keys once more, which finds the rows to delete. So no row
        of the table is found twice. It joins, because not every database can correlate a subquery by inequality.
        """
        names = ", ".join(self.columns)
        deleted = ", ".join(name if name in self.key else "NULL" for name in self.columns)
        values = ", ".join(f"s.{name}" for name in self.columns)
        newer = f"LEFT JOIN {self.table} AS t ON {self._same_key()} AND ({self._not_earlier})"
        rows = f"SELECT {values} FROM {self.staged} AS s {newer} WHERE t.{self.key[0]} IS NULL"  # noqa: S608
        source = (
            f"WITH n AS ({rows}) SELECT TRUE AS crux_insert, {names} FROM n "  # noqa: S608
            # not SELECT DISTINCT ... NULL, because BigQuery takes such a NULL for an integer
            f"UNION ALL SELECT FALSE, {deleted} FROM (SELECT DISTINCT {', '.join(self.key)} FROM n) AS k"
        )
        return (  # quoted names
            f"MERGE INTO {self.table} AS t USING ({source}) AS s ON NOT s.crux_insert AND {self._same_key()} "  # noqa: S608
            f"WHEN MATCHED THEN DELETE WHEN NOT MATCHED AND s.crux_insert THEN INSERT ({names}) VALUES ({values})"
        )
