"""What docs/warehouse.md says about the statements and the examples is compared with them."""

from __future__ import annotations

import re
import runpy
import shlex
from pathlib import Path
from typing import Any

import duckdb
import fsspec
import pyarrow as pa
import pyarrow.parquet
import pytest
import sqlglot

from airflow_provider_crux.files.columns import ColumnType
from airflow_provider_crux.merge_sql import main
from airflow_provider_crux.tables.dialects import DIALECTS, Atomic
from airflow_provider_crux.tables.statements import merge_statements
from tests.test_file_pages import DOCS, blocks

PAGE = "warehouse.md"
EXAMPLES = sorted((DOCS.parent / "dags_examples/warehouses").glob("*.py"))
ATOMIC = {
    Atomic.ONE_STATEMENT: "one `MERGE`",
    Atomic.LIST: "a list in one task: one transaction",
    Atomic.BEGIN_AND_COMMIT: "a list that begins and commits its transaction",
}


def test_the_table_of_types_is_that_of_the_code() -> None:
    (table,) = re.findall(r"<!-- a test compares .*?\|---\|\n(.*?)<!-- end -->", (DOCS / PAGE).read_text(), re.DOTALL)
    kinds = (ColumnType.TEXT, ColumnType.INTEGER, ColumnType.MONEY, ColumnType.INSTANT, ColumnType.BOOLEAN)
    rows = [
        f"| `{name}` | {' | '.join(f'`{dialect.types[kind]}`' for kind in kinds)} |\n"
        for name, dialect in DIALECTS.items()
    ]
    assert table == "".join(rows), "".join(rows)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_each_example_is_listed_with_its_loader_and_with_what_makes_the_merge_atomic(example: Path) -> None:
    (row,) = re.findall(rf"^\| (.*{example.name}\).*) \|$", (DOCS / PAGE).read_text(), re.MULTILINE)
    warehouse, _, loader, atomic = row.split(" | ")
    dialect = example.stem.rpartition("_")[2]
    assert warehouse.lower() == dialect
    source = example.read_text()
    assert f"{loader.strip('`')}(" in source
    assert f'merge_statements("{dialect}"' in source
    assert atomic == ATOMIC[DIALECTS[dialect].atomic]


def test_the_call_returns_what_the_command_prints(capsys) -> None:
    (source,) = blocks(PAGE, "python", "merge_statements")
    names: dict[str, Any] = {}
    exec(source, names)
    columns = ["order_uuid", "sku_id", "quantity"]
    expected = merge_statements("snowflake", "sales.crux_orders", "sales.crux_orders_staged", columns=columns)
    assert (names["stage"], names["prepare"], names["merge"]) == expected

    (command,) = blocks(PAGE, "", "merge_sql")
    python, module, name, *arguments = shlex.split(command)
    assert (python, module, name) == ("python", "-m", "airflow_provider_crux.merge_sql")
    main(arguments)
    assert merge_statements("snowflake", "crux_orders", "crux_orders_staged").merge[0] in capsys.readouterr().out


def test_the_warehouses_to_which_a_person_adds_a_column_are_named() -> None:
    unable = {name for name, dialect in DIALECTS.items() if not dialect.adds_missing_columns}
    assert unable == {"redshift", "databricks", "sqlite"}  # in SQLite, our own operator adds it
    assert "**Redshift and Databricks** cannot add a column" in (DOCS / PAGE).read_text()
    (statement,) = blocks(PAGE, "sql", "ADD COLUMN")
    for dialect in ("redshift", "databricks"):
        assert isinstance(sqlglot.parse_one(statement, read=dialect), sqlglot.exp.Alter)


def test_duckdb_reads_a_folder_that_names_a_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = fsspec.filesystem("memory", skip_instance_cache=True)
    monkeypatch.setattr(memory, "store", {})  # that of the class is shared with other tests
    monkeypatch.setattr(memory, "pseudo_dirs", [""])
    rows = {"order_uuid": ["x"], "crux_requested_at": pa.array([None], pa.timestamp("us", "UTC"))}
    with memory.open("/bucket/file.parquet", "wb") as file:
        pyarrow.parquet.write_table(pa.table(rows), file)
    connect = duckdb.connect

    def connect_with_memory(database: str) -> duckdb.DuckDBPyConnection:
        connection = connect(database)
        connection.register_filesystem(memory)
        return connection

    monkeypatch.setattr(duckdb, "connect", connect_with_memory)
    (example,) = (path for path in EXAMPLES if path.stem.endswith("duckdb"))
    merge = runpy.run_path(str(example))["dag"].get_task("merge_orders").python_callable
    stored = {"path": "memory://my_connection@bucket/file.parquet", "columns": ["order_uuid"]}
    merge(stored, str(tmp_path / "orders.duckdb"))
    with connect(tmp_path / "orders.duckdb") as connection:
        assert connection.execute("SELECT order_uuid FROM crux_orders").fetchall() == [("x",)]
