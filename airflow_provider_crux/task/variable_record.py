"""The record of an export in an Airflow Variable, for Airflow before 3.3, which has no task state store."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from typing import TYPE_CHECKING, Any, Final

from airflow import __version__ as airflow_version
from airflow.providers.common.compat.sdk import AirflowException

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.providers.common.compat.sdk import Context

_PREFIX: Final = "crux_export"
_MAX_KEY: Final = 250
_AIRFLOW_2: Final = airflow_version.startswith("2.")


def variable_key(task_instance: Any) -> str:
    """Return the name of a task instance's Variable; a hash replaces what would be longer than 250 characters."""
    # No two task instances share it: the ids of DAGs and tasks may contain a full stop, but no colon.
    parts = (task_instance.dag_id, task_instance.task_id, task_instance.run_id, task_instance.map_index)
    identity = ":".join(map(str, parts))
    key = f"{_PREFIX}:{identity}"
    return key if len(key) <= _MAX_KEY else f"{_PREFIX}:{hashlib.sha256(identity.encode()).hexdigest()}"


class SupersededError(AirflowException):
    """Airflow has given up this try of a task, so another one may have begun."""


class VariableRecord:
    """
    The record of a task instance, with the methods of the task state store.

    Like that store, it accepts nothing of a try that Airflow has given up, for example because its worker was
    suspended: otherwise such a try would overwrite the record of the next one.
    """

    def __init__(self, context: Context) -> None:
        self._task_instance: Any = context["ti"]
        # `airflow tasks test` of Airflow 2, which stores no task instance
        self._test_mode = bool(context.get("test_mode"))
        self.key = variable_key(self._task_instance)

    def get(self, _: str) -> Any:
        """Return the record, or ``None`` if there is certainly none; raise an error if nobody can know."""
        text = _read_variable(self.key)
        if text is None and not _AIRFLOW_2 and self._task_instance.try_number > 1:
            # The API server of Airflow 3.0 to 3.2 says "not found" even if it cannot read its database.
            self._check_reading_works()
            text = _read_variable(self.key)
        try:
            return None if text is None else json.loads(text) or text
        except ValueError:
            return text  # not a record, as the caller will notice

    def set(self, _: str, record: Mapping[str, Any]) -> None:
        """Save the record; raise SupersededError if another try may have begun, even while it was saved."""
        self._check_is_current()
        _write_variable(self.key, json.dumps(record), "Export of a Crux Connect task that has not succeeded yet")
        # If the next try begins only after this check, it finds the record.
        self._check_is_current()

    def delete(self, _: str) -> None:
        """Remove the record, unless another try may have begun: then raise SupersededError."""
        self._check_is_current()
        _delete_variable(self.key)

    def is_current(self) -> bool:
        """Tell whether this try is still the one that Airflow runs."""
        return self._test_mode or _is_current(self._task_instance)

    def _check_is_current(self) -> None:
        if not self.is_current():
            raise SupersededError("Airflow has given up this try, and another one may have begun")

    def _check_reading_works(self) -> None:
        probe = f"{_PREFIX}:probe:{hashlib.sha256(self.key.encode()).hexdigest()}"
        _write_variable(probe, "1", "Crux Connect: tests whether Airflow can read its Variables")
        readable = _read_variable(probe) is not None
        _delete_variable(probe)
        if not readable:
            raise AirflowException("Airflow cannot read its Variables")


def _read_variable(key: str) -> str | None:  # pragma: no cover - not on Airflow 3.3
    """Return the text of a Variable, or ``None`` if Airflow says that there is none."""
    # `Variable.get` also says so after a failure: a locked database, a changed Fernet key, an error of the API server.
    if _AIRFLOW_2:
        from airflow.models import Variable
        from airflow.utils.session import create_session
        from sqlalchemy import select

        with create_session() as session:
            row = session.scalar(select(Variable).where(Variable.key == key))
            if row is not None and row.val is None:
                raise AirflowException(f"Airflow cannot decrypt the Variable {key!r}: has the Fernet key changed?")
            return None if row is None else str(row.val)

    from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType
    from airflow.sdk.execution_time.comms import GetVariable

    try:
        return str(_send(GetVariable(key=key)).value)
    except AirflowRuntimeError as error:
        if error.error.error == ErrorType.VARIABLE_NOT_FOUND:
            return None
        raise


