"""What the list of orders adds to a table."""

from __future__ import annotations

from datetime import datetime

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from tests.order_details import DETAILS, rows_of_day
from tests.transfers.table import Loading
from tests.transfers.transfer import texts_of


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
