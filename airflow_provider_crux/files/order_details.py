"""
The details of a list of orders while a file is written: kept on disk, found by row, and compared with the file.

SQLite keeps them in a temporary database, which no other process sees, and which is gone when the process ends. In
memory, a million orders would need a gigabyte.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from airflow_provider_crux.api.order_details import LineItemDetails, OrderDetails, comparable
from airflow_provider_crux.api.requests import canonical_uuid
from airflow_provider_crux.exceptions import CruxTransientError
from airflow_provider_crux.files.column_plan import ColumnPlan, PlannedColumn
from airflow_provider_crux.files.columns import DETAIL_COLUMNS, Hashes
from airflow_provider_crux.files.coverage import number_text

_MAX_SHOWN: Final = 10
_UUID: Final = "-".join("[0-9a-f]" * digits for digits in (8, 4, 4, 4, 12))
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
_SECOND: Final = timedelta(seconds=1)
_NOTHING: Final = (None,) * len(DETAIL_COLUMNS)
_NO_LINE_ITEM: Final = LineItemDetails(*[None] * len(LineItemDetails._fields))


@contextmanager
def _disk_errors() -> Iterator[None]:
    import sqlite3  # here, because few DAGs need it

    try:
        yield
    except sqlite3.Error as error:
        raise CruxTransientError(
            f"The list of orders cannot be kept on disk ({error}). Free space in the folder for temporary files, or "
            "set SQLITE_TMPDIR to another one"
        ) from error


@dataclass(frozen=True)
class Orders:
    """How many orders there are, and the UUIDs of some; in a damaged file, ``order_uuid`` may hold anything else."""

    count: int
    uuids: list[str]

    def __str__(self) -> str:
        """Return a text for the log."""
        rest = self.count - len(self.uuids)
        shown = [*self.uuids, *([f"{rest} {'more' if self.uuids else 'without a UUID'}"] if rest else [])]
        return f"{number_text(self.count, 'order')} ({', '.join(shown)})"


class ListedOrders:
    """
    What a list tells of its orders, and which of them a file has.

    The list can be read again: what comes or goes between the export and the lists is no difference.

    Each method raises CruxTransientError if the disk is full.

    :ivar unreadable: how many of its orders have no UUID.
    :ivar file_has_orders: whether the file has a column by which it can be compared; False until it is read.
    """

    def __init__(self) -> None:
        import sqlite3

        self._readings = self.unreadable = 0
        self.file_has_orders = False
        self._uuid: str | None = None
        self._order: OrderDetails | None = None
        with _disk_errors():
            # an empty name is a temporary database on disk, of which nothing needs to survive a crash
            self._database = sqlite3.connect("", isolation_level=None)
            self._database.executescript(_SCHEMA)

    def close(self) -> None:
        """Delete everything."""
        self._database.close()

    def read(self, orders: Iterable[OrderDetails | None]) -> None:
        """Keep the details of a whole list; if an order comes twice, the last ones. ``None`` is one without a UUID."""
        reading = 1 << self._readings
        self._readings += 1

        def rows() -> Iterator[tuple[Any, ...]]:
            for order in orders:
                if order is None:
                    self.unreadable += 1
                else:
                    yield order.uuid, _microseconds(order.created_at), _as_json(order), reading

        with _disk_errors():
            self._database.executemany(
                "INSERT INTO orders (uuid, created, details, lists) VALUES (?1, ?2, ?3, ?4) "
                "ON CONFLICT (uuid) DO UPDATE SET created = ?2, details = ?3, lists = lists | ?4",
                rows(),
            )

    def of_row(self, order_uuid: str, line_item_uuid: str, sku: str) -> tuple[Any, ...]:
        """
        Return what is known of a row of the file, in the order of :data:`DETAIL_COLUMNS`.

        A line item is found by its UUID. If the file has none, as in the published sample, it is found by its SKU, if
        no other one of its order has that in the list.
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
        with _disk_errors():
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
        return self._count("in_file")

    @property
    def matched(self) -> int:
        """Those of them that the list had when it was read first: their rows have details."""
        return self._count("in_file AND lists & 1")

    def missing(self, start: datetime | None, end: datetime | None, before: datetime) -> Orders:
        """Return the orders of every reading that the file lacks, if they were created between these instants."""
        every_reading = (1 << self._readings) - 1
        bounds = [f"created > {_microseconds(start)}"] if start else []
        bounds += [f"created < {_microseconds(moment)}" for moment in (end, before) if moment]
        return self._select(f"NOT in_file AND lists = {every_reading} AND {' AND '.join(bounds)}")

    def of_other_days(self, start: datetime | None, end: datetime | None) -> Orders:
        """Return the orders that the file lacks, and that were created before or after, or nobody knows when."""
        others = ["created IS NULL"]
        others += [f"created < {_microseconds(start)}"] if start else []
        others += [f"created > {_microseconds(end + _SECOND)}"] if end else []
        return self._select(f"NOT in_file AND lists AND ({' OR '.join(others)})")

    @property
    def unlisted(self) -> Orders:
        """The orders of the file that no reading had."""
        return self._select("in_file AND NOT lists")

    def _count(self, condition: str) -> int:
        with _disk_errors():
            (count,) = self._database.execute(f"SELECT count(*) FROM orders WHERE {condition}").fetchone()  # noqa: S608
            return int(count)

    def _select(self, condition: str) -> Orders:
        count = self._count(condition)
        if not count:
            return Orders(0, [])
        with _disk_errors():
            uuids = self._database.execute(
                f"SELECT uuid FROM orders WHERE {condition} AND uuid GLOB '{_UUID}' ORDER BY uuid LIMIT {_MAX_SHOWN}"  # noqa: S608
            )
            return Orders(count, [uuid for (uuid,) in uuids])


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
        if self._listed is not None:
            self._listed.file_has_orders = True
        self._hashes = Hashes(hash_key)

    def of(self, order_uuid: str, line_item_uuid: str, sku: str) -> list[Any]:
        """Return the value of each column for a row."""
        details = _NOTHING if self._listed is None else self._listed.of_row(order_uuid, line_item_uuid, sku)
        return [
            self._as_array(details[planned.index], hashed=planned.hashed)
            if planned.column.name == "tracking_numbers"
            else details[planned.index]
            for planned in self.columns
        ]

    def texts_of(self, order_uuid: str, line_item_uuid: str, sku: str) -> list[str]:
        """Return the same as CSV has it."""
        return [_as_text(value) for value in self.of(order_uuid, line_item_uuid, sku)]

    def _as_array(self, numbers: list[str] | None, *, hashed: bool) -> str | None:
        if numbers is None:
            return None
        # each of them, so that it equals the hash of the same number elsewhere
        return json.dumps([self._hashes[number] for number in numbers] if hashed else numbers)


def _find_line_item(items: Sequence[LineItemDetails], uuid: str, sku: str) -> LineItemDetails:
    same = [item for item in items if uuid and item.uuid == uuid]
    if not same and canonical_uuid(uuid) is None:
        same = [item for item in items if sku and item.sku_id == sku]
    return same[0] if len(same) == 1 else _NO_LINE_ITEM


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
