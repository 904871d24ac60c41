"""Files that the transfer stores."""

from __future__ import annotations

from tests.transfers.transfer import context_with, done_uuid, target, transfer

__all__ = ["context_with", "done_uuid", "target", "transfer"]
