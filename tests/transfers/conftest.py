"""Places to write to, and a transfer as a task runs it."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING

import pytest
from airflow.providers.common.compat.sdk import ObjectStoragePath
from upath import UPath

from tests.object_store import BUCKET, ObjectStore, running_s3, s3
from tests.transfers.places import KEY, Place
from tests.transfers.table import Database, Loading, Sqlite, recorded_connections
from tests.transfers.transfer import context, context_with, done_uuid, target, transfer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from airflow_provider_crux.sandbox.state import Sandbox

__all__ = ["context", "context_with", "done_uuid", "running_s3", "s3", "target", "transfer"]


@pytest.fixture
def on_disk(tmp_path: Path) -> Place:
    path = tmp_path / KEY

    def names() -> list[str]:
        return [str(entry.relative_to(tmp_path)) for entry in tmp_path.rglob("*") if entry.is_file()]

    return Place(ObjectStoragePath(str(path)), names, path.read_bytes)


@pytest.fixture
def in_s3(s3: ObjectStore) -> Place:
    path = ObjectStoragePath(f"s3://aws_loopback@{BUCKET}/{KEY}")
    return Place(path, s3.names, lambda: s3.content(KEY), s3.pending_uploads)


@pytest.fixture
def in_memory() -> Iterator[Place]:
    """Return a file system about which only one thing is known: it can rename."""
    path = UPath(f"memory:///exports/{KEY}")
    fs = path.fs
    yield Place(path, lambda: [name.removeprefix("/exports/") for name in fs.find("/")], lambda: fs.cat(path.path))
    with contextlib.suppress(FileNotFoundError):
        fs.rm("/exports", recursive=True)


@pytest.fixture(params=["on_disk", "in_s3", "in_memory"])
def place(request: pytest.FixtureRequest) -> Place:
    return request.getfixturevalue(request.param)


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
