"""
The columns of the table: names, types, personal data.

Here the database is SQLite; ``tests/postgres`` runs the same tests against PostgreSQL.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from airflow.providers.common.compat.sdk import (
    AirflowFailException,
)
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from airflow_provider_crux.files.columns import COLUMNS, EXPORT_COLUMNS, ColumnType
from tests.examples import examples
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
    assert "Column 'gift note' is unknown: it is stored as text" in caplog.text
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
    with pytest.raises(AirflowFailException, match=r"key: column 'sku' is not in the file; use \('order_uuid',\)$"):
        loading.run(lines("a"), key=("order_uuid", "sku"))
    packages = rows_file({}, columns=["order_uuid", "tracking_number"])
    with pytest.raises(
        AirflowFailException, match=r"use \('order_uuid',\), because .* package have no line_item_uuid$"
    ):
        loading.run(packages, key=("line_item_uuid",))
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
        "r",
        "k",
        "excluded",
    ]
    names += [
        "rowid",
        "_id",
        "cost (USD)",
        "Größe",
        "sku#",
        "100 %",
        "%s",
        "%(name)s",
        "?",
        ":name",
        "{0}",
        "$1",
        "a;b",
    ]
    names += ["x'; DROP TABLE order_lines; --", "back\\slash", "two\nlines", "é" * 31]
    values = {name: f"value of {name}" for name in names}
    body = rows_file({"line_item_uuid": "a", **values}, columns=[*NAMES, *names])
    assert loading.run(body) == (1, 0, 0)
    assert loading.run(body, minutes=1) == (0, 1, 0)
    # as a column that the table lacks
    body = rows_file({"line_item_uuid": "a", **values}, columns=[*NAMES, *names, "%d \\"])
    assert loading.run(body, minutes=2) == (0, 1, 0)
    (row,) = database.rows()
    row_values = {name.lower(): value for name, value in row.items()}
    assert [row_values[name.lower()] for name in names] == list(values.values())


@pytest.mark.parametrize(
    ("column", "reason"),
    [
        ('a""b', "its name contains a quote"),
        ('x"" text); DROP TABLE order_lines; --', "its name contains a quote"),
        ("x" * 64, "its name has 64 bytes"),
        ("é" * 32, "its name has 64 bytes"),
        ("NAME", "its name differs only in case"),
        ("", "the columns of a table have names"),
        ("crux_requested_at", "this provider adds a column of this name"),
        ("a\0b", "its name is not valid text"),
        ("a\udcffb", "its name is not valid text"),
    ],
)
def test_a_column_that_a_table_cannot_have_is_left_out(
    loading: Loading, database: Database, caplog, column: str, reason: str
) -> None:
    def body(name: str) -> bytes:
        header, *rest = lines(name).split(b"\r\n")
        field = f',"{column}"'.encode(errors="surrogateescape")
        return b"\r\n".join([header + field, rest[0] + b",odd value", b""])

    loading.run(lines("a"))
    loading.run(body("b"), minutes=1)
    assert f"is unknown: it is not stored, because {reason}" in caplog.text
    assert "is stored as text" not in caplog.text
    assert loading.pushed["export_table"]["columns"] == NAMES
    assert [list(row) for row in database.rows()] == [[*NAMES, *CRUX_COLUMNS]] * 2
    with pytest.raises(AirflowFailException, match="is unknown, and on_unknown_column is 'fail'"):
        loading.run(body("c"), minutes=2, on_unknown_column="fail")
    assert list(database.by_key()) == ["a", "b"]


@pytest.mark.parametrize(("first", "second"), [("sku #", "SKU #"), ("É", "é")])
def test_the_database_decides_whether_names_that_differ_in_case_are_one_column(
    loading: Loading, database: Database, first: str, second: str
) -> None:
    for minutes, name in enumerate((first, second)):
        loading.run(
            rows_file({"line_item_uuid": "a", name: name}, columns=["order_uuid", "line_item_uuid", name]),
            minutes=minutes,
        )
    (row,) = database.rows()
    assert [value for name, value in row.items() if name.lower() == second.lower() and value is not None] == [second]


# Hypothesis also tries texts of our code, among them the names of the columns that are known.
any_names = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=66).filter(
    lambda name: name.lower() not in {column.name for column in (*COLUMNS, *EXPORT_COLUMNS)}
)


@examples(40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(any_names, min_size=1, max_size=4, unique_by=str.lower))
def test_any_unknown_column_is_loaded_or_left_out(loading: Loading, database: Database, names: list[str]) -> None:
    for table in database.tables():
        database.execute(f"DROP TABLE {table}")
    names = [name for name in names if name not in NAMES]
    values = {name: f"value of {name}" for name in names}
    loading.run(rows_file({"line_item_uuid": "a", **values}, columns=[*NAMES, *names]))
    (row,) = database.rows()
    row_values = {name.lower(): value for name, value in row.items()}
    loaded = loading.pushed["export_table"]["columns"][len(NAMES) :]
    assert set(names) - set(loaded) <= {name for name in names if '"' in name or not 1 <= len(name.encode()) <= 63}
    assert [row_values[name.lower()] for name in loaded] == [values[name] for name in loaded]
