"""A transfer as a task runs it, and a database to load into."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

import pytest

from tests.files.places import in_s3, on_disk, place
from tests.object_store import running_s3, s3
from tests.transfers.table import Database, Loading, Sqlite, batches_of, recorded_connections
from tests.transfers.transfer import context, context_with, done_uuid, start, target, transfer

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provider_crux.sandbox.state import Sandbox

__all__ = [
    "batches_of",
    "context",
    "context_with",
    "done_uuid",
    "in_s3",
    "on_disk",
    "place",
    "running_s3",
    "s3",
    "start",
    "target",
    "transfer",
]


@pytest.fixture
def database(tmp_path: Path, connect, monkeypatch: pytest.MonkeyPatch) -> Database:
    """Return an empty database of SQLite, and set an Airflow connection to it."""
    path = tmp_path / "lake.db"
    connect("sqlite_lake", conn_type="sqlite", host=str(path))
    hook = "airflow.providers.sqlite.hooks.sqlite.SqliteHook"
    return Sqlite("sqlite_lake", lambda: sqlite3.connect(path), recorded_connections(monkeypatch, hook))


@pytest.fixture
def loading(held_sandbox: Sandbox, database: Database, context_with, monkeypatch: pytest.MonkeyPatch) -> Loading:
    return Loading(held_sandbox, database, context_with)