# Of Airflow 3, `Variable.set` and `Variable.delete` only log that the API server could not.


def _write_variable(key: str, text: str, description: str) -> None:  # pragma: no cover - not on Airflow 3.3
    if _AIRFLOW_2:
        from airflow.models import Variable

        Variable.set(key, text, description)
    else:
        from airflow.sdk.execution_time.comms import PutVariable

        _send(PutVariable(key=key, value=text, description=description))


def _delete_variable(key: str) -> None:  # pragma: no cover - not on Airflow 3.3
    if _AIRFLOW_2:
        from airflow.models import Variable

        Variable.delete(key)
    else:
        from airflow.sdk.execution_time.comms import DeleteVariable

        _send(DeleteVariable(key=key))


def _send(message: Any) -> Any:  # pragma: no cover - not on Airflow 3.3
    """Send a message to the API server, and return its response or raise its error."""
    from airflow.sdk.exceptions import AirflowRuntimeError
    from airflow.sdk.execution_time.comms import ErrorResponse
    from airflow.sdk.execution_time.task_runner import SUPERVISOR_COMMS

    response: Any = SUPERVISOR_COMMS.send(message)
    if isinstance(response, ErrorResponse):
        raise AirflowRuntimeError(response)
    return response


def _is_current(task_instance: Any) -> bool:  # pragma: no cover - not on Airflow 3.3
    """Tell whether a try is still the one that Airflow runs for its task instance."""
    if _AIRFLOW_2:
        from airflow.models import TaskInstance
        from airflow.utils.net import get_hostname
        from airflow.utils.session import create_session
        from sqlalchemy import select

        names = ("dag_id", "task_id", "run_id", "map_index")
        own = [getattr(TaskInstance, name) == getattr(task_instance, name) for name in names]
        with create_session() as session:
            columns = (TaskInstance.hostname, TaskInstance.pid, TaskInstance.state)
            row = session.execute(select(*columns).where(*own)).one_or_none()
        # Not by the number of the try: when a try ends, Airflow 2 overwrites its own with that of the row.
        # None of these states is that of a try that runs; dag.test() runs tries in any other.
        given_up = ("up_for_retry", "failed", "restarting")
        own_process = (get_hostname(), os.getpid())  # type: ignore[no-untyped-call]
        return row is not None and tuple(row[:2]) == own_process and row[2] not in given_up

    from airflow.sdk.exceptions import AirflowRuntimeError
    from airflow.sdk.execution_time.comms import ValidateInletsAndOutlets

    # Of a try that it has given up, Airflow no longer knows the id. This message does nothing but look it up.
    try:
        _send(ValidateInletsAndOutlets(ti_id=task_instance.id))
    except AirflowRuntimeError as error:
        if (error.error.detail or {}).get("status_code") == 404:
            return False
        raise
    return True


def delete_variable(context: Context) -> None:
    """Remove the Variable of a task instance that has succeeded. Airflow 3.3 has none."""
    if context.get("task_state_store") is not None:
        return
    record = VariableRecord(context)
    if not record.is_current():
        return  # the record is the next try's
    # `airflow tasks test` commits nothing
    if _AIRFLOW_2 and not context.get("test_mode"):  # pragma: no cover - not on Airflow 3.3
        _delete_after_commit(record.key)
    else:
        _delete_variable(record.key)


def _delete_after_commit(key: str) -> None:  # pragma: no cover - not on Airflow 3.3
    """
    Remove a Variable once Airflow 2 has stored the success of its task instance.

    Airflow 2 calls ``on_success_callback`` before that: a worker that is killed in between leaves a task that is tried
    again, and would have forgotten its export.
    """
    from airflow.listeners import hookimpl
    from airflow.listeners.listener import get_listener_manager

    class Listener:
        @hookimpl
        def on_task_instance_success(self, task_instance: Any) -> None:
            if variable_key(task_instance) == key:
                get_listener_manager().pm.unregister(self)
                try:
                    _delete_variable(key)
                except Exception as error:  # noqa: BLE001 - the task has succeeded, and other listeners follow
                    log = logging.getLogger(__name__)
                    log.warning("Could not remove the Variable %r (%s)", key, type(error).__name__)

    get_listener_manager().add_listener(Listener())  # type: ignore[no-untyped-call]
