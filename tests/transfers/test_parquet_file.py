"""Parquet: the same rows as Python's CSV parser reads, with types; and errors that show no value."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import traceback
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow.parquet as pq
import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, ObjectStoragePath
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_crux.columns import COLUMNS, EXPORT_COLUMNS, ColumnType
from airflow_provider_crux.exceptions import CruxInvalidRequestError
from airflow_provider_crux.manifest import ExportOrigin
from airflow_provider_crux.sandbox.csv_file import write_csv
from airflow_provider_crux.sandbox.orders import make_order
from airflow_provider_crux.transfers.csv_file import MAX_RECORD_BYTES
from airflow_provider_crux.transfers.stored_file import FileOptions, store
from tests.transfers.transfer import FILE_PATH, INTERVAL, STATUS_PATH, csv_file, make_operator, parse, statuses

if TYPE_CHECKING:
    from tests.transfers.transfer import Transfer

CANARY = "Ada-canary-4711"
TYPES = {column.name: column.type for column in COLUMNS}


def typed(row: dict[str, str]) -> dict[str, Any]:
    """Return a row of Python's parser with types, by rules of the test's own."""

    def value(name: str, text: str) -> Any:
        if TYPES.get(name, ColumnType.TEXT) is ColumnType.TEXT:
            return text
        number = text.strip().replace(",", "").replace("US$", "").replace("$", "")
        if not number:
            return None
        return int(number) if TYPES[name] is ColumnType.INTEGER else Decimal(number).quantize(Decimal("0.01"))

    return {name: value(name, text) for name, text in row.items()}


def test_pyarrow_and_duckdb_read_what_the_csv_parser_reads(transfer: Transfer) -> None:
    body = write_csv(make_order(number) for number in range(50_000))
    expected = [typed(row) for row in parse(body)]
    assert len(expected) > 90_000

    transfer.run(body, file_format="parquet")

    table = pq.read_table(transfer.target)
    added = {
        "crux_export_uuid": transfer.export_uuid,
        "crux_interval_start": datetime(2026, 1, 4, tzinfo=UTC),
        "crux_interval_end": datetime(2026, 1, 5, tzinfo=UTC),
    }
    assert table.select([column.name for column in COLUMNS]).to_pylist() == expected
    assert table.select(list(added)).slice(len(expected) - 1).to_pylist() == [added]
    names = ", ".join(column.name for column in COLUMNS)
    rows = duckdb.sql(f"SELECT {names} FROM read_parquet('{transfer.target}')").fetchall()
    assert rows == [tuple(row.values()) for row in expected]
    file = transfer.pushed["export_file"]
    assert (file["rows"], file["format"]) == (len(expected), "parquet")
    assert file["sha256"] == hashlib.sha256(transfer.target.read_bytes()).hexdigest()


def test_the_schema_and_the_metadata_describe_the_file(transfer: Transfer) -> None:
    body = csv_file({})
    transfer.run(body, file_format="parquet")
    schema = pq.read_schema(transfer.target)
    types = {"text": "string", "integer": "int64", "money": "decimal128(18, 2)", "instant": "timestamp[us, tz=UTC]"}
    assert {name: str(schema.field(name).type) for name in schema.names} == {
        column.name: types[column.type] for column in (*COLUMNS, *EXPORT_COLUMNS)
    }
    file = pq.read_metadata(transfer.target)
    assert file.metadata[b"crux_export_uuid"].decode() == transfer.export_uuid
    assert json.loads(file.metadata[b"crux_request"]) == INTERVAL["request"]
    assert file.metadata[b"crux_csv_sha256"].decode() == hashlib.sha256(body).hexdigest()
    assert {file.row_group(0).column(index).compression for index in range(len(schema))} == {"ZSTD"}


def test_the_interval_is_null_if_no_task_upstream_requested_the_export(transfer: Transfer) -> None:
    make_operator(transfer.export_uuid, transfer.target, file_format="parquet").execute(transfer.context_with())
    assert set(pq.read_table(transfer.target)["crux_interval_start"].to_pylist()) == {None}


def test_an_export_without_rows_is_a_file_without_rows(transfer: Transfer) -> None:
    transfer.run(csv_file(), file_format="parquet")
    assert pq.read_table(transfer.target).num_rows == transfer.pushed["export_file"]["rows"] == 0


MONEY = {
    "14.65": "14.65",
    "": None,
    "US$0.00": "0.00",
    "1,234.50": "1234.50",
    " -US$1,234,567.8 ": "-1234567.80",
    "$-5": "-5.00",
    ".5": "0.50",
    "7.2500": "7.25",
    "9999999999999999.99": "9999999999999999.99",
}


@pytest.mark.parametrize(("text", "amount"), MONEY.items())
def test_money_is_read_as_the_vendor_writes_it(transfer: Transfer, text: str, amount: str | None) -> None:
    transfer.run(csv_file({"estimated_tax": text}), file_format="parquet")
    assert pq.read_table(transfer.target)["estimated_tax"].to_pylist() == [amount and Decimal(amount)]


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("estimated_tax", "14.655"),
        ("estimated_tax", "CA$1.00"),
        ("estimated_tax", "1,23.00"),
        ("estimated_tax", "US$"),
        ("estimated_tax", "1.2.3"),
        ("estimated_tax", "12345678901234567"),
        ("estimated_tax", f"{CANARY}"),
        ("quantity", "2.0"),
        ("quantity", "٣"),
        ("quantity", CANARY),
        ("name", f"{CANARY}\udcff"),
    ],
)
def test_a_value_that_cannot_be_read_is_named_and_never_shown(
    transfer: Transfer, logged, column: str, value: str
) -> None:
    transfer.target.parent.mkdir()
    transfer.target.write_bytes(b"before")
    body = csv_file({}, {}, {column: value, "address1": CANARY}, {})
    with pytest.raises(AirflowFailException, match=f"column '{column}' in row 3") as raised:
        transfer.run(body, file_format="parquet", overwrite=True)
    text = "".join(traceback.format_exception(raised.value)) + logged() + repr(transfer.pushed)
    assert CANARY not in text
    assert len(value) < 4 or value not in text
    assert transfer.names == ["orders.csv"]
    assert transfer.target.read_bytes() == b"before"


@pytest.mark.parametrize("end", [f'"{CANARY}",{CANARY}\r\n', f"{CANARY}\r\n"])
def test_a_row_of_another_width_is_named_and_never_shown(transfer: Transfer, logged, end: str) -> None:
    with pytest.raises(AirflowFailException, match=r"row 2 has [12] values instead of 27") as raised:
        transfer.run(csv_file({}) + end.encode(), file_format="parquet")
    assert CANARY not in "".join(traceback.format_exception(raised.value)) + logged()
    assert transfer.names == []


def test_a_row_that_is_too_long_fails_the_task(transfer: Transfer) -> None:
    body = csv_file({}, {"retailer_provided_notes": "x" * (3 * MAX_RECORD_BYTES)})
    with pytest.raises(AirflowFailException, match="a row is longer than"):
        transfer.run(body, file_format="parquet")


@pytest.mark.parametrize("file_format", ["csv", "parquet"])
def test_a_column_that_is_not_published_is_kept_as_text_or_rejected(
    transfer: Transfer, caplog: pytest.LogCaptureFixture, file_format: str
) -> None:
    body = csv_file({"gift": "1"}, columns=[*TYPES, "gift"])
    with pytest.raises(AirflowFailException, match="column 'gift' is not published"):
        transfer.run(body, file_format=file_format, on_unknown_column="fail")
    assert transfer.names == []
    transfer.run(body, file_format=file_format, add_export_columns=True)
    assert "Column 'gift' of the file is not published: it is stored as text" in caplog.text
    if file_format == "parquet":
        assert pq.read_table(transfer.target)["gift"].to_pylist() == ["1"]
    else:
        assert parse(transfer.target.read_bytes())[0]["gift"] == "1"


@pytest.mark.parametrize(
    ("columns", "problem"),
    [
        ([name for name in TYPES if name != "quantity"], "column 'quantity' is missing"),
        ([*TYPES, "quantity"], "column 'quantity' occurs twice"),
        ([*TYPES, "crux_export_uuid"], "column 'crux_export_uuid' is one that this provider adds"),
    ],
)
def test_a_header_that_is_not_as_published_fails_the_task(transfer: Transfer, columns: list[str], problem: str) -> None:
    with pytest.raises(AirflowFailException, match=problem):
        transfer.run(csv_file({}, columns=columns), file_format="parquet")
    assert transfer.names == []


@pytest.mark.parametrize(
    "arguments",
    [{"file_format": "parquet"}, {"compression": "gzip"}, {"add_export_columns": True}, {"manifest": True}],
    ids=str,
)
def test_an_interrupted_download_keeps_what_was_at_the_path(transfer: Transfer, arguments: dict[str, Any]) -> None:
    transfer.target.parent.mkdir()
    transfer.target.write_bytes(b"before")
    body = write_csv(make_order(number) for number in range(5_000))
    transfer.sandbox.respond_next(FILE_PATH, 200, {"Content-Length": str(len(body) + 1)}, body)
    with pytest.raises(Exception, match="incomplete"):
        transfer.run(overwrite=True, **arguments)
    assert transfer.names == ["orders.csv"]
    assert transfer.target.read_bytes() == b"before"


def test_without_pyarrow_the_task_fails_before_anything_is_sent(
    transfer: Transfer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_provider_crux.transfers.stored_file.find_spec", lambda _: None)
    with pytest.raises(AirflowFailException, match=r"airflow-provider-crux\[parquet\]"):
        transfer.run(file_format="parquet")
    assert statuses(transfer.sandbox, STATUS_PATH) == []
    transfer.run()


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"file_format": "json"}, "file_format: str 'json' is unknown; use 'csv' or 'parquet'"),
        ({"compression": "zip"}, "compression: str 'zip' is unknown; use None or 'gzip'"),
        ({"file_format": "parquet", "compression": "gzip"}, "compression: 'gzip' is for CSV"),
        ({"personal_data": "mask"}, "personal_data: str 'mask' is unknown; use 'keep' or 'drop' or 'hash'"),
        ({"on_unknown_column": "drop"}, "on_unknown_column: str 'drop' is unknown; use 'keep' or 'fail'"),
        ({"add_export_columns": "yes"}, "add_export_columns: str 'yes' is unknown"),
        ({"manifest": True, "skip_if_empty": True}, "skip_if_empty: with manifest=True"),
    ],
)
def test_an_invalid_option_fails_when_the_dag_is_parsed(arguments: dict[str, Any], problem: str) -> None:
    with pytest.raises(CruxInvalidRequestError) as raised:
        make_operator("{{ export }}", "file:///lake/a.csv", **arguments)
    assert problem in str(raised.value)


# Fields as they stand in a file: quoted or not, with quotes, line ends and separators where they confuse parsers.
ODD = st.text(st.sampled_from('ab"",\r\n\x00 é\U0001f600\\'), max_size=6)
FIELD = st.one_of(
    ODD.map(lambda text: '"' + text.replace('"', '""') + '"'),
    ODD.filter(lambda text: not set(text) & set(",\r\n") and not text.startswith('"')),
)
ROW_ENDS = st.sampled_from(["\r\n", "\n", "\r", "\n\n", "\r\n\r\n"])


@given(st.lists(st.tuples(st.lists(FIELD, min_size=20, max_size=20), ROW_ENDS), max_size=4), st.integers(1, 50))
def test_odd_values_are_those_of_the_csv_parser(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[list[str], str]], size: int
) -> None:
    numbers = [name for name, kind in TYPES.items() if kind is not ColumnType.TEXT]
    texts = [name for name in TYPES if name not in numbers]
    header = ",".join([*numbers, *texts, "other"])
    content = (
        header + "\r\n" + "".join(",".join([*[""] * len(numbers), *fields, *fields[:2]]) + end for fields, end in rows)
    )
    body = content.encode()
    path = tmp_path_factory.mktemp("odd") / "a.parquet"
    stored = store(
        (body[i : i + size] for i in range(0, len(body), size)) if len(header) < size else iter([body]),
        ObjectStoragePath(f"file://{path}"),
        options=FileOptions(file_format="parquet"),
        origin=ExportOrigin(export_uuid="u"),
    )
    expected = [row for row in csv.reader(io.StringIO(content, newline="")) if row][1:]
    table = pq.read_table(path).select([*texts, "other"])
    assert [list(row.values()) for row in table.to_pylist()] == [row[len(numbers) :] for row in expected]
    assert stored.rows == len(expected)
