"""The wait for an export in the triggerer. :mod:`airflow_provider_crux.api.polling` decides what each poll means."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_crux.api.polling import ExportPoller, PollAgain, WaitOutcome, event_payload, longest_wait
from airflow_provider_crux.exceptions import CruxError, CruxExportFailedError, CruxExportTimeoutError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from airflow_provider_crux.api.responses import Export

_OUTCOMES = {CruxExportFailedError: WaitOutcome.FAILED, CruxExportTimeoutError: WaitOutcome.TIMED_OUT}


class CruxExportTrigger(BaseTrigger):
    """
    Wait until an export is done, has failed, or the deadline is over. The trigger never requests one.

    The tasks of this provider create it; use it in an operator of your own.

    It yields one event, ``{"export_uuid": ..., "state": ...}``; the state is ``done``, ``failed``,
    ``timed_out``, or ``unknown`` if the trigger could not get the status. The task's log says what happened, the event
    does not. Airflow stores the arguments in its database, so none is secret. Times are wall-clock times, because a
    trigger moves between processes and machines.

    :param crux_conn_id: id of the connection.
    :param export_uuid: the export.
    :param accepted_at: when its request was accepted, in seconds since the epoch; for 60 seconds after that, not found
        means wait.
    :param deadline: when the wait ends, in seconds since the epoch. The last poll comes after it.
    :param poll_interval: seconds between two polls; they vary by a tenth.
    :param first_poll_at: earliest time of the first poll, in seconds since the epoch; default: within one interval from
        now. It holds even if ``deadline`` is earlier.
    """

    def __init__(
        self,
        *,
        crux_conn_id: str,
        export_uuid: str,
        accepted_at: float,
        deadline: float,
        poll_interval: float,
        first_poll_at: float | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.crux_conn_id = crux_conn_id
        self.export_uuid = export_uuid
        self.accepted_at = accepted_at
        self.deadline = deadline
        self.poll_interval = poll_interval
        self.first_poll_at = first_poll_at

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the path of the class and the arguments that recreate the trigger."""
        return (
            "airflow_provider_crux.triggers.exports.CruxExportTrigger",
            {
                "crux_conn_id": self.crux_conn_id,
                "export_uuid": self.export_uuid,
                "accepted_at": self.accepted_at,
                "deadline": self.deadline,
                "poll_interval": self.poll_interval,
                "first_poll_at": self.first_poll_at,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, and yield the one event."""
        try:
            await self._wait()
            outcome = WaitOutcome.DONE
        except CruxError as error:
            self.log.error(str(error))  # noqa: TRY400 - Crux Connect's fault or the connection's, not this program's
            outcome = _OUTCOMES.get(type(error), WaitOutcome.UNKNOWN)
        yield TriggerEvent(event_payload(self.export_uuid, outcome))  # type: ignore[no-untyped-call]

    async def on_kill(self) -> None:
        """Tell a person who ends the waiting task that the export continues (Airflow 3.3)."""
        self.log.warning(
            "Crux Connect cannot cancel an export: %s continues, and its e-mail will be sent", self.export_uuid
        )

    async def _wait(self) -> None:
        # here, so that parsing a DAG file does not import aiohttp
        from airflow_provider_crux.hooks.crux_async import CruxAsyncHook

        now = datetime.now(UTC)
        poller = ExportPoller(
            self.export_uuid,
            datetime.fromtimestamp(self.accepted_at, UTC),
            now + longest_wait(self.deadline - now.timestamp()),
            self.poll_interval,
            None if self.first_poll_at is None else datetime.fromtimestamp(self.first_poll_at, UTC),
        )
        async with CruxAsyncHook(self.crux_conn_id) as hook:
            result: Export | PollAgain = poller.first_delay(now)
            while isinstance(result, PollAgain):
                await asyncio.sleep(result.delay)
                result = await hook.poll(poller)
