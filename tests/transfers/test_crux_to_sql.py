"""
The load into a table as a task runs it: the sandbox is Crux Connect, and the database is real.

Here it is SQLite; ``tests/postgres`` runs the same tests against PostgreSQL.
"""

from __future__ import annotations

import traceback
from datetime import UTC, datetime
from decimal import Decimal
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import (
    AirflowException,
    AirflowFailException,
    AirflowSkipException,
    Asset,
    TaskDeferred,
)
from airflow.providers.openlineage.extractors.base import DefaultExtractor
from airflow.providers.openlineage.extractors.manager import ExtractorManager
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_crux.columns import COLUMNS, ColumnType
from airflow_provider_crux.exceptions import CruxInvalidRequestError, CruxUnavailableError
from tests.transfers.table import CRUX_COLUMNS, MONEY, REQUESTED_AT, TABLE
from tests.transfers.transfer import FILE_PATH, INTERVAL, ROW, csv_file, file_content, parse, resume

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.transfers.table import Database, Loading

NAMES = [column.name for column in COLUMNS]
TEXTS = [column.name for column in COLUMNS if column.type is ColumnType.TEXT]
PERSONAL = {column.name for column in COLUMNS if column.personal}


def lines(*names: str, **values: str) -> bytes:
    """Return a file with a row for each line item, which all have these values."""
    return csv_file(*({"line_item_uuid": name, **values} for name in names))


def typed(row: dict[str, str]) -> dict[str, Any]:
    """Return the values of a file's row as a table holds them."""

    def value(name: str, text: str) -> Any:
        if name in MONEY:
            return Decimal(text.removeprefix("US$")) if text else None
        return (int(text) if text else None) if name == "quantity" else text

    return {name: value(name, text) for name, text in row.items()}


def whole_traceback(error: BaseException) -> str:
    """Return everything that is reachable from an error, also what a traceback hides."""
    texts, visited, pending = [], set(), [error]
    while pending:
        current = pending.pop()
        visited.add(current)
        texts += [*traceback.format_exception(current, chain=False), repr(current)]
        pending += [other for other in (current.__cause__, current.__context__) if other and other not in visited]
    return "\n".join(texts)


# what is loaded


def test_every_line_item_is_loaded_with_typed_values(loading: Loading, database: Database) -> None:
    uuid = loading.export()
    assert loading.run(uuid=uuid) == (33, 0, 0)
    in_file = [typed(row) for row in parse(file_content(uuid))]
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
            "inserted": 33,
            "updated": 0,
            "unchanged": 0,
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
    loading.run(csv_file(*rows))
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
    loading.run(csv_file(*({"line_item_uuid": str(index), "name": text} for index, text in enumerate(texts))))
    stored = database.by_key("name")
    assert [stored[str(index)] for index in range(len(texts))] == [(text,) for text in texts]
    # the same through the statement that merges
    loading.run(
        csv_file(*({"line_item_uuid": str(index), "city": text} for index, text in enumerate(texts))), minutes=1
    )
    stored = database.by_key("city")
    assert [stored[str(index)] for index in range(len(texts))] == [(text,) for text in texts]


any_text = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(any_text, any_text), min_size=1, max_size=10))
def test_any_text_is_loaded_as_it_is(loading: Loading, database: Database, texts: list[tuple[str, str]]) -> None:
    database.execute(f"DROP TABLE IF EXISTS {TABLE}")
    rows = [
        {"line_item_uuid": str(index), "name": name, "retailer_provided_notes": notes}
        for index, (name, notes) in enumerate(texts)
    ]
    loading.run(csv_file(*rows), batch_size=3)
    stored = database.by_key("name", "retailer_provided_notes")
    assert [stored[str(index)] for index in range(len(texts))] == texts


def test_the_size_of_a_batch_changes_nothing(loading: Loading, database: Database) -> None:
    uuid = loading.export()
    loading.run(uuid=uuid)
    expected = database.rows()
    for batch_size in (1, 7, 33, 10**9):
        database.execute(f"DROP TABLE {TABLE}")
        assert loading.run(uuid=uuid, batch_size=batch_size) == (33, 0, 0)
        assert database.rows() == expected


