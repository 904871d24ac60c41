"""A real PostgreSQL on loopback, empty for every test."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import psycopg2
import pytest

from tests.postgres.server import running_postgres
from tests.transfers.table import TABLE, Database, Loading, batches_of, recorded_connections
from tests.transfers.transfer import context_with, start, target

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_crux.sandbox.state import Sandbox

__all__ = ["batches_of", "context_with", "start", "target"]


@dataclass
class Postgres(Database):
    """
    A database of PostgreSQL.

    :param set_connection: sets the Airflow connection to it; its arguments are the connection's extras.
    """

    set_connection: Callable[..., None] = field(kw_only=True)

    def tables(self) -> set[str]:
        # also those of other sessions
        query = (
            "SELECT relname FROM pg_class JOIN pg_namespace AS n ON n.oid = relnamespace "
            "WHERE relkind = 'r' AND nspname NOT IN ('pg_catalog', 'information_schema')"
        )
        return {row["relname"] for row in self.query(query)}

    @property
    def datasets(self) -> list[tuple[str, str]]:
        with contextlib.closing(self.connect()) as connection:
            port = connection.info.port
        return [(f"postgres://127.0.0.1:{port}", f"postgres.public.{TABLE}")]

    def raise_when(self, line_item: str) -> None:
        self.execute(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            f"IF NEW.line_item_uuid = '{line_item}' THEN RAISE EXCEPTION 'refused % of %', NEW.name, NEW; END IF; "
            "RETURN NEW; END $$"
        )
        self.execute(f"CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON {TABLE} FOR EACH ROW EXECUTE FUNCTION refuse()")

    def is_closed(self, connection: Any) -> bool:
        return bool(connection.closed)


@pytest.fixture(scope="session")
def address() -> Iterator[str]:
    """Run a server, and return its address."""
    with running_postgres() as address:
        yield f"postgresql://{address}"


@pytest.fixture
def database(address: str, connect, monkeypatch: pytest.MonkeyPatch) -> Database:
    """Empty the database, and set the Airflow connection ``postgres_lake`` to it."""
    with contextlib.closing(psycopg2.connect(address)) as connection, connection.cursor() as cursor:
        cursor.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        connection.commit()
    url = urlsplit(address)

    def set_connection(**extra: str) -> None:
        server = {"host": url.hostname, "port": url.port, "login": url.username, "schema": "postgres"}
        connect("postgres_lake", conn_type="postgres", extra=extra, **server)

    set_connection()
    hook = "airflow.providers.postgres.hooks.postgres.PostgresHook"
    opened = recorded_connections(monkeypatch, hook)
    return Postgres("postgres_lake", lambda: psycopg2.connect(address), opened, set_connection=set_connection)


@pytest.fixture
def loading(held_sandbox: Sandbox, database: Database, context_with, monkeypatch: pytest.MonkeyPatch) -> Loading:
    return Loading(held_sandbox, database, context_with)
