"""The daily runs of the example crux_orders_to_table, and what its table must hold: the sandbox's own truth."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from airflow_provider_crux.sandbox.csv_file import COLUMNS, file_rows
from airflow_provider_crux.sandbox.orders import filter_orders
from airflow_provider_crux.sandbox.state import Sandbox

EXAMPLE = "crux_orders_to_table"
TABLE = "crux_order_lines"
LOOKBACK = timedelta(days=7)
DAYS = [datetime(2026, 2, 1, tzinfo=UTC) + timedelta(days=number) for number in range(30)]
"""The logical date of each run, and the end of its interval."""
REPEATED = (DAYS[4], DAYS[15], DAYS[29])

MONEY = ("retailer_provided_sku_cost", "estimated_shipping_cost", "dropship_fee", "per_order_fee", "estimated_tax")
EXPORT_COLUMNS = ("crux_export_uuid", "crux_interval_start", "crux_interval_end")
REQUESTED_AT = "crux_requested_at"

Rows = dict[str, dict[str, str]]
"""Rows by the UUID of the line item, with values as text."""


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


def expected_rows(sandbox: Sandbox, exports: Iterable[str]) -> Rows:
    """
    Return what the table must hold.

    :param sandbox: the sandbox, which knows what each export contained
    :param exports: the UUIDs of the exports, in the order in which they were requested
    """
    rows: Rows = {}
    for uuid in exports:
        export = sandbox.get_export(uuid)
        assert export is not None
        interval = (export.query.start_date, export.query.end_date)
        origin = dict(zip(EXPORT_COLUMNS, (uuid, *interval), strict=True))
        for order in filter_orders(export.query, export.created_at):
            for row in file_rows(order):
                rows[str(row["line_item_uuid"])] = as_text(row | origin)
    return rows


def as_text(row: Mapping[str, Any]) -> dict[str, str]:
    """Return the values of a row as text, regardless of the types that a database has."""
    return {name: _as_text(name, value) for name, value in row.items()}


def _as_text(name: str, value: Any) -> str:
    if name in MONEY:
        return f"{Decimal(str(value)):.2f}"
    if name in EXPORT_COLUMNS[1:]:
        instant = datetime.fromisoformat(value) if isinstance(value, str) else value
        return instant.astimezone(UTC).isoformat()
    return str(value)


def check_rows(rows: Sequence[Mapping[str, Any]], sandbox: Sandbox, exports: Sequence[str]) -> None:
    """
    Fail unless a table holds what it must.

    :param rows: its rows
    :param exports: the UUIDs of the exports, in the order in which they were requested
    """
    expected = expected_rows(sandbox, exports)
    actual = {row["line_item_uuid"]: as_text(row) for row in rows}
    assert len(rows) == len(actual)
    requested_at = {row["crux_export_uuid"]: row.pop(REQUESTED_AT) for row in actual.values()}
    assert [list(row) for row in actual.values()] == [list(COLUMNS) + list(EXPORT_COLUMNS)] * len(expected)
    assert actual == expected
    times = [requested_at[uuid] for uuid in exports if uuid in requested_at]
    assert times == sorted(times)
