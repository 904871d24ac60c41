"""
What a task remembers across its tries: the export it requested, so that no try requests a second one.

Airflow 3.3 keeps the record in its task state store, which outlives the task's process, its supervisor and a deferral.
Earlier versions keep it in an Airflow Variable of the task instance's own. Airflow's ``ResumableJobMixin`` uses the
same store, but does not support a task that defers.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from airflow_provider_crux.api.requests import canonical_uuid

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

KEY: Final = "crux_export"
"""Name of the record in the task state store, and prefix of the names of the Variables."""

_MAX_VARIABLE_KEY: Final = 250


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


def variable_key(task_instance: Any) -> str:
    """Return the name of a task instance's Variable; a hash replaces what would be longer than 250 characters."""
    parts = (task_instance.dag_id, task_instance.task_id, task_instance.run_id, task_instance.map_index)
    identity = ".".join(map(str, parts))
    key = f"{KEY}.{identity}"
    return key if len(key) <= _MAX_VARIABLE_KEY else f"{KEY}.{hashlib.sha256(identity.encode()).hexdigest()}"


class _VariableRecord:
    """The record in a Variable, with the methods of the task state store."""

    def __init__(self, key: str) -> None:
        self._key = key

    def get(self, _: str) -> Any:
        from airflow.providers.common.compat.sdk import Variable

        # In Airflow 2 a missing Variable is a default, in Airflow 3 too, but under another name: both are positional.
        text = Variable.get(self._key, None)
        with suppress(ValueError):
            return json.loads(text or "null")
        return None

    def set(self, _: str, record: Mapping[str, Any]) -> None:
        from airflow.providers.common.compat.sdk import Variable

        Variable.set(self._key, json.dumps(record), "Export of a Crux Connect task that has not succeeded yet")

    def delete(self, _: str) -> None:
        from airflow.providers.common.compat.sdk import Variable

        Variable.delete(self._key)


class ExportStateStore:
    """
    The record of one task instance.

    A completed record holds until the task instance is cleared: a task that fails after ``execute``, while Airflow
    pushes its XCom, resumes its export. A Clear raises ``max_tries``, so that a cleared task requests a new export.

    :param context: the task's context.
    :param durable: whether to remember.
    :param log: the task's log.
    """

    def __init__(self, context: Context, *, durable: bool, log: Any) -> None:
        self._task_instance: Any = context["ti"]
        self._log = log
        self._store: Any = None
        if durable:
            self._store = context.get("task_state_store")
            if self._store is None:
                self._store = _VariableRecord(variable_key(self._task_instance))

    def load(self, request_fingerprint: str) -> SubmittedExport | None:
        """
        Return the export that an earlier try requested.

        :param request_fingerprint: of the request that this try would send.
        :return: ``None`` if there is none for the same request.
        :raises Exception: what the store raises; on a first try, which has no earlier one, it is only logged.
        """
        if self._store is None:
            return None
        try:
            record = self._store.get(KEY)
        except Exception as error:
            if self._task_instance.try_number > 1:
                raise
            self._log.warning("Could not read the record of an earlier export (%s)", type(error).__name__)
            return None
        if not isinstance(record, Mapping) or record.get("fingerprint") != request_fingerprint:
            return None
        if record.get("completed_max_tries", self._task_instance.max_tries) != self._task_instance.max_tries:
            return None
        uuid, requested_at = canonical_uuid(record.get("export_uuid")), record.get("requested_at")
        if uuid is None or not isinstance(requested_at, int | float):
            return None
        return SubmittedExport(uuid, float(requested_at))

    def save(self, export: SubmittedExport, request_fingerprint: str, *, completed: bool = False) -> None:
        """
        Save an export. It never raises: the export is already requested, and a failed task would request another one.

        :param export: the export.
        :param request_fingerprint: of its request.
        :param completed: whether the task has done its work; default False.
        """
        if self._store is None:
            return
        record: dict[str, Any] = {
            "export_uuid": export.export_uuid,
            "requested_at": export.requested_at,
            "fingerprint": request_fingerprint,
        }
        if completed:
            record["completed_max_tries"] = self._task_instance.max_tries
        try:
            self._store.set(KEY, record)
        except Exception as error:  # noqa: BLE001 - whatever it is: see above
            self._log.warning(
                "Could not save export %s (%s). If this try ends early, the next one requests another export; if this "
                "task is cleared, it may resume this one",
                export.export_uuid,
                type(error).__name__,
            )


def delete_variable(context: Context) -> None:
    """Remove the Variable of a task instance that has succeeded. Airflow 3.3 needs none."""
    if context.get("task_state_store") is None:
        _VariableRecord(variable_key(context["ti"])).delete(KEY)
