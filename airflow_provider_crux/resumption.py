"""
What a task remembers across its tries of the export that it asked for, so that no try asks for a second one.

It is kept in Airflow's task state store (Airflow 3.3), which outlives the task's process, its supervisor and a
deferral. Airflow's own ``ResumableJobMixin`` uses the same store, but does not serve a task that defers.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from airflow_provider_crux.api.calls import canonical_uuid

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

KEY: Final = "crux_export"
"""Name of the record in the task state store."""


@dataclass(frozen=True)
class AskedFor:
    """
    An export that was asked for.

    :param export_uuid: the export.
    :param asked_at: when, in seconds since the epoch.
    """

    export_uuid: str
    asked_at: float


def fingerprint(crux_conn_id: str, body: Mapping[str, Any]) -> str:
    """
    Return what tells one request from another: a try takes up only an export of the very same request.

    :param crux_conn_id: id of the connection.
    :param body: of the request.
    """
    return hashlib.sha256(json.dumps([crux_conn_id, body], sort_keys=True).encode()).hexdigest()


class ExportMemory:
    """
    The record of one task (and map index). Without a store, on Airflow below 3.3, it remembers nothing.

    :param context: of the running task.
    :param durable: whether to remember at all.
    :param log: of the task.
    """

    def __init__(self, context: Context, *, durable: bool, log: Any) -> None:
        self._store: Any = context.get("task_state_store") if durable else None
        self._log = log

    def recall(self, mark: str) -> AskedFor | None:
        """
        Return the export that an earlier try asked for.

        :param mark: the fingerprint of the request that this try would send.
        :returns: ``None`` where there is none of the same request.
        """
        record = None if self._store is None else self._store.get(KEY)
        if not isinstance(record, Mapping) or record.get("fingerprint") != mark:
            return None
        uuid, asked_at = canonical_uuid(record.get("export_uuid")), record.get("asked_at")
        if uuid is None or not isinstance(asked_at, int | float):
            return None
        return AskedFor(uuid, float(asked_at))

    def keep(self, asked: AskedFor, mark: str) -> None:
        """
        Remember an export. It never raises: the export is asked for, and a task that fails now would ask for another.

        :param asked: the export.
        :param mark: the fingerprint of its request.
        """
        if self._store is None:
            return
        record = {"export_uuid": asked.export_uuid, "asked_at": asked.asked_at, "fingerprint": mark}
        try:
            self._store.set(KEY, record)
        except Exception as error:  # noqa: BLE001 - whatever it is: see above
            self._log.warning(
                "Airflow did not take the record of export %s (%s): should this try end early, the next one asks for "
                "another export",
                asked.export_uuid,
                type(error).__name__,
            )

    def forget(self) -> None:
        """
        Remove the record of a task that has succeeded, so that whoever clears it asks anew.

        It never raises: what was asked for is there.
        """
        if self._store is None:
            return
        try:
            self._store.delete(KEY)
        except Exception as error:  # noqa: BLE001 - whatever it is: see above
            self._log.warning(
                "Airflow did not remove the record of the export (%s): if this task is cleared, it takes the same "
                "export up again",
                type(error).__name__,
            )