# upsert


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
    assert loading.run(uuid=uuid) == (0, 0, 33)
    assert database.rows() == rows


def test_overlapping_exports_hold_every_line_item_once_in_its_latest_state(
    loading: Loading, database: Database
) -> None:
    three_days, day = loading.export(days=3), loading.export()
    assert loading.run(uuid=three_days) == (len(parse(file_content(three_days))), 0, 0)
    assert loading.run(uuid=day, minutes=1)[1:] == (33, 0)
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


exports = st.lists(
    st.tuples(
        # when it was requested; some at the same moment
        st.integers(0, 4),
        st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 9)), max_size=5, unique_by=lambda row: row[0]),
    ),
    min_size=1,
    max_size=4,
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data(), exports)
def test_any_sequence_of_exports_leads_to_the_same_table(
    loading: Loading, database: Database, data: st.DataObject, exports: list[tuple[int, list[tuple[str, int]]]]
) -> None:
    database.execute(f"DROP TABLE IF EXISTS {TABLE}")
    uuids = [loading.export() for _ in exports]
    indexes = list(range(len(exports)))
    again = data.draw(st.lists(st.sampled_from(indexes), max_size=3))
    for index in data.draw(st.permutations(indexes + again)):
        minutes, items = exports[index]
        rows = [{"line_item_uuid": key, "quantity": str(quantity), "name": uuids[index]} for key, quantity in items]
        loading.run(csv_file(*rows), uuid=uuids[index], minutes=minutes)
    latest: dict[str, tuple[tuple[int, str], int]] = {}
    for uuid, (minutes, items) in zip(uuids, exports, strict=True):
        for key, quantity in items:
            latest[key] = max(latest.get(key, ((-1, ""), 0)), ((minutes, uuid), quantity))
    assert database.by_key("crux_export_uuid", "name", "quantity") == {
        key: (uuid, uuid, quantity) for key, ((_, uuid), quantity) in latest.items()
    }


def test_the_key_may_have_several_columns(loading: Loading, database: Database) -> None:
    rows = [{"order_uuid": order, "line_item_uuid": ""} for order in "ab"]
    key = ("order_uuid", "line_item_uuid")
    with pytest.raises(AirflowFailException, match=r"1 values of the key .*line_item_uuid.*occur in several rows"):
        loading.run(csv_file(*rows))
    assert loading.run(csv_file(*rows), key=key) == (2, 0, 0)
    assert loading.run(csv_file(rows[0], {"order_uuid": "c"}), key=key, minutes=1) == (1, 1, 0)
    assert sorted(row["order_uuid"] for row in database.rows()) == ["a", "b", "c"]


def test_a_key_that_is_missing_in_a_row_is_an_error(loading: Loading, database: Database) -> None:
    body = csv_file({"line_item_uuid": "a", "quantity": ""}, {"line_item_uuid": "b", "quantity": "1"})
    with pytest.raises(AirflowFailException, match=r"1 rows have no value in the key .*quantity"):
        loading.run(body, key=("order_uuid", "quantity"))
    assert TABLE not in database.tables()
    database.assert_nothing_is_left()


# the table's columns


def test_an_unknown_column_is_added_as_text_with_a_warning(loading: Loading, database: Database, caplog) -> None:
    loading.run(lines("a"))
    body = csv_file({"line_item_uuid": "b", "gift note": "For Ada", "N2": ""}, columns=[*NAMES, "gift note", "N2"])
    assert loading.run(body, minutes=1) == (1, 0, 0)
    assert "'gift note' of the file is not published: it is stored as text" in caplog.text
    rows = database.rows()
    assert [row["gift note"] for row in rows] == [None, "For Ada"]
    # a file without it again
    assert loading.run(lines("b", "c"), minutes=2) == (1, 1, 0)
    assert [row["gift note"] for row in database.rows()] == [None, "For Ada", None]


