"""Each example runs with the warehouse's own provider, and sends what is expected, statement by statement."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import databricks.sql
import duckdb
import pytest
import redshift_connector
import snowflake.connector
from fakesnow import server as fakesnow_server
from snowflake.connector.cursor import SnowflakeCursorBase

from tests.dag_runs import EXAMPLES
from tests.warehouses.conftest import FILES
from tests.warehouses.servers import Connection, Warehouse, running_bigquery

pytestmark = pytest.mark.e2e


def normalized(statements: list[str]) -> list[str]:
    return [" ".join(statement.split()) for statement in statements]


def test_there_is_a_test_for_each_example() -> None:
    names = {path.stem.rpartition("_")[2] for path in EXAMPLES[0].parent.glob("warehouses/*.py")}
    assert {f"test_{name}" for name in names} <= set(globals()) | {"test_duckdb"}


def test_snowflake(run_example, connect, monkeypatch, tmp_path: Path) -> None:
    """The real connector sends the statements to fakesnow, which runs them."""
    received: list[str] = []
    execute, open_connection = SnowflakeCursorBase.execute, snowflake.connector.connect

    def note(cursor: SnowflakeCursorBase, command: str, *arguments: Any, **options: Any) -> Any:
        received.append(" ".join(command.split()))
        return execute(cursor, command, *arguments, **options)

    monkeypatch.setattr(SnowflakeCursorBase, "execute", note)
    with fakesnow_server() as fake:
        # the hook cannot set the protocol
        monkeypatch.setattr(
            snowflake.connector, "connect", lambda **options: open_connection(**options, protocol="http")
        )
        connect(
            "snowflake_default",
            conn_type="snowflake",
            login=fake["user"],
            password=fake["password"],
            schema="sales",
            extra={name: fake[name] for name in ("account", "host", "port")} | {"database": "lake"},
        )
        parameters = {**fake, "database": "lake", "schema": "sales"}
        with open_connection(**parameters) as connection:
            connection.cursor().execute(f"CREATE STAGE crux_orders_stage URL = '{(tmp_path / 'bucket').as_uri()}/'")
            received.clear()
            example = run_example("snowflake")
            sent = [*received]
            cursor = connection.cursor()
            rows = cursor.execute("SELECT * FROM crux_orders").fetchall()
            columns = [column.name.lower() for column in cursor.description]
    sql = example.statements
    expected: list[str] = []
    for file in FILES:
        copy = (
            f"COPY INTO crux_orders_staged FROM @crux_orders_stage/ FILES=('{file}') "
            "FILE_FORMAT=(TYPE = PARQUET USE_LOGICAL_TYPE = TRUE) MATCH_BY_COLUMN_NAME = CASE_INSENSITIVE"
        )
        expected += ["ALTER SESSION SET autocommit=False", *sql.stage, *sql.prepare, "COMMIT"]
        expected += ["ALTER SESSION SET autocommit=True", copy]
        expected += ["ALTER SESSION SET autocommit=False", *sql.merge, "COMMIT"]
    assert sent == normalized(expected)
    example.check(dict(zip(columns, row, strict=True)) for row in rows)


def test_bigquery(run_example, connect, monkeypatch, tmp_path: Path) -> None:
    warehouse = Warehouse("bigquery", tmp_path / "bucket", '"my-project".sales')
    with running_bigquery(warehouse) as (url, jobs):
        monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", url)
        extra = {"project": "my-project", "is_anonymous": True}
        connect("google_cloud_default", conn_type="google_cloud_platform", extra=extra)
        example = run_example("bigquery")
    sql = example.statements
    load, table, merge = ([job for job in jobs if kind(job) == name] for name in ("load", "CREATE", "MERGE"))
    assert len(jobs) == len(load) + len(table) + len(merge)
    for job, file in zip(load, FILES, strict=True):
        assert job == {
            "load": {
                "autodetect": True,
                "createDisposition": "CREATE_IF_NEEDED",
                "destinationTable": {
                    "projectId": "my-project",
                    "datasetId": "sales",
                    "tableId": "crux_orders_staged",
                },
                "ignoreUnknownValues": False,
                "parquetOptions": {},
                "sourceFormat": "PARQUET",
                "sourceUris": [f"gs://my-bucket/crux-orders/{file}"],
                "writeDisposition": "WRITE_TRUNCATE",
            }
        }
    assert [job["query"] for job in table] == [{"query": ";\n".join(sql.prepare), "useLegacySql": False}] * len(FILES)
    assert [job["query"] for job in merge] == [{"query": sql.merge[0], "useLegacySql": False}] * len(FILES)
    assert [kind(job) for job in jobs[2::3]] == ["MERGE"] * len(FILES)
    example.check(warehouse.rows('"my-project".sales.crux_orders'))
    warehouse.close()


def kind(job: dict[str, Any]) -> str:
    return "load" if "load" in job else job["query"]["query"].split(" ")[0]


def test_redshift(run_example, connect, monkeypatch, tmp_path: Path) -> None:
    warehouse = Warehouse("redshift", tmp_path / "bucket", "public")
    monkeypatch.setattr(redshift_connector, "connect", lambda **_: Connection(warehouse))
    connect("redshift_default", conn_type="redshift", host="127.0.0.1", port=1, login="user", password="unused")
    role = "arn:aws:iam::123456789012:role/reads-the-bucket"
    connect("aws_redshift", conn_type="aws", extra={"role_arn": role})
    example = run_example("redshift")
    sql = example.statements
    expected: list[str] = []
    for file in FILES:
        copy = (
            f"COPY public.crux_orders_staged FROM 's3://my-bucket/crux-orders/{file}' "
            f"credentials 'aws_iam_role={role}' FORMAT AS PARQUET;"
        )
        expected += [*sql.stage, *sql.prepare, "(commit)"]
        expected += ["BEGIN;", "DELETE FROM public.crux_orders_staged;", copy, "COMMIT", "(commit)"]
        expected += [*sql.merge, "(commit)"]
    assert warehouse.received == normalized(expected)
    example.check(warehouse.rows("public.crux_orders"))
    warehouse.close()


def test_databricks(run_example, connect, monkeypatch, tmp_path: Path) -> None:
    warehouse = Warehouse("databricks", tmp_path / "bucket", "lakehouse.sales")
    monkeypatch.setattr(databricks.sql, "connect", lambda *_, **__: Connection(warehouse))
    extra = {"http_path": "/sql/1.0/warehouses/0"}
    connect("databricks_default", conn_type="databricks", host="127.0.0.1", port=1, password="unused", extra=extra)
    example = run_example("databricks")
    sql = example.statements
    expected: list[str] = []
    for file in FILES:
        location = f"s3://my-bucket/crux-orders/{file}"
        copy = f"COPY INTO lakehouse.sales.crux_orders_staged FROM '{location}' FILEFORMAT = PARQUET"
        expected += [*sql.stage, *sql.prepare, copy, *sql.merge]
    assert warehouse.received == normalized(expected)
    example.check(warehouse.rows("lakehouse.sales.crux_orders"))
    warehouse.close()


def test_duckdb_with_its_own_provider(connect, tmp_path: Path) -> None:
    """A list commits statement by statement, so BEGIN and COMMIT are part of it."""
    from airflow.providers.common.sql.operators.sql import SQLExecuteQueryOperator

    from airflow_provider_crux.tables.statements import merge_statements

    database = tmp_path / "orders.duckdb"
    connect("duckdb_default", conn_type="duckdb", host=str(database))
    sql = merge_statements("duckdb", "orders", "staged", columns=["order_uuid"])

    def execute(statements: list[str]) -> None:
        SQLExecuteQueryOperator(task_id="t", conn_id="duckdb_default", sql=statements).execute({})

    def rows() -> list[tuple[Any, ...]]:
        with duckdb.connect(str(database)) as connection:
            return connection.execute("SELECT order_uuid, crux_export_uuid FROM orders").fetchall()

    def staged(uuid: str, minute: int) -> str:
        return f"INSERT INTO staged VALUES ('x', '{uuid}', NULL, NULL, TIMESTAMPTZ '2026-01-01 00:0{minute}:00+00')"

    execute([*sql.stage, staged("a", 1), *sql.prepare, *sql.merge])
    execute([*sql.stage, staged("b", 2)])
    begin, delete, _, commit = sql.merge
    with pytest.raises(duckdb.ParserException):
        execute([begin, delete, "not SQL", commit])
    assert rows() == [("x", "a")]
    execute(sql.merge)
    assert rows() == [("x", "b")]
