"""The DAG of docs/lake.md stores files, and what the pages about files say is compared with them."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass
from datetime import datetime
from importlib import import_module
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb
import jsonschema
import pyarrow.parquet
import pytest

from airflow_provider_crux.files.columns import COLUMNS, DETAIL_COLUMNS, EXPORT_COLUMNS
from airflow_provider_crux.files.manifest import Manifest
from airflow_provider_crux.files.rows import TYPES
from airflow_provider_crux.sandbox.orders import ExportQuery, filter_orders
from airflow_provider_crux.sandbox.state import Sandbox, SandboxSettings
from tests.test_docs import FENCE

DOCS = Path(__file__).parent.parent / "docs"
KEY = "a key for these tests only"
# the lake of the pages, as operators and as readers name it
LAKE, LAKE_OF_READERS = "s3://aws_lake@orders", "s3://orders"
DAY_FOLDER = "dt={interval_start:%Y-%m-%d}"
COMPACT_FORM = "start={interval_start:%Y%m%dT%H%M%SZ}"


def blocks(page: str, language: str, containing: str) -> list[str]:
    """Return the code blocks of a page in a language that contain a text."""
    text = (DOCS / page).read_text()
    return [block[3] for block in FENCE.finditer(text) if block[2] == language and containing in block[3]]


@dataclass
class Lake:
    """The folder in which the DAG of lake.md stored two days, and the UUIDs of their exports by day."""

    folder: Path
    exports: dict[str, str]

    def manifest(self, day: str) -> dict[str, Any]:
        return json.loads((self.folder / f"dt={day}/_orders.parquet.manifest.json").read_bytes())


@pytest.fixture
def run_lake(sandbox, connect, make_context, tmp_path: Path):
    """Return a function that runs the DAG of lake.md, with a local folder instead of its bucket."""
    connect(host=sandbox.url, password=sandbox.settings.token, extra={"hash_key": KEY})

    def run(start: str, end: str, day_folder: str = DAY_FOLDER, more: str = "") -> str:
        names: dict[str, Any] = {"__name__": "example"}
        (source,) = blocks("lake.md", "python", "with DAG(")
        assert DAY_FOLDER in source
        source = source.replace("overwrite=True,", f"overwrite=True, {more}")
        exec(source.replace(LAKE, f"file://{tmp_path}").replace(DAY_FOLDER, day_folder), names)
        export, store = (names["export"].dag.get_task(name) for name in ("export", "store"))
        export.interval_start, export.interval_end = start, end
        context = make_context(dag=export.dag, params={})
        store.export_uuid = export.execute(context)
        store.execute(make_context(upstream=[context["ti"].pushed["export_interval"]]))
        return store.export_uuid

    return run


@pytest.fixture
def lake(run_lake, tmp_path: Path) -> Lake:
    """Run the DAG of lake.md for two days."""
    days = ("2026-01-02", "2026-01-03", "2026-01-04")
    return Lake(tmp_path, {day: run_lake(day, next_day) for day, next_day in pairwise(days)})


def test_the_tables_of_columns_are_those_of_the_dictionary() -> None:
    known = [
        f"| `{column.name}` | {TYPES[column.type]} | {'yes' if column.personal else ''} | "
        f"{', '.join(f'`{name}`' for name in column.lists)} | {column.meaning} |"
        for column in COLUMNS
    ]
    added = [f"| `{column.name}` | {TYPES[column.type]} | {column.meaning} |" for column in EXPORT_COLUMNS]
    details = [
        f"| `{column.name}` | {TYPES[column.type]} | {'yes' if column.personal else ''} | {column.meaning} |"
        for column in DETAIL_COLUMNS
    ]
    pages = "".join((DOCS / name).read_text() for name in ("formats.md", "order-details.md"))
    tables = re.findall(r"<!-- a test compares .*?\|---\|\n(.*?)<!-- end -->", pages, re.DOTALL)
    expected = ["".join(f"{row}\n" for row in rows) for rows in (known, added, details)]
    assert tables == expected, "\n".join(expected)


def test_the_listed_files_and_the_example_of_a_manifest_are_like_the_stored_ones(lake: Lake) -> None:
    stored = sorted(str(path.relative_to(lake.folder)) for path in lake.folder.rglob("*") if path.is_file())
    (listed,) = blocks("lake.md", "", f"{LAKE_OF_READERS}/dt=2026-01-02/orders.parquet\n")
    assert sorted(listed.replace(f"{LAKE_OF_READERS}/", "").splitlines()) == [
        name for name in stored if "2026-01-02" in name
    ]

    (text,) = blocks("manifests.md", "json", '"version"')
    example = json.loads(text)
    jsonschema.validate(example, json.loads((DOCS / "manifest.schema.json").read_text()))
    assert Manifest.from_json(text.encode()).period is not None
    manifest = lake.manifest("2026-01-02")
    assert list(example) == list(manifest)
    varying = ("export_uuid", "host", "path", "requested_at", "stored_at", "bytes", "sha256")
    assert {name: value for name, value in example.items() if name not in varying} == {
        name: value for name, value in manifest.items() if name not in varying
    }


def test_each_order_is_in_the_folder_of_its_own_day_once(sandbox: Sandbox, run_lake, tmp_path: Path) -> None:
    days = [f"2026-01-0{day}" for day in range(2, 8)]
    for start, end in zip(days, days[3:], strict=False):  # each interval overlaps the one before
        run_lake(start, end, more="order_details=True,")
    (statement,) = blocks("lake.md", "sql", "order_day")
    duckdb.sql(statement.replace("lake/orders_by_day", f"{tmp_path}/by_day").replace("lake/orders", f"{tmp_path}"))
    first, last = (datetime.fromisoformat(f"{day}T00:00Z") for day in (days[0], days[-1]))
    query = ExportQuery(start_date=first, end_date=last)
    expected = sorted(
        (str(order.created_at.date()), item.uuid)
        for order in filter_orders(query, sandbox.clock())
        for item in order.line_items
    )
    stored = duckdb.sql(
        f"SELECT order_day::VARCHAR, line_item_uuid FROM read_parquet('{tmp_path}/by_day/*/*.parquet', "
        "hive_partitioning = true)"
    )
    assert sorted(stored.fetchall()) == expected


@pytest.mark.parametrize("sandbox", [SandboxSettings(columns="2017-retailer")], indirect=True)
def test_a_sum_counts_a_line_item_with_two_packages_once(sandbox: Sandbox, lake: Lake) -> None:
    (statement,) = blocks("reading-files.md", "sql", "DISTINCT order_uuid, sku")
    items = []
    for export in map(sandbox.get_export, lake.exports.values()):
        assert export is not None
        items += [item for order in filter_orders(export.query, export.created_at) for item in order.line_items]
    cents = duckdb.sql(f"SELECT 100 * cost FROM ({statement.replace(LAKE_OF_READERS, str(lake.folder))})").fetchall()
    assert cents == [(sum(item.quantity * item.cost for item in items),)]
    assert sum(lake.manifest(day)["rows"] for day in lake.exports) > len(items)


def test_duckdb_reads_what_was_stored(lake: Lake) -> None:
    by_day, rows, manifests = (
        duckdb.sql(statement.replace(LAKE_OF_READERS, str(lake.folder))).fetchall()
        for statement in blocks("reading-files.md", "sql", LAKE_OF_READERS)
        if "sku" not in statement or "sku_cost" in statement
    )
    stored = [lake.manifest(day) for day in lake.exports]
    assert [(str(day), orders) for day, orders, _ in by_day] == [
        (day, manifest["orders"]) for day, manifest in zip(lake.exports, stored, strict=True)
    ]
    assert all(cost > 0 for _, _, cost in by_day)
    assert len(rows) == sum(manifest["rows"] for manifest in stored) > 0
    assert [manifest[2:] for manifest in manifests] == [(manifest["rows"], manifest["orders"]) for manifest in stored]


@pytest.mark.parametrize("reader", ["pandas", "polars", "pyarrow.parquet"])
def test_a_reader_of_the_folder_skips_the_manifests(lake: Lake, reader: str) -> None:
    pytest.importorskip(reader, reason="is installed on one version of Airflow")
    (statements,) = blocks("reading-files.md", "python", f"import {reader}\n")
    names: dict[str, Any] = {}
    exec(statements.replace(f"{LAKE_OF_READERS}/", f"{lake.folder}/"), names)
    orders = names["orders"]
    assert len(orders) == sum(lake.manifest(day)["rows"] for day in lake.exports) > 0
    columns = list(orders.column_names if reader == "pyarrow.parquet" else orders.columns)
    assert [name for name in columns if name != "dt"] == lake.manifest("2026-01-02")["columns"]
    assert columns[-1] in ("crux_requested_at", "dt")


def read_column(reader: str, folder: Path, name: str) -> tuple[str, list[object]]:
    """Return what a reader of a folder takes the column of its folders for: its type and its values."""
    if reader == "pandas":
        column = import_module(reader).read_parquet(folder)[name]
        return str(column.cat.categories.dtype), column.to_list()
    if reader == "pyarrow":
        table = pyarrow.parquet.read_table(folder)
        return str(table.schema.field(name).type.value_type), table[name].to_pylist()
    if reader == "Polars":
        polars = import_module("polars")
        try:
            column = polars.scan_parquet(folder, hidden_file_prefix="_").collect()[name]
        except polars.exceptions.ComputeError:
            return "ComputeError", []
        return str(column.dtype), column.to_list()
    relation = duckdb.sql(f"SELECT {name} FROM read_parquet('{folder}/*/*.parquet')")
    return str(relation.types[0]), [value for (value,) in relation.fetchall()]


KINDS = dict.fromkeys(("object", "str", "string", "String", "VARCHAR"), "text") | {
    **dict.fromkeys(("int64", "int32", "Int64", "BIGINT"), "number"),
    **dict.fromkeys(("Date", "DATE"), "date"),
    "ComputeError": "an error",
}
READERS = ("pandas", "pyarrow", "Polars", "DuckDB")


@pytest.mark.parametrize(
    "form", ["dt={interval_start:%Y-%m-%d}", "start={interval_start}", "hour={interval_start:%H}", COMPACT_FORM]
)
def test_readers_make_of_folders_what_the_table_says(run_lake, tmp_path: Path, form: str) -> None:
    """All folders at once, and each alone: the type of a column must not depend on which files a query selects."""
    name = form.partition("=")[0]
    times = ("2026-01-04T23:00:00Z", "2026-01-05T05:00:00Z", "2026-01-05T10:30:15Z", "2026-01-06T00:00:00Z")
    for start, end in pairwise(times):
        run_lake(start, end, f"all/{form}")
    for folder in sorted((tmp_path / "all").iterdir()):
        shutil.copytree(folder, tmp_path / "one" / folder.name / folder.name)
    (row,) = re.findall(rf"^\| `{re.escape(form)}` \| (.+) \|$", (DOCS / "reading-files.md").read_text(), re.MULTILINE)
    documented = dict(zip(READERS, row.split(" | "), strict=True))
    # some are installed on one version of Airflow
    read = {reader: kinds_read(reader, tmp_path, name) for reader in READERS if find_spec(reader.lower())}
    assert read == {reader: documented[reader] for reader in read}


def kinds_read(reader: str, stored: Path, name: str) -> str:
    """Return what a reader takes the column of the folders for, in the words of the table, and check its values."""
    kinds = set()
    for root in (stored / "all", *(stored / "one").iterdir()):
        kind, values = read_column(reader, root, name)
        kinds.add(KINDS[kind])
        texts = {folder.name.partition("=")[2] for folder in root.iterdir()}
        if KINDS[kind] == "number":
            assert set(values) == {int(text) for text in texts}, reader
        elif KINDS[kind] != "an error":
            assert {str(value) for value in values} == texts, reader
    return " or ".join(sorted(kinds, reverse=True)) + ", depending on the files" * (len(kinds) > 1)


def test_duckdb_reads_the_folder_and_no_text_is_null(lake: Lake) -> None:
    files = f"{lake.folder}/dt=*/*.parquet"
    assert duckdb.sql(f"FROM read_parquet('{lake.folder}')").fetchall() == duckdb.sql(f"FROM '{files}'").fetchall()
    fields = duckdb.sql(f"SELECT name, repetition_type FROM parquet_schema('{files}')").fetchall()
    (read,) = (pyarrow.parquet.read_schema(path) for path in [lake.folder / "dt=2026-01-02/orders.parquet"])
    texts = {field.name for field in read if field.type == pyarrow.string()}
    assert {name for name, required in fields[1:] if required == "REQUIRED"} - {"schema"} == texts
    assert {field.name for field in read if not field.nullable} == texts >= {"order_uuid", "line_item_uuid"}


def test_the_statement_for_different_columns_reads_them_all(lake: Lake) -> None:
    """The files of the second day have one column less, and the first another one more."""
    for day, name in (("2026-01-02", "sku_id"), ("2026-01-03", "city")):
        path = lake.folder / f"dt={day}/orders.parquet"
        pyarrow.parquet.write_table(pyarrow.parquet.read_table(path, partitioning=None).drop([name]), path)
    (statements,) = blocks("reading-files.md", "python", "unify_schemas")
    names: dict[str, Any] = {"pyarrow": pyarrow}
    exec(statements.replace(f"{LAKE_OF_READERS}/", f"{lake.folder}/"), names)
    orders = names["orders"]
    assert set(orders.column_names) == set(lake.manifest("2026-01-02")["columns"])
    days = [lake.manifest(day)["rows"] for day in lake.exports]
    assert [orders["sku_id"].null_count, orders["city"].null_count] == days

    names["polars"] = pytest.importorskip("polars", reason="is installed on one version of Airflow")
    (statements,) = blocks("reading-files.md", "python", "missing_columns")
    exec(statements.replace(f"{LAKE_OF_READERS}/", f"{lake.folder}/"), names)
    read = names["orders"]
    assert set(read.columns) == set(orders.column_names) | {"dt"}
    assert [read["sku_id"].null_count(), read["city"].null_count()] == days


def test_the_function_for_hashes_finds_a_person(lake: Lake) -> None:
    names: dict[str, Any] = {}
    exec(blocks("personal-data.md", "python", "def hash_of")[0], names)
    stored = pyarrow.parquet.read_table(lake.folder / "dt=2026-01-02/orders.parquet", columns=["name"])
    assert names["hash_of"]("Zoë Faber", KEY) in stored["name"].to_pylist()