def test_an_unknown_column_is_refused_before_the_table_is_touched(loading: Loading, database: Database) -> None:
    loading.run(lines("a"))
    rows = database.rows()
    body = csv_file({"line_item_uuid": "b"}, columns=[*NAMES, "gift_note"])
    with pytest.raises(AirflowFailException, match="column 'gift_note' is not published, and on_unknown_column is 'f"):
        loading.run(body, minutes=1, on_unknown_column="fail")
    assert database.rows() == rows
    assert loading.run(lines("b"), minutes=1, on_unknown_column="fail") == (1, 0, 0)


def test_a_missing_published_column_is_an_error(loading: Loading, database: Database) -> None:
    with pytest.raises(AirflowFailException, match="column 'quantity' is missing"):
        loading.run(csv_file({}, columns=[name for name in NAMES if name != "quantity"]))
    assert TABLE not in database.tables()


def test_without_create_table_the_table_must_exist_and_have_every_column(loading: Loading, database: Database) -> None:
    with pytest.raises(AirflowException, match=rf"table '{TABLE}'; the table is as it was.*{TABLE}"):
        loading.run(lines("a"), create_table=False)
    assert TABLE not in database.tables()
    columns = ", ".join(f"{name} text" for name in TEXTS)
    database.execute(f"CREATE TABLE {TABLE} ({columns}, PRIMARY KEY (line_item_uuid))")
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
        f"INSERT INTO {TABLE} (mine, line_item_uuid, name) VALUES (1, 'a', 'by hand'), (2, 'z', 'by hand')"
    )
    # a row that no export loaded is older than every export
    assert loading.run(lines("a", "b", name="export")) == (1, 1, 0)
    assert database.by_key("mine", "name") == {"a": (1, "export"), "b": (7, "export"), "z": (2, "by hand")}


def test_a_table_without_a_unique_key_is_an_error(loading: Loading, database: Database) -> None:
    columns = ", ".join(f"{name} text" for name in TEXTS)
    database.execute(f"CREATE TABLE {TABLE} ({columns})")
    with pytest.raises(AirflowException, match=r"(?i)The database says: .*(constraint)"):
        loading.run(lines("a"))
    assert database.query(f"SELECT * FROM {TABLE}") == []
    database.assert_nothing_is_left()


# personal data


def test_dropped_personal_data_is_not_in_the_table(loading: Loading, database: Database) -> None:
    secrets = {name: f"secret {name}" for name in (*PERSONAL, "unknown")}
    loading.run(csv_file(secrets, columns=[*NAMES, "unknown"]), personal_data="drop")
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
    loading.run(csv_file(*rows), personal_data="hash")
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
    with pytest.raises(AirflowFailException, match="key: the columns name are not loaded"):
        loading.run(lines("a"), personal_data="drop", key=("name",))
    assert database.tables() == set()


# what the task tells


def test_the_event_of_every_asset_describes_the_load(loading: Loading) -> None:
    uuid = loading.export()
    loading.run(uuid=uuid, outlets=[Asset("orders"), Asset("lake")])
    loading.run(uuid=uuid, minutes=1, outlets=[Asset("orders"), Asset("lake")])
    extra = {
        "mine": 1,
        "export_uuid": uuid,
        "interval_start": INTERVAL["interval_start"],
        "interval_end": INTERVAL["interval_end"],
        "rows": 33,
        "inserted": 0,
        "updated": 33,
        "unchanged": 0,
    }
    by_uri = loading.context["outlet_events"].by_uri
    assert {uri: event.extra for uri, event in by_uri.items()} == {
        Asset("orders").uri: extra,
        Asset("lake").uri: extra,
    }


def test_no_xcom_is_pushed_if_the_dag_wants_none(loading: Loading, database: Database) -> None:
    uuid = loading.export()
    context = loading.new_context(loading.interval(uuid))
    loading.operator(uuid, do_xcom_push=False).execute(context)
    assert loading.pushed == {}
    assert len(database.rows()) == 33


