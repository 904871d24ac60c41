"""What operator, sensor and transfer have in common when they wait for an export in the triggerer."""

from __future__ import annotations

import time
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, NoReturn

from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_crux.api import waiting
from airflow_provider_crux.api.polling import POLL_INTERVAL
from airflow_provider_crux.api.repetition import BUDGET
from airflow_provider_crux.api.waiting import Pause, Wait, WaitState
from airflow_provider_crux.exceptions import CruxError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow.providers.common.compat.sdk import BaseOperator

    from airflow_provider_crux.hooks.crux import CruxHook

_MARGIN: Final = BUDGET + 60.0
"""Seconds that the trigger is given after its own deadline, for its last look and its event: its word comes first."""

_SETTLED: Final = 10.0
"""
Seconds until a task that deferred may be called back.

For up to ``[workers] min_heartbeat_interval`` (5 seconds) Airflow 3 does not notice that the deferring process has
ended; a task that runs again by then is failed with a state mismatch (seen on 3.3.2; apache/airflow issue 72716).
On two overloaded cores it was seen to take longer than that.
"""


@contextmanager
def failing_at_once(*hopeless: type[CruxError]) -> Iterator[None]:
    """
    Turn errors that a retry cannot mend into Airflow's word for that.

    :param hopeless: which they are.
    :raises AirflowFailException: in place of each of them.
    """
    try:
        yield
    except hopeless as error:
        raise AirflowFailException(str(error)) from error


def defer(operator: BaseOperator, wait: Wait, crux_conn_id: str, **resumed_with: Any) -> NoReturn:
    """
    Let the triggerer wait; Airflow calls ``execute_complete`` of the operator with the event and what is given here.

    :param operator: which defers.
    :param wait: for what, and how long.
    :param crux_conn_id: id of the connection.
    :param resumed_with: what ``execute_complete`` is told besides the event and ``asked_at``. ``dag.test()`` tells it
        the event alone.
    """
    from airflow_provider_crux.triggers.exports import CruxExportTrigger

    now = time.time()
    backstop = timedelta(seconds=max(0.0, wait.deadline - now) + _MARGIN)
    operator.defer(
        trigger=CruxExportTrigger(
            crux_conn_id=crux_conn_id,
            export_uuid=wait.export_uuid,
            asked_at=wait.asked_at,
            deadline=wait.deadline,
            poll_interval=wait.poll_interval,
            not_before=now + _SETTLED,
        ),
        method_name="execute_complete",
        kwargs={"asked_at": wait.asked_at, **resumed_with},
        # a shorter limit that the user set for the task holds in the triggerer too
        timeout=min(backstop, operator.execution_timeout or backstop),
    )


def resume(event: object, hook: CruxHook, *, export_uuid: str, asked_at: float) -> None:
    """
    Return where the trigger says that the export is done, and raise what it says otherwise.

    Where the trigger could not find out, or its event cannot be believed, the worker looks for itself: it may be
    better off, and if not it says best what is wrong.

    :raises CruxExportFailedError: when the export failed.
    :raises CruxExportTimeoutError: when it was not done in time.
    :raises CruxError: where the worker's own look says nothing better.
    """
    match waiting.state_of(event, export_uuid=export_uuid):
        case WaitState.FAILED:
            raise waiting.failed(export_uuid)
        case WaitState.TIMEOUT:
            raise waiting.timed_out(export_uuid)
        case WaitState.ERROR:
            wait = Wait(export_uuid, asked_at, deadline=float("inf"), poll_interval=POLL_INTERVAL)
            judged = wait.judge(hook.look(export_uuid), time.time())
            if isinstance(judged, Pause):
                raise waiting.lost_sight(export_uuid, judged.remark)
