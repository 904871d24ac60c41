"""
A load that fails leaves the table as it was, and shows no value of a row.

Here the database is SQLite; ``tests/postgres`` runs the same tests against PostgreSQL.
"""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import (
    AirflowException,
    AirflowFailException,
)

from airflow_provider_crux.exceptions import CruxUnavailableError
from airflow_provider_crux.files.columns import COLUMNS, ColumnType
from tests.transfers.table import NAMES, TABLE, lines, rows_file
from tests.transfers.transfer import FILE_PATH

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.transfers.table import Database, Loading

TEXTS = [column.name for column in COLUMNS if column.type is ColumnType.TEXT]


def whole_traceback(error: BaseException) -> str:
    """Return everything that is reachable from an error, also what a traceback hides."""
    texts, visited, pending = [], set(), [error]
    while pending:
        current = pending.pop()
        visited.add(current)
        texts += [*traceback.format_exception(current, chain=False), repr(current)]
        pending += [other for other in (current.__cause__, current.__context__) if other and other not in visited]
    return "\n".join(texts)


# all or nothing


def cut_download(loading: Loading) -> type[Exception]:
    loading.sandbox.respond_next(FILE_PATH, 200, {"Content-Length": "9999"}, lines("b", "c", name="new"))
    return CruxUnavailableError


def bad_value(column: str, value: str) -> Callable[[Loading], type[Exception]]:
    def serve(loading: Loading) -> type[Exception]:
        rows = [{"line_item_uuid": str(index), "name": "new"} for index in range(50)]
        loading.serve(rows_file(*rows, {"line_item_uuid": "last", column: value}))
        return AirflowFailException

    return serve


def short_row(loading: Loading) -> type[Exception]:
    loading.serve(lines("b", "c", name="new") + b"a,row,too,short\r\n")
    return AirflowFailException


def no_order(loading: Loading) -> type[Exception]:
    loading.serve(lines("b", "c", "", name="new"))
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
        no_order,
        rejected_in_the_merge,
    ],
    ids=["cut", "number", "money", "not UTF-8", "short row", "no order", "trigger"],
)
def test_a_fault_leaves_the_table_as_it_was(
    loading: Loading, database: Database, batches_of, fault: Callable[[Loading], type[Exception]]
) -> None:
    batches_of(10)
    loading.run(lines("a", "b", name="old"))
    before = database.rows(), database.tables()
    with pytest.raises(fault(loading)):
        loading.run(minutes=1)
    assert (database.rows(), database.tables()) == before
    assert loading.pushed == {}
    database.assert_nothing_is_left()


@pytest.mark.parametrize("fault", [cut_download, bad_value("quantity", "many"), short_row, no_order])
def test_a_fault_creates_no_table(
    loading: Loading, database: Database, batches_of, fault: Callable[[Loading], type[Exception]]
) -> None:
    batches_of(10)
    with pytest.raises(fault(loading)):
        loading.run(minutes=1)
    assert database.tables() == set()
    database.assert_nothing_is_left()


def test_a_killed_task_leaves_the_table_as_it_was(
    loading: Loading, database: Database, batches_of, monkeypatch
) -> None:
    batches_of(100)
    loading.run(lines("a", name="old"))
    before = database.rows(), database.tables()
    uuid = loading.export()
    operator = loading.operator(uuid)
    real = operator._stop_when_killed

    def killed_in_the_middle(chunks: Any, target: object) -> Iterator[bytes]:
        def passed() -> Iterator[bytes]:
            yield next(chunks)
            operator.on_kill()
            yield from chunks

        return real(passed(), target)

    monkeypatch.setattr(operator, "_stop_when_killed", killed_in_the_middle)
    loading.serve(rows_file(*({"line_item_uuid": str(index), "name": "x" * 1000} for index in range(3000))))
    with pytest.raises(AirflowException, match="The task was killed: nothing was stored"):
        operator.execute(loading.new_context(loading.interval(uuid)))
    assert (database.rows(), database.tables()) == before
    database.assert_nothing_is_left()


def test_an_added_column_is_not_left_behind_either(loading: Loading, database: Database) -> None:
    loading.run(lines("a", name="old"))
    before = database.rows()
    database.raise_when("c")
    with pytest.raises(AirflowException, match="the table is as it was"):
        loading.run(rows_file({"line_item_uuid": "c"}, columns=[*NAMES, "gift_note"]), minutes=1)
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
    return rows_file({**CANARIES, "quantity": "31337", "estimated_tax": "31337.42", **changes})


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (with_canaries(quantity="canary"), "column 'quantity' in row 1 is not a whole number"),
        (with_canaries(dropship_fee="canary"), "column 'dropship_fee' in row 1 is not an amount of money"),
        (with_canaries(address1="canary\udcff"), "column 'address1' in row 1 is not valid UTF-8"),
        (with_canaries()[:-2] + b",canary\r\n", "row 1 has 28 values instead of 27"),
        (with_canaries(order_uuid=""), "row 1 has no order_uuid"),
    ],
    ids=["number", "money", "not UTF-8", "width", "order"],
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
    database.execute(f"CREATE TABLE {TABLE} ({definitions})")
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
