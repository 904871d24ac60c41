"""Write the CSV file of an export as Parquet, while its bytes pass by. pyarrow reads and writes."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

import pyarrow.parquet  # type: ignore[import-untyped]

from airflow_provider_crux.columns import EXPORT_COLUMNS, ColumnPlan
from airflow_provider_crux.manifest import parse_utc
from airflow_provider_crux.transfers.csv_file import FileCounts
from airflow_provider_crux.transfers.typed_rows import TypedRows

if TYPE_CHECKING:
    import io

    from airflow_provider_crux.manifest import ExportOrigin


# large enough for readers, which skip row groups, and small enough for the memory of a worker
_ROW_GROUP_BYTES: Final = 16 * 1024 * 1024


def convert_to_parquet(
    chunks: Iterable[bytes],
    sink: io.RawIOBase | io.BufferedIOBase,
    plan: ColumnPlan,
    *,
    origin: ExportOrigin,
    hash_key: str = "",
    count_orders: bool = False,
) -> FileCounts:
    """
    Write the rows of a CSV file as Parquet, compressed with zstd.

    :param chunks: the bytes of the CSV file.
    :param sink: the Parquet file.
    :param plan: the columns; those of :data:`~airflow_provider_crux.columns.EXPORT_COLUMNS` are added.
    :param origin: the export, for the added columns and the file's metadata.
    :param hash_key: key of the hashes; only needed if a column is hashed.
    :param count_orders: whether to count the distinct orders; default False.
    :raises CruxInvalidResponseError: see :class:`~airflow_provider_crux.transfers.typed_rows.TypedRows`.
    """
    values = (origin.export_uuid, parse_utc(origin.interval_start), parse_utc(origin.interval_end))
    constants = zip(EXPORT_COLUMNS, values, strict=True)
    rows = TypedRows(
        chunks, plan, constants=constants, hash_key=hash_key, table_bytes=_ROW_GROUP_BYTES, count_orders=count_orders
    )
    with pyarrow.parquet.ParquetWriter(sink, rows.schema, compression="zstd") as writer:
        for table in rows:
            writer.write_table(table, row_group_size=len(table))
        writer.add_key_value_metadata(
            {
                "crux_export_uuid": origin.export_uuid,
                "crux_request": json.dumps(origin.request),
                "crux_csv_sha256": rows.csv_sha256,
            }
        )
    return FileCounts(rows.rows, rows.orders)
