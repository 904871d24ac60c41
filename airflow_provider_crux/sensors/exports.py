"""Waiting for an export that another task, or another system, asked for."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowSensorTimeout, BaseSensorOperator, conf

# What only an execution needs is imported where it is used: a DAG file is parsed every thirty seconds.
from airflow_provider_crux.exceptions import (
    CruxExportFailedError,
    CruxExportTimeoutError,
    CruxNotFoundError,
    CruxPermanentError,
)

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_crux.api.waiting import Wait
    from airflow_provider_crux.hooks.crux import CruxHook


class CruxExportSensor(BaseSensorOperator):
    """
    Wait until an export is done.

    It only looks, so nothing it does, and no retry of it, leads to an e-mail. A passing failure to look is borne, up
    to five times in a row in the modes poke and deferrable; in the mode reschedule, where no look knows of the one
    before, as long as the sensor may wait. An export that is not found within 60 seconds after the first look may
    only not be known yet; later, not found fails the task at once, as an export that failed does.

    ``poke_interval``, ``timeout``, ``mode``, ``soft_fail`` and the other arguments are those of every sensor of
    Airflow; deferrable mode takes ``poke_interval`` and ``timeout`` too. With ``soft_fail`` an export that fails, is
    not found or is late skips the task.

    :param export_uuid: the export, for example ``export.output`` of the task ``export``. Templated.
    :param deferrable: wait in the triggerer, without a worker; default: Airflow's ``[operators] default_deferrable``.
    :param crux_conn_id: id of the Airflow connection; default ``crux_default``. Templated.
    """

    template_fields: Sequence[str] = ("export_uuid", "crux_conn_id")
    ui_color = "#dcecf5"

    def __init__(
        self,
        *,
        export_uuid: str,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        crux_conn_id: str = "crux_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.export_uuid = export_uuid
        self.deferrable = deferrable
        self.crux_conn_id = crux_conn_id

    def execute(self, context: Context) -> None:
        """
        Wait.

        :raises AirflowFailException: when the export failed, and for every other error that a retry cannot mend.
        :raises AirflowSensorTimeout: when it is not done in time.
        """
        # a first look from here: an export that is done, or cannot be, costs the triggerer nothing
        if self.deferrable and not self.poke(context):
            from airflow_provider_crux.deferral import defer

            defer(self, replace(self._wait, deadline=time.time() + self.timeout), self.crux_conn_id)
        if not self.deferrable:
            super().execute(context)

    def poke(self, context: Context) -> bool:  # noqa: ARG002 - as Airflow calls it
        """Look once, and tell whether the export is done."""
        from airflow_provider_crux.api.waiting import Pause
        from airflow_provider_crux.deferral import failing_at_once

        with failing_at_once(CruxPermanentError, CruxExportFailedError):
            while isinstance(judged := self._wait.judge(seen := self._hook.look(self.export_uuid), time.time()), Pause):
                if judged.remark is not None:
                    self.log.warning(judged.remark)
                if not (self.reschedule and isinstance(seen, CruxNotFoundError)):
                    return False
                # The next look would be another process's, which does not know when the minute of grace began
                # (Airflow 2 does not say): so the minute passes in this one.
                time.sleep(judged.seconds)
        return True

    def execute_complete(self, context: Context, event: Any = None, *, asked_at: float = 0.0) -> None:  # noqa: ARG002
        """Go on when the trigger has fired; see :meth:`execute`."""
        from airflow_provider_crux.deferral import failing_at_once, resume

        try:
            with failing_at_once(CruxPermanentError, CruxExportFailedError):
                resume(event, self._hook, export_uuid=self.export_uuid, asked_at=asked_at)
        except CruxExportTimeoutError as error:
            raise AirflowSensorTimeout(str(error)) from error

    @cached_property
    def _wait(self) -> Wait:
        """The wait as this process knows it; that it takes too long is Airflow's to say, or the trigger's."""
        from airflow_provider_crux.api.waiting import Wait

        return Wait(self.export_uuid, time.time(), deadline=float("inf"), poll_interval=self.poke_interval)

    @cached_property
    def _hook(self) -> CruxHook:
        from airflow_provider_crux.hooks.crux import CruxHook

        return CruxHook(self.crux_conn_id)
