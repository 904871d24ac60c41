"""
What a task remembers across its tries: the export it requested, so that no try requests a second one.

Before the request the task saves an *intent*, and after the response the export. So a try that finds an intent knows
that an earlier try may have requested an export, however that try ended. The record is the JSON form of
:class:`~airflow_provider_crux.api.exports.SubmittedExport`: UUID, request, connection and both times.

Airflow 3.3 keeps the record in its task state store, which outlives the task's process, its supervisor and a deferral.
Earlier versions keep it in an Airflow Variable of the task instance's own. Neither accepts anything of a try that
Airflow has given up: if such a try wakes up before its request, it cannot save its intent, and sends nothing. Airflow's
``ResumableJobMixin`` uses the same store, but does not support a task that defers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from airflow import __version__ as airflow_version
from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException

from airflow_provider_crux.api.exports import SubmittedExport
from airflow_provider_crux.api.instants import parse_utc
from airflow_provider_crux.api.redaction import excerpt
from airflow_provider_crux.task.variable_record import VariableRecord

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

KEY: Final = "crux_export"
"""Name of the record in the task state store."""

CLEAR_DISCARDS_STATE: Final = tuple(map(int, airflow_version.split(".")[:2])) >= (3, 4)
"""Whether clearing a task discards its record, unless the person chooses to keep the task's state."""


@dataclass(frozen=True)
class Intent:
    """A request that a try may have sent since an instant, and whose response no try knows."""

    since: datetime

    def __str__(self) -> str:
        """Return how a log names it."""
        return f"a request of {self.since.isoformat()}, whose outcome is unknown"

    def as_json(self) -> dict[str, Any]:
        """Return its record, which has no UUID."""
        return {"export_uuid": None, "requested_at": self.since.isoformat()}


class ExportStateStore:
    """
    The record of one task instance.

    A record that is *settled* holds until the task instance is cleared: its export is done, or the task has failed and
    asked a person to check. A task that fails after ``execute``, while Airflow pushes its XCom, resumes its export.
    """

    def __init__(self, context: Context, *, retries: int, durable: bool, log: Any) -> None:
        self._context = context
        self._task_instance: Any = context["ti"]
        self._retries = retries
        self._log = log
        self._store: Any = None
        if durable:
            self._store = context.get("task_state_store")
            if self._store is None:
                self._store = VariableRecord(context)

    def load(self) -> SubmittedExport | Intent | None:
        """
        Return what earlier tries left: an export, or an intent if no try knows the response.

        :return: ``None`` if there is certainly nothing, or a person has cleared the task after its record was settled.
        :raises AirflowException: if the record cannot be read, or is not one of this provider.
        """
        if self._store is None:
            return None
        try:
            record = self._store.get(KEY)
        except Exception as error:
            raise AirflowException(
                f"Could not read {self._name} ({type(error).__name__}: {excerpt(str(error))}). It is unknown whether "
                "an earlier try requested an export. Nothing was sent. Check Airflow's database and API server"
            ) from error
        if record is None:
            return None
        earlier = _parse(record)
        if earlier is None:
            raise AirflowFailException(
                f"The record of this task, {self._name}, is damaged: it is unknown whether an earlier try requested an "
                "export. Nothing was sent. Check for an e-mail from Crux Connect, delete the record, and clear the task"
            )
        if self._was_cleared_since(record.get("settled")):
            self._log.info("This task was cleared, so it requests an export again. Before the Clear it had %s", earlier)
            return None
        return earlier

    def save_intent(self, intent: Intent) -> None:
        """Save that an export is about to be requested; if that fails, nothing may be sent: raise AirflowException."""
        try:
            self._save(intent)
        except Exception as error:
            raise AirflowException(
                f"Could not save in {self._name} that this task is about to request an export "
                f"({type(error).__name__}). Nothing was sent. Check Airflow's database and API server"
            ) from error

    def discard_intent(self, earlier: SubmittedExport | Intent | None) -> None:
        """Put back what the intent of this try has replaced, because the request was certainly not processed."""
        if self._store is None:
            return
        try:
            if earlier is None:
                self._store.delete(KEY)
            else:
                self._save(earlier)
        except Exception as error:  # noqa: BLE001 - the error of the request says more
            self._log.warning(
                "Could not remove the intent from %s (%s). The next try will treat this request as if it had been "
                "processed",
                self._name,
                type(error).__name__,
            )

    def save(self, export: SubmittedExport) -> None:
        """Save an export. Neither this nor :meth:`settle` raises, because the export is already requested."""
        consequence = f"Export {export.export_uuid} is requested; if this try ends early, the next one does not know it"
        self._save_or_warn(export, consequence)

    def settle(self, earlier: SubmittedExport | Intent) -> None:
        """Save that the task requests an export after a Clear: it is done, or fails and asks a person to check."""
        consequence = f"If this task is cleared, it treats {earlier} like that of a try that was killed"
        self._save_or_warn(earlier, consequence, settled=True)

    def _save_or_warn(self, earlier: SubmittedExport | Intent, consequence: str, *, settled: bool = False) -> None:
        try:
            self._save(earlier, settled=settled)
        except Exception as error:  # noqa: BLE001 - whatever it is, see `save`
            self._log.warning("Could not save %s (%s). %s", self._name, type(error).__name__, consequence)

    def _save(self, earlier: SubmittedExport | Intent, *, settled: bool = False) -> None:
        if self._store is not None:
            self._store.set(KEY, earlier.as_json() | ({"settled": self._numbers()} if settled else {}))

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
    try:
        if record.get("export_uuid") is None:
            since = parse_utc(record.get("requested_at"))
            return Intent(since) if since else None
        export = SubmittedExport.from_xcom(record)
    except ValueError:
        return None
    is_complete = export.request and export.requested_at and export.accepted_at and export.crux_conn_id
    return export if is_complete else None


def _is_settled(numbers: object) -> bool:
    if not isinstance(numbers, Mapping):
        return False
    return not numbers or all(type(numbers.get(name)) is int for name in ("try_number", "max_tries"))
