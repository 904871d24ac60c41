"""
What a task remembers across its tries: the export it requested, so that no try requests a second one.

Before the request the task saves an *intent*, and after the response the export. So a try that finds an intent knows
that an earlier try may have requested an export, however that try ended.

Airflow 3.3 keeps the record in its task state store, which outlives the task's process, its supervisor and a deferral.
Earlier versions keep it in an Airflow Variable of the task instance's own. Neither accepts anything of a try that
Airflow has given up: if such a try wakes up before its request, it cannot save its intent, and sends nothing. Airflow's
``ResumableJobMixin`` uses the same store, but does not support a task that defers.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeGuard

from airflow import __version__ as airflow_version
from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException

from airflow_provider_crux.api.instants import iso_instant
from airflow_provider_crux.api.redaction import excerpt
from airflow_provider_crux.api.requests import canonical_uuid
from airflow_provider_crux.api.responses import SubmittedExport
from airflow_provider_crux.task.variable_record import VariableRecord

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

KEY: Final = "crux_export"
"""Name of the record in the task state store."""

CLEAR_DISCARDS_STATE: Final = tuple(map(int, airflow_version.split(".")[:2])) >= (3, 4)
"""Whether clearing a task discards its record, unless the person chooses to keep the task's state."""


_SAME_AGAIN: Final = "If this task is cleared, it fails once more with the same message"

_YEAR_10000: Final = 253_402_300_800
"""The first second that no datetime has."""


@dataclass(frozen=True)
class Intent:
    """
    A request that an earlier try may have sent, and whose response no try knows.

    :param since: time before the request, in seconds since the epoch.
    """

    since: float


def fingerprint(crux_conn_id: str, body: Mapping[str, Any]) -> str:
    """
    Return what identifies a request: a try resumes only an export of the very same request.

    :param crux_conn_id: id of the connection.
    :param body: body of the request.
    """
    return hashlib.sha256(json.dumps([crux_conn_id, body], sort_keys=True).encode()).hexdigest()


