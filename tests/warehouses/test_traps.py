"""What docs/warehouse.md warns of, seen with the providers' own operators."""

from __future__ import annotations

from typing import Any

import pytest
import redshift_connector
import snowflake.connector
from airflow.providers.amazon.aws.transfers.s3_to_redshift import S3ToRedshiftOperator
from airflow.providers.common.compat.sdk import AirflowException
from airflow.providers.common.sql.operators.sql import SQLExecuteQueryOperator
from airflow.providers.databricks.operators.databricks_sql import DatabricksCopyIntoOperator
from airflow.providers.snowflake.transfers.copy_into_snowflake import CopyFromExternalStageToSnowflakeOperator


class Recorder:
    """A connection that notes what it is sent."""

    description = None
    rowcount = -1
    sfqid = ""

    def __init__(self) -> None:
        self.sent: list[str] = []

    def cursor(self, *_: object) -> Recorder:
        return self

    def execute(self, sql: str, *_: object) -> None:
        self.sent.append(sql)

    def autocommit(self, value: bool) -> None:
        self.sent.append(f"autocommit={value}")

    def commit(self) -> None:
        self.sent.append("commit")

    def close(self) -> None: ...


@pytest.mark.parametrize(
    ("parameters", "sent"),
    [
        ({}, ["autocommit=False", "MERGE", "commit"]),
        ({"AUTOCOMMIT": False}, ["MERGE"]),
        ({"AUTOCOMMIT": True}, ["MERGE"]),
    ],
)
def test_snowflake_commits_nothing_if_the_connection_sets_autocommit(
    connect, monkeypatch, parameters: dict[str, Any], sent: list[str]
) -> None:
    recorder = Recorder()
    monkeypatch.setattr(snowflake.connector, "connect", lambda **_: recorder)
    connect("snowflake_default", conn_type="snowflake", login="user", extra={"session_parameters": parameters})
    SQLExecuteQueryOperator(task_id="merge", conn_id="snowflake_default", sql=["MERGE"]).execute({})
    assert recorder.sent == sent


def test_what_snowflake_s_operator_does_not_render() -> None:
    assert set(CopyFromExternalStageToSnowflakeOperator.template_fields) == {"files", "snowflake_conn_id"}


@pytest.mark.parametrize(
    ("connection", "part"),
    [
        ({"extra": {"role_arn": "arn:role"}}, "credentials 'aws_iam_role=arn:role' FORMAT"),
        (
            {"extra": {"role_arn": "arn:role", "region": "eu-west-1"}},
            "'aws_iam_role=arn:role' region 'eu-west-1' FORMAT",
        ),
        (
            {"login": "the-key", "password": "the-secret"},
            "'aws_access_key_id=the-key;aws_secret_access_key=the-secret' FORMAT",
        ),
    ],
)
def test_redshift_gets_what_the_connection_to_aws_says(
    connect, monkeypatch, connection: dict[str, Any], part: str
) -> None:
    recorder = Recorder()
    monkeypatch.setattr(redshift_connector, "connect", lambda **_: recorder)
    connect("redshift_default", conn_type="redshift", host="127.0.0.1", port=1)
    connect("aws_redshift", conn_type="aws", **connection)
    options = {"aws_conn_id": "aws_redshift", "method": "REPLACE", "copy_options": ["FORMAT AS PARQUET"]}
    S3ToRedshiftOperator(task_id="load", table="staged", s3_bucket="b", s3_key="k", **options).execute({})
    (copy,) = (" ".join(sql.split()) for sql in recorder.sent if "COPY" in sql)
    assert part in copy


def test_databricks_takes_a_format_in_capitals_only() -> None:
    with pytest.raises(AirflowException, match="file_format 'parquet' isn't supported"):
        DatabricksCopyIntoOperator(task_id="load", table_name="t", file_location="s3://b/k", file_format="parquet")


def test_databricks_takes_no_table_with_a_hyphen() -> None:
    load = DatabricksCopyIntoOperator(task_id="load", table_name="a-b.t", file_location="f", file_format="PARQUET")
    with pytest.raises(ValueError, match="Invalid table identifier segment 'a-b'"):
        load.execute({})
