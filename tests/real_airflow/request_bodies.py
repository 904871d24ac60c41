"""Builds the request bodies that tests expect the sandbox to receive."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any


def utc(text: str) -> datetime:
    """Parse a date or a date and time in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def api_timestamp(value: datetime) -> str:
    """Format a time as the API requires it: in UTC, with milliseconds that are always 000."""
    return f"{value.astimezone(UTC):%Y-%m-%dT%H:%M:%S}.000Z"


def interval_body(start: str, end: str) -> dict[str, Any]:
    """Return the body of a request that sets only this interval."""
    return {"start_date": api_timestamp(utc(start)), "end_date": api_timestamp(utc(end))}


def canonical_json(body: dict[str, Any]) -> str:
    """Return the same text for equal bodies."""
    return json.dumps(body, sort_keys=True)
