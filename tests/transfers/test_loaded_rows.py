"""
What is in the table after exports were loaded: the values, and of each order its latest state.

Here the database is SQLite; ``tests/postgres`` runs the same tests against PostgreSQL.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from itertools import chain
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import (
    AirflowFailException,
)
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from airflow_provider_crux.files.columns import COLUMNS
from tests.examples import examples
from tests.transfers.table import CRUX_COLUMNS, NAMES, REQUESTED_AT, TABLE, lines, rows_file, typed_row
from tests.transfers.transfer import INTERVAL, file_content, parse

if TYPE_CHECKING:
    from tests.transfers.table import Database, Loading


# what is loaded


def test_every_line_item_is_loaded_with_typed_values(loading: Loading, database: Database) -> None:
    uuid = loading.export()
    assert loading.run(uuid=uuid) == (15, 0, 0)
    in_file = [typed_row(row) for row in parse(file_content(uuid))]
    origin = {
        "crux_export_uuid": uuid,
        "crux_interval_start": datetime(2026, 1, 4, tzinfo=UTC),
        "crux_interval_end": datetime(2026, 1, 5, tzinfo=UTC),
        "crux_requested_at": REQUESTED_AT,
    }
    expected = sorted(({**row, **origin} for row in in_file), key=lambda row: row["line_item_uuid"])
    rows = database.rows()
    assert rows == expected
    assert list(rows[0]) == [*NAMES, *CRUX_COLUMNS]
    assert loading.pushed == {
        "export_table": {
            "table": TABLE,
            "rows": 33,
            "keys": 15,
            "inserted": 15,
            "replaced": 0,
            "unchanged": 0,
            "columns": NAMES,
            "export_uuid": uuid,
        }
    }
    database.assert_nothing_is_left()


def test_money_and_numbers_in_every_published_form_are_exact(loading: Loading, database: Database) -> None:
    amounts = {
        "14.65": "14.65",
        "": None,
        "US$0.00": "0",
        "$1,234.50": "1234.50",
        "-3": "-3",
        "-US$.5": "-0.5",
        " 7.10 ": "7.10",
        "0.30": "0.30",
        "9999999999999.99": "9999999999999.99",
    }
    quantities = ["", "0", "-1", " 12 ", "999999999999999999", "1", "2", "3", "4"]
    rows = [
        {"line_item_uuid": str(index), "estimated_tax": amount, "quantity": quantity}
        for index, (amount, quantity) in enumerate(zip(amounts, quantities, strict=True))
    ]
    loading.run(rows_file(*rows))
    stored = database.by_key("estimated_tax", "quantity")
    assert [stored[str(index)] for index in range(len(rows))] == [
        (None if amount is None else Decimal(amount), int(quantity) if quantity else None)
        for amount, quantity in zip(amounts.values(), quantities, strict=True)
    ]


def test_text_is_loaded_character_by_character(loading: Loading, database: Database) -> None:
    texts = [
        "",
        " ",
        "NULL",
        "null",
        "\\N",
        "\\.",
        "line\n\\.\nline",
        "\\.\n",
        "\r\n\\.\r\n",
        'a"b',
        '""',
        "a,b",
        "tab\there",
        "back\\slash\\n",
        "'; DROP TABLE order_lines; --",
        "\r\n two \n lines \r",
        "Zoë 山田 🎁 \u200b\u00a0\ufeff",
        "%s %(name)s {0} $1 :name ?",
        "x" * 300_000,
        "\x01\x1f\x7f",
    ]
    loading.run(rows_file(*({"line_item_uuid": str(index), "name": text} for index, text in enumerate(texts))))
    stored = database.by_key("name")
    assert [stored[str(index)] for index in range(len(texts))] == [(text,) for text in texts]
    # the same through the statement that merges
    loading.run(
        rows_file(*({"line_item_uuid": str(index), "city": text} for index, text in enumerate(texts))), minutes=1
    )
    stored = database.by_key("city")
    assert [stored[str(index)] for index in range(len(texts))] == [(text,) for text in texts]


any_text = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30)


@examples(30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(any_text, any_text), min_size=1, max_size=10))
def test_any_text_is_loaded_as_it_is(
    loading: Loading, database: Database, batches_of, texts: list[tuple[str, str]]
) -> None:
    batches_of(3)
    database.execute(f"DROP TABLE IF EXISTS {TABLE}")
    rows = [
        {"line_item_uuid": str(index), "name": name, "retailer_provided_notes": notes}
        for index, (name, notes) in enumerate(texts)
    ]
    loading.run(rows_file(*rows))
    stored = database.by_key("name", "retailer_provided_notes")
    assert [stored[str(index)] for index in range(len(texts))] == texts


def test_the_size_of_a_batch_changes_nothing(loading: Loading, database: Database, batches_of) -> None:
    uuid = loading.export()
    loading.run(uuid=uuid)
    expected = database.rows()
    for rows in (1, 7, 33, 10**9):
        batches_of(rows)
        database.execute(f"DROP TABLE {TABLE}")
        assert loading.run(uuid=uuid) == (15, 0, 0)
        assert database.rows() == expected


# merge


def test_a_later_export_replaces_a_row_and_an_earlier_one_never_does(loading: Loading, database: Database) -> None:
    assert loading.run(lines("a", "b", name="first")) == (2, 0, 0)
    assert loading.run(lines("b", "c", name="second"), minutes=5) == (1, 1, 0)
    assert loading.run(lines("a", "b", "c", "d", name="oldest"), minutes=-5) == (1, 0, 3)
    assert database.by_key("name") == {"a": ("first",), "b": ("second",), "c": ("second",), "d": ("oldest",)}
    # by a microsecond
    assert loading.run(lines("c", name="third"), minutes=5 + 1 / 60_000_000) == (0, 1, 0)
    assert database.by_key("name")["c"] == ("third",)


def test_a_row_is_replaced_as_a_whole(loading: Loading, database: Database) -> None:
    loading.run(lines("a", estimated_tax="1.00", name="Ada"))
    uuid = loading.export()
    loading.run(lines("a", estimated_tax="", name=""), uuid=uuid, minutes=1)
    (row,) = database.rows()
    assert (row["estimated_tax"], row["name"], row["crux_export_uuid"]) == (None, "", uuid)
    assert (row["crux_requested_at"] - REQUESTED_AT).total_seconds() == 60


def test_the_same_export_twice_changes_nothing(loading: Loading, database: Database) -> None:
    uuid = loading.export()
    loading.run(uuid=uuid)
    rows = database.rows()
    assert loading.run(uuid=uuid) == (0, 0, 15)
    assert database.rows() == rows


def test_overlapping_exports_hold_every_order_in_its_latest_state(loading: Loading, database: Database) -> None:
    three_days, day = loading.export(days=3), loading.export()
    assert loading.run(uuid=three_days) == (len({row["order_uuid"] for row in parse(file_content(three_days))}), 0, 0)
    assert loading.run(uuid=day, minutes=1) == (0, 15, 0)
    by_export = database.by_key("crux_export_uuid")
    assert sorted(by_export) == sorted(row["line_item_uuid"] for row in parse(file_content(three_days)))
    in_day = {row["line_item_uuid"] for row in parse(file_content(day))}
    assert {name for name, (uuid,) in by_export.items() if uuid == day} == in_day


def test_exports_of_the_same_moment_lead_to_the_same_table_in_either_order(
    loading: Loading, database: Database
) -> None:
    one, two = loading.export(), loading.export()
    tables = []
    for order in ((one, two), (two, one)):
        for uuid in order:
            loading.run(lines("a", name=uuid), uuid=uuid)
        tables.append(database.rows())
        database.execute(f"DROP TABLE {TABLE}")
    assert tables[0] == tables[1]
    assert tables[0][0]["name"] == max(one, two)


def test_the_rows_of_an_order_are_replaced_together(loading: Loading, database: Database) -> None:
    def file(*items: tuple[str, str]) -> bytes:
        return rows_file(*({"order_uuid": order, "line_item_uuid": item} for order, item in items))

    def items() -> list[tuple[str, str]]:
        return sorted((row["order_uuid"], row["line_item_uuid"]) for row in database.rows())

    # the same row twice, and items that have no name
    assert loading.run(file(("a", "1"), ("a", "2"), ("b", "3"), ("b", "3"), ("c", ""), ("d", ""))) == (4, 0, 0)
    first = [("a", "1"), ("a", "2"), ("b", "3"), ("b", "3"), ("c", ""), ("d", "")]
    assert items() == first
    # one item has left order a, and another one has come
    assert loading.run(file(("a", "2"), ("a", "4"), ("b", "3"), ("e", "5")), minutes=2) == (1, 2, 0)
    assert items() == [("a", "2"), ("a", "4"), ("b", "3"), ("c", ""), ("d", ""), ("e", "5")]
    # an export that was requested in between, loaded too late
    assert loading.run(file(("a", "1"), ("c", "6"), ("e", "5"), ("e", "7")), minutes=1) == (0, 1, 2)
    assert items() == [("a", "2"), ("a", "4"), ("b", "3"), ("c", "6"), ("d", ""), ("e", "5")]


LISTS = {name: [column.name for column in COLUMNS if name in column.lists] for name in COLUMNS[3].lists}
KEPT = ("order_uuid", "line_item_uuid", "quantity", "weight", "crux_export_uuid")

exports = st.lists(
    st.tuples(
        # when it was requested; some at the same moment
        st.integers(0, 4),
        st.sampled_from(sorted(LISTS)),
        st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("12"), st.integers(0, 9)), max_size=6),
    ),
    min_size=1,
    max_size=4,
)


@examples(25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data(), exports)
def test_any_sequence_of_exports_leads_to_the_same_table(
    loading: Loading,
    database: Database,
    data: st.DataObject,
    exports: list[tuple[int, str, list[tuple[str, str, int]]]],
) -> None:
    database.execute(f"DROP TABLE IF EXISTS {TABLE}")
    uuids = [loading.export() for _ in exports]
    indexes = list(range(len(exports)))
    again = data.draw(st.lists(st.sampled_from(indexes), max_size=3))
    for index in data.draw(st.permutations(indexes + again)):
        minutes, columns, rows = exports[index]
        values = [{"order_uuid": order, "line_item_uuid": item, "quantity": str(n)} for order, item, n in rows]
        loading.run(rows_file(*values, columns=LISTS[columns]), uuid=uuids[index], minutes=minutes)
    latest: dict[str, list[tuple[Any, ...]]] = {}
    for (_, columns, rows), uuid in sorted(zip(exports, uuids, strict=True), key=lambda pair: (pair[0][0], pair[1])):
        has_items = "line_item_uuid" in LISTS[columns]
        of_order: dict[str, list[tuple[Any, ...]]] = {}
        for order, item, number in rows:
            row = (order, item if has_items else None, number, None if has_items else "", uuid)
            of_order.setdefault(order, []).append(row)
        latest |= of_order
    table = [tuple(row.get(name) for name in KEPT) for row in database.rows()]
    assert sorted(table, key=str) == sorted(chain.from_iterable(latest.values()), key=str)


def test_the_key_may_be_the_line_item(loading: Loading, database: Database) -> None:
    rows = [{"order_uuid": "a", "line_item_uuid": item} for item in "12"]
    key = ("line_item_uuid",)
    assert loading.run(rows_file(*rows), key=key) == (2, 0, 0)
    assert loading.run(rows_file({**rows[0], "name": "new"}), key=key, minutes=1) == (0, 1, 0)
    assert database.by_key("name") == {"1": ("new",), "2": ("name 1",)}


def test_a_table_whose_key_changes_holds_the_rows_of_the_latest_export_of_a_key(
    loading: Loading, database: Database
) -> None:
    def file(*items: str) -> bytes:
        return rows_file(*({"order_uuid": "a", "line_item_uuid": item} for item in items))

    loading.run(file("1", "2"), key=("line_item_uuid",))
    loading.run(file("2"), key=("line_item_uuid",), minutes=2)
    # between both: older than one row of the order, and later than the other
    assert loading.run(file("1", "3"), minutes=1) == (0, 0, 1)
    assert list(database.by_key()) == ["2"]


def test_the_key_may_have_several_columns(loading: Loading, database: Database) -> None:
    rows = [{"order_uuid": order, "line_item_uuid": ""} for order in "ab"]
    key = ("order_uuid", "line_item_uuid", "crux_interval_start")
    assert loading.run(rows_file(*rows), key=key) == (2, 0, 0)
    assert loading.run(rows_file(rows[0], {"order_uuid": "c"}), key=key, minutes=1) == (1, 1, 0)
    assert sorted(row["order_uuid"] for row in database.rows()) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("key", "column"), [(("order_uuid", "quantity"), "quantity"), (("line_item_uuid",), "line_item_uuid")]
)
def test_a_row_without_a_value_in_the_key_is_an_error(
    loading: Loading, database: Database, key: tuple[str, ...], column: str
) -> None:
    row = {"order_uuid": "o", "line_item_uuid": "a", "quantity": "1"}
    body = rows_file(row, {**row, column: ""})
    with pytest.raises(
        AirflowFailException, match=rf"row 2 has no value in column '{column}', which is in the key; use"
    ):
        loading.run(body, key=key)
    assert TABLE not in database.tables()
    database.assert_nothing_is_left()


def test_an_export_of_some_line_items_is_loaded_with_a_warning(loading: Loading, logged) -> None:
    uuid = loading.export()
    request = {**INTERVAL["request"], "line_item_status": ["unallocated"]}
    for key in (("order_uuid",), ("line_item_uuid",)):
        context = loading.new_context({**loading.interval(uuid), "request": request})
        logged()
        loading.operator(uuid, key=key).execute(context)
        warning = "with line_item_status=['unallocated'], so it may contain only some line items of an order"
        lines = logged()
        assert (warning in lines) == (key == ("order_uuid",))
        assert ("Remove the filter or, if the file has that column, use key" in lines) == (warning in lines)
