"""The paths that a file can take, and what must be at their ends: what Python's :mod:`csv` reads, or an error."""

from __future__ import annotations

import csv
import gzip
import hmac
import io
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, Final

import pyarrow.parquet as pq
import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_crux.exceptions import CruxUnavailableError
from airflow_provider_crux.files.columns import COLUMNS, EXPORT_COLUMNS, ColumnType
from airflow_provider_crux.transport import download
from tests.csv_reference import Reading, read_strictly
from tests.odd_files import ALL, ODD_FILES, PARSERS, TABLES, TYPED, OddFile
from tests.transfers.table import TABLE

if TYPE_CHECKING:
    from tests.transfers.table import Loading
    from tests.transfers.transfer import Transfer

KEY: Final = "0123456789abcdef-key"
KNOWN: Final = {column.name: column for column in COLUMNS}
ADDED: Final = {column.name for column in EXPORT_COLUMNS}

Columns = dict[str, list[Any]]

reading_of = cache(read_strictly)
"""Read a file once for all paths."""


@dataclass(frozen=True)
class FilePath:
    """
    How a file is stored.

    :param refuses: which files are refused.
    """

    arguments: dict[str, Any]
    refuses: tuple[str, ...]


COPIES: Final = {
    "copy": FilePath({}, (ALL,)),
    "manifest": FilePath({"manifest": True}, (ALL,)),
    "gzip": FilePath({"compression": "gzip"}, (ALL,)),
}
CONVERTED: Final = {
    "added columns": FilePath({"add_export_columns": True}, (ALL, PARSERS)),
    "drop": FilePath({"personal_data": "drop"}, (ALL, PARSERS)),
    "hash": FilePath({"personal_data": "hash"}, (ALL, PARSERS)),
}
PARQUET: Final = {
    "Parquet": FilePath({"file_format": "parquet", "manifest": True}, (ALL, PARSERS, TYPED)),
    "Parquet, hashed": FilePath({"file_format": "parquet", "personal_data": "hash"}, (ALL, PARSERS, TYPED)),
}
STORED: Final = COPIES | CONVERTED | PARQUET
LOADED: Final = {
    "table": FilePath({}, (ALL, PARSERS, TYPED, TABLES)),
    "table, hashed": FilePath({"personal_data": "hash"}, (ALL, PARSERS, TYPED, TABLES)),
}


def expected_columns(reading: Reading, personal_data: str) -> Columns:
    """Return the values of the columns that are stored, as texts."""
    header, *rows = reading.records
    columns: Columns = {}
    for index, name in enumerate(header):
        values = [row[index] for row in rows]
        personal = name not in KNOWN or KNOWN[name].personal
        if personal and personal_data == "hash" and name in KNOWN:
            values = [value and _hash(value) for value in values]
        if personal_data == "keep" or not personal or (personal_data == "hash" and name in KNOWN):
            columns[name] = values
    return columns


def _hash(value: str) -> str:
    return hmac.new(KEY.encode(), value.encode(errors="surrogateescape"), "sha256").hexdigest()


def typed(columns: Columns) -> Columns:
    """Return the columns with values of their types."""
    return {name: [_typed(name, value) for value in values] for name, values in columns.items()}


@lru_cache(100_000)  # long files repeat their values, and each is read on several paths
def _typed(name: str, value: str) -> Any:
    kind = KNOWN[name].type if name in KNOWN else ColumnType.TEXT
    if kind is ColumnType.TEXT:
        return value
    number = re.sub("[US$,\\s]", "", value)
    if not number:
        return None
    return Decimal(number) if kind is ColumnType.MONEY else int(Decimal(number))


