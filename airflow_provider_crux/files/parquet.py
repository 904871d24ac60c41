"""The rows of an export's file as Parquet."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.compute as pc  # type: ignore[import-untyped]
import pyarrow.parquet  # type: ignore[import-untyped]

from airflow_provider_crux.files.column_plan import ColumnPlan
from airflow_provider_crux.files.columns import EXPORT_COLUMNS
from airflow_provider_crux.files.csv import FileCounts, counts_of
from airflow_provider_crux.files.order_details import RowDetails
from airflow_provider_crux.files.rows import TypedRows

if TYPE_CHECKING:
    import io

    from airflow_provider_crux.api.exports import SubmittedExport

# large enough for readers, which skip row groups, and small enough for the memory of a worker
_ROW_GROUP_BYTES: Final = 16 * 1024 * 1024


def convert_to_parquet(
    chunks: Iterable[bytes],
    sink: io.RawIOBase | io.BufferedIOBase,
    plan: ColumnPlan,
    *,
    submitted: SubmittedExport,
    hash_key: str = "",
    count_orders: bool = False,
    details: RowDetails | None = None,
) -> FileCounts:
    """
    Write the rows of a CSV file as Parquet, compressed with zstd, with the columns that say where a row comes from.

    :raises UnusableFileError: as :class:`TypedRows` does.
    """
    values = (
        submitted.export_uuid,
        submitted.interval_start,
        submitted.interval_end,
        submitted.requested_at,
    )
    rows = TypedRows(
        chunks,
        plan,
        details=details,
        constants=zip(EXPORT_COLUMNS, values, strict=True),
        hash_key=hash_key,
        table_bytes=_ROW_GROUP_BYTES,
        count_orders=count_orders,
    )
    tables, end = iter(rows), rows.schema.empty_table()
    table = next(tables, end)
    writer = pyarrow.parquet.ParquetWriter(
        sink,
        rows.schema,
        compression="zstd",
        use_dictionary=_repeating_columns(table),
        # catalogs copy statistics and keep them longer than the file, and nobody searches for a range of names
        write_statistics=[column.name for column in rows.columns if not column.personal],
    )
    with writer:
        while len(table):
            writer.write_table(table, row_group_size=len(table))
            table = next(tables, end)
        writer.add_key_value_metadata(
            {
                "crux_export_uuid": submitted.export_uuid,
                "crux_request": json.dumps(submitted.as_xcom()["request"]),
                "crux_csv_sha256": rows.csv_sha256,
            }
        )
    return counts_of(rows.rows, rows.orders)


def _repeating_columns(table: pa.Table) -> list[str]:
    """Return the columns for which a dictionary saves space; for UUIDs, numbers and notes it only takes time."""
    return [
        name
        for name, column in zip(table.column_names, table.columns, strict=True)
        if pc.count_distinct(column).as_py() * 2 <= len(table)
    ]
