"""The statements that merge an export into a table, as texts that every SQL database knows. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


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
        staged = f"SELECT 1 FROM {self.staged} AS s WHERE {self._same_key} AND ({self._earlier})"  # noqa: S608 - quoted
        return f"DELETE FROM {self.table} AS t WHERE EXISTS ({staged})"  # noqa: S608

    @property
    def insert(self) -> str:
        """Insert the rows of the export whose key the table does not have, or no longer has."""
        present = f"SELECT 1 FROM {self.table} AS t WHERE {self._same_key}"  # noqa: S608
        return f"{self.insert_all} WHERE NOT EXISTS ({present})"

    @property
    def insert_all(self) -> str:
        """Insert all rows of the export: the same, if the table has none of its keys."""
        values = ", ".join(f"s.{name}" for name in self.columns)
        return f"INSERT INTO {self.table} ({', '.join(self.columns)}) SELECT {values} FROM {self.staged} AS s"  # noqa: S608

    @property
    def count_replaced_keys(self) -> str:
        """Count the keys of the rows that :attr:`delete` will delete."""
        return self._count_keys(self._earlier)

    @property
    def count_unchanged_keys(self) -> str:
        """Count the keys of the export that the table has from an export that was requested later, or from this one."""
        return self._count_keys(self._not_earlier)

    @property
    def delete_and_count(self) -> str:
        """The same as :attr:`delete`, and count the keys of the deleted rows, in PostgreSQL's own SQL."""
        keys = ", ".join(self.key)
        returning = ", ".join(f"t.{name}" for name in self.key)
        deleted = f"{self.delete} RETURNING {returning}"
        return f"WITH d AS ({deleted}) SELECT count(*) FROM (SELECT DISTINCT {keys} FROM d) AS k"  # noqa: S608

    def _count_keys(self, condition: str) -> str:
        keys = ", ".join(f"s.{name}" for name in self.key)
        rows = f"SELECT 1 FROM {self.table} AS t WHERE {self._same_key} AND ({condition})"  # noqa: S608
        distinct = f"SELECT DISTINCT {keys} FROM {self.staged} AS s WHERE EXISTS ({rows})"  # noqa: S608
        return f"SELECT count(*) FROM ({distinct}) AS k"  # noqa: S608

    @property
    def _same_key(self) -> str:
        return " AND ".join(f"s.{name} = t.{name}" for name in self.key)

    @property
    def _earlier(self) -> str:
        moment, uuid = self.later
        return f"t.{moment} IS NULL OR t.{moment} < s.{moment} OR (t.{moment} = s.{moment} AND t.{uuid} < s.{uuid})"

    @property
    def _not_earlier(self) -> str:
        moment, uuid = self.later
        same = f"t.{moment} = s.{moment} AND (t.{uuid} >= s.{uuid} OR t.{uuid} IS NULL)"
        return f"t.{moment} > s.{moment} OR ({same})"
