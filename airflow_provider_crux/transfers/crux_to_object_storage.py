"""From an export to a file in object storage."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowException, AirflowSkipException, Asset, BaseOperator, conf

from airflow_provider_crux.api import polling
from airflow_provider_crux.api.polling import ExportPoller, PollAgain
from airflow_provider_crux.arguments import none_if_unset
from airflow_provider_crux.deferral import ExportWaitMixin, InvalidArgumentsError, fail_without_retry
from airflow_provider_crux.exceptions import CruxExportFailedError, CruxInvalidRequestError, CruxPermanentError
from airflow_provider_crux.transfers.atomic_write import StoredFile, already_exists, store

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context, ObjectStoragePath
    from airflow.providers.openlineage.extractors import OperatorLineage

    from airflow_provider_crux.api.responses import Export


class CruxExportToObjectStorageOperator(ExportWaitMixin, BaseOperator):
    """
    Store the file of an export, byte for byte, at any path of Airflow's object storage.

    The task waits for the export if it is not done, gets a new presigned URL, and streams the file in less than 64 MiB
    of memory. **All or nothing**: whatever happens, ``path`` contains the whole file, or what it contained before. The
    task requests no export, so no retry of it leads to an e-mail.

    The file is CSV in UTF-8 with a byte-order mark, one record for each line item, with names, phone numbers and
    addresses of people: whoever may read ``path`` can read those.

    **XCom.** ``return_value`` is the path, a str. ``export_file`` is ``{"path": ..., "bytes": ..., "rows": ...,
    "sha256": ..., "export_uuid": ...}``; ``rows`` are the CSV records without the header.

    **Asset events.** Every asset in ``outlets`` gets the ``extra`` ``{"export_uuid": ..., "interval_start": ...,
    "interval_end": ..., "rows": ..., "bytes": ..., "sha256": ...}``. The interval is that of the
    ``CruxOrdersExportOperator`` directly upstream that requested the export, or ``None`` if there is none.

    :param export_uuid: the export, for example ``export.output`` of the task ``export``. Templated.
    :param path: the target: ``file:///...``, ``s3://conn_id@bucket/key``, ``gs://...``, or an ``ObjectStoragePath``.
        Templated.
    :param overwrite: whether to replace an existing file at ``path``; default False: an existing file is an error
        before anything is downloaded. A task that may be retried or cleared needs True, or a path of its own for each
        try.
    :param skip_if_empty: whether to store nothing, and skip the task, if the export has no orders; default False.
    :param deferrable: wait in the triggerer, without a worker; default: Airflow's ``[operators] default_deferrable``.
    :param poll_interval: seconds between two polls; default 30.
    :param timeout: seconds to wait for the export; default 3600.
    :param crux_conn_id: id of the Airflow connection; default ``crux_default``. Templated.
    :raises CruxInvalidRequestError: when the DAG is parsed, if an argument that is not a template is invalid.
    """

    template_fields: Sequence[str] = ("export_uuid", "path", "crux_conn_id")
    ui_color = "#dcecf5"

    def __init__(
        self,
        *,
        export_uuid: str,
        path: str | ObjectStoragePath,
        overwrite: bool = False,
        skip_if_empty: bool = False,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval: float = polling.POLL_INTERVAL,
        timeout: float = polling.TIMEOUT,
        crux_conn_id: str = "crux_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.export_uuid = export_uuid
        self.path = path
        self.overwrite = overwrite
        self.skip_if_empty = skip_if_empty
        self.deferrable = deferrable
        self.poll_interval = poll_interval
        self.timeout = timeout
        self.crux_conn_id = crux_conn_id
        self._killed = False
        self._stored: StoredFile | None = None
        if problems := polling.violations(poll_interval, timeout):
            raise InvalidArgumentsError(f"Task {self.task_id!r}: {'; '.join(problems)}")

    def execute(self, context: Context) -> str:
        """
        Wait for the export and store its file.

        :return: the path.
        :raises AirflowFailException: if the export failed, and for every other non-retryable error.
        :raises AirflowSkipException: if there are no orders and ``skip_if_empty`` is set.
        :raises CruxExportTimeoutError: if the export is not done in time; a retry waits again.
        :raises CruxTransientError: if Crux Connect or the storage of its files cannot respond.
        """
        with fail_without_retry(CruxPermanentError, CruxExportFailedError):
            self._check_path()
            now = time.time()
            poller = ExportPoller(self.export_uuid, now, now + self.timeout, self.poll_interval)
            outcome = poller.evaluate(self.hook.poll_export(self.export_uuid), now)
            if self.deferrable and isinstance(outcome, PollAgain):
                self.defer_until_done(poller)
            return self._store(context, self.hook.finish_polling(poller, outcome))

    def execute_complete(self, context: Context, event: Any = None, *, requested_at: float = 0.0) -> str:
        """Resume when the trigger has fired; see :meth:`execute`."""
        with fail_without_retry(CruxPermanentError, CruxExportFailedError):
            self._check_path()
            export = self.raise_unless_done(event, export_uuid=self.export_uuid, requested_at=requested_at)
            return self._store(context, export or self.hook.get_export(self.export_uuid))

    def on_kill(self) -> None:
        """Stop the write at its next chunk, so that it leaves nothing behind."""
        self._killed = True

    def _check_path(self) -> None:
        """Reject an unusable path before anything is downloaded."""
        if none_if_unset(self.path) is None:
            raise CruxInvalidRequestError(f"path: {self.path!r} is not a path; use one such as s3://bucket/a.csv")
        try:
            is_folder = str(self.path).endswith("/") or self._target.is_dir()
        except (AttributeError, TypeError, ValueError, ImportError) as error:
            raise CruxInvalidRequestError(
                f"path: {str(self.path)!r} cannot be opened ({error}); use a scheme that Airflow's object storage "
                "knows, and install its provider"
            ) from error
        if is_folder:
            raise CruxInvalidRequestError(f"path: {str(self.path)!r} is a folder; use the path of a file")
        if not self.overwrite and self._target.exists():
            raise already_exists(self.path)

    def _store(self, context: Context, export: Export) -> str:
        with self.hook.open_file(export) as chunks:
            stored = store(
                self._stop_when_killed(chunks), self._target, overwrite=self.overwrite, skip_if_empty=self.skip_if_empty
            )
        if not stored.rows and self.skip_if_empty:
            raise AirflowSkipException(f"Export {export.uuid} has no orders: nothing was stored at {stored.path!r}")
        self.log.info("Stored export %s at %s: %d rows, %d bytes", export.uuid, stored.path, stored.rows, stored.bytes)
        if self.do_xcom_push:
            context["ti"].xcom_push(key="export_file", value={**asdict(stored), "export_uuid": export.uuid})
        self._emit_asset_metadata(context, export.uuid, stored)
        self._stored = stored
        return stored.path

    def _stop_when_killed(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            if self._killed:
                raise AirflowException(f"The task was killed: nothing was stored at {str(self.path)!r}")
            yield chunk

    def _emit_asset_metadata(self, context: Context, export_uuid: str, stored: StoredFile) -> None:
        """Add to the assets' events what was stored, for the DAGs that are scheduled on them."""
        assets = [outlet for outlet in self.outlets if isinstance(outlet, Asset)]
        if not assets:
            return
        interval = self._upstream_interval(context, export_uuid)
        for asset in assets:
            context["outlet_events"][asset].extra |= {
                "export_uuid": export_uuid,
                "interval_start": interval.get("interval_start"),
                "interval_end": interval.get("interval_end"),
                "rows": stored.rows,
                "bytes": stored.bytes,
                "sha256": stored.sha256,
            }

    def _upstream_interval(self, context: Context, export_uuid: str) -> Mapping[str, Any]:
        """Return the interval that the task directly upstream pushed for this export, or nothing."""
        if not self.upstream_task_ids:
            return {}
        pushed = context["ti"].xcom_pull(task_ids=sorted(self.upstream_task_ids), key="export_interval")
        intervals = (value for value in pushed or () if isinstance(value, Mapping))
        return next((interval for interval in intervals if interval.get("export_uuid") == export_uuid), {})

    def get_openlineage_facets_on_complete(self, task_instance: object) -> OperatorLineage[Any, Any] | None:  # noqa: ARG002
        """Return the lineage from the orders to the file. Only OpenLineage's provider calls this."""
        from airflow_provider_crux.transfers.lineage import stored_file_lineage

        return None if self._stored is None else stored_file_lineage(self._stored, self.hook.settings.base_url)

    @cached_property
    def _target(self) -> ObjectStoragePath:
        from airflow.providers.common.compat.sdk import ObjectStoragePath

        # not of a path that is one already: without a scheme it is rejected
        return self.path if isinstance(self.path, ObjectStoragePath) else ObjectStoragePath(self.path)
