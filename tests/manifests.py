"""Manifests as they are published, made without the code under test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datetime import datetime

HOST = "127.0.0.1:9"
"""The host over which the exports came."""


def manifest_name(file: str) -> str:
    """Return the name of the manifest of a file, with its folders."""
    folder, separator, name = file.rpartition("/")
    return f"{folder}{separator}_{name}.manifest.json"


def manifest(start: datetime, end: datetime, **changes: Any) -> dict[str, Any]:
    """Return what docs/manifest.schema.json describes."""
    dates = {"start_date": f"{start:%Y-%m-%dT%H:%M:%S}.000Z", "end_date": f"{end:%Y-%m-%dT%H:%M:%S}.000Z"}
    return {
        "version": 1,
        "export_uuid": "b9888421-594c-4d2f-9f0d-3b138a16c845",
        "host": HOST,
        "request": {**changes.pop("filters", {}), **dates},
        "interval_start": dates["start_date"],
        "interval_end": dates["end_date"],
        "requested_at": "2026-03-01T00:00:00.250000+00:00",
        "path": "s3://aws_elsewhere@orders/file.parquet",
        "format": "parquet",
        "compression": "zstd",
        "personal_data": "hash",
        "columns": ["order_uuid", "quantity"],
        "rows": 5,
        "orders": 3,
        "bytes": 8,
        "sha256": "0" * 64,
        "provider_version": "0.1.0",
        "stored_at": "2026-03-01T00:01:00+00:00",
        **changes,
    }
