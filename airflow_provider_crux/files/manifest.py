"""
The manifest beside a stored file: what the file contains, and where it comes from. It holds no personal data.

Its schema is published in ``docs/manifest.schema.json``.
"""

from __future__ import annotations

import builtins
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from airflow_provider_crux.api.instants import Period, parse_utc
from airflow_provider_crux.api.orders import OrdersExportRequest

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    from airflow_provider_crux.api.exports import SubmittedExport

_PREFIX: Final = "_"
_SUFFIX: Final = ".manifest.json"

_VERSION: Final = 1

_OPTIONAL: Final = ("matched_orders", "missing_orders")
_COUNTS: Final = ("rows", "orders", "bytes", *_OPTIONAL)

# "or" is the default, and the specification has two names for another one
_CONJUNCTIONS: Final = {None: "or", "all": "only"}
_DEFAULT_PORTS: Final = {"https": 443, "http": 80}


def _are_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def manifest_path(file: ObjectStoragePath) -> ObjectStoragePath:
    """Return the path of a file's manifest: what reads a whole folder skips names that begin with an underscore."""
    return file.with_name(f"{_PREFIX}{file.name}{_SUFFIX}")


def described_file(manifest: str) -> str | None:
    """Return the path of the file of a manifest; ``None`` if the path is not one of a manifest."""
    folder, separator, name = manifest.rpartition("/")
    if name.startswith(_PREFIX) and name.endswith(_SUFFIX):
        return f"{folder}{separator}{name.removeprefix(_PREFIX).removesuffix(_SUFFIX)}"
    return None


def api_host(base_url: str) -> str:
    """Return the host of an API: with its port, unless it is the scheme's own, and with the path of a gateway."""
    parts = urlsplit(base_url)
    host = parts.netloc.removesuffix(f":{_DEFAULT_PORTS[parts.scheme]}").removesuffix(".")
    return host + parts.path.rstrip("/")


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """
    A manifest: the fields of the schema, whose times are ISO 8601 texts in UTC.

    Neither ``request`` nor its interval and its time are known of an export that was given by its UUID alone.
    ``matched_orders`` and ``missing_orders`` are only known of a file that was compared with the list of orders.
    """

    version: int
    export_uuid: str
    host: str
    request: Mapping[str, Any] | None
    interval_start: str | None
    interval_end: str | None
    requested_at: str | None
    path: str
    format: str
    compression: str | None
    personal_data: str
    columns: list[str] | None
    rows: int | None
    orders: int | None
    bytes: int
    sha256: str
    provider_version: str
    stored_at: str
    matched_orders: int | None = None
    missing_orders: int | None = None

    @classmethod
    def of(cls, submitted: SubmittedExport, *, stored_at: datetime, **file: Any) -> Manifest:
        """Return the manifest of a file that was just stored; ``file`` are the other fields."""
        return cls(version=_VERSION, stored_at=stored_at.astimezone(UTC).isoformat(), **submitted.as_xcom(), **file)

    @classmethod
    def from_json(cls, content: builtins.bytes) -> Manifest:
        """Read a manifest; raise ValueError if it is not one, or of another version."""
        try:
            fields = json.loads(content)
            if not isinstance(fields, dict) or fields.get("version") != _VERSION:
                raise ValueError(f"not a manifest of version {_VERSION}")
            manifest = cls(**fields)
            # they raise an error if they cannot be read
            _ = manifest.filters, manifest.period
        except RecursionError:
            raise ValueError("nested too deeply") from None
        except TypeError:
            raise ValueError("fields are missing or unknown") from None
        for name in _COUNTS:
            count = getattr(manifest, name)
            if (count is not None or name == "bytes") and (type(count) is not int or count < 0):
                raise ValueError(f"{name} is not a whole number")
        if manifest.columns is not None and not _are_texts(manifest.columns):
            raise ValueError("columns is not a list of texts")
        if type(manifest.host) is not str or not manifest.host:
            raise ValueError("host is not a text")
        return manifest

    def as_json(self) -> builtins.bytes:
        """Return the bytes of the manifest's file."""
        # a provider that is older than these fields rejects a manifest that has them
        fields = {name: value for name, value in asdict(self).items() if name not in _OPTIONAL or value is not None}
        return f"{json.dumps(fields, indent=2)}\n".encode()

    @property
    def period(self) -> Period | None:
        """The stretch of time of which the file holds all orders; ``None`` if it is unknown or empty."""
        start, end = parse_utc(self.interval_start), parse_utc(self.interval_end)
        requested_at = parse_utc(self.requested_at)
        if start is None or end is None or requested_at is None or self.request is None:
            return None
        # an interval that ended after the request lacks the orders that came in between
        end = min(end, requested_at.replace(microsecond=0))
        return (start, end) if start < end else None

    @cached_property
    def filters(self) -> OrdersExportRequest:
        """What of its request selects orders, without the dates; equal if two requests select the same orders."""
        request = OrdersExportRequest.from_json({} if self.request is None else self.request)
        statuses, conjunction = request.line_item_status, request.status_conjunction
        return replace(
            request,
            start_date=None,
            end_date=None,
            start=request.start or None,  # 0 is the default
            sort=None,
            line_item_status=statuses and tuple(sorted(statuses)),
            status_conjunction=_CONJUNCTIONS.get(conjunction, conjunction) if statuses else None,
        )


def read_manifest(content: bytes, file_size: int | None) -> tuple[Manifest, Period]:
    """Return a manifest and what its file covers; raise ValueError with the reason why it does not count."""
    try:
        manifest = Manifest.from_json(content)
    except ValueError as error:
        raise ValueError(f"it is not a manifest of this provider ({error})") from None
    if file_size != manifest.bytes:
        raise ValueError("its file is missing or has another length; it is exported again")
    if manifest.period is None:
        raise ValueError(
            "the interval of its export is unknown or empty, or its request or the time of its request is unknown"
        )
    return manifest, manifest.period
