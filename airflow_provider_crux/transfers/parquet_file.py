"""Write the CSV file of an export as Parquet, while its bytes pass by. pyarrow reads and writes."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.compute as pc  # type: ignore[import-untyped]
import pyarrow.csv  # type: ignore[import-untyped]
import pyarrow.parquet  # type: ignore[import-untyped]

from airflow_provider_crux.columns import (
    EXPORT_COLUMNS,
    INTEGER_PATTERN,
    MONEY_DECORATION_PATTERN,
    MONEY_PATTERN,
    Column,
    ColumnPlan,
    ColumnType,
    PlannedColumn,
    hash_value,
    unreadable_value,
    unusable_file,
)
from airflow_provider_crux.manifest import parse_utc
from airflow_provider_crux.transfers.csv_file import MAX_RECORD_BYTES, ChunkReader, FileCounts

if TYPE_CHECKING:
    from airflow_provider_crux.manifest import ExportOrigin

_TYPES: Final = {
    ColumnType.TEXT: pa.string(),
    ColumnType.INTEGER: pa.int64(),
    ColumnType.MONEY: pa.decimal128(18, 2),
    ColumnType.INSTANT: pa.timestamp("us", tz="UTC"),
}
# A row group is in memory until it is complete.
_ROW_GROUP_ROWS: Final = 128 * 1024
_ROW_GROUP_BYTES: Final = 32 * 1024 * 1024


def convert_to_parquet(
    chunks: Iterable[bytes],
    sink: io.RawIOBase | io.BufferedIOBase,
    plan: ColumnPlan,
    *,
    origin: ExportOrigin,
    hash_key: str = "",
    csv_metadata: Callable[[], Mapping[str, str]] = dict,
) -> FileCounts:
    """
    Write the rows of a CSV file as Parquet, compressed with zstd.

    :param chunks: the bytes of the CSV file.
    :param sink: the Parquet file.
    :param plan: the columns; those of :data:`~airflow_provider_crux.columns.EXPORT_COLUMNS` are added.
    :param origin: the export, for the added columns and the file's metadata.
    :param hash_key: key of the hashes; only needed if a column is hashed.
    :param csv_metadata: returns more metadata when all chunks were read.
    :raises CruxInvalidResponseError: if a row does not have as many values as the header, or a value is not of its
        column's type. The message names row and column, and never shows a value.
    """
    rows, orders = 0, set[int]()
    constants = (origin.export_uuid, parse_utc(origin.interval_start), parse_utc(origin.interval_end))
    columns = [planned.column for planned in plan.columns]
    schema = pa.schema([_field(column) for column in (*columns, *EXPORT_COLUMNS)])
    with pa.parquet.ParquetWriter(sink, schema, compression="zstd") as writer:
        for group in _row_groups(_batches(chunks, plan)):
            orders.update(map(hash, pc.unique(group["order_uuid"]).to_pylist()))
            arrays = [_convert(group[planned.index], planned, rows, hash_key) for planned in plan.columns]
            arrays += [
                pa.repeat(pa.scalar(value, _TYPES[column.type]), len(group))
                for column, value in zip(EXPORT_COLUMNS, constants, strict=True)
            ]
            writer.write_table(pa.table(arrays, schema=schema), row_group_size=len(group))
            rows += len(group)
        writer.add_key_value_metadata(
            {
                "crux_export_uuid": origin.export_uuid,
                "crux_request": json.dumps(origin.request),
                **csv_metadata(),
            }
        )
    return FileCounts(rows, len(orders))


def _field(column: Column) -> pa.Field:
    return pa.field(column.name, _TYPES[column.type], metadata={"description": column.meaning})


def _batches(chunks: Iterable[bytes], plan: ColumnPlan) -> Iterator[pa.RecordBatch]:
    """Yield the rows as bytes: values are checked later, because Arrow's own messages show them."""
    widths: list[tuple[int, int]] = []

    def reject(row: Any) -> str:
        # the header is Arrow's row 1
        widths.append((row.number - 1, row.actual_columns))
        return "error"

    try:
        yield from pa.csv.open_csv(
            io.BufferedReader(ChunkReader(chunks)),
            read_options=pa.csv.ReadOptions(use_threads=False, block_size=MAX_RECORD_BYTES),
            parse_options=pa.csv.ParseOptions(newlines_in_values=True, invalid_row_handler=reject),
            convert_options=pa.csv.ConvertOptions(
                column_types=dict.fromkeys(plan.header, pa.binary()), check_utf8=False, strings_can_be_null=False
            ),
        )
    except pa.ArrowInvalid:
        if widths:
            row, width = widths[0]
            raise unusable_file(f"row {row} has {width} values instead of {len(plan.header)}") from None
        raise unusable_file(f"a row is longer than {MAX_RECORD_BYTES} bytes") from None


def _row_groups(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.Table]:
    pending: list[pa.RecordBatch] = []
    rows = size = 0
    for batch in batches:
        pending.append(batch)
        rows, size = rows + len(batch), size + batch.nbytes
        if rows >= _ROW_GROUP_ROWS or size >= _ROW_GROUP_BYTES:
            yield pa.Table.from_batches(pending)
            pending, rows, size = [], 0, 0
    if rows:
        yield pa.Table.from_batches(pending)


def _convert(values: Any, planned: PlannedColumn, rows_before: int, hash_key: str) -> Any:
    """Return the values of a column with their type, or hashed."""
    column = planned.column
    text = _as_text(values, column, rows_before)
    if planned.hashed:
        distinct = pc.unique(text)
        hashes = pa.array([hash_value(value, hash_key) for value in distinct.to_pylist()], pa.string())
        return hashes.take(pc.index_in(text, value_set=distinct).combine_chunks())
    if column.type is ColumnType.TEXT:
        return text
    text = pc.utf8_trim_whitespace(text)
    valid = pc.match_substring_regex(text, MONEY_PATTERN if column.type is ColumnType.MONEY else INTEGER_PATTERN)
    if (row := pc.index(valid, value=False).as_py()) >= 0:
        raise unreadable_value(column, rows_before + row + 1)
    if column.type is ColumnType.MONEY:
        text = pc.replace_substring_regex(text, MONEY_DECORATION_PATTERN, "")
    return pc.if_else(pc.equal(text, ""), pa.scalar(None, pa.string()), text).cast(_TYPES[column.type])


def _as_text(values: Any, column: Column, rows_before: int) -> Any:
    try:
        return values.cast(pa.string())
    except pa.ArrowInvalid:
        for row, value in enumerate(values.to_pylist()):
            try:
                value.decode()
            except UnicodeDecodeError:
                raise unreadable_value(column, rows_before + row + 1) from None
        raise
