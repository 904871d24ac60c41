"""The keys of the rows of an export: each row must have one, and they are counted."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.compute as pc  # type: ignore[import-untyped]

from airflow_provider_crux.files.arrow_rows import count_distinct
from airflow_provider_crux.files.columns import EXPORT_COLUMNS, UnusableFileError


class Keys:
    """The keys of an export, whose rows come in tables. The columns that the provider adds are the same in all rows."""

    def __init__(self, key: Sequence[str]) -> None:
        added = {column.name for column in EXPORT_COLUMNS}
        self._columns = [name for name in key if name not in added]
        # within an order, no text is one more text; else it would be one key of many orders
        self._may_be_empty = "order_uuid" in key
        # eight bytes each, because a set of Python's integers needs ten times as much
        self._hashes = array("q")
        self._rows = 0

    def add(self, table: pa.Table) -> None:
        """Add the keys of the next rows; raise UnusableFileError if a row has no value in a column of the key."""
        for name in self._columns:
            self._check(name, table[name])
        self._rows += len(table)
        keys = table.select(self._columns)
        if self._columns:
            keys = keys.group_by(self._columns, use_threads=False).aggregate([])
        values = (column.to_pylist() for column in keys.columns)
        self._hashes.extend(map(hash, zip(*values, strict=True) if self._columns else [()][: len(table)]))

    def _check(self, name: str, values: pa.ChunkedArray) -> None:
        missing = pc.is_null(values)
        if pa.types.is_string(values.type) and not self._may_be_empty:
            missing = pc.equal(values, "")
        if (first := pc.index(missing, value=True).as_py()) >= 0:
            raise UnusableFileError(
                f"row {self._rows + first + 1} has no value in column {name!r}, which is in the key; use "
                "key=('order_uuid',)"
            )

    @property
    def count(self) -> int:
        """Distinct keys so far."""
        return count_distinct(self._hashes)
