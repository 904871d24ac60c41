"""The record of an export in an Airflow Variable, for Airflow before 3.3, which has no task state store."""

from __future__ import annotations

import hashlib
import json
import logging
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
    """
    Return the name of a task instance's Variable; a hash replaces what would be longer than 250 characters.

    No two task instances share it: the ids of DAGs and tasks may contain a full stop, but no colon.
    """
    parts = (task_instance.dag_id, task_instance.task_id, task_instance.run_id, task_instance.map_index)
    identity = ":".join(map(str, parts))
    key = f"{_PREFIX}:{identity}"
    return key if len(key) <= _MAX_KEY else f"{_PREFIX}:{hashlib.sha256(identity.encode()).hexdigest()}"


class VariableRecord:
    """
    The record of a task instance, with the methods of the task state store.

    :param task_instance: of the try.
    """

    def __init__(self, task_instance: Any) -> None:
        self.key = variable_key(task_instance)
        self._is_first_try = task_instance.try_number == 1

    def get(self, _: str) -> Any:
        """
        Return the record, or ``None`` if there surely is none.

        :raises Exception: if nobody can know: what Airflow raises, or an ``AirflowException``.
        """
        text = _read_variable(self.key)
        if text is None and not (_AIRFLOW_2 or self._is_first_try):
            # The API server of Airflow 3.0 to 3.2 says "not found" even if it cannot read its database.
            self._check_reading_works()
            text = _read_variable(self.key)
        try:
            return None if text is None else json.loads(text)
        except ValueError:
            return text  # not a record, as the caller will notice

    def set(self, _: str, record: Mapping[str, Any]) -> None:
        """Save the record."""
        _write_variable(self.key, json.dumps(record), "Export of a Crux Connect task that has not succeeded yet")

    def delete(self, _: str) -> None:
        """Remove the record."""
        _delete_variable(self.key)

    def _check_reading_works(self) -> None:
        probe = f"{_PREFIX}:probe:{hashlib.sha256(self.key.encode()).hexdigest()}"
        _write_variable(probe, "1", "Crux Connect: tests whether Airflow can read its Variables")
        readable = _read_variable(probe) is not None
        _delete_variable(probe)
        if not readable:
            raise AirflowException("Airflow cannot read its Variables")


def _read_variable(key: str) -> str | None:
    """
    Return the text of a Variable, or ``None`` if Airflow says that there is none.

    ``Variable.get`` says so after every failure too: a locked database, a changed Fernet key, an error of the API
    server.
    """
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


def _write_variable(key: str, text: str, description: str) -> None:
    """Set a Variable. ``Variable.set`` of Airflow 3 only logs that the API server could not."""
    if _AIRFLOW_2:
        from airflow.models import Variable

        Variable.set(key, text, description)
    else:
        from airflow.sdk.execution_time.comms import PutVariable

        _send(PutVariable(key=key, value=text, description=description))


def _delete_variable(key: str) -> None:
    """Remove a Variable; as for setting one."""
    if _AIRFLOW_2:
        from airflow.models import Variable

        Variable.delete(key)
    else:
        from airflow.sdk.execution_time.comms import DeleteVariable

        _send(DeleteVariable(key=key))


def _send(message: Any) -> Any:
    """
    Send a message to the API server, through the supervisor of the task, and return the response.

    :raises AirflowRuntimeError: if it is an error.
    """
    from airflow.sdk.exceptions import AirflowRuntimeError
    from airflow.sdk.execution_time.comms import ErrorResponse
    from airflow.sdk.execution_time.task_runner import SUPERVISOR_COMMS

    response: Any = SUPERVISOR_COMMS.send(message)
    if isinstance(response, ErrorResponse):
        raise AirflowRuntimeError(response)
    return response


def delete_variable(context: Context) -> None:
    """Remove the Variable of a task instance that has succeeded. Airflow 3.3 has none."""
    if context.get("task_state_store") is not None:
        return
    record = VariableRecord(context["ti"])
    if _AIRFLOW_2:
        _delete_after_commit(record)
    else:
        record.delete(_PREFIX)


def _delete_after_commit(record: VariableRecord) -> None:
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
            if variable_key(task_instance) == record.key:
                get_listener_manager().pm.unregister(self)
                try:
                    record.delete(_PREFIX)
                except Exception as error:  # noqa: BLE001 - the task has succeeded, and other listeners follow
                    logging.getLogger(__name__).warning(
                        "Could not remove the Variable %r (%s)", record.key, type(error).__name__
                    )

    get_listener_manager().add_listener(Listener())  # type: ignore[no-untyped-call]