def test_an_export_without_orders_skips_the_task_only_if_it_should(loading: Loading, database: Database) -> None:
    empty = csv_file()
    loading.run(lines("a"))
    rows = database.rows()
    with pytest.raises(AirflowSkipException, match="has no orders"):
        loading.run(empty, skip_if_empty=True, outlets=[Asset("orders")])
    assert (loading.pushed, loading.context["outlet_events"].by_uri) == ({}, {})
    assert loading.run(empty) == (0, 0, 0)
    assert database.rows() == rows
    assert loading.run(lines("b"), skip_if_empty=True) == (1, 0, 0)


def test_the_lineage_names_the_table_as_the_hook_does(loading: Loading, database: Database) -> None:
    operator = loading.operator(uuid := loading.export())
    assert operator.get_openlineage_facets_on_complete(None) is None
    operator.execute(loading.new_context(loading.interval(uuid)))
    assert isinstance(ExtractorManager()._get_extractor(operator), DefaultExtractor)
    lineage = DefaultExtractor(operator).extract_on_complete(SimpleNamespace(task=operator))
    (source,) = lineage.inputs
    assert (source.namespace, source.name) == (f"crux://{loading.sandbox.url.removeprefix('http://')}", "orders")
    assert [(output.namespace, output.name) for output in lineage.outputs] == database.datasets
    assert [output.outputFacets["outputStatistics"].rowCount for output in lineage.outputs] == [33] * len(
        database.datasets
    )


# waiting, and where the export comes from


def test_a_deferrable_load_waits_in_the_trigger_and_loads_in_the_worker(loading: Loading, database: Database) -> None:
    uuid = loading.sandbox.add_export(loading.sandbox.get_export(loading.export()).query)
    context = loading.new_context(loading.interval(uuid))
    with pytest.raises(TaskDeferred) as deferral:
        loading.operator(uuid, deferrable=True).execute(context)
    assert database.tables() == set()
    loading.sandbox.finish_export(uuid)
    kwargs = {"event": {"export_uuid": uuid, "state": "done"}, **deferral.value.kwargs}
    assert loading.operator(uuid).resume_execution("execute_complete", kwargs, context) == TABLE
    assert len(database.rows()) == 33


@pytest.mark.parametrize("pushed", [[], [None], ["requested_at"], [{"export_uuid": "other"}]])
def test_an_export_of_which_nobody_knows_when_it_was_requested_is_not_loaded(
    loading: Loading, database: Database, pushed: list[Any]
) -> None:
    uuid = loading.export()
    if pushed == ["requested_at"]:
        pushed = [loading.interval(uuid) | {"requested_at": None}]
    elif pushed == [{"export_uuid": "other"}]:
        pushed = [loading.interval(loading.export())]
    context = loading.new_context(*pushed)
    operator = loading.operator(uuid)
    before = len(loading.sandbox.requests)
    for run in (lambda: operator.execute(context), lambda: resume(operator, context, export_uuid=uuid, state="done")):
        with pytest.raises(AirflowFailException, match=rf"unknown when export {uuid} was requested.*directly upstream"):
            run()
    operator.upstream_task_ids.clear()
    with pytest.raises(AirflowFailException, match="directly upstream"):
        operator.execute(loading.new_context(loading.interval(uuid)))
    assert len(loading.sandbox.requests) == before
    assert database.tables() == set()


def test_a_mapped_upstream_task_is_searched_for_the_export(loading: Loading, database: Database) -> None:
    uuids = [loading.export() for _ in range(3)]
    pushed = [loading.interval(uuid, REQUESTED_AT.replace(minute=minute)) for minute, uuid in enumerate(uuids)]
    for uuid in uuids:
        context = loading.new_context(None, *pushed)
        loading.operator(uuid).execute(context)
        assert context["ti"].pulls == [(["export"], "export_interval")]
    assert {(row["crux_export_uuid"], row["crux_requested_at"].minute) for row in database.rows()} == {(uuids[2], 2)}


