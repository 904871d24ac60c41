"""The command that prints the statements which merge stored files."""

from __future__ import annotations

import re

import pytest
import sqlglot

from airflow_provider_crux.merge_sql import main
from airflow_provider_crux.tables.dialects import DIALECTS
from airflow_provider_crux.tables.statements import merge_statements

TABLES = ["--table", "orders", "--staged", "staged"]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_command_prints_the_statements_in_their_order_and_says_how_to_run_them(dialect: str, capsys) -> None:
    main(["--dialect", dialect, *TABLES])
    printed = capsys.readouterr().out
    statements = [line.removesuffix(";") for line in printed.splitlines() if line and not line.startswith("--")]
    assert statements == [sql for part in merge_statements(dialect, "orders", "staged") for sql in part]
    comments = [line for line in printed.splitlines() if line.startswith("--")]
    assert [comment.split(":")[0] for comment in comments] == ["-- Before the load", "-- After it", "-- Then merge"]
    assert len(sqlglot.parse(printed, read=dialect)) == len(statements)


def test_the_command_takes_keys_and_columns_with_commas(capsys) -> None:
    arguments = ["--key", "order_uuid, sku", "--columns", "order_uuid, sku,gift"]
    main(["--dialect", "snowflake", *TABLES, *arguments])
    expected = merge_statements("snowflake", "orders", "staged", ["order_uuid", "sku"], ["order_uuid", "sku", "gift"])
    assert f"\n{expected.merge[0]};\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dialect", "oracle", *TABLES], "--dialect: invalid choice: 'oracle'"),
        (["--dialect", "sqlite", *TABLES, "--key", "city,nothing"], "key: .* is not among the columns"),
        (
            ["--dialect", "sqlite", "--table", "orders", "--staged", "orders"],
            "staged: .* may be the table itself",
        ),
    ],
)
def test_an_invalid_argument_is_a_message_and_exit_status_2(arguments: list[str], message: str, capsys) -> None:
    with pytest.raises(SystemExit) as raised:
        main(arguments)
    assert raised.value.code == 2
    assert re.search(message, capsys.readouterr().err)
