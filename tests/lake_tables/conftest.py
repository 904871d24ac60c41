"""Stored files, and tables of two formats into which the functions of docs/lake-tables.md merge them."""

from __future__ import annotations

from tests.object_store import running_s3, s3
from tests.transfers.transfer import context_with, done_uuid, target, transfer

__all__ = ["context_with", "done_uuid", "running_s3", "s3", "target", "transfer"]
