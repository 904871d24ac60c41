"""From an export to a file. How it is written all or nothing stands in ``storage``, how it is fetched in the hooks."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowException, AirflowSkipException, Asset, BaseOperator, conf

# What only an execution needs is imported where it is used: a DAG file is parsed every thirty seconds.
from airflow_provider_crux.api import polling
from airflow_provider_crux.exceptions import CruxExportFailedError, CruxInvalidRequestError, CruxPermanentError

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context, ObjectStoragePath
    from airflow.providers.openlineage.extractors import OperatorLineage

    from airflow_provider_crux.api.answers import Export
    from airflow_provider_crux.hooks.crux import CruxHook
    from airflow_provider_crux.transfers.storage import StoredFile


class CruxExportToObjectStorageOperator(BaseOperator):
    """
    Store the file of an export, byte for byte, at any path that Airflow's object storage knows.

    It waits for the export where that is not done yet, asks for a fresh presigned URL, and streams the file with less
    than 64 MiB of memory. **All or nothing**: whatever happens on the way, there is the whole file at ``path`` in the
    end, or what was there before. It asks for no export, so no retry of it leads to an e-mail.

    The file is CSV in UTF-8 with a byte-order mark, one record a line item, with names, phone numbers and addresses
    of people: who may read ``path`` reads those.

    **XCom.** ``return_value`` is the path, a str. ``export_file`` is ``{"path": ..., "bytes": ..., "rows": ...,
    "sha256": ..., "export_uuid": ...}``; ``rows`` are the CSV records without the header.

    **Asset events.** Every asset in ``outlets`` gets the ``extra`` ``{"export_uuid": ..., "interval_start": ...,
    "interval_end": ..., "rows": ..., "bytes": ..., "sha256": ...}``. The interval is that of the
    ``CruxOrdersExportOperator`` directly upstream that asked for the export; where there is none it is ``None``.

    :param export_uuid: the export, for example ``export.output`` of the task ``export``. Templated.
    :param path: where to: ``file:///...``, ``s3://conn_id@bucket/key``, ``gs://...``, or an ``ObjectStoragePath``.
        Templated.
    :param overwrite: whether a file at ``path`` may be replaced; default False: it is an error, before anything is
        fetched. A task that may be retried or cleared needs True, or a path of its own for each try.
    :param skip_if_empty: whether to store nothing, and skip the task, where the export has no orders; default False.
    :param deferrable: wait in the triggerer, without a worker; default: Airflow's ``[operators] default_deferrable``.
    :param poll_interval: seconds between two looks at the export; default 30.
    :param timeout: seconds to wait for the export; default 3600.
    :param crux_conn_id: id of the Airflow connection; default ``crux_default``. Templated.
    :raises CruxInvalidRequestError: when the DAG is parsed, where an argument that is no template is wrong.
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
        if told := polling.violations(poll_interval, timeout):
            raise CruxInvalidRequestError(f"Task {self.task_id!r}: {'; '.join(told)}")

    def execute(self, context: Context) -> str:
        """
        Wait for the export and store its file.

        :returns: the path.
        :raises AirflowFailException: when the export failed, and for every other error that a retry cannot mend.
        :raises AirflowSkipException: where there are no orders and ``skip_if_empty`` is set.
        :raises CruxExportTimeoutError: when the export is not done in time; a retry waits again.
        :raises CruxTransientError: where Crux Connect or the storage of its files cannot answer.
        """
        from airflow_provider_crux.api.waiting import Pause, Wait
        from airflow_provider_crux.deferral import defer, failing_at_once

        with failing_at_once(CruxPermanentError, CruxExportFailedError):
            self._check_path()
            now = time.time()
            wait = Wait(self.export_uuid, now, now + self.timeout, self.poll_interval)
            if self.deferrable and isinstance(wait.judge(self._hook.look(self.export_uuid), now), Pause):
                defer(self, wait, self.crux_conn_id)
            return self._store(
                context,
                self._hook.wait_for_export(
                    self.export_uuid, poll_interval=self.poll_interval, timeout=self.timeout, asked_at=now
                ),
            )

    def execute_complete(self, context: Context, event: Any = None, *, asked_at: float = 0.0) -> str:
        """Go on when the trigger has fired; see :meth:`execute`."""
        from airflow_provider_crux.deferral import failing_at_once, resume

        with failing_at_once(CruxPermanentError, CruxExportFailedError):
            self._check_path()
            resume(event, self._hook, export_uuid=self.export_uuid, asked_at=asked_at)
            return self._store(context, self._hook.get_export(self.export_uuid))

    def on_kill(self) -> None:
        """Give the write up at its next chunk, so that it leaves nothing behind."""
        self._killed = True

    def _check_path(self) -> None:
        if not self.overwrite and self._target.exists():
            raise CruxInvalidRequestError(
                f"path: there is a file at {str(self.path)!r} already; give overwrite=True to replace it, "
                "or a path of its own for each run"
            )

    def _store(self, context: Context, export: Export) -> str:
        from airflow_provider_crux.transfers.storage import store

        with self._hook.open_file(export) as chunks:
            stored = store(self._unless_killed(chunks), self._target, keep_empty=not self.skip_if_empty)
        if not stored.rows and self.skip_if_empty:
            raise AirflowSkipException(f"Export {export.uuid} has no orders: nothing is stored at {stored.path!r}")
        self.log.info("Stored export %s at %s: %d rows, %d bytes", export.uuid, stored.path, stored.rows, stored.bytes)
        if self.do_xcom_push:
            context["ti"].xcom_push(key="export_file", value={**asdict(stored), "export_uuid": export.uuid})
        self._tell_assets(context, export.uuid, stored)
        self._stored = stored
        return stored.path

    def _unless_killed(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            if self._killed:
                raise AirflowException(f"The task was ended: nothing is stored at {str(self.path)!r}")
            yield chunk

    def _tell_assets(self, context: Context, export_uuid: str, stored: StoredFile) -> None:
        """Let the events of the assets say what was stored, for the DAGs that are scheduled on them."""
        assets = [outlet for outlet in self.outlets if isinstance(outlet, Asset)]
        if not assets:
            return
        window = self._window(context, export_uuid)
        for asset in assets:
            context["outlet_events"][asset].extra |= {
                "export_uuid": export_uuid,
                "interval_start": window.get("interval_start"),
                "interval_end": window.get("interval_end"),
                "rows": stored.rows,
                "bytes": stored.bytes,
                "sha256": stored.sha256,
            }

    def _window(self, context: Context, export_uuid: str) -> Mapping[str, Any]:
        """Return what the task that asked for the export says of it, if it is one directly upstream."""
        if not self.upstream_task_ids:
            return {}
        pushed = context["ti"].xcom_pull(task_ids=sorted(self.upstream_task_ids), key="export_window")
        of_this = (value for value in pushed or () if isinstance(value, Mapping))
        return next((window for window in of_this if window.get("export_uuid") == export_uuid), {})

    def get_openlineage_facets_on_complete(self, task_instance: object) -> OperatorLineage[Any, Any] | None:  # noqa: ARG002
        """Tell OpenLineage's provider, which alone calls this, what came from where."""
        from airflow_provider_crux.transfers.lineage import of_stored_export

        return None if self._stored is None else of_stored_export(self._stored, self._hook.settings.base_url)

    @cached_property
    def _hook(self) -> CruxHook:
        from airflow_provider_crux.hooks.crux import CruxHook

        return CruxHook(self.crux_conn_id)

    @cached_property
    def _target(self) -> ObjectStoragePath:
        from airflow.providers.common.compat.sdk import ObjectStoragePath

        return ObjectStoragePath(self.path)
