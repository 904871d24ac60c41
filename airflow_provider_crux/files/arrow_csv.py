"""Write the CSV file of an export with other columns, as :mod:`csv` does, but with Arrow."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import repeat
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.compute as pc  # type: ignore[import-untyped]

from airflow_provider_crux.files.arrow_rows import ArrowRows, distinct_values, hashed
from airflow_provider_crux.files.column_plan import ColumnPlan
from airflow_provider_crux.files.columns import Hashes
from airflow_provider_crux.files.csv import FileCounts, counts_of, header_line
from airflow_provider_crux.files.order_details import RowDetails

if TYPE_CHECKING:
    from _typeshed import SupportsWrite

_SPECIAL: Final = re.compile(rb'[",\r\n]')
_TABLE_BYTES: Final = 1024 * 1024


def convert_csv(
    chunks: Iterable[bytes],
    sink: SupportsWrite[bytes],
    plan: ColumnPlan,
    *,
    hash_key: str = "",
    added: Sequence[tuple[str, str]] = (),
    count_orders: bool = False,
    details: RowDetails | None = None,
) -> FileCounts:
    """
    Write the same bytes as :func:`airflow_provider_crux.files.csv.convert_csv`, in a fraction of the time.

    :raises UnusableFileError: as that does.
    """
    rows = ArrowRows(
        chunks,
        plan,
        others=details.keys if details else (),
        distinct=[planned.index for planned in plan.columns if planned.hashed],
        table_bytes=_TABLE_BYTES,
        count_orders=count_orders,
    )
    hashes = Hashes(hash_key)
    sink.write(header_line(plan, added))
    for table in rows:
        columns = [
            _hashed(table[str(planned.index)], hashes) if planned.hashed else _quoted(table[str(planned.index)])
            for planned in plan.columns
        ]
        if details is not None:
            columns += map(_quoted, _details_of(table, details))
        columns += [_quoted(pa.chunked_array([pa.repeat(value.encode(), len(table))])) for _, value in added]
        for line in _lines(columns):
            sink.write(line)
    return counts_of(rows.rows, rows.orders)


def _hashed(column: pa.ChunkedArray, hashes: Hashes) -> pa.ChunkedArray:
    distinct, positions = distinct_values(column)
    return pc.take(hashed(distinct, hashes).cast(pa.binary()), positions)


def _details_of(table: pa.Table, details: RowDetails) -> Iterator[pa.ChunkedArray]:
    keys: list[Iterable[str]] = [
        repeat("") if index is None else [key.decode(errors="replace") for key in table[str(index)].to_pylist()]
        for index in details.keys
    ]
    for texts in zip(*map(details.texts_of, *keys), strict=True):
        yield pa.chunked_array([pa.array([text.encode() for text in texts], pa.binary())])


def _quoted(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Quote the values that need it."""
    # most columns have none: it is faster to search their bytes at once
    if not any(_SPECIAL.search(data) for chunk in column.chunks if (data := chunk.buffers()[2])):
        return column
    quoted = pc.binary_join_element_wise(b'"', pc.replace_substring(column, pattern='"', replacement='""'), b'"', b"")
    return pc.if_else(pc.match_substring_regex(column, '[",\r\n]'), quoted, column)


def _lines(columns: Sequence[pa.ChunkedArray]) -> Iterator[Any]:
    """Yield the bytes of rows that are given by column."""
    if len(columns) == 1:  # a blank line is no row
        columns = [pc.if_else(pc.equal(columns[0], b""), b'""', columns[0])]
    lines = pc.binary_join_element_wise(pc.binary_join_element_wise(*columns, b","), b"", b"\r\n")
    for chunk in lines.chunks:
        # the values of an array follow each other
        ends = memoryview(chunk.buffers()[1]).cast("i")
        yield memoryview(chunk.buffers()[2])[ends[chunk.offset] : ends[chunk.offset + len(chunk)]]