# arguments


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"table": "a.b.c"}, "table: str 'a.b.c' is not the name of a table"),
        ({"table": 'x"; DROP TABLE y; --'}, "table: .*is not the name of a table"),
        ({"table": "order lines"}, "table: .*is not the name of a table"),
        ({"table": "größe"}, "table: .*is not the name of a table"),
        ({"table": "x" * 64}, "table: .*is not the name of a table"),
        ({"table": ""}, "table: .*is not the name of a table"),
        ({"table": None}, "table: .*is not the name of a table"),
        ({"key": ()}, r"key: tuple \(\) is not a sequence"),
        ({"key": "line_item_uuid"}, "key: str 'line_item_uuid' is not a sequence"),
        ({"key": ("a", "a")}, "key: .*is not a sequence of different"),
        ({"key": ('a" OR 1=1',)}, "key: .*is not a sequence of different"),
        ({"personal_data": "mask"}, "personal_data: str 'mask' is unknown; use 'keep' or 'drop' or 'hash'"),
        ({"on_unknown_column": None}, "on_unknown_column: .*use 'keep' or 'fail'"),
        ({"create_table": "no"}, "create_table: str 'no' is unknown"),
        ({"batch_size": 0}, "batch_size: int 0 is not a number of rows above 0"),
        ({"batch_size": True}, "batch_size: bool True is not a number of rows above 0"),
        ({"check_count": "always"}, "check_count: str 'always' is unknown; use 'warn', 'fail' or None"),
        ({"poll_interval": -1}, "poll_interval: -1 is not"),
    ],
)
def test_an_invalid_argument_fails_when_the_dag_is_parsed(
    loading: Loading, arguments: dict[str, Any], problem: str
) -> None:
    with pytest.raises(CruxInvalidRequestError, match=f"Task 'load': .*{problem}"):
        loading.operator("uuid", **arguments)


@pytest.mark.parametrize(
    "table",
    [
        'x"; DROP TABLE order_lines; --',
        "order_lines; DROP TABLE order_lines",
        "order_lines -- ",
        "order_lines/**/",
        "order_lines AS t (",
        "ord\u0435r_lines",  # a Cyrillic letter
        "public.order_lines.x",
        ".order_lines",
        "order_lines\n",
        "x" * 64,
        "",
        None,
        7,
    ],
)
def test_what_a_template_makes_of_the_table_cannot_inject_sql(
    loading: Loading, database: Database, table: object
) -> None:
    loading.run(lines("a"))
    before = database.rows(), database.tables(), len(loading.sandbox.requests)
    uuid = loading.export()
    operator = loading.operator(uuid, table="{{ params.table }}")
    operator.table = table  # type: ignore[assignment] - rendered
    context = loading.new_context(loading.interval(uuid))
    for run in (lambda: operator.execute(context), lambda: resume(operator, context, export_uuid=uuid, state="done")):
        with pytest.raises(AirflowFailException, match=r"table: .* is not the name of a table; use letters"):
            run()
    assert (database.rows(), database.tables(), len(loading.sandbox.requests)) == before


def test_the_table_may_have_upper_case_letters_and_a_reserved_name(loading: Loading, database: Database) -> None:
    for table in ("Order_Lines", "order", "SELECT"):
        assert loading.run(lines("a"), table=table) == (1, 0, 0)
        assert loading.run(lines("a", "b"), table=table, minutes=1) == (1, 1, 0)
    # as the database reads a name without quotes
    assert len(database.rows("order_lines")) == 2
    assert {"order_lines", "order", "select"} == {name.lower() for name in database.tables()}


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
    body = csv_file({"line_item_uuid": "a", **values}, columns=[*NAMES, *names])
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
        ("x" * 64, "has a name that no table can have"),
        ("NAME", "differ only in upper and lower case"),
        ("name", "occurs twice"),
        ("crux_requested_at", "is one that this provider adds"),
    ],
)
def test_a_crafted_header_is_an_error(loading: Loading, database: Database, column: str, problem: str) -> None:
    loading.run(lines("a"))
    before = database.rows(), database.tables()
    header, *rest = csv_file({"line_item_uuid": "b"}).split(b"\r\n")
    body = b"\r\n".join([header + f",{column}".encode(), rest[0] + b",x", b""])
    with pytest.raises(AirflowFailException, match=problem):
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
    body = csv_file({"line_item_uuid": "a", **values}, columns=[*NAMES, *names])
    try:
        loading.run(body)
    except AirflowException:
        assert TABLE not in database.tables()
    else:
        (row,) = database.rows()
        row_values = {name.lower(): value for name, value in row.items()}
        assert [row_values[name.lower()] for name in names] == list(values.values())
    assert database.tables() <= {TABLE}


