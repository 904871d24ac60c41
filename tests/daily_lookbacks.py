"""The daily runs of the example crux_orders_to_table, and what its table must hold: the sandbox's own truth."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from airflow_provider_crux.files.columns import COLUMNS, ColumnType
from airflow_provider_crux.sandbox.csv_file import COLUMN_LISTS
from airflow_provider_crux.sandbox.orders import filter_orders, make_order
from airflow_provider_crux.sandbox.state import Sandbox
from tests.order_details import DETAILS, expected_details

EXAMPLE = "crux_orders_to_table"
TABLE = "crux_orders"
LOOKBACK = timedelta(days=7)
DAYS = [datetime(2026, 2, 1, tzinfo=UTC) + timedelta(days=number) for number in range(30)]
"""The logical date of each run, and the end of its interval."""
REPEATED = (DAYS[4], DAYS[15], DAYS[29])

MONEY = [column.name for column in COLUMNS if column.type is ColumnType.MONEY]
INSTANTS = ("crux_interval_start", "crux_interval_end", "crux_requested_at", "order_created_at")
EXPORT_COLUMNS = ("crux_export_uuid", *INSTANTS[:3])

Rows = dict[str, list[dict[str, str]]]
"""The rows of each order by its UUID, with values as text."""


def shuffled_runs() -> list[tuple[datetime, datetime]]:
    """
    Return when each run requests its export, and its logical date, in the order of time.

    Runs are late, some by weeks: so they do not come in the order of their days, and their orders change between them.
    """
    lateness = random.Random(14)
    hours = (1, 2, 8, 30, 50, 100, 200, 500)
    moments = [(day + timedelta(hours=lateness.choice(hours)), day) for day in DAYS]
    # Two runs cannot have the same logical date; an hour after midnight the last complete day is the same.
    moments += [(moment + timedelta(hours=30), day + timedelta(hours=1)) for moment, day in moments if day in REPEATED]
    return sorted(moments)


def expected_rows(sandbox: Sandbox, intervals: Iterable[Mapping[str, Any]], *, details: bool = False) -> Rows:
    """
    Return what the table must hold: each order as the export that was requested last shows it.

    :param sandbox: the sandbox, which knows what each export contained
    :param intervals: the XCom ``export_interval`` of each export
    :param details: whether each row has the details of its order, as they were when its export was requested
    """
    rows: Rows = {}
    for interval in sorted(intervals, key=lambda interval: (interval["requested_at"], interval["export_uuid"])):
        export = sandbox.get_export(interval["export_uuid"])
        assert export is not None
        origin = (interval["export_uuid"], export.query.start_date, export.query.end_date, interval["requested_at"])
        added = dict(zip(EXPORT_COLUMNS, origin, strict=True))
        for order in filter_orders(export.query, export.created_at):
            file_rows = COLUMN_LISTS[sandbox.settings.columns](order)
            if details:  # of a file with one row for each line item
                items = zip(file_rows, order.line_items, strict=True)
                file_rows = (row | expected_details(order, item) for row, item in items)
            rows[order.uuid] = [as_text(row | added) for row in file_rows]
    return rows


def check_details(rows: Iterable[Mapping[str, Any]], moments: Collection[datetime]) -> None:
    """Fail unless the details of each row are those of its line item at one of these moments."""
    for row in rows:
        number = int(row["retailer_po_number"].removeprefix("PO-"))
        possible = [
            as_text(expected_details(order, item))
            for order in (make_order(number, moment) for moment in moments)
            for item in order.line_items
            if item.uuid == row["line_item_uuid"]
        ]
        assert as_text({name: row[name] for name in DETAILS}) in possible


def exported_keys(sandbox: Sandbox, uuid: str) -> list[str]:
    """Return the orders of an export, in the order of its file."""
    export = sandbox.get_export(uuid)
    assert export is not None
    return [order.uuid for order in filter_orders(export.query, export.created_at)]


def as_text(row: Mapping[str, Any]) -> dict[str, str]:
    """Return the values of a row as text, regardless of the types that a database has."""
    return {name: _as_text(name, value) for name, value in row.items()}


def _as_text(name: str, value: Any) -> str:
    if value is None:
        return ""
    if name in MONEY and value != "":
        return f"{Decimal(str(value).removeprefix('US$')):.2f}"
    if name in INSTANTS:
        instant = datetime.fromisoformat(value) if isinstance(value, str) else value
        return instant.astimezone(UTC).isoformat()
    return str(int(value) if isinstance(value, bool) else value)  # SQLite has no booleans


def check_rows(rows: Iterable[Mapping[str, Any]], expected: Rows, *, ignored: Collection[str] = ()) -> None:
    """Fail unless these are the rows of the table, each as often as expected, with the same columns in this order."""
    actual: Rows = defaultdict(list)
    for row in rows:
        actual[row["order_uuid"]].append(_without(as_text(row), ignored))
    expected = {uuid: [_without(row, ignored) for row in rows_of_order] for uuid, rows_of_order in expected.items()}
    assert {tuple(row) for order in actual.values() for row in order} == {tuple(next(iter(expected.values()))[0])}
    assert {uuid: _sorted(order) for uuid, order in actual.items()} == {
        uuid: _sorted(order) for uuid, order in expected.items()
    }


def _without(row: dict[str, str], ignored: Collection[str]) -> dict[str, str]:
    return {name: value for name, value in row.items() if name not in ignored}


def _sorted(rows: Iterable[dict[str, str]]) -> list[dict[str, str]]:
    return sorted(rows, key=lambda row: tuple(row.values()))
