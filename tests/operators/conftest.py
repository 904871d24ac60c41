"""The object store and the lake of the tests in this folder."""

from tests.object_store import running_s3, s3
from tests.operators.lake import connection, find_gaps, folder, lake

__all__ = ["connection", "find_gaps", "folder", "lake", "running_s3", "s3"]
