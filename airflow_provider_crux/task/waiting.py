"""What operator, sensor and transfer share when they wait for an export: the hook, deferring, and resuming."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, NoReturn

from airflow_provider_crux.api.errors import export_failed, trigger_poll_error
from airflow_provider_crux.api.polling import (
    POLL_INTERVAL,
    ExportPoller,
    PollAgain,
    WaitOutcome,
    longest_wait,
    outcome_from_event,
)
from airflow_provider_crux.api.retries import RETRY_BUDGET
from airflow_provider_crux.exceptions import CruxExportTimeoutError
from airflow_provider_crux.hooks.crux import CruxHook
from airflow_provider_crux.task import reporting

if TYPE_CHECKING:
    from airflow.providers.common.compat.openlineage.facet import InputDataset, OutputDataset
    from airflow.providers.common.compat.sdk import BaseOperator as _Operator
    from airflow.providers.openlineage.extractors import OperatorLineage

    from airflow_provider_crux.api.responses import Export
else:
    # a mixin: the sensor has another base class than the others
    _Operator = object

BACKSTOP_MARGIN: Final = timedelta(seconds=RETRY_BUDGET + 60)
"""Time that the trigger has after its deadline for its last poll and its event, before Airflow ends the deferral."""

MIN_RESUME_DELAY: Final = 10.0
"""
Seconds before which a deferred task must not resume.

For up to ``[workers] min_heartbeat_interval`` (5 seconds) Airflow 3 does not notice that the deferring process has
ended; a task that resumes by then fails with a state mismatch (seen on 3.3.2; apache/airflow issue 72716). On two
overloaded cores it took longer than that.
"""


class ExportWaitMixin(_Operator):
    """What a task needs to wait for an export. Its ``execute_complete`` accepts ``event``."""

    crux_conn_id: str
    timeout: float

    @cached_property
    def hook(self) -> CruxHook:
        """The hook of the task's connection."""
        return CruxHook(self.crux_conn_id)

    def finish_polling(self, poller: ExportPoller, result: Export | PollAgain | None = None) -> Export:
        """Poll until the export is done, see :meth:`.CruxHook.finish_polling`, and report how long that took."""
        result = result or self.hook.poll(poller)
        export = self.hook.finish_polling(poller, result)
        if isinstance(result, PollAgain):
            reporting.report_wait(self, poller.accepted_at)
        return export

    def defer_until_done(self, poller: ExportPoller, **resume_kwargs: Any) -> NoReturn:
        """
        Let the triggerer wait. Without a deadline, the task's ``timeout`` begins now.

        Airflow calls ``execute_complete`` with the event and ``resume_kwargs``; ``dag.test()`` with the event alone.
        """
        from airflow_provider_crux.triggers.exports import CruxExportTrigger

        now = datetime.now(UTC)
        deadline = poller.deadline or now + longest_wait(self.timeout)
        backstop = max(timedelta(0), deadline - now) + BACKSTOP_MARGIN
        self.defer(
            trigger=CruxExportTrigger(
                crux_conn_id=self.crux_conn_id,
                export_uuid=poller.export_uuid,
                accepted_at=poller.accepted_at.timestamp(),
                deadline=deadline.timestamp(),
                poll_interval=poller.poll_interval,
                first_poll_at=now.timestamp() + MIN_RESUME_DELAY,
            ),
            method_name="execute_complete",
            kwargs=resume_kwargs,
            # a shorter limit that the user set for the task also applies in the triggerer
            timeout=min(backstop, self.execution_timeout or backstop),
        )

    def raise_unless_done(self, event: object, *, export_uuid: str, accepted_at: datetime | None) -> Export | None:
        """
        Return if the trigger reports that the export is done; raise what it reports otherwise.

        If the trigger timed out or could not get the status, or its event is invalid, the worker polls itself, and
        returns the export: it may succeed, and if not, it says best what is wrong.
        """
        export = self._done_export(event, export_uuid, accepted_at)
        if accepted_at:
            reporting.report_wait(self, accepted_at)
        return export

    def _done_export(self, event: object, export_uuid: str, accepted_at: datetime | None) -> Export | None:
        outcome = outcome_from_event(event, export_uuid=export_uuid)
        if outcome is WaitOutcome.DONE:
            return None
        if outcome is WaitOutcome.FAILED:
            raise export_failed(export_uuid)
        # the deadline is over: this poll is the only one
        long_ago = datetime.min.replace(tzinfo=UTC)
        poller = ExportPoller(export_uuid, accepted_at or long_ago, datetime.now(UTC), POLL_INTERVAL)
        try:
            return self.hook.finish_polling(poller)
        except CruxExportTimeoutError:
            if outcome is WaitOutcome.TIMED_OUT:
                raise
            raise trigger_poll_error(export_uuid, poller.reason) from None

    def get_openlineage_facets_on_start(self) -> OperatorLineage[Any, Any]:
        """Return what the task reads, and what it is to write. Only OpenLineage's provider calls this."""
        return reporting.lineage([self._read_dataset], [self._planned_dataset])

    def get_openlineage_facets_on_complete(self, task_instance: object) -> OperatorLineage[Any, Any]:  # noqa: ARG002
        """Return what the task has read and written; also of a task that failed."""
        return reporting.lineage([self._read_dataset], [self._written_dataset])

    def _read_dataset(self) -> InputDataset:
        return reporting.orders_dataset(self.hook.settings.base_url)

    def _planned_dataset(self) -> OutputDataset | None:
        return None

    def _written_dataset(self) -> OutputDataset | None:
        return None
