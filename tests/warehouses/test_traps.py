"""What docs/warehouse.md warns of, seen with the providers' own operators."""

from __future__ import annotations

from typing import Any

import pytest
import snowflake.connector
from airflow.providers.common.sql.operators.sql import SQLExecuteQueryOperator
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