# all or nothing


def cut_download(loading: Loading) -> type[Exception]:
    loading.sandbox.respond_next(FILE_PATH, 200, {"Content-Length": "9999"}, lines("b", "c", name="new"))
    return CruxUnavailableError


def bad_value(column: str, value: str) -> Callable[[Loading], type[Exception]]:
    def serve(loading: Loading) -> type[Exception]:
        rows = [{"line_item_uuid": str(index), "name": "new"} for index in range(50)]
        loading.serve(csv_file(*rows, {"line_item_uuid": "last", column: value}))
        return AirflowFailException

    return serve


def short_row(loading: Loading) -> type[Exception]:
    loading.serve(lines("b", "c", name="new") + b"a,row,too,short\r\n")
    return AirflowFailException


def repeated_key(loading: Loading) -> type[Exception]:
    loading.serve(lines("b", "c", "b", name="new"))
    return AirflowFailException


def rejected_in_the_merge(loading: Loading) -> type[Exception]:
    loading.database.raise_when("c")
    loading.serve(lines("a", "b", "c", name="new"))
    return AirflowException


@pytest.mark.parametrize(
    "fault",
    [
        cut_download,
        bad_value("quantity", "many"),
        bad_value("estimated_tax", "0.001"),
        bad_value("city", "\udcff"),
        short_row,
        repeated_key,
        rejected_in_the_merge,
    ],
    ids=["cut", "number", "money", "not UTF-8", "short row", "repeated key", "trigger"],
)
def test_a_fault_leaves_the_table_as_it_was(
    loading: Loading, database: Database, fault: Callable[[Loading], type[Exception]]
) -> None:
    loading.run(lines("a", "b", name="old"))
    before = database.rows(), database.tables()
    with pytest.raises(fault(loading)):
        loading.run(minutes=1, batch_size=10)
    assert (database.rows(), database.tables()) == before
    assert loading.pushed == {}
    database.assert_nothing_is_left()


@pytest.mark.parametrize("fault", [cut_download, bad_value("quantity", "many"), short_row, repeated_key])
def test_a_fault_creates_no_table(
    loading: Loading, database: Database, fault: Callable[[Loading], type[Exception]]
) -> None:
    with pytest.raises(fault(loading)):
        loading.run(minutes=1, batch_size=10)
    assert database.tables() == set()
    database.assert_nothing_is_left()


def test_a_killed_task_leaves_the_table_as_it_was(loading: Loading, database: Database, monkeypatch) -> None:
    loading.run(lines("a", name="old"))
    before = database.rows(), database.tables()
    uuid = loading.export()
    operator = loading.operator(uuid, batch_size=100)
    real = operator._stop_when_killed

    def killed_in_the_middle(chunks: Any, target: object) -> Iterator[bytes]:
        def passed() -> Iterator[bytes]:
            yield next(chunks)
            operator.on_kill()
            yield from chunks

        return real(passed(), target)

    monkeypatch.setattr(operator, "_stop_when_killed", killed_in_the_middle)
    loading.serve(csv_file(*({"line_item_uuid": str(index), "name": "x" * 1000} for index in range(3000))))
    with pytest.raises(AirflowException, match="The task was killed: nothing was stored"):
        operator.execute(loading.new_context(loading.interval(uuid)))
    assert (database.rows(), database.tables()) == before
    database.assert_nothing_is_left()


def test_an_added_column_is_not_left_behind_either(loading: Loading, database: Database) -> None:
    loading.run(lines("a", name="old"))
    before = database.rows()
    database.raise_when("c")
    with pytest.raises(AirflowException, match="the table is as it was"):
        loading.run(csv_file({"line_item_uuid": "c"}, columns=[*NAMES, "gift_note"]), minutes=1)
    assert database.rows() == before


