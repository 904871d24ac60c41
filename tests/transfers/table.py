"""A database, and the task that loads exports into a table of it."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.module_loading import import_string

from airflow_provider_crux.files.columns import COLUMNS, ColumnType
from airflow_provider_crux.sandbox.csv_file import COLUMNS as COLUMNS_2019
from airflow_provider_crux.sandbox.orders import ExportQuery
from airflow_provider_crux.transfers.crux_to_sql import CruxExportToSqlOperator
from tests.secrets_masker import clear_masker
from tests.transfers.transfer import FILE_PATH, INTERVAL, csv_file

if TYPE_CHECKING:
    from airflow_provider_crux.sandbox.state import Sandbox

TABLE = "order_lines"
REQUESTED_AT = datetime(2026, 1, 5, 0, 10, tzinfo=UTC)
CRUX_COLUMNS = ("crux_export_uuid", "crux_interval_start", "crux_interval_end", "crux_requested_at")
NAMES = list(COLUMNS_2019)
MONEY = frozenset(column.name for column in COLUMNS if column.type is ColumnType.MONEY)

Row = dict[str, Any]


@dataclass(repr=False)
class Database:
    """
    A database that the tests read without the code under test.

    :param conn_id: the Airflow connection to it.
    :param connect: returns a connection of the driver's own.
    :param opened: the connections that the code under test opened.
    """

    conn_id: str
    connect: Callable[[], Any]
    opened: list[Any] = field(default_factory=list)

    def __repr__(self) -> str:
        return self.conn_id  # Hypothesis would show all connections

    def execute(self, statement: str) -> None:
        with contextlib.closing(self.connect()) as connection:
            connection.cursor().execute(statement)
            connection.commit()

    def query(self, statement: str) -> list[Row]:
        with contextlib.closing(self.connect()) as connection, contextlib.closing(connection.cursor()) as cursor:
            cursor.execute(statement)
            names = [entry[0] for entry in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def rows(self, table: str = TABLE) -> list[Row]:
        """Return the rows of a table, typed alike in every database, ordered by line item."""
        rows = self.query(f"SELECT * FROM {table}")
        return sorted((self._typed(row) for row in rows), key=lambda row: str(row.get("line_item_uuid")))

    def by_key(self, *columns: str, table: str = TABLE) -> dict[str, tuple[Any, ...]]:
        """Return some columns of every row by its line item."""
        rows = self.rows(table)
        values = {row["line_item_uuid"]: tuple(row[column] for column in columns) for row in rows}
        assert len(values) == len(rows)
        return values

    def tables(self) -> set[str]:
        """Return the names of all tables."""
        raise NotImplementedError

    def is_closed(self, connection: Any) -> bool:
        """Tell whether a connection is closed."""
        raise NotImplementedError

    @property
    def datasets(self) -> list[tuple[str, str]]:
        """The names of :data:`TABLE` in OpenLineage."""
        raise NotImplementedError

    def raise_when(self, line_item: str) -> None:
        """Let the database reject a row of :data:`TABLE` when it is inserted or updated."""
        raise NotImplementedError

    def assert_nothing_is_left(self) -> None:
        """Check that the code under test closed every connection and left no staging table."""
        assert all(map(self.is_closed, self.opened))
        assert not {name for name in self.tables() if "staging" in name}

    @staticmethod
    def _typed(row: Row) -> Row:
        return row


class Sqlite(Database):
    """A file of SQLite, which has neither decimal numbers nor instants."""

    def tables(self) -> set[str]:
        return {row["name"] for row in self.query("SELECT name FROM sqlite_master WHERE type = 'table'")}

    @property
    def datasets(self) -> list[tuple[str, str]]:
        return []  # its hook names none

    def raise_when(self, line_item: str) -> None:
        for event in ("INSERT", "UPDATE"):
            self.execute(
                f"CREATE TRIGGER refuse_{event} BEFORE {event} ON {TABLE} WHEN NEW.line_item_uuid = '{line_item}' "
                "BEGIN SELECT RAISE(ABORT, 'refused by the trigger'); END"
            )

    def is_closed(self, connection: Any) -> bool:
        try:
            connection.execute("SELECT 1")
        except sqlite3.ProgrammingError:
            return True
        return False

    @staticmethod
    def _typed(row: Row) -> Row:
        money = {name: Decimal(str(row[name])) for name in MONEY if row.get(name) is not None}
        instants = {name: datetime.fromisoformat(row[name]) for name in CRUX_COLUMNS[1:] if row.get(name) is not None}
        return {**row, **money, **instants}


def recorded_connections(monkeypatch: pytest.MonkeyPatch, hook: str) -> list[Any]:
    """Return the list to which every connection is added that a class of hooks opens from now on."""
    opened: list[Any] = []
    hook_class = import_string(hook)
    real = hook_class.get_conn

    def get_conn(self: Any) -> Any:
        opened.append(real(self))
        return opened[-1]

    monkeypatch.setattr(hook_class, "get_conn", get_conn)
    return opened


@pytest.fixture
def batches_of(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Return what sets the number of rows that go to the database at once."""
    return partial(monkeypatch.setattr, "airflow_provider_crux.tables.base.BATCH_ROWS")


