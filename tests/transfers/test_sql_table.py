"""What only SQLite has, and the names that a statement can contain."""

from __future__ import annotations

import re
import sqlite3
from typing import TYPE_CHECKING

import pytest
from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException
from hypothesis import assume, given
from hypothesis import strategies as st

from airflow_provider_crux.files.column_plan import plan_columns
from airflow_provider_crux.files.columns import COLUMNS, EXPORT_COLUMNS
from airflow_provider_crux.tables.names import fit_columns, table_problems
from tests.transfers.table import NAMES, TABLE, lines, rows_file

if TYPE_CHECKING:
    from tests.transfers.table import Database, Loading

# https://www.sqlite.org/lang_keywords.html
KEYWORDS = """
    abort action add after all alter always analyze and as asc attach autoincrement before begin between by
    cascade case cast check collate column commit conflict constraint create cross current current_date
    current_time current_timestamp database default deferrable deferred delete desc detach distinct do drop each
    else end escape except exclude exclusive exists explain fail filter first following for foreign from full
    generated glob group groups having if ignore immediate in index indexed initially inner insert instead
    intersect into is isnull join key last left like limit match materialized natural no not nothing notnull null
    nulls of offset on or order others outer over partition plan pragma preceding primary query raise range
    recursive references regexp reindex release rename replace restrict returning right rollback row rows
    savepoint select set table temp temporary then ties to transaction trigger unbounded union unique update using
    vacuum values view virtual when where window with without
""".split()  # noqa: SIM905 - a list of them would be four times as long


def test_columns_have_the_types_of_their_values(loading: Loading, database: Database) -> None:
    loading.run(rows_file({"quantity": "", "estimated_tax": "9999999999999999.99", "dropship_fee": "2", "name": ""}))
    types = {row["name"]: row["type"] for row in database.query(f"PRAGMA table_info({TABLE})")}
    expected = dict.fromkeys((*NAMES, "crux_export_uuid"), "TEXT")
    expected |= {"quantity": "INTEGER"}
    expected |= dict.fromkeys(("crux_interval_start", "crux_interval_end", "crux_requested_at"), "TEXT")
    assert types == expected
    (row,) = database.query(f"SELECT quantity, estimated_tax, dropship_fee, name, crux_requested_at FROM {TABLE}")
    # in UTC and of one length, so that texts compare like instants
    instant = "2026-01-05 00:10:00.000000+00:00"
    assert row == {
        "quantity": None,
        "estimated_tax": "9999999999999999.99",
        "dropship_fee": "2.00",
        "name": "",
        "crux_requested_at": instant,
    }
    (index,) = database.query(f"PRAGMA index_list({TABLE})")
    assert (index["name"], index["unique"]) == (f"{TABLE}_order_uuid_idx", 0)


@pytest.mark.slow
def test_every_keyword_of_the_database_is_the_name_of_a_column_and_of_a_table(
    loading: Loading, database: Database
) -> None:
    body = rows_file({word: f"value of {word}" for word in KEYWORDS}, columns=[*NAMES, *KEYWORDS])
    assert loading.run(body) == (1, 0, 0)
    assert loading.run(body, minutes=1) == (0, 1, 0)
    (row,) = database.rows()
    assert {word: row[word] for word in KEYWORDS} == {word: f"value of {word}" for word in KEYWORDS}
    for word in KEYWORDS:
        assert loading.run(lines("a"), table=word) == (1, 0, 0)
        assert loading.run(lines("a"), table=word, minutes=1) == (0, 1, 0)


def test_a_name_that_sqlite_reserves_is_a_clear_error(loading: Loading) -> None:
    with pytest.raises(AirflowException, match="OperationalError: object name reserved for internal use: sqlite_x"):
        loading.run(lines("a"), table="sqlite_x")


def test_a_database_that_is_locked_too_long_stays_as_it_was(loading: Loading, database: Database, monkeypatch) -> None:
    loading.run(lines("a"))
    before = database.rows()
    # SQLite waits five seconds
    real = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *args, **kwargs: real(*args, **kwargs, timeout=0.01))
    other = database.connect()
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(AirflowException, match=r"the table is as it was\. .*OperationalError: database is locked"):
        loading.run(lines("a", "b"), minutes=1)
    other.close()
    assert database.rows() == before
    database.assert_nothing_is_left()
    assert loading.run(lines("a", "b"), minutes=1) == (1, 1, 0)


