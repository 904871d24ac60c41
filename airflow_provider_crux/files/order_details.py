"""
The details of a list of orders while a file is written: kept on disk, found by row, and compared with the file.

SQLite keeps them in a temporary database, which no other process sees, and which is gone when the process ends. In
memory, a million orders would need a gigabyte.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from airflow_provider_crux.api.order_details import LineItemDetails, OrderDetails, comparable
from airflow_provider_crux.files.columns import DETAIL_COLUMNS, ColumnPlan, PlannedColumn, hash_value

_CACHE_KIB: Final = 32 * 1024
_SCHEMA: Final = f"""
    PRAGMA cache_size = -{_CACHE_KIB};
    CREATE TABLE orders (
        uuid TEXT PRIMARY KEY, created INTEGER, details TEXT, lists INTEGER DEFAULT 0, in_file INTEGER DEFAULT 0
    );
    BEGIN;
"""
"""``created`` is in microseconds; ``lists`` has a bit for each reading."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_NOTHING: Final = (None,) * len(DETAIL_COLUMNS)
_NO_LINE_ITEM: Final = LineItemDetails(*[None] * len(LineItemDetails._fields))


class ListedOrders:
    """
    What a list tells of its orders, and which of them a file has.

    The list can be read again: what comes or goes between the export and the lists is no difference.

    :ivar readings: how often the list has been read.
    """

    def __init__(self) -> None:
        import sqlite3  # here, because few DAGs need it

        self.readings = 0
        self._uuid: str | None = None
        self._order: OrderDetails | None = None
        # an empty name is a temporary database on disk, of which nothing needs to survive a crash
        self._database = sqlite3.connect("", isolation_level=None)
        self._database.executescript(_SCHEMA)

    def close(self) -> None:
        """Delete everything."""
        self._database.close()

    def read(self, orders: Iterable[OrderDetails]) -> None:
        """Keep the details of a whole list; if an order comes twice, the last ones."""
        reading = 1 << self.readings
        self.readings += 1
        self._database.executemany(
            "INSERT INTO orders (uuid, created, details, lists) VALUES (?1, ?2, ?3, ?4) "
            "ON CONFLICT (uuid) DO UPDATE SET created = ?2, details = ?3, lists = lists | ?4",
            ((order.uuid, _microseconds(order.created_at), _as_json(order), reading) for order in orders),
        )

    def of_row(self, order_uuid: str, line_item_uuid: str, sku: str) -> tuple[Any, ...]:
        """
        Return what is known of a row of the file, in the order of :data:`DETAIL_COLUMNS`.

        A line item is found by its UUID or, because nobody has published that both have the same ones, by its SKU, if
        no other one of its order has that.
        """
        uuid = comparable(order_uuid)
        if uuid != self._uuid:
            self._uuid, self._order = uuid, self._find(uuid)
        order = self._order
        if order is None:
            return _NOTHING
        item = _find_line_item(order.line_items, comparable(line_item_uuid), comparable(sku))
        return (order.created_at, order.status, order.is_allocated, *item[2:])

    def _find(self, uuid: str) -> OrderDetails | None:
        """Return an order of the list, and note that the file has it."""
        row = self._database.execute("SELECT created, details FROM orders WHERE uuid = ?", (uuid,)).fetchone()
        self._database.execute(
            "INSERT INTO orders (uuid, in_file) VALUES (?, 1) ON CONFLICT (uuid) DO UPDATE SET in_file = 1", (uuid,)
        )
        if row is None or row[1] is None:
            return None
        status, is_allocated, items = json.loads(row[1])
        created_at = None if row[0] is None else _EPOCH + row[0] * _MICROSECOND
        return OrderDetails(uuid, created_at, status, is_allocated, [LineItemDetails(*item) for item in items])

    @property
    def orders(self) -> int:
        """Distinct orders of the file so far."""
        return self._select("in_file")[0]

    @property
    def matched(self) -> int:
        """Those of them that the list had when it was read first: their rows have details."""
        return self._select("in_file AND lists & 1")[0]

    def missing(self, created_before: datetime, not_at: Iterable[datetime] = ()) -> tuple[int, list[str]]:
        """
        Return how many orders of every reading the file lacks, and up to ten of their UUIDs.

        :param created_before: those that were created later do not count.
        :param not_at: those that were created at one of these instants do not count either.
        """
        every_reading = (1 << self.readings) - 1
        instants = ", ".join(str(_microseconds(moment)) for moment in not_at)
        return self._select(
            f"NOT in_file AND lists = {every_reading} AND "
            f"(created IS NULL OR (created < {_microseconds(created_before)} AND created NOT IN ({instants})))"
        )

    @property
    def unlisted(self) -> tuple[int, list[str]]:
        """How many orders of the file no reading had, and up to ten of their UUIDs."""
        return self._select("in_file AND NOT lists")

    def _select(self, condition: str) -> tuple[int, list[str]]:
        (count,) = self._database.execute(f"SELECT count(*) FROM orders WHERE {condition}").fetchone()  # noqa: S608
        rows = self._database.execute(f"SELECT uuid FROM orders WHERE {condition} ORDER BY uuid LIMIT 10")  # noqa: S608
        return count, [uuid for (uuid,) in rows]


class RowDetails:
    """
    The values of the columns that ``order_details`` adds to the rows of a file.

    :param listed: what the list tells; ``None`` if it cannot be read: then there are no values.
    :ivar keys: the positions of the order, the line item and the SKU in the file; ``None`` for what it lacks.
    """

    def __init__(self, plan: ColumnPlan, listed: ListedOrders | None, hash_key: str = "") -> None:
        def position(*names: str) -> int | None:
            return next((plan.header.index(name) for name in names if name in plan.header), None)

        self.columns: tuple[PlannedColumn, ...] = plan.details
        self.keys = (position("order_uuid"), position("line_item_uuid"), position("sku_id", "sku"))
        self._listed = None if plan.order_index is None else listed
        self._hash_key = hash_key

    def of(self, order_uuid: str, line_item_uuid: str, sku: str) -> list[Any]:
        """Return the value of each column for a row."""
        details = _NOTHING if self._listed is None else self._listed.of_row(order_uuid, line_item_uuid, sku)
        return [
            self._as_array(details[planned.index], hashed=planned.hashed)
            if planned.column.name == "tracking_numbers"
            else details[planned.index]
            for planned in self.columns
        ]

    def texts_of(self, row: Sequence[str]) -> list[str]:
        """Return the same as CSV has it, for a row of the file."""
        order_uuid, line_item_uuid, sku = ("" if index is None else row[index] for index in self.keys)
        return [_as_text(value) for value in self.of(order_uuid, line_item_uuid, sku)]

    def _as_array(self, numbers: list[str] | None, *, hashed: bool) -> str | None:
        if numbers is None:
            return None
        # each of them, so that it equals the hash of the same number elsewhere
        return json.dumps([hash_value(number, self._hash_key) for number in numbers] if hashed else numbers)


def _find_line_item(items: Sequence[LineItemDetails], uuid: str, sku: str) -> LineItemDetails:
    if uuid:
        for item in items:
            if item.uuid == uuid:
                return item
    same_sku = [item for item in items if sku and item.sku_id == sku]
    return same_sku[0] if len(same_sku) == 1 else _NO_LINE_ITEM


def _microseconds(moment: datetime | None) -> int | None:
    return None if moment is None else (moment - _EPOCH) // _MICROSECOND


def _as_json(order: OrderDetails) -> str:
    return json.dumps((order.status, order.is_allocated, order.line_items))


def _as_text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value.isoformat(timespec="microseconds") if isinstance(value, datetime) else str(value)
