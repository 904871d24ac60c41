"""Where files are written: a disk, a real S3, and any file system."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow.providers.common.compat.sdk import ObjectStoragePath

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