def test_a_constraint_is_named(loading: Loading, database: Database) -> None:
    loading.run(lines("a"))
    database.execute(f"CREATE UNIQUE INDEX only_once ON {TABLE} (phone)")
    with pytest.raises(AirflowException, match=rf"IntegrityError: UNIQUE constraint failed: {TABLE}\.phone"):
        loading.run(lines("b"), minutes=1)


def test_without_pyarrow_the_task_names_the_extra(loading: Loading, monkeypatch) -> None:
    monkeypatch.setattr("airflow_provider_crux.files.store.find_spec", lambda name: None)
    uuid = loading.export()
    with pytest.raises(AirflowFailException, match=r"airflow-provider-crux\[sql\]"):
        loading.operator(uuid).execute(loading.new_context(loading.interval(uuid)))
    assert loading.sandbox.requests == []


# names


@given(st.text() | st.from_regex(r"[A-Za-z0-9_.]*", fullmatch=True) | st.none() | st.integers())
def test_a_table_is_one_or_two_plain_names(table: object) -> None:
    part = "[A-Za-z_][A-Za-z0-9_]{0,62}"
    is_valid = isinstance(table, str) and re.fullmatch(rf"{part}(\.{part})?", table, re.ASCII) is not None
    assert (table_problems(table, ("a",)) == []) is is_valid


@pytest.mark.parametrize("key", [None, "a", [], ["a", "a"], ["a b"], [""], ["a", None], {"a"}, 7, ['a"']])
def test_a_key_is_a_sequence_of_different_plain_names(key: object) -> None:
    (problem,) = table_problems("orders", key)
    assert problem.startswith("key: ")
    assert table_problems("orders", ["a", "B_2"]) == table_problems("orders", ("_c",)) == []


def fitting(*names: str, **reserved: frozenset[str]) -> tuple[list[str], list[str]]:
    """Return the names that a table can have, and the warnings about the others."""
    plan = fit_columns(plan_columns(names), **reserved)
    return [planned.column.name for planned in plan.columns], [name for name in plan.warnings if "not stored" in name]


@given(
    st.text(
        st.sampled_from("aZ_09 .-\"'`;()[]%?:\\\n\0é\udcff") | st.characters(exclude_categories=["Cs"]), max_size=66
    )
)
def test_a_column_that_is_loaded_can_stand_in_quotes(name: str) -> None:
    assume(name.lower() not in {column.name for column in (*COLUMNS, *EXPORT_COLUMNS)})
    columns, warnings = fitting("order_uuid", name)
    assert len(columns) + len(warnings) == 2
    if not warnings:
        connection = sqlite3.connect(":memory:")
        connection.execute(f'CREATE TABLE t ("{name}" text)')
        (entry,) = connection.execute("SELECT * FROM t").description
        connection.close()
        assert entry[0] == name
    else:
        assert re.search('["\0\udcff]', name) or not 1 <= len(name.encode()) <= 63


def test_a_column_that_a_table_cannot_have_is_left_out_with_a_warning() -> None:
    odd = ["cost (USD)", "Größe", "sku#", "_id", "é" * 31]
    assert fitting(*odd) == (odd, [])
    names = ["City", "Quantity", "city", "order_uuid", "Note", "note", "CRUX_REQUESTED_AT", "xmin", "é" * 32, 'a"b', ""]
    columns, warnings = fitting(*names, reserved=frozenset({"xmin"}))
    assert columns == ["city", "order_uuid", "Note"]
    alike = "its name differs only in case from that of another column"
    reasons = [
        ("Column 'City'", alike),
        ("Column 'Quantity'", alike),
        ("Column 'note'", alike),
        ("Column 'CRUX_REQUESTED_AT'", alike),
        ("Column 'xmin'", "the database reserves its name"),
        (f"Column {'é' * 32!r}", "its name has 64 bytes, and that of a table's column has at most 63"),
        ("Column 'a\"b'", "its name contains a quote"),
        ("A column without a name", "the columns of a table have names"),
    ]
    assert warnings == [f"{column} is unknown: it is not stored, because {reason}" for column, reason in reasons]
