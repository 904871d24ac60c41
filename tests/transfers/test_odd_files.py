"""Parquet holds what Python's CSV parser reads, also of files that confuse parsers."""

from __future__ import annotations

import csv
import io

import pyarrow.parquet as pq
import pytest
from airflow.providers.common.compat.sdk import ObjectStoragePath
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_crux.columns import COLUMNS, ColumnType
from airflow_provider_crux.manifest import ExportOrigin
from airflow_provider_crux.transfers.stored_file import FileOptions, store

TYPES = {column.name: column.type for column in COLUMNS}

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
