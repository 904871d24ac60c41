"""What the list of orders adds to a table."""

from __future__ import annotations

from datetime import datetime

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from tests.order_details import DETAILS, rows_of_day
from tests.transfers.table import TABLE, Loading
from tests.transfers.transfer import csv_file, texts_of


def test_a_table_has_them_too(start, database, context_with) -> None:
    transfer = start()
    loading = Loading(transfer.sandbox, database, context_with)
    loading.run(uuid=transfer.export_uuid, order_details=True)
    stored = {row["line_item_uuid"]: row for row in loading.database.rows()}
    expected = rows_of_day()
    assert len(stored) == len(expected)
    for row in expected:
        actual = {name: stored[row["line_item_uuid"]][name] for name in DETAILS}
        created = datetime.fromisoformat(str(actual.pop("order_created_at")))
        assert {"order_created_at": created, **actual} == {name: row[name] for name in DETAILS}
    result = loading.pushed["export_table"]
    assert (result["matched_orders"], result["missing_orders"]) == (result["keys"], 0)
    assert set(DETAILS) < set(result["columns"])


def test_a_table_keeps_its_rows_if_the_list_cannot_be_read(start, database, context_with) -> None:
    transfer = start()
    loading = Loading(transfer.sandbox, database, context_with)
    loading.run(uuid=transfer.export_uuid)
    before = loading.database.rows()
    transfer.sandbox.respond_next("/api/orders/", 404)
    with pytest.raises(AirflowFailException, match="order_details") as caught:
        loading.run(uuid=transfer.export_uuid, order_details=True)
    assert loading.database.rows() == before
    assert transfer.sandbox.settings.token not in texts_of(caught.value)


def test_a_column_that_differs_only_in_case_is_left_out(start, database, context_with) -> None:
    transfer = start()
    loading = Loading(transfer.sandbox, database, context_with)
    body = csv_file({"order_uuid": "x", "Order_Status": "theirs"}, columns=["order_uuid", "Order_Status"])
    loading.run(body, uuid=transfer.export_uuid, order_details=True)
    (row,) = loading.database.rows()
    assert row["order_status"] is None
    assert "theirs" not in row.values()


def test_instants_compare(start, database, context_with) -> None:
    transfer = start()
    loading = Loading(transfer.sandbox, database, context_with)
    loading.run(uuid=transfer.export_uuid, order_details=True)
    query = f"SELECT count(*) AS n FROM {TABLE} WHERE order_created_at >= crux_interval_start"
    assert loading.database.query(query) == [{"n": len(rows_of_day())}]


def test_rows_that_stay_are_warned_of(start, database, context_with, logged) -> None:
    transfer = start()
    loading = Loading(transfer.sandbox, database, context_with)
    loading.run(uuid=transfer.export_uuid, order_details=True)
    assert "keep their rows" not in logged()
    loading.run(uuid=transfer.export_uuid, order_details=True)
    assert "keep their rows" in logged()
