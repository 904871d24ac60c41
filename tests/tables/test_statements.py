"""The statements that merge staged rows: run on what is here, parsed and transpiled for what is not."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from datetime import datetime
from typing import Any

import duckdb
import pytest
import sqlglot
from hypothesis import given
from sqlglot import expressions as exp

from airflow_provider_crux.exceptions import CruxInvalidRequestError
from airflow_provider_crux.files.columns import COLUMNS
from airflow_provider_crux.tables.dialects import DIALECTS, Atomic
from airflow_provider_crux.tables.statements import merge_statements
from tests.examples import examples
from tests.merges import Database, Loads, Row, in_duckdb, loads

dialects = pytest.mark.parametrize("dialect", DIALECTS)


class Local(Database):
    """SQLite or DuckDB; for any other dialect, DuckDB after a translation."""

    def __init__(self, dialect: str) -> None:
        super().__init__(dialect)
        self.connection: Any = (
            sqlite3.connect(":memory:", isolation_level=None) if dialect == "sqlite" else duckdb.connect()
        )
        if dialect != "sqlite":
            self.connection.execute("SET TimeZone = 'UTC'")

    def run(self, sql: Sequence[str]) -> None:
        for statement in sql:
            for part in [statement] if self.dialect in ("sqlite", "duckdb") else in_duckdb(statement, self.dialect):
                self.connection.execute(part)

    def insert(self, rows: Sequence[Row]) -> None:
        if rows:
            marks = ", ".join("?" * len(rows[0]))
            self.connection.executemany(f"INSERT INTO orders_staged VALUES ({marks})", rows)

    def query(self, sql: str) -> Iterable[Sequence[Any]]:
        return self.connection.execute(sql).fetchall()

    def instant(self, value: datetime) -> Any:
        return value.isoformat() if self.dialect == "sqlite" else value


@pytest.fixture(scope="module", params=DIALECTS)
def running_database(request: pytest.FixtureRequest) -> Iterator[Local]:
    local = Local(request.param)
    with closing(local.connection):
        yield local


@pytest.fixture
def database(running_database: Local) -> Local:
    running_database.reset()
    return running_database


@examples(40)  # on each of seven dialects
@given(history=loads())
def test_whatever_the_order_of_the_loads_the_table_holds_the_latest_export_of_each_order(
    running_database: Local, history: Loads
) -> None:
    running_database.check(history)


@dialects
def test_every_statement_is_one_of_its_dialect(dialect: str) -> None:
    for lines in merge_statements(dialect, "lake.orders", "lake.orders_staged"):
        for line in lines:
            (statement,) = sqlglot.parse(line, read=dialect)
            assert statement is not None
            assert not isinstance(statement, exp.Command), "SQLGlot did not understand it"


def test_a_new_column_is_added_or_the_merge_fails_and_changes_nothing(database: Local) -> None:
    database.load(database.rows_of(1, {"x": [("a", 1)]}))
    before = database.sorted_rows()
    sql = merge_statements(database.dialect, "orders", "orders_staged", columns=[*database.columns, "gift"])
    database.run(sql.stage)
    (row,) = database.rows_of(2, {"x": [("a", 2)]})
    position = len(database.columns)
    database.insert([(*row[:position], "a card", *row[position:])])
    database.run(sql.prepare)
    if DIALECTS[database.dialect].adds_missing_columns:
        database.run(sql.merge)
        assert database.sorted_rows() == [(*row, "a card")]
        return
    with pytest.raises((duckdb.BinderException, sqlite3.OperationalError), match="gift"):
        database.run(sql.merge[-1:])
    assert database.sorted_rows() == before


def test_rows_whose_export_is_unknown_are_replaced_by_those_of_a_known_one(database: Local) -> None:
    unknown, known = database.rows_of(1, {"x": [("a", 1)]}), database.rows_of(2, {"x": [("a", 2)]})
    database.load([(*row[:-4], None, None, None, None) for row in unknown])
    assert len(database.sorted_rows()) == 1
    database.load(known)
    assert database.sorted_rows() == known
    database.load([(*row[:-4], None, None, None, None) for row in unknown])
    assert database.sorted_rows() == known


def test_a_merge_alone_takes_what_another_run_has_staged_as_the_page_warns(database: Local) -> None:
    sql = database.statements
    for number, order in ((1, "x"), (2, "y")):
        database.run([*sql.stage, *sql.prepare])
        database.insert(database.rows_of(number, {order: [("a", number)]}))
    for _ in range(2):  # the tasks of both runs
        database.run(sql.merge)
    assert database.sorted_rows() == database.rows_of(2, {"y": [("a", 2)]})


def test_rows_with_a_null_in_the_key_are_added_again_as_the_page_warns(database: Local) -> None:
    sql = merge_statements(database.dialect, "orders", "orders_staged", ("order_uuid", "sku"), database.columns)
    for number in (1, 2):
        database.run(sql.stage)
        database.insert(database.rows_of(number, {"x": [(None, number), ("", number)]}))  # type: ignore[list-item]
        database.run([*sql.prepare, *sql.merge])
    assert [row[1:3] for row in database.sorted_rows()] == [("", 2), (None, 1), (None, 2)]


def test_a_key_may_be_several_columns(database: Local) -> None:
    sql = merge_statements(database.dialect, "orders", "orders_staged", ("order_uuid", "sku"), database.columns)
    for number, lines in ((1, [("a", 1), ("b", 1)]), (2, [("b", 2)])):
        database.run(sql.stage)
        database.insert(database.rows_of(number, {"x": lines}))
        database.run([*sql.prepare, *sql.merge])
    assert [row[1:3] for row in database.sorted_rows()] == [("a", 1), ("b", 2)]


@dialects
def test_the_columns_of_the_file_come_in_its_order_and_those_of_the_export_last(dialect: str) -> None:
    file = ["zip", "order_uuid", "crux_export_uuid", "crux_interval_start", "crux_interval_end", "crux_requested_at"]
    (create,) = (sql for sql in merge_statements(dialect, "o", "s", columns=file).stage if sql.startswith("CREATE"))
    (schema,) = sqlglot.parse_one(create, read=dialect).find_all(exp.Schema)
    assert [column.name.lower() for column in schema.expressions] == file
    without = merge_statements(dialect, "o", "s", columns=file[:2])
    assert without == merge_statements(dialect, "o", "s", columns=file)


@dialects
def test_without_columns_they_are_those_of_the_published_sample(dialect: str) -> None:
    sample = [column.name for column in COLUMNS if "2019" in column.lists]
    assert merge_statements(dialect, "o", "s") == merge_statements(dialect, "o", "s", columns=sample)


@dialects
def test_what_makes_the_merge_atomic(dialect: str) -> None:
    merge = merge_statements(dialect, "o", "s").merge
    kinds = [statement.split(" ")[0] for statement in merge]
    expected = {
        Atomic.LIST: ["DELETE", "INSERT"],
        Atomic.BEGIN_AND_COMMIT: ["BEGIN", "DELETE", "INSERT", "COMMIT"],
        Atomic.ONE_STATEMENT: ["MERGE"],
    }
    assert kinds == expected[DIALECTS[dialect].atomic]


def test_bigquery_alters_the_table_once_because_it_limits_how_often() -> None:
    create, alter = merge_statements("bigquery", "o", "s", columns=["order_uuid"]).prepare
    assert create.startswith("CREATE TABLE IF NOT EXISTS `o` (`order_uuid` STRING, ")
    assert alter.startswith("ALTER TABLE `o` ADD COLUMN IF NOT EXISTS `order_uuid` STRING, ADD COLUMN IF NOT EXISTS ")


def test_redshift_joins_in_a_delete_because_its_table_has_no_other_name() -> None:
    delete, _ = merge_statements("redshift", "lake.orders", "staging.orders", columns=["order_uuid"]).merge
    assert delete.startswith(
        'DELETE FROM "lake"."orders" USING "staging"."orders" '
        'WHERE "staging"."orders"."order_uuid" = "lake"."orders"."order_uuid" AND ("lake"."orders"."crux_requested_at" '
    )


def test_the_merge_matches_no_row_twice_which_snowflake_refuses(database: Local) -> None:
    (merge,) = database.statements.merge[:1]
    if not merge.startswith("MERGE"):
        pytest.skip("it has no MERGE")
    database.load(database.rows_of(1, {"x": [("a", 1), ("b", 1)], "y": [("a", 1)]}))
    database.run(database.statements.stage)
    database.insert(database.rows_of(2, {"x": [("a", 2), ("a", 2)], "z": [("a", 2)]}))
    source = sqlglot.parse_one(merge, read=database.dialect).args["using"].sql("duckdb")
    rows = database.query(f"SELECT crux_insert, order_uuid FROM {source} ORDER BY ALL")
    assert list(rows) == [(False, "x"), (False, "z"), (True, "x"), (True, "x"), (True, "z")]
    # BigQuery takes a NULL that is a literal for any type, but that of a SELECT DISTINCT for an integer
    assert "SELECT DISTINCT FALSE" not in merge


@pytest.mark.parametrize(
    ("dialect", "name", "quoted"),
    [
        ("postgres", "Lake.Orders", '"lake"."orders"'),
        ("snowflake", "lake.public.orders", '"LAKE"."PUBLIC"."ORDERS"'),
        ("bigquery", "my-project.Lake.Orders", "`my-project`.`Lake`.`Orders`"),
        ("databricks", "main.lake.orders", "`main`.`lake`.`orders`"),
        ("duckdb", "my orders", '"my orders"'),
    ],
)
def test_a_name_means_what_it_means_without_quotes(dialect: str, name: str, quoted: str) -> None:
    assert f" {quoted} (" in merge_statements(dialect, name, "s").prepare[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dialect": "oracle"}, "dialect: str 'oracle' is not known; use one of postgres, sqlite, duckdb, snowflake, "),
        ({"table": ""}, "table: str '' is not the name of a table in postgres; use one to three names with dots"),
        ({"table": "a.b.c.d"}, "table: str 'a.b.c.d' is not the name of a table in postgres"),
        ({"staged": 'a"b'}, "staged: str 'a\"b' is not the name of a table in postgres"),
        # In BigQuery, the quote behind a backslash belongs to the name.
        ({"dialect": "bigquery", "table": "a\\"}, r"table: str 'a\\\\' is not the name of a table in bigquery"),
        # To make the staged table would drop the table.
        ({"table": "orders", "staged": "Orders"}, "staged: str 'Orders' may be the table itself"),
        ({"table": "sales.orders", "staged": "orders"}, "staged: str 'orders' may be the table itself"),
        (
            {"dialect": "snowflake", "table": "s.T", "staged": "S.t"},
            "staged: str 'S.t' may be the table itself",
        ),
        ({"table": "ä" * 32}, "is not the name of a table in postgres"),  # PostgreSQL counts bytes
        ({"key": ()}, "key: .* is not among the columns; use columns of the file"),
        ({"key": ("city", "order_uuid")}, "key: .*city.* is not among the columns"),
        ({"columns": ["order_uuid", "a\nb"]}, r"columns: str 'a\\nb' cannot be names of columns in postgres"),
        ({"columns": ["order_uuid", "Gift", "gift"]}, "columns: str 'gift' .* differ only in case"),
        # The statements would take it for their own column of this name, and lose rows.
        ({"dialect": "sqlite", "columns": ["order_uuid", "crux_rank"]}, "columns: str 'crux_rank' cannot be names"),
        ({"dialect": "snowflake", "columns": ["order_uuid", "CRUX_INSERT"]}, "columns: str 'CRUX_INSERT' cannot be"),
        ({"dialect": "bigquery", "columns": ["order_uuid", "cost (USD)"]}, r"'cost \(USD\)' cannot be .* in bigquery"),
        ({"dialect": "databricks", "columns": ["order_uuid", "a b"]}, "'a b' cannot be .* in databricks"),
    ],
)
def test_an_argument_that_cannot_be_used_is_an_error_that_names_it(arguments: dict[str, Any], message: str) -> None:
    given_arguments = {"dialect": "postgres", "table": "t", "staged": "s", "columns": ["order_uuid"], **arguments}
    with pytest.raises(CruxInvalidRequestError, match=message):
        merge_statements(**given_arguments)