class ExportStateStore:
    """
    The record of one task instance.

    A record that is *settled* holds until the task instance is cleared: its export is done, or the task has failed and
    asked a person to check. A task that fails after ``execute``, while Airflow pushes its XCom, resumes its export.

    :param context: the task's context.
    :param request_fingerprint: of the request that this try sends.
    :param retries: how often Airflow retries the task.
    :param durable: whether to remember.
    :param log: the task's log.
    """

    def __init__(self, context: Context, *, request_fingerprint: str, retries: int, durable: bool, log: Any) -> None:
        self._context = context
        self._task_instance: Any = context["ti"]
        self._fingerprint = request_fingerprint
        self._retries = retries
        self._log = log
        self.has_same_request = True
        self._intent: Intent | None = None
        self._loaded: Mapping[str, Any] = {}
        self._store: Any = None
        if durable:
            self._store = context.get("task_state_store")
            if self._store is None:
                self._store = VariableRecord(context)

    def load(self) -> SubmittedExport | Intent | None:
        """
        Return what an earlier try requested.

        :return: the export, or an intent if no try knows the response; :attr:`has_same_request` tells whether it had
            the request of this try. ``None`` if there surely is nothing, or a person has cleared the task after its
            record was settled.
        :raises AirflowException: if the record cannot be read.
        :raises AirflowFailException: if it is not one of this provider.
        """
        if self._store is None:
            return None
        record = self._read()
        if record is None:
            return None
        earlier = _parse(record)
        if earlier is None:
            raise AirflowFailException(
                f"The record of this task, {self._name}, is damaged: it is unknown whether an earlier try requested an "
                "export. Nothing was sent. Check for an e-mail from Crux Connect, delete the record, and clear the task"
            )
        if self._was_cleared_since(record.get("settled")):
            known = (
                f"a request of {iso_instant(earlier.since)}, whose outcome is unknown"
                if isinstance(earlier, Intent)
                else f"export {earlier.export_uuid}, requested at {iso_instant(earlier.requested_at)}"
            )
            self._log.info("This task was cleared, so it requests an export again. Before the Clear it had %s", known)
            return None
        self._loaded = record
        self.has_same_request = record.get("fingerprint") == self._fingerprint
        return earlier

    def warn_of_second_export(self, export: SubmittedExport, reason: str) -> None:
        """Log that an export of an earlier try is left behind, and will be e-mailed too."""
        self._log.warning(
            "Export %s, which an earlier try requested at %s, %s: this try requests another one. The e-mail of the "
            "earlier export may still be sent",
            export.export_uuid,
            iso_instant(export.requested_at),
            reason,
        )

    def save_intent(self) -> None:
        """
        Save that an export is about to be requested.

        :raises AirflowException: if it cannot be saved: then nothing may be sent.
        """
        self._intent = self._intent or Intent(time.time())
        if self._store is None:
            return
        try:
            self._save({"export_uuid": None, "requested_at": self._intent.since})
        except Exception as error:
            raise AirflowException(
                f"Could not save in {self._name} that this task is about to request an export "
                f"({type(error).__name__}). Nothing was sent. Check Airflow's database and API server"
            ) from error

    def discard_intent(self) -> None:
        """Take the intent of this try back, because the request was certainly not processed."""
        if self._store is None or self._intent is None:
            return
        try:
            self._store.delete(KEY)
        except Exception as error:  # noqa: BLE001 - the error of the request says more
            self._log.warning(
                "Could not remove %s (%s). The next try will treat this request as if it had been processed",
                self._name,
                type(error).__name__,
            )

    def settle_intent(self) -> float | None:
        """
        Save that this try asks a person to check its request, if it sent one; see :meth:`settle_earlier`.

        :return: time before the request, in seconds since the epoch.
        """
        if self._intent is None:
            return None
        self._save_or_warn({"export_uuid": None, "requested_at": self._intent.since}, _SAME_AGAIN, settled=True)
        return self._intent.since

    def settle_earlier(self) -> None:
        """Save that this try asks a person to check what :meth:`load` returned: after a Clear, the task requests."""
        self._save_or_warn(self._loaded, _SAME_AGAIN, settled=True)

    def save(self, export: SubmittedExport, *, settled: bool = False) -> None:
        """
        Save an export. It never raises, because the export is already requested.

        :param export: the export.
        :param settled: whether the task requests another one after a Clear; default False.
        """
        self._save_or_warn(
            {
                "export_uuid": export.export_uuid,
                "requested_at": export.requested_at,
                "accepted_at": export.accepted_at,
            },
            f"If this task is cleared, it resumes export {export.export_uuid} instead of requesting another one"
            if settled
            else f"Export {export.export_uuid} is requested; if this try ends early, the next one does not know it",
            settled=settled,
        )

    def _save_or_warn(self, record: Mapping[str, Any], consequence: str, *, settled: bool) -> None:
        if self._store is None:
            return
        try:
            self._save(record, settled=settled)
        except Exception as error:  # noqa: BLE001 - whatever it is, see `save`
            self._log.warning("Could not save %s (%s). %s", self._name, type(error).__name__, consequence)

    def _save(self, record: Mapping[str, Any], *, settled: bool = False) -> None:
        marks = {"settled": self._numbers()} if settled else {}
        self._store.set(KEY, {"fingerprint": self._fingerprint, **record, **marks})

    def _read(self) -> Any:
        try:
            return self._store.get(KEY)
        except Exception as error:
            raise AirflowException(
                f"Could not read {self._name} ({type(error).__name__}: {excerpt(str(error))}). It is unknown whether "
                "an earlier try requested an export. Nothing was sent. Check Airflow's database and API server"
            ) from error

    @property
    def _name(self) -> str:
        if isinstance(self._store, VariableRecord):
            return f"the Variable {self._store.key!r}"
        return f"{KEY!r} in the task state store"

    def _numbers(self) -> dict[str, Any]:
        return {
            "try_number": self._task_instance.try_number,
            "max_tries": self._task_instance.max_tries,
            "clear_number": getattr(self._context.get("dag_run"), "clear_number", None),
        }

    def _was_cleared_since(self, settled: Any) -> bool:
        """
        Tell whether a person has cleared this task instance since its record was settled.

        A Clear sets ``max_tries`` to the number of the last try plus ``retries``; a retry never changes it. Only if
        somebody lowered ``retries``, it can be the same number as before. Then ``clear_number`` tells, but a Clear of
        any other task of the run raises it too: so ``max_tries`` must also count from the settled try or a later one.
        """
        if not settled:
            return False
        now = self._numbers()
        if settled.get("max_tries") != now["max_tries"]:
            return True
        counts_from: int = now["max_tries"] - self._retries
        return bool(settled.get("clear_number") != now["clear_number"] and counts_from >= settled["try_number"])


def _parse(record: object) -> SubmittedExport | Intent | None:
    """Return what a record says, or ``None`` if it is not a record."""
    if not isinstance(record, Mapping) or not _is_settled(record.get("settled", {})):
        return None
    requested_at, accepted_at = record.get("requested_at"), record.get("accepted_at")
    if not _is_instant(requested_at):
        return None
    if record.get("export_uuid") is None:
        return Intent(float(requested_at))
    uuid = canonical_uuid(record.get("export_uuid"))
    return SubmittedExport(uuid, float(requested_at), float(accepted_at)) if uuid and _is_instant(accepted_at) else None


def _is_settled(numbers: object) -> bool:
    if not isinstance(numbers, Mapping):
        return False
    return not numbers or all(type(numbers.get(name)) is int for name in ("try_number", "max_tries"))


def _is_instant(value: object) -> TypeGuard[float]:
    return type(value) in {int, float} and 0 <= value < _YEAR_10000  # type: ignore[operator]
