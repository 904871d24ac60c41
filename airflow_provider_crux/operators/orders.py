"""The export of orders as a task."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperator, conf

from airflow_provider_crux.api import orders, polling
from airflow_provider_crux.api.exports import SubmittedExport
from airflow_provider_crux.api.polling import ExportPoller, export_uuid_from_event
from airflow_provider_crux.exceptions import (
    CruxAmbiguousError,
    CruxError,
    CruxExportFailedError,
    CruxPermanentError,
)
from airflow_provider_crux.params import export_arguments_from_params
from airflow_provider_crux.task.arguments import choice_problems, coerce_rendered, is_template
from airflow_provider_crux.task.durable import CLEAR_DISCARDS_STATE, ExportStateStore, Intent
from airflow_provider_crux.task.failing import InvalidArgumentsError, fail_without_retry
from airflow_provider_crux.task.interval import interval_from_context, interval_problems, parse_instant
from airflow_provider_crux.task.reporting import count, counting_failed_exports
from airflow_provider_crux.task.submission import ExportSubmission
from airflow_provider_crux.task.variable_record import delete_variable
from airflow_provider_crux.task.waiting import ExportWaitMixin

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

_INTERVAL_ARGUMENTS = ("interval_start", "interval_end")
_FILTERS = ("start", "limit", "sort", "line_item_status", "status_conjunction")
_ORDERS = (*_INTERVAL_ARGUMENTS, *_FILTERS)


class CruxOrdersExportOperator(ExportWaitMixin, BaseOperator):
    """
    Request an export of the orders of the run's interval, and return the export's UUID.

    Crux Connect prepares a CSV file in the background and e-mails the user to whom the token belongs. The task succeeds
    when the request is accepted or, with ``wait_for_completion``, when the export is done. A retry resumes the export
    that an earlier try requested, even if a crash ended that try. Non-retryable errors fail the task immediately.

    .. note:: **Interval.** If you set ``interval_end``, it is used. Otherwise the end comes from the first of these
        that the run has: its data interval, if it has length; the period of its partition (Airflow 3.3); the last
        complete period of its schedule. With ``lookback`` the interval starts this long before its end. If there is no
        interval, or its period has not ended, the task fails before sending a request.

    .. note:: **E-mails.** With ``on_ambiguous="fail"`` a run sends at most one e-mail, whatever fails. By default, the
        retry after an ambiguous request may send a second one. Clearing a task that succeeded, or that asked you to
        check, always requests a new export.

    .. note:: **XCom.** ``return_value`` is the UUID, a str. ``export_interval`` is ``{"export_uuid": ...,
        "interval_start": ..., "interval_end": ..., "requested_at": ..., "request": ...}``; ``request`` has
        the fields of :class:`~airflow_provider_crux.api.orders.OrdersExportRequest` that are set.

    :param interval_start: ISO 8601 text, a datetime, a date, or a day in eight digits; UTC without a time zone. Both
        ends and the filters default to :func:`~airflow_provider_crux.params.orders_export_params`, if the DAG has them.
        Templated.
    :param interval_end: likewise. Templated.
    :param lookback: length of the interval, above 0; not used if ``interval_start`` is set.
    :param start: index of the first order; see :class:`~airflow_provider_crux.api.orders.OrdersExportRequest` for this
        and the next four. Templated.
    :param limit: index of the last order, not a page size. Templated.
    :param sort: ``{"key": ..., "dir": "asc" or "des"}``, or a :class:`~airflow_provider_crux.api.orders.Sort`.
        Templated.
    :param line_item_status: list of statuses; which ones exist depends on the connection's ``api_version``. Templated.
    :param status_conjunction: ``and``, ``or``, ``only`` or ``all``; with another ``api_version`` than ``api`` only
        ``or``. Templated.
    :param wait_for_completion: whether to wait until the export is done; default False.
    :param deferrable: wait in the triggerer, without a worker; default: Airflow's ``[operators] default_deferrable``.
    :param poll_interval: seconds between two polls; default 30.
    :param timeout: seconds to wait for the export; default 3600.
    :param durable: whether to remember the export across tries; default True.
    :param on_ambiguous: if an export may have been started, has failed or is gone: ``retry`` (the default) requests
        another one in the next try; ``fail``, which needs ``durable``, fails the task without a retry.
    :param skip_if_no_orders: list the orders first, without an e-mail, and skip the task if there is none; default
        False. If the list cannot be read, or leaves a doubt, the export is requested.
    :param crux_conn_id: id of the Airflow connection; default ``crux_default``. Templated.
    :raises CruxInvalidRequestError: when the DAG is parsed, if an argument that is not a template is invalid.
    :raises AirflowFailException: in a run, for every error that a retry cannot fix, and for what the connection's
        ``api_version`` cannot say.
    :raises AirflowSkipException: with ``skip_if_no_orders``, if there is no order.
    :raises CruxTransientError: if nothing was processed; a retry may help.
    :raises CruxAmbiguousError: if the export may have been started, and ``on_ambiguous`` is ``retry``.
    :raises CruxExportFailedError: while it waits, if the export failed, and ``on_ambiguous`` is ``retry``.
    :raises CruxExportTimeoutError: while it waits, if the export is not done within ``timeout``.
    """

    template_fields: Sequence[str] = (*_ORDERS, "crux_conn_id")
    template_fields_renderers = {"sort": "json", "line_item_status": "json"}  # noqa: RUF012 - as Airflow declares it
    ui_color = "#dcecf5"
    # Airflow 3 stores the fields again after execution, see _update_rendered_fields
    overwrite_rtif_after_execution = True

    def __init__(
        self,
        *,
        interval_start: str | datetime | None = None,
        interval_end: str | datetime | None = None,
        lookback: timedelta | None = None,
        start: int | str | None = None,
        limit: int | str | None = None,
        sort: orders.Sort | Mapping[str, str] | str | None = None,
        line_item_status: Sequence[str] | str | None = None,
        status_conjunction: str | None = None,
        wait_for_completion: bool = False,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval: float = polling.POLL_INTERVAL,
        timeout: float = polling.TIMEOUT,
        durable: bool = True,
        on_ambiguous: str = "retry",
        skip_if_no_orders: bool = False,
        crux_conn_id: str = "crux_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.interval_start = interval_start
        self.interval_end = interval_end
        self.lookback = lookback
        self.start = start
        self.limit = limit
        # a Sort as a mapping, which Airflow renders
        self.sort = asdict(sort) if isinstance(sort, orders.Sort) else sort
        self.line_item_status = line_item_status
        self.status_conjunction = status_conjunction
        self.wait_for_completion = wait_for_completion
        self.deferrable = deferrable
        self.poll_interval = poll_interval
        self.timeout = timeout
        self.durable = durable
        self.on_ambiguous = on_ambiguous
        self.skip_if_no_orders = skip_if_no_orders
        self.crux_conn_id = crux_conn_id
        self._export_uuid: str | None = None
        # now, because Airflow 2 replaces the task's params with those of the run
        self._own_params = frozenset(self.params)
        self._check_arguments()
        if durable:
            own: Any = self.on_success_callback or ()
            self.on_success_callback = [*(own if isinstance(own, Collection) else [own]), delete_variable]

    def execute(self, context: Context) -> str:
        """
        Request the export, or resume the one that an earlier try requested; wait for it if the task should.

        :return: the UUID of the export.
        :raises AirflowFailException: for a non-retryable error.
        :raises CruxError: for every other one; a retry resumes the export, or may request another one, as above.
        """
        with fail_without_retry(*self._final_errors), counting_failed_exports(self):
            request = self._build_request(context)
            self._update_rendered_fields(request)
            store = self._state_store(context)
            at_most_one = self.on_ambiguous == "fail"
            submission = ExportSubmission(
                request, self.hook, store, at_most_one=at_most_one, count=partial(count, self), log=self.log
            )
            export = submission.resume()
            if export is None:
                if self.skip_if_no_orders:
                    submission.skip_if_no_orders()
                export = submission.submit()
            self._export_uuid = export.export_uuid
            if self.wait_for_completion:
                self._wait(export, store)
        return self._finish(context, export, store)

    def execute_complete(self, context: Context, event: Any = None, *, export: Mapping[str, Any] | None = None) -> str:
        """Resume when the trigger has fired; see :meth:`execute`."""
        with fail_without_retry(*self._final_errors), counting_failed_exports(self):
            store = self._state_store(context)
            if export is None:
                submitted = self._export_of_event(context, event, store)
            else:
                submitted = SubmittedExport.from_xcom(export)
            self._export_uuid = submitted.export_uuid
            with self._before_failing(submitted, store):
                self.raise_unless_done(event, export_uuid=submitted.export_uuid, accepted_at=submitted.accepted_at)
            if submitted.request is not None:
                self._update_rendered_fields(submitted.request)
            return self._finish(context, submitted, store)

    def on_kill(self) -> None:
        """Log that the export continues."""
        if self._export_uuid is not None:
            self.log.warning(
                "Crux Connect cannot cancel an export: %s continues, and its e-mail will be sent", self._export_uuid
            )

    @property
    def _final_errors(self) -> tuple[type[CruxError], ...]:
        """The errors that fail the task without a retry."""
        if self.on_ambiguous == "fail":
            return CruxPermanentError, CruxAmbiguousError, CruxExportFailedError
        return (CruxPermanentError,)

    def _state_store(self, context: Context) -> ExportStateStore:
        return ExportStateStore(context, retries=self.retries or 0, durable=self.durable, log=self.log)

    def _export_of_event(self, context: Context, event: object, store: ExportStateStore) -> SubmittedExport:
        """Return the export of a task that ``dag.test()`` resumes: with the event alone."""
        uuid = export_uuid_from_event(event) or ""
        recorded = store.load()
        if isinstance(recorded, SubmittedExport) and recorded.export_uuid == uuid:
            return recorded
        # If the export could not be saved, the intent is still there.
        since = recorded.since if isinstance(recorded, Intent) else None
        return SubmittedExport(uuid, self._build_request(context), since, since, self.crux_conn_id)

    def _wait(self, export: SubmittedExport, store: ExportStateStore) -> None:
        place = "triggerer" if self.deferrable else "worker"
        self.log.info("Waiting for the export in the %s, for at most %g seconds", place, self.timeout)
        now = datetime.now(UTC)
        deadline = now + timedelta(seconds=self.timeout)
        poller = ExportPoller(export.export_uuid, export.accepted_at or now, deadline, self.poll_interval)
        if self.deferrable:
            self.defer_until_done(poller, export=export.as_json())
        with self._before_failing(export, store):
            self.finish_polling(poller)

    @contextmanager
    def _before_failing(self, export: SubmittedExport, store: ExportStateStore) -> Iterator[None]:
        """If the wait fails, prepare the next try, or log what it will do."""
        try:
            yield
        except CruxExportFailedError as error:
            if isinstance(error, self._final_errors):
                store.settle(export)
            raise
        except CruxError:
            if CLEAR_DISCARDS_STATE and self.durable:
                self.log.warning(
                    "A retry of this task resumes export %s. If you clear the task, choose 'Keep task state and "
                    "resume' (REST API: keep_task_state); otherwise it requests another export, with another e-mail",
                    export.export_uuid,
                )
            raise

    def _finish(self, context: Context, export: SubmittedExport, store: ExportStateStore) -> str:
        if self.do_xcom_push:
            context["ti"].xcom_push(key="export_interval", value=export.as_xcom())
        store.settle(export)
        if self.wait_for_completion:
            self.log.info("Export %s is done", export.export_uuid)
        return export.export_uuid

    def _build_request(self, context: Context) -> orders.OrdersExportRequest:
        # only declared parameters: Airflow puts everything in a run's conf among its params
        declared = self._own_params.union(context["dag"].params)
        params = {name: value for name, value in context["params"].items() if name in declared}
        arguments = coerce_rendered(export_arguments_from_params(params)) | coerce_rendered(
            {name: getattr(self, name) for name in _ORDERS}
        )
        ends = {name: parse_instant(name, arguments.pop(name)) for name in _INTERVAL_ARGUMENTS if name in arguments}
        interval = interval_from_context(context, lookback=self.lookback, **ends)
        if interval.end > datetime.now(UTC):
            self.log.warning(
                "The interval ends in the future, at %s: it will miss orders created after this export",
                interval.end.isoformat(),
            )
        return orders.OrdersExportRequest(start_date=interval.start, end_date=interval.end, **arguments)

    def _update_rendered_fields(self, request: orders.OrdersExportRequest) -> None:
        """Show in the tab of rendered templates what is exported (Airflow 3)."""
        body = request.as_json()
        values = {name: body.get(name) for name in _FILTERS}
        values |= {"interval_start": body.get("start_date"), "interval_end": body.get("end_date")}
        for name, value in values.items():
            if getattr(self, name) != value:  # Airflow looks for XComArgs in what is set, which takes longer
                setattr(self, name, value)

    def _check_arguments(self) -> None:
        """Reject what is invalid when the DAG is parsed; a template is checked when it is rendered."""
        unknown = frozenset(name for name in self.template_fields if is_template(getattr(self, name)))
        known = coerce_rendered({name: getattr(self, name) for name in _ORDERS if name not in unknown})
        ends = {name: known.pop(name) for name in _INTERVAL_ARGUMENTS if name in known}
        problems = orders.request_problems(known, unknown=unknown)
        problems += interval_problems(ends, self.lookback)
        problems += polling.wait_problems(self.poll_interval, self.timeout)
        problems += choice_problems({"on_ambiguous": self.on_ambiguous}, {"on_ambiguous": ("retry", "fail")})
        if self.on_ambiguous == "fail" and not self.durable:
            problems.append("on_ambiguous: 'fail' needs durable=True; leave durable out, or use 'retry'")
        if not self.crux_conn_id:
            problems.append(f"crux_conn_id: {self.crux_conn_id!r} is not the id of a connection; use one")
        if problems:
            raise InvalidArgumentsError(f"Task {self.task_id!r}: {'; '.join(problems)}")
