"""The wait for an export that another task, or another system, requested."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    BaseSensorOperator,
    conf,
)

from airflow_provider_crux.api.polling import ExportPoller, PollAgain
from airflow_provider_crux.exceptions import (
    CruxError,
    CruxExportFailedError,
    CruxExportTimeoutError,
    CruxPermanentError,
)
from airflow_provider_crux.task.failing import fail_without_retry
from airflow_provider_crux.task.reporting import counting_failed_exports, report_wait
from airflow_provider_crux.task.waiting import ExportWaitMixin

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context


class CruxExportSensor(ExportWaitMixin, BaseSensorOperator):
    """
    Wait until an export is done.

    The sensor only polls, so neither it nor a retry of it leads to an e-mail. In the modes poke and deferrable, up to
    four consecutive transient polling errors are tolerated; the fifth is raised. In ``reschedule`` mode every poll runs
    in a new process and cannot count failures, so they are tolerated until the timeout. For 60 seconds after the first
    poll the export may be unknown; after that, not found fails the task immediately, as a failed export does.

    ``poke_interval``, ``timeout``, ``mode``, ``soft_fail`` and the other arguments are those of every Airflow sensor.
    With ``soft_fail`` an export that fails, is not found or is not done in time skips the task; with ``never_fail``
    every error does.

    The sensor pushes no XCom.

    :param export_uuid: the export, for example ``export.output`` of the task ``export``. Templated.
    :param deferrable: wait in the triggerer, without a worker; default: Airflow's ``[operators] default_deferrable``.
    :param crux_conn_id: id of the Airflow connection; default ``crux_default``. Templated.
    :raises AirflowFailException: if the export failed or does not exist.
    :raises AirflowSensorTimeout: if it is not done in time; Airflow does not retry this.
    :raises CruxTransientError: after five consecutive failed polls.
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
        self._has_waited = False

    def execute(self, context: Context) -> None:
        """
        Wait.

        :raises AirflowFailException: if the export failed, and for every other non-retryable error.
        :raises AirflowSensorTimeout: if it is not done in time.
        """
        # polled here first: an export that is done, or cannot be, does not need the triggerer
        if not self.deferrable:
            try:
                super().execute(context)
            except AirflowSensorTimeout as error:
                if self._poller.reason is None:
                    raise
                raise AirflowSensorTimeout(f"{error} {self._poller.reason}") from None
            if self._has_waited:
                report_wait(self, self._poller.accepted_at)
            return
        with self._skip_if_wanted():
            done = self.poke(context)
        if not done:
            self.defer_until_done(self._poller, accepted_at=self._poller.accepted_at.timestamp())

    def poke(self, context: Context) -> bool:  # noqa: ARG002 - as Airflow calls it
        """Poll once, and tell whether the export is done."""
        with fail_without_retry(CruxPermanentError, CruxExportFailedError), counting_failed_exports(self):
            result = self.hook.poll(self._poller)
            while isinstance(result, PollAgain):
                if not (self.reschedule and result.rest_of_grace):
                    self._has_waited = True
                    return False
                # The next poll would be another process's, which does not know when the 60 seconds began (Airflow 2
                # does not say), so this process waits for their end, and no longer.
                time.sleep(min(result.delay, result.rest_of_grace))
                result = self.hook.poll(self._poller)
            return True

    def execute_complete(self, context: Context, event: Any = None, *, accepted_at: float = 0.0) -> None:  # noqa: ARG002
        """Resume when the trigger has fired; see :meth:`execute`."""
        with self._skip_if_wanted():
            try:
                with fail_without_retry(CruxPermanentError, CruxExportFailedError), counting_failed_exports(self):
                    accepted = datetime.fromtimestamp(accepted_at, UTC) if accepted_at else None
                    self.raise_unless_done(event, export_uuid=self.export_uuid, accepted_at=accepted)
            except CruxExportTimeoutError as error:
                raise AirflowSensorTimeout(str(error)) from error

    @contextmanager
    def _skip_if_wanted(self) -> Iterator[None]:
        """Apply ``soft_fail`` and ``never_fail`` as Airflow does while it pokes."""
        try:
            yield
        except (AirflowFailException, AirflowSensorTimeout, CruxError) as error:
            if self.never_fail or (self.soft_fail and not isinstance(error, CruxError)):
                raise AirflowSkipException(str(error)) from error
            raise

    @cached_property
    def _poller(self) -> ExportPoller:
        """The wait in this process; Airflow or the trigger decides when it times out."""
        return ExportPoller(self.export_uuid, datetime.now(UTC), deadline=None, poll_interval=self.poke_interval)
