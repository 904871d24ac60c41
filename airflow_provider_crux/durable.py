"""
What a task remembers across its tries: the export it requested, so that no try requests a second one.

The record is kept in Airflow's task state store (Airflow 3.3), which outlives the task's process, its supervisor and a
deferral. Airflow's own ``ResumableJobMixin`` uses the same store but does not support a task that defers.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from airflow_provider_crux.api.requests import canonical_uuid

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

KEY: Final = "crux_export"
"""Name of the record in the task state store."""


@dataclass(frozen=True)
class SubmittedExport:
    """
    An export that was requested.

    :param export_uuid: the export.
    :param requested_at: when, in seconds since the epoch.
    """

    export_uuid: str
    requested_at: float


def fingerprint(crux_conn_id: str, body: Mapping[str, Any]) -> str:
    """
    Return what identifies a request: a try resumes only an export of the very same request.

    :param crux_conn_id: id of the connection.
    :param body: body of the request.
    """
    return hashlib.sha256(json.dumps([crux_conn_id, body], sort_keys=True).encode()).hexdigest()


class ExportStateStore:
    """
    The record of one task instance. Without a task state store (Airflow below 3.3) it remembers nothing.

    :param context: the task's context.
    :param durable: whether to remember.
    :param log: the task's log.
    """

    def __init__(self, context: Context, *, durable: bool, log: Any) -> None:
        self._store: Any = context.get("task_state_store") if durable else None
        self._log = log

    def load(self, request_fingerprint: str) -> SubmittedExport | None:
        """
        Return the export that an earlier try requested.

        :param request_fingerprint: of the request that this try would send.
        :return: ``None`` if there is none for the same request.
        """
        record = None if self._store is None else self._store.get(KEY)
        if not isinstance(record, Mapping) or record.get("fingerprint") != request_fingerprint:
            return None
        uuid, requested_at = canonical_uuid(record.get("export_uuid")), record.get("requested_at")
        if uuid is None or not isinstance(requested_at, int | float):
            return None
        return SubmittedExport(uuid, float(requested_at))

    def save(self, export: SubmittedExport, request_fingerprint: str) -> None:
        """
        Save an export. It never raises: the export is already requested, and a failed task would request another one.

        :param export: the export.
        :param request_fingerprint: of its request.
        """
        if self._store is None:
            return
        record = {
            "export_uuid": export.export_uuid,
            "requested_at": export.requested_at,
            "fingerprint": request_fingerprint,
        }
        try:
            self._store.set(KEY, record)
        except Exception as error:  # noqa: BLE001 - whatever it is: see above
            self._log.warning(
                "Could not save export %s to the task state store (%s). If this try ends early, the next one requests "
                "another export",
                export.export_uuid,
                type(error).__name__,
            )

    def clear(self) -> None:
        """
        Remove the record of a task that has succeeded, so that clearing the task requests a new export.

        It never raises: the task has done its work.
        """
        if self._store is None:
            return
        try:
            self._store.delete(KEY)
        except Exception as error:  # noqa: BLE001 - whatever it is: see above
            self._log.warning(
                "Could not remove the export from the task state store (%s). If this task is cleared, it resumes the "
                "same export",
                type(error).__name__,
            )