def run_stored(transfer: Transfer, path: FilePath, file: OddFile) -> None:
    """Store a file, and check what is stored."""
    transfer.run(file.content, overwrite=True, **path.arguments)
    content, reading = transfer.target.read_bytes(), reading_of(file.content)
    counts = transfer.pushed["export_file"]["rows"], None
    if path.arguments.get("manifest"):
        manifest = json.loads(transfer.target.with_name("_orders.csv.manifest.json").read_bytes())
        counts = manifest["rows"], manifest["orders"]
    assert counts == _expected_counts(path, file, reading)
    if path in COPIES.values():
        assert (gzip.decompress(content) if path.arguments.get("compression") else content) == file.content
        return
    expected = expected_columns(reading, path.arguments.get("personal_data", "keep"))
    if path in PARQUET.values():
        table = pq.read_table(io.BytesIO(content))
        stored = {name: table[name].to_pylist() for name in table.column_names}
        expected = typed(expected)
    else:
        header, *rows = _records(content)
        stored = {name: [row[index] for row in rows] for index, name in enumerate(header)}
    assert {name: values for name, values in stored.items() if name not in ADDED} == expected


def _records(content: bytes) -> list[list[str]]:
    """Return all records, also those of nothing but commas: a row may have lost the columns in which it had values."""
    previous = csv.field_size_limit(1 << 30)
    try:
        text = content.decode("utf-8-sig", errors="surrogateescape")
        return list(csv.reader(io.StringIO(text, newline=""), strict=True))
    finally:
        csv.field_size_limit(previous)


def _expected_counts(path: FilePath, file: OddFile, reading: Reading) -> tuple[int | None, int | None]:
    if not path.arguments.get("manifest"):
        return reading.rows, None
    rows = None if file.uncounted == "rows" else reading.rows
    if file.uncounted or reading.fault is not None:
        return rows, None
    header, *records = reading.records
    return rows, len({record[header.index("order_uuid")] for record in records}) if "order_uuid" in header else None


def run_loaded(loading: Loading, path: FilePath, file: OddFile) -> None:
    """Load a file into a new table, and check what is in it."""
    loading.database.execute(f"DROP TABLE IF EXISTS {TABLE}")
    loading.run(file.content, **path.arguments)
    reading = reading_of(file.content)
    assert loading.pushed["export_table"]["rows"] == reading.rows
    expected = typed(expected_columns(reading, path.arguments.get("personal_data", "keep")))
    rows = loading.database.query(f"SELECT * FROM {TABLE}")
    names = [name for name in loading.pushed["export_table"]["columns"] if name not in ADDED]
    assert {name for name in expected if name in KNOWN} <= set(names)
    assert _texts(names, rows) == _texts(
        names, [dict(zip(names, row, strict=True)) for row in zip(*(expected[name] for name in names), strict=True)]
    )


def _texts(names: list[str], rows: list[dict[str, Any]]) -> list[list[str]]:
    """Return the values in an order; a database without decimal numbers has texts or floats."""
    money = {name for name in names if name in KNOWN and KNOWN[name].type is ColumnType.MONEY}

    def as_text(name: str, value: Any) -> str:
        return f"{Decimal(str(value)):.2f}" if name in money and value is not None else str(value)

    return sorted([as_text(name, row[name]) for name in names] for row in rows)


def outcomes(
    run: Callable[[FilePath, OddFile], None],
    path: FilePath,
    monkeypatch: pytest.MonkeyPatch,
    files: Mapping[str, OddFile] = ODD_FILES,
) -> dict[str, str]:
    """Run every file, and return what is wrong with the outcome of some."""
    wrong = {}
    monkeypatch.setattr(download, "mask_secret", lambda secret: None)  # it costs more than the rest
    for name, file in files.items():
        monkeypatch.setattr(download, "CHUNK_BYTES", file.chunk_bytes)
        refused = file.refused_by in path.refuses
        try:
            run(path, file)
        except AssertionError as error:
            wrong[name] = f"not what csv reads: {error}"
        except (AirflowFailException, CruxUnavailableError) as error:
            if not refused or not re.search(file.problem, str(error)):
                wrong[name] = str(error)
        else:
            if refused:
                wrong[name] = "not refused"
    return wrong
