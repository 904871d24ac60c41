"""Where files are written: a disk, a real S3, and any file system."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from airflow.providers.common.compat.sdk import ObjectStoragePath
from upath import UPath

from tests.object_store import BUCKET, ObjectStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

MIB = 1024 * 1024
KEY = "orders/2026-01-02.csv"


@dataclass
class Place:
    """
    A file system to write to.

    :param path: the path to write.
    :param names: returns the names of all files.
    :param content: returns what is at the path.
    :param pending_uploads: returns the uploads that were neither completed nor aborted.
    """

    path: ObjectStoragePath
    names: Callable[[], list[str]]
    content: Callable[[], bytes]
    pending_uploads: Callable[[], list[str]] = field(default=list)


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
