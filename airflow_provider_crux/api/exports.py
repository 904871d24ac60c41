"""An export that was requested: what the task that requests it passes to its retries and to other tasks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from airflow_provider_crux.api.instants import parse_utc
from airflow_provider_crux.api.orders import OrdersExportRequest, describe
from airflow_provider_crux.api.requests import canonical_uuid
from airflow_provider_crux.exceptions import CruxInvalidRequestError


@dataclass(frozen=True)
class SubmittedExport:
    """
    An export that was requested. All but its UUID may be unknown: ``SubmittedExport(uuid, None, None)``.

    :param export_uuid: the export.
    :param request: which orders were requested; ``None`` if unknown.
    :param requested_at: when the request was sent: the export has the orders as they were then, or later; ``None`` if
        unknown.
    :param accepted_at: when the response arrived; default ``None``, unknown. For a moment after it, Crux Connect may
        not know the export yet.
    :param crux_conn_id: id of the Airflow connection over which it was requested; default ``None``, unknown.
    """

    export_uuid: str
    request: OrdersExportRequest | None
    requested_at: datetime | None
    accepted_at: datetime | None = None
    crux_conn_id: str | None = None

    def __str__(self) -> str:
        """Return how a log names it."""
        return f"export {self.export_uuid}, requested at {_as_text(self.requested_at)}"

    @property
    def interval_start(self) -> datetime | None:
        """Start of the interval of its orders; ``None`` if unknown."""
        return self.request.start_date if self.request else None

    @property
    def interval_end(self) -> datetime | None:
        """End of the interval, likewise."""
        return self.request.end_date if self.request else None

    def as_xcom(self) -> dict[str, Any]:
        """Return the XCom ``export_interval``: JSON types, instants as ISO 8601 texts in UTC."""
        body = self.request.as_json() if self.request else None
        return {
            "export_uuid": self.export_uuid,
            "interval_start": (body or {}).get("start_date"),
            "interval_end": (body or {}).get("end_date"),
            "requested_at": _as_text(self.requested_at),
            "request": body,
        }

    def as_json(self) -> dict[str, Any]:
        """Return all that is known: the XCom, ``accepted_at`` and ``crux_conn_id``."""
        return {**self.as_xcom(), "accepted_at": _as_text(self.accepted_at), "crux_conn_id": self.crux_conn_id}

    @classmethod
    def from_xcom(cls, value: object) -> SubmittedExport:
        """
        Read what :meth:`as_xcom` or :meth:`as_json` returned.

        :raises CruxInvalidRequestError: if it is anything else.
        """
        fields = value if isinstance(value, Mapping) else {}
        uuid, request = canonical_uuid(fields.get("export_uuid")), fields.get("request")
        crux_conn_id = fields.get("crux_conn_id")
        try:
            if uuid is None:
                raise ValueError("export_uuid is not a UUID")
            if not isinstance(crux_conn_id, str | None):
                raise ValueError("crux_conn_id is not a text")  # noqa: TRY004 - as for every other field
            return cls(
                uuid,
                None if request is None else OrdersExportRequest.from_json(request),
                parse_utc(fields.get("requested_at")),
                parse_utc(fields.get("accepted_at")),
                crux_conn_id,
            )
        except ValueError as error:
            raise CruxInvalidRequestError(
                f"export_interval: {describe(value)} is not the record of an export ({error}); clear the task "
                "that requested the export, or pass the UUID alone"
            ) from error


def _as_text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
