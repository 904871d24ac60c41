"""
The load into a table as a task runs it: arguments, connections, waiting, and what it pushes.

Here the database is SQLite; ``tests/postgres`` runs the same tests against PostgreSQL.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    Asset,
    TaskDeferred,
)

from airflow_provider_crux.exceptions import CruxInvalidRequestError
from tests.transfers.table import NAMES, REQUESTED_AT, TABLE, lines, rows_file
from tests.transfers.transfer import INTERVAL, resume

if TYPE_CHECKING:
    from tests.transfers.table import Database, Loading


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
        "keys": 15,
        "inserted": 0,
        "replaced": 15,
        "unchanged": 0,
        "columns": NAMES,
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


def test_an_export_without_orders_changes_nothing(loading: Loading, database: Database) -> None:
    loading.run(lines("a"))
    rows = database.rows()
    assert loading.run(rows_file()) == (0, 0, 0)
    assert database.rows() == rows


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
        with pytest.raises(AirflowFailException, match=rf"unknown when export {uuid} was.*pass export.output"):
            run()
    operator.upstream_task_ids.clear()
    with pytest.raises(AirflowFailException, match=r"pass export\.output"):
        operator.execute(loading.new_context(loading.interval(uuid)))
    assert len(loading.sandbox.requests) == before
    assert database.tables() == set()


def test_a_mapped_upstream_task_is_searched_for_the_export(loading: Loading, database: Database) -> None:
    uuids = [loading.export() for _ in range(3)]
    pushed = [loading.interval(uuid, REQUESTED_AT.replace(minute=minute)) for minute, uuid in enumerate(uuids)]
    for uuid in uuids:
        context = loading.new_context(None, *pushed)
        loading.operator(uuid).execute(context)
        assert context["ti"].pulls == [("export", "export_interval")]
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
        ({"personal_data": "mask"}, "personal_data: str 'mask' is invalid; use 'keep' or 'drop' or 'hash'"),
        ({"on_unknown_column": None}, "on_unknown_column: .*use 'keep' or 'fail'"),
        ({"create_table": "no"}, "create_table: str 'no' is invalid"),
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
    with pytest.raises(AirflowFailException, match=f"conn_id: connection {conn_id!r} "):
        loading.operator(uuid, conn_id=conn_id).execute(context)
    assert loading.sandbox.requests == []
