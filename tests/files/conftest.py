"""Places to write to."""

from __future__ import annotations

from tests.files.places import in_memory, in_s3, on_disk, place
from tests.object_store import running_s3, s3

__all__ = ["in_memory", "in_s3", "on_disk", "place", "running_s3", "s3"]
