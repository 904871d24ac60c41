"""What the transfers share: they wait for an export, and know where it comes from."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import AirflowException, Asset, BaseOperator, conf

from airflow_provider_crux.api import polling
from airflow_provider_crux.api.errors import unusable_connection
from airflow_provider_crux.api.polling import ExportPoller, PollAgain, wait_problems
from airflow_provider_crux.exceptions import CruxExportFailedError, CruxInvalidResponseError, CruxPermanentError
from airflow_provider_crux.files.columns import (
    ON_UNKNOWN_COLUMN,
    ORDER_DETAILS,
    PERSONAL_DATA,
    UnknownColumnError,
    UnusableFileError,
)
from airflow_provider_crux.task.arguments import choice_problems
from airflow_provider_crux.task.failing import InvalidArgumentsError, fail_without_retry
from airflow_provider_crux.task.order_details import OrderDetailsSource
from airflow_provider_crux.task.reporting import add_partitions, count, counting_failed_exports
from airflow_provider_crux.task.upstream import source_task_ids, submitted_export
from airflow_provider_crux.task.waiting import ExportWaitMixin

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_crux.api.exports import SubmittedExport
    from airflow_provider_crux.api.responses import Export


class ExportTransferOperator(ExportWaitMixin, BaseOperator):
    """A task that waits for an export and does something with its file."""

    _done: ClassVar[str]
    """What it does with the file, as a participle."""

    def __init__(
        self,
        *,
        export_uuid: str,
        personal_data: str = "keep",
        order_details: bool | str = False,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval: float = polling.POLL_INTERVAL,
        timeout: float = polling.TIMEOUT,
        crux_conn_id: str = "crux_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.export_uuid = export_uuid
        self._source_task_ids = source_task_ids(export_uuid)
        self.personal_data = personal_data
        self.order_details = order_details
        self.deferrable = deferrable
        self.poll_interval = poll_interval
        self.timeout = timeout
        self.crux_conn_id = crux_conn_id
        self._killed = False

    def _check_arguments(self, choices: Mapping[str, Sequence[Any]], problems: Sequence[str]) -> None:
        """Reject what is invalid when the DAG is parsed: what both have, ``choices``, and more ``problems``."""
        problems = [
            *wait_problems(self.poll_interval, self.timeout),
            *choice_problems(vars(self), {"personal_data": PERSONAL_DATA, "on_unknown_column": ON_UNKNOWN_COLUMN}),
            *choice_problems(vars(self), {"order_details": ORDER_DETAILS, **choices}),
            *problems,
        ]
        if problems:
            raise InvalidArgumentsError(f"Task {self.task_id!r}: {'; '.join(problems)}")

    @abstractmethod
    def _check_target(self, context: Context) -> Any:
        """Reject what cannot succeed before anything is downloaded, and return the target, of any type."""

    @abstractmethod
    def _transfer(self, context: Context, export: Export, target: Any) -> str:
        """Download the file to the target, and return what the task returns."""

    @abstractmethod
    def _advice(self) -> str:
        """Return what helps against a file that is not as published."""

    def _transfer_or_advise(self, context: Context, export: Export, target: Any) -> str:
        try:
            return self._transfer(context, export, target)
        except UnusableFileError as error:
            advice = self._advice()
            if isinstance(error, UnknownColumnError):
                effect = "keep unknown columns as text" if self.personal_data == "keep" else "leave unknown columns out"
                advice = f"To {effect}, use on_unknown_column='keep'"
            message = f"The file of the export cannot be used: {error}. Nothing was {self._done}. {advice}"
            raise CruxInvalidResponseError(message) from error

    def execute(self, context: Context) -> str:
        """Wait for the export and transfer its file. Each class says what this returns and raises."""
        with fail_without_retry(CruxPermanentError, CruxExportFailedError), counting_failed_exports(self):
            self._check_hash_key()
            target = self._check_target(context)
            now = datetime.now(UTC)
            # a deferred wait has the whole timeout, however long this poll takes
            deadline = None if self.deferrable else now + timedelta(seconds=self.timeout)
            poller = ExportPoller(self.export_uuid, now, deadline, self.poll_interval)
            result = self.hook.poll(poller)
            if self.deferrable and isinstance(result, PollAgain):
                self.defer_until_done(poller, accepted_at=now.timestamp())
            return self._transfer_or_advise(context, self.finish_polling(poller, result), target)

    def execute_complete(self, context: Context, event: Any = None, *, accepted_at: float = 0.0) -> str:
        """Resume when the trigger has fired; see :meth:`execute`."""
        with fail_without_retry(CruxPermanentError, CruxExportFailedError), counting_failed_exports(self):
            self._check_hash_key()
            target = self._check_target(context)
            accepted = datetime.fromtimestamp(accepted_at, UTC) if accepted_at else None
            export = self.raise_unless_done(event, export_uuid=self.export_uuid, accepted_at=accepted)
            export = export or self.hook.get_export(self.export_uuid)
            return self._transfer_or_advise(context, export, target)

    def on_kill(self) -> None:
        """Stop at the next chunk of the file, so that nothing is left behind."""
        self._killed = True

    def _check_hash_key(self) -> None:
        if self.personal_data == "hash" and not self.hook.settings.hash_key:
            raise unusable_connection(
                self.hook.settings.name,
                "extra hash_key: it is empty, but personal_data is 'hash'; set it to a secret of 16 characters or more",
            )

    def _stop_when_killed(self, chunks: Iterable[bytes], target: object) -> Iterator[bytes]:
        for chunk in chunks:
            self._raise_if_killed(target)
            yield chunk

    def _raise_if_killed(self, target: object) -> None:
        if self._killed:
            raise AirflowException(f"The task was killed: nothing was stored at {str(target)!r}")

    def _order_details(self, submitted: SubmittedExport, target: object) -> OrderDetailsSource:
        checkpoint = partial(self._raise_if_killed, target)
        return OrderDetailsSource(self.order_details, self.hook, submitted, self.log, self._done, checkpoint)

    def _submitted_export(self, context: Context) -> SubmittedExport:
        """Return what the task that requested the export pushed about it; for a bare UUID, nothing else is known."""
        sources, upstream = self._source_task_ids, self.upstream_task_ids
        return submitted_export(context, self.export_uuid, task_id=self.task_id, sources=sources, upstream=upstream)

    def _publish(
        self, context: Context, submitted: SubmittedExport, key: str, result: Mapping[str, Any], metadata: Sequence[str]
    ) -> None:
        """Push what was transferred as an XCom, and add ``metadata`` of it to the events of assets."""
        record = submitted.as_xcom()
        if self.do_xcom_push:
            context["ti"].xcom_push(key=key, value=result)
        known = {name: record[name] for name in ("export_uuid", "interval_start", "interval_end")}
        for asset in self.outlets:
            if isinstance(asset, Asset):
                event = context["outlet_events"][asset]
                event.extra |= {**known, **{name: result[name] for name in metadata}}
                add_partitions(event, context, submitted)
        count(self, "rows", result["rows"])