def test_after_a_failure_the_next_try_succeeds(loading: Loading, database: Database) -> None:
    uuid = loading.export()
    operator = loading.operator(uuid)
    context = loading.new_context(loading.interval(uuid))
    cut_download(loading)
    with pytest.raises(CruxUnavailableError):
        operator.execute(context)
    assert operator.execute(context) == TABLE
    assert len(database.rows()) == 33


# no value of a row anywhere


CANARIES = {name: f"canary{index}" for index, name in enumerate(TEXTS)}


def with_canaries(**changes: str) -> bytes:
    return csv_file({**CANARIES, "quantity": "31337", "estimated_tax": "31337.42", **changes})


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (with_canaries(quantity="canary"), "column 'quantity' in row 1 is not a whole number"),
        (with_canaries(dropship_fee="canary"), "column 'dropship_fee' in row 1 is not an amount of money"),
        (with_canaries(address1="canary\udcff"), "column 'address1' in row 1 is not valid UTF-8"),
        (with_canaries()[:-2] + b",canary\r\n", "row 1 has 28 values instead of 27"),
        (with_canaries() + with_canaries().split(b"\r\n", 1)[1], "1 values of the key line_item_uuid occur in several"),
    ],
    ids=["number", "money", "not UTF-8", "width", "key"],
)
def test_no_value_of_a_row_is_in_an_error_about_the_file(loading: Loading, logged, body: bytes, problem: str) -> None:
    with pytest.raises(AirflowFailException) as raised:
        loading.run(body)
    assert problem in str(raised.value)
    output = whole_traceback(raised.value) + logged()
    assert "canary" not in output
    assert "31337" not in output


@pytest.mark.parametrize(
    "columns",
    [
        {"name": "text CHECK (name = '')"},
        {"phone": "text UNIQUE"},
        {"business_name": "text NOT NULL", "estimated_shipping_cost": "text NOT NULL"},
        {},
    ],
    ids=["check", "unique", "not null", "trigger"],
)
def test_no_value_of_a_row_is_in_an_error_of_the_database(
    loading: Loading, database: Database, logged, columns: dict[str, str]
) -> None:
    types = dict.fromkeys(NAMES, "text") | columns
    definitions = ", ".join(f"{name} {definition}" for name, definition in types.items())
    database.execute(f"CREATE TABLE {TABLE} ({definitions}, PRIMARY KEY (line_item_uuid))")
    if not columns:
        database.raise_when(CANARIES["line_item_uuid"])
    first, second = with_canaries(), with_canaries(line_item_uuid="canary again")
    with pytest.raises(
        AirflowException, match=f"table '{TABLE}'; the table is as it was. The database says: "
    ) as raised:
        loading.run(first + second.split(b"\r\n", 1)[1])
    output = whole_traceback(raised.value) + logged()
    assert "canary" not in output
    assert "31337" not in output


# connections


def test_another_database_is_an_error_that_names_the_connection_and_its_type(
    loading: Loading, connect, monkeypatch
) -> None:
    connect("elsewhere", conn_type="http", host="127.0.0.1")
    uuid = loading.export()
    context = loading.new_context(loading.interval(uuid))
    operator = loading.operator(uuid, conn_id="elsewhere")
    with pytest.raises(
        AirflowFailException, match=r"conn_id: connection 'elsewhere' is of the type .*; use one to Postgr"
    ):
        operator.execute(context)
    assert loading.sandbox.requests == []


@pytest.mark.parametrize(("conn_id", "fields"), [("gone", None), ("unknown", {"conn_type": "no_such_type"})])
def test_a_connection_that_is_missing_or_has_no_provider_is_an_error_that_names_it(
    loading: Loading, connect, conn_id: str, fields: dict[str, Any] | None
) -> None:
    if fields:
        connect(conn_id, **fields)
    uuid = loading.export()
    context = loading.new_context(loading.interval(uuid))
    with pytest.raises(AirflowException, match=conn_id):
        loading.operator(uuid, conn_id=conn_id).execute(context)
    assert loading.sandbox.requests == []
