"""The wait for an export in the triggerer. What a look means is decided in :mod:`airflow_provider_crux.api.waiting`."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_crux.api.waiting import Pause, Wait, WaitState, event
from airflow_provider_crux.exceptions import CruxError, CruxExportFailedError, CruxExportTimeoutError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from airflow_provider_crux.api.answers import Export


class CruxExportTrigger(BaseTrigger):
    """
    Wait until an export is done, has failed, or is late; never ask for one.

    It yields one event, ``{"export_uuid": ..., "state": ...}``, whose state is ``done``, ``failed``, ``timeout`` or
    ``error``. What it met stands in the task's log, not in the event. Its arguments are stored in Airflow's database,
    so there is no secret in them; the points in time are those of the clock on the wall, for a trigger moves between
    processes and machines.

    :param crux_conn_id: id of the connection.
    :param export_uuid: the export.
    :param asked_at: when it was asked for, in seconds since the epoch; within 60 seconds of it, not found means wait.
    :param deadline: when it is late, in seconds since the epoch. It is looked at once more before the event says so.
    :param poll_interval: seconds between two looks; they vary by a tenth.
    :param not_before: when to look first, in seconds since the epoch; default: within one interval from now.
    """

    def __init__(
        self,
        *,
        crux_conn_id: str,
        export_uuid: str,
        asked_at: float,
        deadline: float,
        poll_interval: float,
        not_before: float = 0.0,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.crux_conn_id = crux_conn_id
        self.export_uuid = export_uuid
        self.asked_at = asked_at
        self.deadline = deadline
        self.poll_interval = poll_interval
        self.not_before = not_before

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class's path and the arguments that make the trigger anew."""
        return (
            "airflow_provider_crux.triggers.exports.CruxExportTrigger",
            {
                "crux_conn_id": self.crux_conn_id,
                "export_uuid": self.export_uuid,
                "asked_at": self.asked_at,
                "deadline": self.deadline,
                "poll_interval": self.poll_interval,
                "not_before": self.not_before,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, and yield the one event."""
        try:
            await self._until_done()
            state = WaitState.DONE
        except CruxExportFailedError as error:
            self.log.error(str(error))  # noqa: TRY400 - what Crux Connect says, not a fault of this program
            state = WaitState.FAILED
        except CruxExportTimeoutError as error:
            self.log.error(str(error))  # noqa: TRY400
            state = WaitState.TIMEOUT
        except CruxError as error:
            self.log.error(str(error))  # noqa: TRY400
            state = WaitState.ERROR
        yield TriggerEvent(event(self.export_uuid, state))  # type: ignore[no-untyped-call]

    async def on_kill(self) -> None:
        """Tell a person who ends the waiting task that the export goes on (Airflow 3.3)."""
        self.log.warning(
            "Crux Connect has no call that cancels an export: %s goes on, and its e-mail will come", self.export_uuid
        )

    async def _until_done(self) -> None:
        # imported here, not at the top: a DAG file that can defer imports this module at every parse
        from airflow_provider_crux.hooks.crux_async import shared_hook

        wait = Wait(self.export_uuid, self.asked_at, self.deadline, self.poll_interval, self.not_before)
        async with shared_hook(self.crux_conn_id) as hook:
            judged: Export | Pause = wait.first_pause(time.time())
            while isinstance(judged, Pause):
                if judged.remark is not None:
                    self.log.warning(judged.remark)
                await asyncio.sleep(judged.seconds)
                judged = wait.judge(await hook.look(self.export_uuid), time.time())
