"""The object store of the tests in this folder."""

from tests.object_store import running_s3, s3

__all__ = ["running_s3", "s3"]
