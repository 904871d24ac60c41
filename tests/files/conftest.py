"""Places to write to."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest
from airflow.providers.common.compat.sdk import ObjectStoragePath
from upath import UPath

from tests.files.places import KEY, Place
from tests.object_store import BUCKET, ObjectStore, running_s3, s3

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["running_s3", "s3"]


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
