"""What operator, sensor and transfer share when they wait for an export: the hook, deferring, and resuming."""

from __future__ import annotations

import time
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, NoReturn

from airflow_provider_crux.api.errors import export_failed, trigger_poll_error
from airflow_provider_crux.api.polling import (
    POLL_INTERVAL,
    ExportPoller,
    PollAgain,
    export_uuid_from_event,
    state_from_event,
)
from airflow_provider_crux.api.responses import Export, ExportState
from airflow_provider_crux.api.retries import RETRY_BUDGET
from airflow_provider_crux.hooks.crux import CruxHook

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperator as _Operator
else:
    # a mixin: the sensor has another base class than the others
    _Operator = object

BACKSTOP_MARGIN: Final = RETRY_BUDGET + 60.0
"""Seconds that the trigger has after its deadline for its last poll and its event, before Airflow ends the deferral."""

MIN_RESUME_DELAY: Final = 10.0
"""
Seconds before which a deferred task must not resume.

For up to ``[workers] min_heartbeat_interval`` (5 seconds) Airflow 3 does not notice that the deferring process has
ended; a task that resumes by then fails with a state mismatch (seen on 3.3.2; apache/airflow issue 72716). On two
overloaded cores it took longer than that.
"""


class ExportWaitMixin(_Operator):
    """
    What a task needs to wait for an export.

    The task sets ``crux_conn_id`` and has an ``execute_complete`` that accepts ``event``.
    """

    crux_conn_id: str

    @cached_property
    def hook(self) -> CruxHook:
        """The hook of the task's connection."""
        return CruxHook(self.crux_conn_id)

    def defer_until_done(self, poller: ExportPoller, **resume_kwargs: Any) -> NoReturn:
        """
        Let the triggerer wait. Airflow calls ``execute_complete`` with the event and with these arguments.

        :param poller: the wait.
        :param resume_kwargs: what ``execute_complete`` receives besides the event. ``dag.test()`` passes the event
            alone.
        """
        from airflow_provider_crux.triggers.exports import CruxExportTrigger

        now = time.time()
        backstop = timedelta(seconds=max(0.0, poller.deadline - now) + BACKSTOP_MARGIN)
        self.defer(
            trigger=CruxExportTrigger(
                crux_conn_id=self.crux_conn_id,
                export_uuid=poller.export_uuid,
                accepted_at=poller.accepted_at,
                deadline=poller.deadline,
                poll_interval=poller.poll_interval,
                first_poll_at=now + MIN_RESUME_DELAY,
            ),
            method_name="execute_complete",
            kwargs=resume_kwargs,
            # a shorter limit that the user set for the task also applies in the triggerer
            timeout=min(backstop, self.execution_timeout or backstop),
        )

    def raise_unless_done(self, event: object, *, export_uuid: str, accepted_at: float) -> Export | None:
        """
        Return if the trigger reports that the export is done; raise what it reports otherwise.

        If the trigger timed out or could not get the status, or its event is invalid, the worker polls itself: it may
        succeed, and if not, it says best what is wrong.

        :return: the export, if the worker polled itself.
        :raises CruxExportFailedError: if the export failed.
        :raises CruxExportTimeoutError: if it was not done in time.
        :raises CruxError: if the worker's own poll fails too.
        """
        state = state_from_event(event, export_uuid=export_uuid)
        if state is ExportState.DONE:
            return None
        if state is ExportState.FAILED:
            raise export_failed(export_uuid)
        deadline = 0.0 if state is ExportState.TIMED_OUT else float("inf")
        poller = ExportPoller(export_uuid, accepted_at, deadline, POLL_INTERVAL)
        outcome = poller.evaluate(self.hook.poll_export(export_uuid), time.time())
        if isinstance(outcome, PollAgain):
            raise trigger_poll_error(export_uuid, poller.reason)
        return outcome


def export_uuid_of(event: object) -> str:
    """Return the UUID in an event, or an empty text: ``dag.test()`` passes nothing else to a resumed task."""
    return export_uuid_from_event(event) or ""