@dataclass
class Loading:
    """
    The task that loads exports, downstream of the task that requested them.

    :param sandbox: where the exports are.
    :param database: where they are loaded.
    :param context_with: makes a context from what the upstream task pushed.
    """

    sandbox: Sandbox
    database: Database
    context_with: Callable[..., dict[str, Any]]
    pushed: dict[str, Any] = field(default_factory=dict)
    context: dict[str, Any] = field(default_factory=dict)

    def export(self, *, days: int = 1) -> str:
        """Return the UUID of an export of 2026-01-04, or of more days, that is done."""
        start = datetime(2026, 1, 4, tzinfo=UTC)
        uuid = self.sandbox.add_export(ExportQuery(start_date=start, end_date=start + timedelta(days=days)))
        self.sandbox.finish_export(uuid)
        return uuid

    def operator(self, export_uuid: str, **arguments: Any) -> CruxExportToSqlOperator:
        arguments = {"conn_id": self.database.conn_id, "table": TABLE, "poll_interval": 0.01} | arguments
        operator = CruxExportToSqlOperator(task_id="load", export_uuid=export_uuid, **arguments)
        operator.upstream_task_ids.add("export")
        return operator

    @staticmethod
    def later(minutes: float) -> datetime:
        """Return a moment some minutes after :data:`REQUESTED_AT`."""
        return REQUESTED_AT + timedelta(minutes=minutes)

    def new_context(self, *pushed: object) -> dict[str, Any]:
        """Return the context of a try; what it pushes is in :attr:`pushed`."""
        self.context = self.context_with(*pushed)
        self.pushed = self.context["ti"].pushed
        return self.context

    def interval(self, export_uuid: str, requested_at: datetime = REQUESTED_AT) -> dict[str, Any]:
        """Return what the upstream task pushed."""
        return {**INTERVAL, "export_uuid": export_uuid, "requested_at": requested_at.isoformat()}

    def serve(self, body: bytes) -> None:
        """Let the sandbox serve this as the next file."""
        self.sandbox.respond_next(FILE_PATH, 200, {"Content-Length": str(len(body))}, body)

    def run(
        self, body: bytes | None = None, *, uuid: str | None = None, minutes: float = 0, **arguments: Any
    ) -> tuple[int, int, int]:
        """
        Run the task.

        :param body: what the sandbox serves; ``None`` for the file of the export.
        :param uuid: the export; ``None`` for a new one.
        :param minutes: how much later than :data:`REQUESTED_AT` it was requested.
        :return: how many keys were inserted, replaced and unchanged.
        """
        clear_masker()
        uuid = uuid or self.export()
        if body is not None:
            self.serve(body)
        context = self.new_context(self.interval(uuid, self.later(minutes)))
        operator = self.operator(uuid, **arguments)
        assert operator.execute(context) == operator.table
        counts = self.pushed["export_table"]
        assert counts["keys"] == counts["inserted"] + counts["replaced"] + counts["unchanged"]
        return counts["inserted"], counts["replaced"], counts["unchanged"]

    @property
    def downloads(self) -> int:
        """How many files the sandbox served."""
        return len([entry for entry in self.sandbox.requests if entry["path"].startswith(FILE_PATH)])


def rows_file(*rows: Row, columns: Sequence[str] = COLUMNS_2019) -> bytes:
    """Return a file with these rows; each is an order of its own, which is called like its line item."""
    return csv_file(*({"order_uuid": row.get("line_item_uuid", "1"), **row} for row in rows), columns=columns)


def lines(*names: str, **values: str) -> bytes:
    """Return a file with an order of one line item for each name, which all have these values."""
    return rows_file(*({"line_item_uuid": name, **values} for name in names))


def typed_row(row: dict[str, str]) -> dict[str, Any]:
    """Return the values of a file's row as a table holds them."""

    def value(name: str, text: str) -> Any:
        if name in MONEY:
            return Decimal(text.removeprefix("US$")) if text else None
        return (int(text) if text else None) if name == "quantity" else text

    return {name: value(name, text) for name, text in row.items()}
