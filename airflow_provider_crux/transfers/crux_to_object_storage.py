"""From an export to a file in object storage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import Asset

from airflow_provider_crux import __version__
from airflow_provider_crux.api.exports import SubmittedExport
from airflow_provider_crux.exceptions import CruxInvalidRequestError
from airflow_provider_crux.files.atomic_write import already_exists, atomic_write, check_name_length
from airflow_provider_crux.files.manifest import Manifest, api_host, manifest_path
from airflow_provider_crux.files.store import (
    CSV,
    GZIP,
    PARQUET,
    FileOptions,
    StoredFile,
    check_pyarrow_is_installed,
    store,
)
from airflow_provider_crux.task.object_storage import check_outside_of_xcoms, find_entry, open_path, store_errors
from airflow_provider_crux.task.paths import INSTANTS, fill_placeholders, placeholder_problems
from airflow_provider_crux.task.reporting import planned_file_dataset, stored_file_dataset
from airflow_provider_crux.task.transfer import ExportTransferOperator

if TYPE_CHECKING:
    from airflow.providers.common.compat.openlineage.facet import OutputDataset
    from airflow.providers.common.compat.sdk import Context, ObjectStoragePath

    from airflow_provider_crux.api.responses import Export

_CHOICES = {
    "file_format": (CSV, PARQUET),
    "compression": (None, GZIP),
    "add_export_columns": (False, True),
    "manifest": (False, True),
}


class CruxExportToObjectStorageOperator(ExportTransferOperator):
    """
    Store the file of an export, as it is or converted, at any path of Airflow's object storage.

    The task waits for the export if it is not done, gets a new presigned URL, and streams the file. **All or nothing**:
    whatever happens, ``path`` contains the whole file, or what it contained before. The task requests no export, so no
    retry of it leads to an e-mail.

    By default the file is stored byte for byte, in less than 64 MiB of memory: CSV in UTF-8 with a header of any
    columns. A row is a line item, or a package of one.

    .. note:: The file contains names, phone numbers and addresses of people. Whoever can read ``path`` can read those,
        unless ``personal_data`` drops or hashes them.

    **Placeholders.** After Jinja's templates, the task replaces these in ``path``: ``{interval_start:%Y-%m-%d}`` and
    ``{interval_end:...}`` (any numeric format of strftime, in UTC; default ``%Y-%m-%d_%H-%M-%SZ``),
    ``{export_uuid}``, ``{dag_id}`` and ``{run_id}`` (characters other than ASCII letters, digits and ``_.=-`` become
    ``_``). Double a literal brace.

    **XCom.** ``return_value`` is the path, a str. ``export_file`` is ``{"path": ..., "bytes": ..., "rows": ...,
    "sha256": ..., "format": ..., "columns": ..., "export_uuid": ...}``. ``rows`` does not count the header, and is
    ``None`` if a file that is stored as it is breaks the rules of CSV. ``columns`` are the names of the stored columns,
    ``None`` if a file that is stored as it is has none of the columns of an export. With ``order_details`` also
    ``"matched_orders": ...``, the orders of the file that the list has, and ``"missing_orders": ...``, the orders of
    the list that the file lacks, both ``None`` if unknown.

    **Asset events.** Every asset in ``outlets`` gets the ``extra`` ``{"export_uuid": ..., "interval_start": ...,
    "interval_end": ..., "rows": ..., "bytes": ..., "sha256": ..., "columns": ...}``, and the two counts of
    ``order_details``; the interval is ``None`` if it is unknown.

    :param export_uuid: the export: pass ``export.output`` of the ``CruxOrdersExportOperator``, mapped or not. For a
        bare UUID, from another DAG or system, the interval, the filters and the time of the request are unknown:
        placeholders of the interval fail, its columns are empty, and a manifest covers no time. Templated.
    :param path: the target: ``abfs://conn_id@container/key``, ``gs://conn_id@bucket/key``, ``s3://conn_id@bucket/key``,
        ``file:///...``, or an ``ObjectStoragePath``, which has no placeholders. Templated.
    :param overwrite: whether to replace an existing file at ``path``; default False: an existing file is an error
        before anything is downloaded. A task that may be retried or cleared needs True, or a path of its own for each
        try.
    :param file_format: ``csv`` (the default) or ``parquet``: typed columns, compressed with zstd, with four columns
        that say which export a row comes from; needs the extra ``parquet``.
    :param compression: ``gzip`` for CSV; default ``None``. The same file always gets the same bytes.
    :param personal_data: ``keep`` (the default), ``drop`` or ``hash`` the columns that identify people, see
        :data:`~airflow_provider_crux.files.columns.COLUMNS`. ``hash`` is HMAC-SHA256 with the connection's extra
        ``hash_key``. Both drop unknown columns.
    :param on_unknown_column: ``keep`` (the default) stores an unknown column, as text, with a warning;
        ``fail`` fails the task before anything is stored.
    :param order_details: whether to list the orders of the export, without an e-mail, and to add the columns
        :data:`~airflow_provider_crux.files.columns.DETAIL_COLUMNS`: when each order was created, statuses, quantities
        and tracking numbers; default False. If the list cannot be read, True fails the task before anything is stored;
        ``if_available`` stores the file with these columns empty, and logs a warning.
    :param add_export_columns: whether to add to CSV the columns ``crux_export_uuid``, ``crux_interval_start``,
        ``crux_interval_end`` and ``crux_requested_at``, which Parquet always has; default False.
    :param manifest: whether to also store ``_<file>.manifest.json`` in the folder of the file, which
        ``CruxExportCoverageOperator`` reads; default False. Whenever the file is replaced, an older manifest is removed
        first.
    :param deferrable: wait in the triggerer, without a worker; default: Airflow's ``[operators] default_deferrable``.
    :param poll_interval: seconds between two polls; default 30.
    :param timeout: seconds to wait for the export; default 3600.
    :param crux_conn_id: id of the Airflow connection; default ``crux_default``. Templated.
    :raises CruxInvalidRequestError: when the DAG is parsed, if an argument that is not a template is invalid.
    :raises AirflowFailException: in a run, for every error that a retry cannot fix.
    :raises CruxExportTimeoutError: if the export is not done within ``timeout``.
    :raises CruxTransientError: if a retry may help.
    :raises PermissionError: in a run, if the store does not accept the path's connection, or it lacks a permission: a
        retry may help, because keys are rotated, and permissions take minutes to take effect.
    :raises Exception: in a run, what the storage raises.
    """

    template_fields: Sequence[str] = ("export_uuid", "path", "crux_conn_id")
    ui_color = "#dcecf5"
    _done = "stored"

    def __init__(
        self,
        *,
        export_uuid: str,
        path: str | ObjectStoragePath,
        overwrite: bool = False,
        file_format: str = CSV,
        compression: str | None = None,
        personal_data: str = "keep",
        on_unknown_column: str = "keep",
        add_export_columns: bool = False,
        manifest: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(export_uuid=export_uuid, personal_data=personal_data, **kwargs)
        self.path = path
        self.overwrite = overwrite
        self.file_format = file_format
        self.compression = compression
        self.on_unknown_column = on_unknown_column
        self.add_export_columns = add_export_columns
        self.manifest = manifest
        self._stored: StoredFile | None = None
        problems = placeholder_problems(path)
        if file_format == PARQUET and compression == GZIP:
            problems.append("compression: 'gzip' is for CSV; leave it out, because Parquet is compressed with zstd")
        self._check_arguments(_CHOICES, problems)

    @property
    def _options(self) -> FileOptions:
        return FileOptions(**{field.name: getattr(self, field.name) for field in fields(FileOptions)})

    def _check_target(self, context: Context) -> ObjectStoragePath:
        """Reject what cannot succeed before anything is downloaded, and return the target."""
        if self.file_format == PARQUET:
            check_pyarrow_is_installed("file_format: 'parquet'", "parquet")
        path = self.path
        if isinstance(path, str):
            path = fill_placeholders(path, self._placeholder_values(context, path))
        target = open_path(path)
        check_outside_of_xcoms(target)
        check_name_length(manifest_path(target) if self.manifest else target)
        entry = find_entry(target)
        if str(path).endswith("/") or (entry and entry["type"] == "directory"):
            raise CruxInvalidRequestError(f"path: {str(path)!r} is a folder; use the path of a file")
        if entry and not self.overwrite:
            raise already_exists(path)
        return target

    def _placeholder_values(self, context: Context, path: str) -> dict[str, Any]:
        values: dict[str, Any] = {
            "export_uuid": self.export_uuid,
            "dag_id": context["ti"].dag_id,
            "run_id": context["ti"].run_id,
        }
        if "{interval_" in path:
            submitted = self._submitted_export(context)
            values |= {name: getattr(submitted, name) for name in INSTANTS}
        return values

    def _transfer(self, context: Context, export: Export, target: ObjectStoragePath) -> str:
        options = self._options
        needs_record = self.manifest or options.converts or any(isinstance(outlet, Asset) for outlet in self.outlets)
        submitted = self._submitted_export(context) if needs_record else SubmittedExport(export.uuid, None, None)
        source = self._order_details(submitted, target)
        with (
            source.read() as listed,
            self.hook.open_file(export) as chunks,
            store_errors(target),
        ):
            stored = store(
                self._stop_when_killed(chunks, target),
                target,
                options=options,
                submitted=submitted,
                hash_key=self.hook.settings.hash_key or "",
                listed=listed,
                overwrite=self.overwrite,
                count_orders=self.manifest,
            )
            self._stored = stored
            counts = source.compare(listed)
        rows = "an unknown number of" if stored.rows is None else stored.rows
        self.log.info("Stored export %s at %s: %s rows, %d bytes", export.uuid, stored.path, rows, stored.bytes)
        if self.manifest:
            self._store_manifest(target, submitted, stored, counts)
        file = {name: getattr(stored, name) for name in ("path", "bytes", "rows", "sha256", "format", "columns")}
        result = {**file, **counts, "export_uuid": export.uuid}
        metadata = ("rows", "bytes", "sha256", "columns", *counts)
        self._publish(context, submitted, "export_file", result, metadata=metadata)
        return stored.path

    def _advice(self) -> str:
        original = FileOptions(compression=self.compression)
        names = [field.name for field in fields(FileOptions)]
        changes = [f"{name}={own!r}" for name in names if (own := getattr(original, name)) != getattr(self, name)]
        return f"To store the file as it is, use {' and '.join(changes)}"

    def _store_manifest(
        self,
        target: ObjectStoragePath,
        submitted: SubmittedExport,
        stored: StoredFile,
        counts: Mapping[str, int | None],
    ) -> None:
        """Store the manifest of a complete file, after that file, so that there is none without one."""
        manifest = Manifest.of(
            submitted,
            stored_at=datetime.now(UTC),
            host=api_host(self.hook.settings.base_url),
            compression=self._options.stored_compression,
            personal_data=self.personal_data,
            provider_version=__version__,
            **asdict(stored),
            **counts,
        )
        with store_errors(target), atomic_write(manifest_path(target)) as file:
            file.write(manifest.as_json())

    def _planned_dataset(self) -> OutputDataset:
        # before the task has its context, so a path with another placeholder is unknown
        known = {"export_uuid": self.export_uuid, "dag_id": self.dag_id}
        path = fill_placeholders(self.path, known) if isinstance(self.path, str) else str(self.path)
        return planned_file_dataset(path)

    def _written_dataset(self) -> OutputDataset | None:
        if self._stored is None:
            return None
        return stored_file_dataset(self._stored, self.hook.settings.base_url, personal_data=self.personal_data)
