"""What the transfers share: they wait for an export, and know where it comes from."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowException, Asset, BaseOperator, conf

from airflow_provider_crux.api import polling
from airflow_provider_crux.api.errors import unusable_connection
from airflow_provider_crux.api.polling import ExportPoller, PollAgain
from airflow_provider_crux.api.requests import canonical_uuid
from airflow_provider_crux.exceptions import CruxExportFailedError, CruxPermanentError
from airflow_provider_crux.files.manifest import ExportOrigin
from airflow_provider_crux.task.failing import fail_without_retry
from airflow_provider_crux.task.waiting import ExportWaitMixin

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_crux.api.responses import Export


class ExportTransferOperator(ExportWaitMixin, BaseOperator):
    """
    A task that waits for an export and does something with its file.

    :param export_uuid: the export.
    :param personal_data: what to do with personal data; ``hash`` needs the connection's extra ``hash_key``.
    :param deferrable: wait in the triggerer.
    :param poll_interval: seconds between two polls.
    :param timeout: seconds to wait for the export.
    :param crux_conn_id: id of the Airflow connection.
    """

    def __init__(
        self,
        *,
        export_uuid: str,
        personal_data: str = "keep",
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval: float = polling.POLL_INTERVAL,
        timeout: float = polling.TIMEOUT,
        crux_conn_id: str = "crux_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.export_uuid = export_uuid
        self.personal_data = personal_data
        self.deferrable = deferrable
        self.poll_interval = poll_interval
        self.timeout = timeout
        self.crux_conn_id = crux_conn_id
        self._killed = False

    @abstractmethod
    def _check_target(self, context: Context) -> Any:
        """Reject what cannot succeed before anything is downloaded, and return the target, of any type."""

    @abstractmethod
    def _transfer(self, context: Context, export: Export, target: Any) -> str:
        """Download the file to the target, and return what the task returns."""

    def execute(self, context: Context) -> str:
        """
        Wait for the export and transfer its file.

        :return: the target.
        :raises AirflowFailException: if the export failed, and for every other non-retryable error.
        :raises CruxExportTimeoutError: if the export is not done in time; a retry waits again.
        :raises CruxTransientError: if Crux Connect or the storage of its files cannot respond.
        """
        with fail_without_retry(CruxPermanentError, CruxExportFailedError):
            self._check_hash_key()
            target = self._check_target(context)
            now = datetime.now(UTC)
            # a deferred wait has the whole timeout, however long this poll takes
            deadline = None if self.deferrable else now + timedelta(seconds=self.timeout)
            poller = ExportPoller(self.export_uuid, now, deadline, self.poll_interval)
            result = self.hook.poll(poller)
            if self.deferrable and isinstance(result, PollAgain):
                self.defer_until_done(poller)
            return self._transfer(context, self.hook.finish_polling(poller, result), target)

    def execute_complete(self, context: Context, event: Any = None, *, accepted_at: float = 0.0) -> str:
        """Resume when the trigger has fired; see :meth:`execute`."""
        with fail_without_retry(CruxPermanentError, CruxExportFailedError):
            self._check_hash_key()
            target = self._check_target(context)
            accepted = datetime.fromtimestamp(accepted_at, UTC)
            export = self.raise_unless_done(event, export_uuid=self.export_uuid, accepted_at=accepted)
            return self._transfer(context, export or self.hook.get_export(self.export_uuid), target)

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
            if self._killed:
                raise AirflowException(f"The task was killed: nothing was stored at {str(target)!r}")
            yield chunk

    def _origin(self, context: Context) -> ExportOrigin:
        """Return what the task directly upstream pushed about this export; only its UUID if there is no such task."""
        pushed: Iterable[Any] = ()
        if self.upstream_task_ids:
            pushed = context["ti"].xcom_pull(task_ids=sorted(self.upstream_task_ids), key="export_interval") or ()
        exports = (value for value in pushed if isinstance(value, Mapping))
        own = (value for value in exports if value.get("export_uuid") == canonical_uuid(self.export_uuid))
        return ExportOrigin.from_xcom(self.export_uuid, next(own, {}))

    def _emit_asset_metadata(self, context: Context, origin: ExportOrigin, **metadata: Any) -> None:
        """Add to the assets' events what was transferred, for the DAGs that are scheduled on them."""
        for asset in self.outlets:
            if isinstance(asset, Asset):
                context["outlet_events"][asset].extra |= {
                    "export_uuid": origin.export_uuid,
                    "interval_start": origin.interval_start,
                    "interval_end": origin.interval_end,
                    **metadata,
                }
