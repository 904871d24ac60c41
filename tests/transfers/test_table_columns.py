"""
The columns of the table: names, types, personal data.

Here the database is SQLite; ``tests/postgres`` runs the same tests against PostgreSQL.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from airflow.providers.common.compat.sdk import (
    AirflowException,
    AirflowFailException,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_crux.exceptions import CruxUnavailableError
from airflow_provider_crux.files.columns import COLUMNS, ColumnType
from tests.transfers.table import CRUX_COLUMNS, NAMES, TABLE, lines, rows_file
from tests.transfers.transfer import ROW

if TYPE_CHECKING:
    from tests.transfers.table import Database, Loading

TEXTS = [column.name for column in COLUMNS if column.type is ColumnType.TEXT]
PERSONAL = {column.name for column in COLUMNS if column.personal and column.name in NAMES}


# the table's columns


def test_an_unknown_column_is_added_as_text_with_a_warning(loading: Loading, database: Database, caplog) -> None:
    loading.run(lines("a"))
    body = rows_file({"line_item_uuid": "b", "gift note": "For Ada", "N2": ""}, columns=[*NAMES, "gift note", "N2"])
    assert loading.run(body, minutes=1) == (1, 0, 0)
    assert "'gift note' of the file is unknown: it is stored as text" in caplog.text
    rows = database.rows()
    assert [row["gift note"] for row in rows] == [None, "For Ada"]
    # a file without it again
    assert loading.run(lines("b", "c"), minutes=2) == (1, 1, 0)
    assert [row["gift note"] for row in database.rows()] == [None, None, None]


def test_an_unknown_column_is_refused_before_the_table_is_touched(loading: Loading, database: Database) -> None:
    loading.run(lines("a"))
    rows = database.rows()
    body = rows_file({"line_item_uuid": "b"}, columns=[*NAMES, "gift_note"])
    with pytest.raises(AirflowFailException, match="column 'gift_note' is unknown, and on_unknown_column is 'f"):
        loading.run(body, minutes=1, on_unknown_column="fail")
    assert database.rows() == rows
    assert loading.run(lines("b"), minutes=1, on_unknown_column="fail") == (1, 0, 0)


def test_columns_that_a_later_export_lacks_are_null_in_the_rows_that_it_replaces(
    loading: Loading, database: Database
) -> None:
    loading.run(lines("a", "b"))
    loading.run(lines("b"), minutes=1, personal_data="drop")
    loading.run(rows_file({"line_item_uuid": "c"}, columns=["order_uuid", "line_item_uuid"]), minutes=2)
    rows = {row["line_item_uuid"]: row for row in database.rows()}
    assert {name for name, value in rows["a"].items() if value is None} == {"estimated_shipping_cost"}
    assert {name for name, value in rows["b"].items() if value is None} == PERSONAL | {"estimated_shipping_cost"}
    assert {name for name, value in rows["c"].items() if value is not None} == {
        "order_uuid",
        "line_item_uuid",
        *CRUX_COLUMNS,
    }


def test_without_create_table_the_table_must_exist_and_have_every_column(loading: Loading, database: Database) -> None:
    with pytest.raises(AirflowFailException, match=f"table: '{TABLE}' does not exist; create it, or set create_table"):
        loading.run(lines("a"), create_table=False)
    assert TABLE not in database.tables()
    columns = ", ".join(f"{name} text" for name in TEXTS)
    database.execute(f"CREATE TABLE {TABLE} ({columns})")
    missing = [name for name in (*NAMES, *CRUX_COLUMNS) if name not in TEXTS]
    message = f"table: '{TABLE}' lacks the columns {', '.join(missing)}; add them, or set create_table=True"
    with pytest.raises(AirflowFailException, match=message):
        loading.run(lines("a"), create_table=False)
    assert database.query(f"SELECT * FROM {TABLE}") == []
    assert loading.run(lines("a")) == (1, 0, 0)
    assert loading.run(lines("a"), minutes=1, create_table=False) == (0, 1, 0)


def test_a_table_of_ones_own_keeps_its_columns_and_rows(loading: Loading, database: Database) -> None:
    columns = ", ".join(f"{name} text" for name in TEXTS)
    database.execute(f"CREATE TABLE {TABLE} (mine integer DEFAULT 7, {columns}, UNIQUE (line_item_uuid))")
    database.execute(
        f"INSERT INTO {TABLE} (mine, order_uuid, line_item_uuid, name) "
        "VALUES (1, 'a', 'a', 'by hand'), (2, 'z', 'z', 'by hand'), (3, NULL, 'y', 'by hand')"
    )
    # a row that no export loaded is older than every export; one that is replaced is a new row
    assert loading.run(lines("a", "b", name="export")) == (1, 1, 0)
    assert database.by_key("mine", "name") == {
        "a": (7, "export"),
        "b": (7, "export"),
        "y": (3, "by hand"),
        "z": (2, "by hand"),
    }


# personal data


def test_dropped_personal_data_is_not_in_the_table(loading: Loading, database: Database) -> None:
    secrets = {name: f"secret {name}" for name in (*PERSONAL, "unknown")}
    loading.run(rows_file(secrets, columns=[*NAMES, "unknown"]), personal_data="drop")
    (row,) = database.rows()
    assert set(row) == {*NAMES, *CRUX_COLUMNS} - PERSONAL
    assert "secret" not in str(row)


def test_hashed_personal_data_is_equal_for_equal_values_and_empty_for_empty_ones(
    loading: Loading, database: Database, connect
) -> None:
    connect(
        host=loading.sandbox.url, password=loading.sandbox.settings.token, extra={"hash_key": "0123456789abcdef-key"}
    )
    rows = [
        {"line_item_uuid": key, "name": name} for key, name in (("a", "Ada"), ("b", "Ada"), ("c", "Eve"), ("d", ""))
    ]
    loading.run(rows_file(*rows), personal_data="hash")
    names = [name for (name,) in database.by_key("name").values()]
    assert names[0] == names[1] != names[2]
    assert [len(name) for name in names] == [64, 64, 64, 0]
    assert not {"Ada", "Eve", ROW["phone"], ROW["address1"]} & {
        value for row in database.rows() for value in row.values()
    }


def test_hashing_without_a_key_and_a_dropped_key_are_errors(loading: Loading, database: Database) -> None:
    with pytest.raises(AirflowFailException, match="hash_key"):
        loading.run(lines("a"), personal_data="hash")
    assert loading.downloads == 0
    with pytest.raises(AirflowFailException, match="key: column 'name' of the file is not loaded"):
        loading.run(lines("a"), personal_data="drop", key=("name",))
    assert database.tables() == set()


def test_a_key_that_the_file_lacks_is_an_error(loading: Loading, database: Database) -> None:
    with pytest.raises(AirflowFailException, match=r"key: column 'sku' is not in the file; use \('order_uuid',\)"):
        loading.run(lines("a"), key=("order_uuid", "sku"))
    with pytest.raises(AirflowFailException, match="key: column 'order_uuid' is not in the file; use columns of it"):
        loading.run(rows_file({}, columns=["sku", "quantity"]))
    assert database.tables() == set()


# column names


def test_reserved_words_and_odd_names_are_names_of_columns(loading: Loading, database: Database) -> None:
    names = [
        "select",
        "Order",
        "user",
        "a.b",
        "two words",
        "dash-ed",
        "Table",
        "default",
        "t",
        "s",
        "excluded",
        "rowid",
    ]
    values = {name: f"value of {name}" for name in names}
    body = rows_file({"line_item_uuid": "a", **values}, columns=[*NAMES, *names])
    assert loading.run(body) == (1, 0, 0)
    assert loading.run(body, minutes=1) == (0, 1, 0)
    (row,) = database.rows()
    row_values = {name.lower(): value for name, value in row.items()}
    assert [row_values[name.lower()] for name in names] == list(values.values())


@pytest.mark.parametrize(
    ("column", "problem"),
    [
        ('a"b', "but"),
        ('x" text); DROP TABLE order_lines; --', "but"),
        ("a;b", "but"),
        ("größe", "but"),
        ("a)", "but"),
        ("_x'", "but"),
        ("", "but"),
        ("name", "occurs twice"),
        ("crux_requested_at", "is one that this provider adds"),
    ],
)
def test_a_crafted_header_is_an_error(loading: Loading, database: Database, column: str, problem: str) -> None:
    loading.run(lines("a"))
    before = database.rows(), database.tables()
    header, *rest = rows_file({"line_item_uuid": "b"}).split(b"\r\n")
    body = b"\r\n".join([header + f",{column}".encode(), rest[0] + b",x", b""])
    # what does not begin like an export may be there in passing
    error = CruxUnavailableError if problem == "but" else AirflowFailException
    with pytest.raises(error, match=problem):
        loading.run(body, minutes=1)
    assert (database.rows(), database.tables()) == before
    database.assert_nothing_is_left()


plain_names = st.from_regex(r"[A-Za-z][A-Za-z0-9_ .-]{0,62}", fullmatch=True)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(plain_names, min_size=1, max_size=4))
def test_any_header_leads_to_plain_columns_or_to_an_error(
    loading: Loading, database: Database, names: list[str]
) -> None:
    for table in database.tables():
        database.execute(f"DROP TABLE {table}")
    values = {name: f"value of {name}" for name in names}
    body = rows_file({"line_item_uuid": "a", **values}, columns=[*NAMES, *names])
    try:
        loading.run(body)
    except AirflowException:
        assert TABLE not in database.tables()
    else:
        (row,) = database.rows()
        row_values = {name.lower(): value for name, value in row.items()}
        assert [row_values[name.lower()] for name in names] == list(values.values())
    assert database.tables() <= {TABLE}
