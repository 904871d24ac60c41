"""An export as Parquet: what two readers find in the file, its schema and its metadata."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import sys
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_crux.files.columns import COLUMNS, EXPORT_COLUMNS, ColumnType
from airflow_provider_crux.sandbox.csv_file import COLUMNS as SAMPLE
from airflow_provider_crux.sandbox.csv_file import write_csv
from airflow_provider_crux.sandbox.orders import make_order
from tests.transfers.transfer import FILE_PATH, INTERVAL, csv_file, file_content, statuses

if TYPE_CHECKING:
    from tests.transfers.transfer import Transfer

PARQUET = {"file_format": "parquet"}
NAMES = list(SAMPLE)
MONEY = [column.name for column in COLUMNS if column.type is ColumnType.MONEY and column.name in NAMES]
ADDED = [column.name for column in EXPORT_COLUMNS]


def read(content: bytes) -> pa.Table:
    return pq.read_table(io.BytesIO(content))


def typed(row: dict[str, str]) -> tuple[Any, ...]:
    """Return the values of a row as a person would type them."""
    types: dict[str, Any] = {"quantity": int, **dict.fromkeys(MONEY, Decimal)}
    return tuple((types[name](value) if value else None) if name in types else value for name, value in row.items())


@pytest.mark.slow
def test_a_hundred_thousand_rows_are_what_pythons_parser_reads(transfer: Transfer) -> None:
    """They include quoted commas, quotes and line breaks, and fill several row groups."""
    header, _, rows = write_csv(make_order(number) for number in range(5_100)).partition(b"\r\n")
    body = header + b"\r\n" + b"".join(rows.replace(b"PO-", b"PO-%d-" % copy) for copy in range(10))
    expected = [typed(row) for row in csv.DictReader(io.StringIO(body.decode("utf-8-sig"), newline=""))]
    assert len(expected) > 100_000
    content = transfer.content(body, **PARQUET)
    table = read(content)
    assert list(zip(*(table[name].to_pylist() for name in NAMES), strict=True)) == expected
    assert pq.ParquetFile(io.BytesIO(content)).metadata.num_row_groups > 1
    selected = duckdb.sql(f"SELECT {', '.join(NAMES)} FROM read_parquet('{transfer.target}')")
    assert selected.fetchall() == expected
    assert {name: str(type_) for name, type_ in zip(selected.columns, selected.types, strict=True)} == {
        name: "DECIMAL(18,2)" if name in MONEY else "BIGINT" if name == "quantity" else "VARCHAR" for name in NAMES
    }
    file = transfer.pushed["export_file"]
    assert file["rows"] == len(expected)
    assert file["format"] == "parquet"
    assert (file["bytes"], file["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())


def test_the_schema_and_the_metadata_describe_the_file(transfer: Transfer) -> None:
    csv_content = file_content(transfer.export_uuid)
    content = transfer.content(**PARQUET)
    file = pq.ParquetFile(io.BytesIO(content))
    schema, metadata = file.schema_arrow, file.metadata.metadata
    assert schema.names == [*NAMES, *ADDED]
    types: dict[str, pa.DataType] = {"quantity": pa.int64(), **dict.fromkeys(MONEY, pa.decimal128(18, 2))}
    instant = pa.timestamp("us", tz="UTC")
    types |= dict.fromkeys(ADDED[1:], instant)
    assert {field.name: field.type for field in schema} == {name: types.get(name, pa.string()) for name in schema.names}
    meanings = {column.name: column.meaning for column in (*COLUMNS, *EXPORT_COLUMNS)}
    for field in schema:
        assert field.metadata[b"description"].decode() == meanings[field.name]
        assert field.nullable == (field.type != pa.string())
    assert json.loads(metadata[b"crux_request"]) == INTERVAL["request"]
    assert metadata[b"crux_export_uuid"].decode() == transfer.export_uuid
    assert metadata[b"crux_csv_sha256"].decode() == hashlib.sha256(csv_content).hexdigest()
    assert {file.metadata.row_group(0).column(index).compression for index in range(31)} == {"ZSTD"}


def test_a_reader_can_skip_a_file_by_its_statistics_but_they_show_no_personal_value(transfer: Transfer) -> None:
    file = pq.ParquetFile(io.BytesIO(transfer.content(csv_file({}, {}), **PARQUET)))
    columns = [file.metadata.row_group(0).column(index) for index in range(31)]
    personal = {column.name for column in COLUMNS if column.personal}
    assert {column.path_in_schema for column in columns if not column.is_stats_set} == personal & set(NAMES)


def test_every_row_says_which_export_it_comes_from(transfer: Transfer) -> None:
    # as another clock wrote it: the file has UTC
    pushed = transfer.interval | {"request": INTERVAL["request"] | {"start_date": "2026-01-04T02:00:00+02:00"}}
    transfer.run(csv_file({}, {}), upstream=[pushed], **PARQUET)
    instants = ", ".join(f"epoch_us({name})" for name in ADDED[1:])
    added = f"crux_export_uuid, {instants}, typeof(crux_requested_at)"
    start = 1767484800_000000  # 2026-01-04T00:00:00Z
    end = start + 86400_000000
    row = (transfer.export_uuid, start, end, end + 600_000000, "TIMESTAMP WITH TIME ZONE")
    assert duckdb.sql(f"SELECT {added} FROM read_parquet('{transfer.target}')").fetchall() == [row, row]


def test_without_an_upstream_task_the_interval_is_null(transfer: Transfer) -> None:
    transfer.run(csv_file({}), upstream=[], **PARQUET)
    table = pq.read_table(transfer.target)
    assert table["crux_export_uuid"].to_pylist() == [transfer.export_uuid]
    assert [table[name].to_pylist() for name in ADDED[1:]] == [[None]] * 3
    assert json.loads(pq.read_metadata(transfer.target).metadata[b"crux_request"]) is None


@pytest.mark.parametrize("end", [b"\r\n", b"\n", b"", b"\r\n\r\n"])
def test_an_export_without_orders_is_a_file_with_all_columns(transfer: Transfer, end: bytes) -> None:
    table = read(transfer.content(csv_file().rstrip() + end, **PARQUET))
    assert table.num_rows == transfer.pushed["export_file"]["rows"] == 0
    assert table.column_names[:27] == NAMES
    assert table.schema.field("estimated_tax").type == pa.decimal128(18, 2)


def test_columns_in_another_order_keep_it(transfer: Transfer) -> None:
    columns = sorted(NAMES)
    table = read(transfer.content(csv_file({"estimated_tax": "7"}, columns=columns), **PARQUET))
    assert table.column_names[:27] == columns
    assert (table["estimated_tax"].to_pylist(), table["name"].to_pylist()) == ([Decimal(7)], ["name 1"])


def test_an_unknown_column_is_kept_as_text_with_a_warning(transfer: Transfer, caplog) -> None:
    columns = [*NAMES[:3], "gift_wrap", *NAMES[3:]]
    table = read(transfer.content(csv_file({"gift_wrap": "007"}, {}, columns=columns), **PARQUET))
    assert table.column_names[3] == "gift_wrap"
    assert table["gift_wrap"].to_pylist() == ["007", ""]
    assert "Column 'gift_wrap' is unknown: it is stored as text" in caplog.text


FORMATS = {
    "csv": {},
    "converted csv": {"add_export_columns": True},
    "gzip": {"compression": "gzip"},
    "parquet": PARQUET,
}


@pytest.mark.parametrize("arguments", FORMATS.values(), ids=FORMATS)
def test_an_unknown_column_can_fail_the_task(transfer: Transfer, arguments: dict[str, Any]) -> None:
    body = csv_file({}, columns=[*NAMES, "gift_wrap"])
    with pytest.raises(AirflowFailException, match="column 'gift_wrap' is unknown, and on_unknown_column"):
        transfer.run(body, on_unknown_column="fail", **arguments)
    assert transfer.names == []
    transfer.run(csv_file({}), on_unknown_column="fail", **arguments)
    assert transfer.names == ["orders.csv"]


def test_without_pyarrow_the_task_fails_before_anything_is_sent(transfer: Transfer, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    before = transfer.sandbox.requests
    with pytest.raises(AirflowFailException, match=r"'parquet' needs pyarrow; run pip install .*\[parquet\]"):
        transfer.run(**PARQUET)
    assert transfer.sandbox.requests == before
    assert statuses(transfer.sandbox, FILE_PATH) == []
