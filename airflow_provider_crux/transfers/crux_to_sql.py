"""From an export to a table of a database."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowException, AirflowNotFoundException, BaseHook

from airflow_provider_crux.exceptions import CruxInvalidRequestError
from airflow_provider_crux.files.order_details import RowDetails
from airflow_provider_crux.files.store import check_pyarrow_is_installed, plan_file
from airflow_provider_crux.tables.names import check_key, fit_columns, table_problems
from airflow_provider_crux.task.arguments import is_template
from airflow_provider_crux.task.reporting import loaded_table_dataset, planned_table_dataset
from airflow_provider_crux.task.transfer import ExportTransferOperator

if TYPE_CHECKING:
    from airflow.providers.common.compat.openlineage.facet import OutputDataset
    from airflow.providers.common.compat.sdk import Context
    from airflow.providers.common.sql.hooks.sql import DbApiHook

    from airflow_provider_crux.api.exports import SubmittedExport
    from airflow_provider_crux.api.responses import Export
    from airflow_provider_crux.tables.base import SqlTable


class CruxExportToSqlOperator(ExportTransferOperator):
    """
    Merge the orders of an export into a table, so that it holds every order once, in its latest state.

    The task waits for the export if it is not done, loads its rows into a temporary staging table, and merges them by
    ``key``: all rows with the same key are replaced together. They are replaced only by an export that was **requested
    later** than the one they came from, so exports may overlap, arrive in any order and be loaded twice. **All or
    nothing**: everything is one transaction, so after any error the table is as before. The task requests no export, so
    no retry of it leads to an e-mail.

    The table has the columns of the file, typed, and ``crux_export_uuid``, ``crux_interval_start``,
    ``crux_interval_end`` and ``crux_requested_at``.

    .. note:: An order that is missing from a later export is kept. A row of an order that a later export contains
        without this row is removed.

    .. note:: PostgreSQL and SQLite are supported. Install the extra ``sql`` and the provider of the database.

    **XCom.** ``return_value`` is the table, a str. ``export_table`` is ``{"table": ..., "rows": ..., "keys": ...,
    "inserted": ..., "replaced": ..., "unchanged": ..., "columns": [...], "export_uuid": ...}``: ``rows`` are those of
    the file, ``columns`` the names of the columns that were loaded, and the others count keys, by default orders. With
    ``order_details`` also ``"matched_orders": ...``, the orders of the file that the list has, and
    ``"missing_orders": ...``, the orders of the list that the file lacks, both ``None`` if unknown.

    **Asset events.** Every asset in ``outlets`` gets the ``extra`` ``{"export_uuid": ..., "interval_start": ...,
    "interval_end": ..., "rows": ..., "keys": ..., "inserted": ..., "replaced": ..., "unchanged": ...,
    "columns": [...]}``, and the two counts of ``order_details``.

    :param export_uuid: the export: pass ``export.output`` of the ``CruxOrdersExportOperator``, mapped or not. For a
        bare UUID, from another DAG or system, the time of the request is unknown, so the task fails before it downloads
        anything.
        Templated.
    :param conn_id: id of the database's connection. Templated.
    :param table: the table, with a schema or without: letters, digits and ``_``. The schema must exist. Without one,
        PostgreSQL searches the schemas of the search path. Templated.
    :param key: the columns whose rows are replaced together; default ``("order_uuid",)``. Each must have a value in
        every row; beside ``order_uuid``, a text may be empty.
    :param create_table: whether to create the table, with an index on the key, and to add columns that it lacks;
        default True.
    :param personal_data: ``keep`` (the default), ``drop`` or ``hash`` the columns that identify people, see
        :data:`~airflow_provider_crux.files.columns.COLUMNS`. ``hash`` is HMAC-SHA256 with the Crux connection's extra
        ``hash_key``. Both drop unknown columns.
    :param on_unknown_column: ``keep`` (the default) loads an unknown column, as text, with a warning;
        ``fail`` fails the task before anything is loaded.
    :param order_details: whether to list the orders of the export, without an e-mail, and to add the columns
        :data:`~airflow_provider_crux.files.columns.DETAIL_COLUMNS`: when each order was created, statuses, quantities
        and tracking numbers; default False. If the list cannot be read, True fails the task before anything is loaded;
        ``if_available`` loads the rows with these columns empty, and logs a warning.
    :param deferrable: wait in the triggerer, without a worker; default: Airflow's ``[operators] default_deferrable``.
    :param poll_interval: seconds between two polls; default 30.
    :param timeout: seconds to wait for the export; default 3600.
    :param crux_conn_id: id of the Crux connection; default ``crux_default``. Templated.
    :raises CruxInvalidRequestError: when the DAG is parsed, if an argument that is not a template is invalid.
    :raises AirflowFailException: in a run, for every error that a retry cannot fix.
    :raises CruxExportTimeoutError: if the export is not done within ``timeout``.
    :raises CruxTransientError: if a retry may help.
    :raises AirflowException: if the database rejects something.
    """

    template_fields: Sequence[str] = ("export_uuid", "conn_id", "table", "crux_conn_id")
    ui_color = "#e8e0f0"
    _done = "loaded"

    def __init__(
        self,
        *,
        export_uuid: str,
        conn_id: str,
        table: str,
        key: Sequence[str] = ("order_uuid",),
        create_table: bool = True,
        personal_data: str = "keep",
        on_unknown_column: str = "keep",
        **kwargs: Any,
    ) -> None:
        super().__init__(export_uuid=export_uuid, personal_data=personal_data, **kwargs)
        self.conn_id = conn_id
        self.table = table
        self.key = key
        self.create_table = create_table
        self.on_unknown_column = on_unknown_column
        self._dataset: Callable[..., OutputDataset | None] | None = None
        problems = table_problems("orders" if is_template(table) else table, key)
        self._check_arguments({"create_table": (False, True)}, problems)

    def _check_target(self, context: Context) -> tuple[SubmittedExport, DbApiHook, type[SqlTable]]:
        """Reject what cannot succeed before anything is downloaded."""
        if problems := table_problems(self.table, self.key):
            raise CruxInvalidRequestError("; ".join(problems))
        check_pyarrow_is_installed("CruxExportToSqlOperator", "sql")
        from airflow_provider_crux.tables import table_class

        sql_hook = self._sql_hook()
        sql_table = table_class(sql_hook, self.conn_id)
        submitted = self._submitted_export(context)
        if submitted.requested_at is None:
            raise CruxInvalidRequestError(
                f"export_uuid: it is unknown when export {self.export_uuid} was requested; pass "
                "export.output of the CruxOrdersExportOperator that requests it, and leave its do_xcom_push on"
            )
        self._warn_of_status_filter(submitted)
        return submitted, sql_hook, sql_table

    def _transfer(
        self, context: Context, export: Export, target: tuple[SubmittedExport, DbApiHook, type[SqlTable]]
    ) -> str:
        # here, so that parsing a DAG file does not import pyarrow
        from airflow_provider_crux.files.rows import TypedRows

        submitted, sql_hook, sql_table = target
        source, hash_key = self._order_details(submitted, self.table), self.hook.settings.hash_key or ""
        with source.read() as listed, self.hook.open_file(export) as chunks:
            stream, plan = plan_file(
                self._stop_when_killed(chunks, self.table),
                personal_data=self.personal_data,
                on_unknown_column=self.on_unknown_column,
                order_details=self.order_details,
                fit=partial(fit_columns, reserved=sql_table.reserved_columns),
            )
            check_key(self.key, plan)
            details = RowDetails(plan, listed, hash_key) if self.order_details else None
            rows = TypedRows(stream, plan, details=details, hash_key=hash_key, reject_nul=True)
            table = sql_table(
                sql_hook,
                self.table,
                columns=rows.columns,
                origin=(export.uuid, submitted.interval_start, submitted.interval_end, submitted.requested_at),
                key=self.key,
                create=self.create_table,
            )
            loaded = table.load(rows)
            self._dataset = partial(
                loaded_table_dataset,
                loaded,
                columns=rows.columns,
                types=table.types,
                personal_data=self.personal_data,
            )
            compared = source.compare(listed)
        counts = {name: getattr(loaded, name) for name in ("rows", "keys", "inserted", "replaced", "unchanged")}
        self.log.info(
            "Loaded export %s into table %s: %d rows of %d keys, of which %d were inserted, %d replaced, %d unchanged",
            export.uuid,
            loaded.table,
            *counts.values(),
        )
        if self.order_details and loaded.unchanged:
            self.log.warning(
                "%d keys of table %s keep their rows, because these are of this export or a later one. Only a later "
                "export fills or refreshes their columns of order_details",
                loaded.unchanged,
                loaded.table,
            )
        metadata = {**counts, **compared, "columns": [column.name for column in rows.columns]}
        result = {"table": self.table, **metadata, "export_uuid": export.uuid}
        self._publish(context, submitted, "export_table", result, metadata=tuple(metadata))
        return self.table

    def _warn_of_status_filter(self, submitted: SubmittedExport) -> None:
        status = submitted.request.line_item_status if submitted.request else None
        if status and "line_item_uuid" not in self.key:
            self.log.warning(
                "Export %s was requested with line_item_status=%r, so it may contain only some line items of an order, "
                "but it replaces all of them in table %s. Remove the filter or, if the file has that column, use "
                "key=('line_item_uuid',)",
                submitted.export_uuid,
                list(status),
                self.table,
            )

    def _advice(self) -> str:
        return "To store the file as it is, use CruxExportToObjectStorageOperator"

    def _sql_hook(self) -> DbApiHook:
        try:
            connection = BaseHook.get_connection(self.conn_id)
        except AirflowNotFoundException as error:
            raise CruxInvalidRequestError(
                f"conn_id: connection {self.conn_id!r} does not exist; create it, or correct conn_id"
            ) from error
        try:
            # of any type: table_class() says which can be used
            return connection.get_hook()  # type: ignore[no-untyped-call, no-any-return]
        except (AirflowException, ImportError) as error:
            raise CruxInvalidRequestError(
                f"conn_id: connection {self.conn_id!r} is of the type {connection.conn_type!r}, whose provider is not "
                f"installed ({error}); install it, and use a connection to PostgreSQL or SQLite"
            ) from error

    def _planned_dataset(self) -> OutputDataset | None:
        return planned_table_dataset(self.table, self._sql_hook(), BaseHook.get_connection(self.conn_id))

    def _written_dataset(self) -> OutputDataset | None:
        if self._dataset is None:
            return None
        connection = BaseHook.get_connection(self.conn_id)
        return self._dataset(self._sql_hook(), connection, self.hook.settings.base_url)
