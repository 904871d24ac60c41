"""The export of orders as a task."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperator, conf

from airflow_provider_crux.api import orders, polling
from airflow_provider_crux.api.instants import iso_instant
from airflow_provider_crux.api.polling import ExportPoller, export_uuid_from_event
from airflow_provider_crux.api.responses import SubmittedExport
from airflow_provider_crux.exceptions import (
    CruxAmbiguousError,
    CruxError,
    CruxExportFailedError,
    CruxIntervalError,
    CruxPermanentError,
)
from airflow_provider_crux.params import export_arguments_from_params
from airflow_provider_crux.task.arguments import choice_problems, coerce_rendered, is_template
from airflow_provider_crux.task.durable import CLEAR_DISCARDS_STATE, ExportStateStore, fingerprint
from airflow_provider_crux.task.failing import InvalidArgumentsError, fail_without_retry
from airflow_provider_crux.task.interval import Interval, interval_from_context, parse_instant
from airflow_provider_crux.task.submission import ExportSubmission
from airflow_provider_crux.task.variable_record import delete_variable
from airflow_provider_crux.task.waiting import ExportWaitMixin

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

_INTERVAL_ARGUMENTS = ("interval_start", "interval_end")
_FILTERS = ("start", "limit", "sort", "line_item_status", "status_conjunction")
_CHOICES = {"on_ambiguous": ("retry", "fail")}


class CruxOrdersExportOperator(ExportWaitMixin, BaseOperator):
    """
    Request an export of the orders of the run's interval, and return the export's UUID.

    Crux Connect prepares a CSV file in the background and e-mails the user whose token it is. One execution sends one
    request; an ambiguous request is never resent. With ``wait_for_completion`` the task succeeds when the export is
    done; with ``deferrable`` it occupies no worker while it waits.

    **Durable.** Before the request the task saves that it is about to send it, and after the response the UUID: in
    Airflow's task state store, or below Airflow 3.3 in an Airflow Variable. So a retry, after an error or a crash of
    anything, resumes the export instead of requesting another one, unless the export failed, is gone, or the request
    has changed. Clearing a task that failed while it waited resumes too; clearing one that succeeded, or that asked you
    to check, requests a new export.

    **Interval.** An end that you leave out comes from the first of these that the run has: its data interval, if it has
    length; the period of its partition (Airflow 3.3); the schedule's last complete period that ended by the reference
    instant (``interval_end``, else the end of the run's empty data interval, else ``run_after``, else now). A run that
    an asset triggered has no period of a schedule. With ``lookback`` the interval starts this long before its end;
    without a period that had ended when the run started, it ends at the reference instant. If there is no interval, or
    its period has not ended, the task fails before sending a request. Both ends are sent in UTC, truncated to seconds.
    The specification does not say whether an order of the very end is included: remove duplicates by ``order_uuid``.

    **XCom.** ``return_value`` is the UUID of the export, a str. ``export_request`` is the body of the request.
    ``export_interval`` is ``{"export_uuid": ..., "interval_start": ..., "interval_end": ..., "requested_at": ...,
    "request": ...}``, for the task that stores the file; ``requested_at`` is ``None`` if it is unknown.

    All filters, both ends and ``crux_conn_id`` are templated; ``lookback`` is not. A value may arrive as text or, with
    ``render_template_as_native_obj``, as an object. ``None``, an empty text and the text ``None`` (what a template
    makes of ``None``) are not set.

    .. note:: With ``on_ambiguous="fail"`` a run sends at most one e-mail, whatever fails; only clearing the task
        requests another export. By default, a retry after a lost response, or after a try that was killed during its
        request, may send a second e-mail. So may, with ``durable=False``, every retry of a task that failed while it
        waited. Non-retryable errors fail the task immediately.

    :param interval_start: start of the interval: ISO 8601 text, a datetime, a date, or a day in eight digits
        (``20260102``), UTC without a time zone. Default: the run's parameter ``orders_interval_start``, if the DAG has
        one, else as above. ``interval_end`` and the filters default to the run's parameters too, see
        :func:`~airflow_provider_crux.params.orders_export_params`. Templated.
    :param interval_end: end of the interval, likewise. Templated.
    :param lookback: length of the interval, above 0: it starts this long before its end, whatever the run's own period
        is, unless ``interval_start`` is set.
    :param start: index of the first order; see :class:`~airflow_provider_crux.api.orders.OrdersExportRequest` for this
        and the next four. Templated.
    :param limit: index of the order at which the results end, not a page size. Templated.
    :param sort: ``{"key": ..., "dir": "asc" or "des"}``, or a :class:`~airflow_provider_crux.api.orders.Sort`.
        Templated.
    :param line_item_status: list of line item statuses. Templated.
    :param status_conjunction: ``and``, ``or``, ``only`` or ``all``; only together with ``line_item_status``. Templated.
    :param wait_for_completion: whether to wait until the export is done; default False.
    :param deferrable: with ``wait_for_completion``, wait in the triggerer, without a worker; default: Airflow's
        ``[operators] default_deferrable``.
    :param poll_interval: seconds between two polls; default 30.
    :param timeout: seconds to wait for the export; default 3600.
    :param durable: remember the export across tries; default True.
    :param on_ambiguous: what to do if an export may have been started, because the response was lost or a try was
        killed during its request: ``retry`` (the default) requests another one in the next try; ``fail`` fails the task
        without a retry, also if the export failed at Crux Connect or is gone. ``fail`` needs ``durable``.
    :param skip_if_no_orders: whether to list the orders first, without an e-mail, and to skip the task if there is
        none; default False. If the list cannot be read, the export is requested anyway.
    :param crux_conn_id: id of the Airflow connection; default ``crux_default``. Templated.
    :raises CruxInvalidRequestError: when the DAG is parsed, if an argument that is not a template is invalid.
    :raises AirflowFailException: in a run, for every error that a retry cannot fix.
    :raises AirflowSkipException: with ``skip_if_no_orders``, if there is no order.
    :raises CruxTransientError: if a retry may help.
    :raises CruxAmbiguousError: if the response to the request was lost, and ``on_ambiguous`` is ``retry``.
    :raises CruxExportFailedError: while it waits, if the export failed.
    :raises CruxExportTimeoutError: while it waits, if the export is not done within ``timeout``.
    """

    template_fields: Sequence[str] = (*_INTERVAL_ARGUMENTS, *_FILTERS, "crux_conn_id")
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
        :raises AirflowSkipException: if there are no orders and ``skip_if_no_orders`` is set.
        :raises CruxTransientError: if nothing was processed; Airflow's retries may succeed.
        :raises CruxAmbiguousError: if the export may have been started and ``on_ambiguous`` is ``retry``.
        :raises CruxExportFailedError: if the export failed and ``on_ambiguous`` is ``retry``: it requests another one.
        :raises CruxExportTimeoutError: if it is not done in time; a retry continues to wait for it.
        """
        with fail_without_retry(*self._final_errors):
            request = self._build_request(context)
            body = request.as_json()
            # Before the request: if this push failed after it, a retry would send a second e-mail.
            if self.do_xcom_push:
                context["ti"].xcom_push(key="export_request", value=body)
            self._update_rendered_fields(body)
            store = self._state_store(context, body)
            submission = ExportSubmission(self.hook, store, at_most_one=self.on_ambiguous == "fail", log=self.log)
            export = submission.resume()
            if export is None:
                if self.skip_if_no_orders:
                    submission.skip_if_no_orders(request)
                export = submission.submit(request)
            self._export_uuid = export.export_uuid
            if self.wait_for_completion:
                self._wait(export, body, store)
        return self._finish(context, export, body, store)

    def execute_complete(
        self,
        context: Context,
        event: Any = None,
        *,
        export_uuid: str | None = None,
        requested_at: float = 0.0,
        accepted_at: float = 0.0,
        body: Mapping[str, Any] | None = None,
    ) -> str:
        """Resume when the trigger has fired; see :meth:`execute`."""
        uuid = self._export_uuid = export_uuid or export_uuid_from_event(event) or ""
        with fail_without_retry(*self._final_errors):
            body = self._build_request(context).as_json() if body is None else body
            store = self._state_store(context, body)
            # dag.test() resumes a deferred task with the event alone
            known = None if requested_at else store.load()
            if isinstance(known, SubmittedExport) and known.export_uuid == uuid:
                requested_at = known.requested_at
            export = SubmittedExport(uuid, requested_at, accepted_at)
            with self._before_failing(export, store):
                accepted = datetime.fromtimestamp(accepted_at, UTC)
                self.raise_unless_done(event, export_uuid=uuid, accepted_at=accepted)
            self._update_rendered_fields(body)
            return self._finish(context, export, body, store)

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

    def _state_store(self, context: Context, body: Mapping[str, Any]) -> ExportStateStore:
        return ExportStateStore(
            context,
            request_fingerprint=fingerprint(self.crux_conn_id, body),
            retries=self.retries or 0,
            durable=self.durable,
            log=self.log,
        )

    def _wait(self, export: SubmittedExport, body: Mapping[str, Any], store: ExportStateStore) -> None:
        place = "triggerer" if self.deferrable else "worker"
        self.log.info("Waiting for the export in the %s, for at most %g seconds", place, self.timeout)
        accepted_at = datetime.fromtimestamp(export.accepted_at, UTC)
        deadline = datetime.now(UTC) + timedelta(seconds=self.timeout)
        poller = ExportPoller(export.export_uuid, accepted_at, deadline, self.poll_interval)
        if self.deferrable:
            self.defer_until_done(
                poller, export_uuid=export.export_uuid, requested_at=export.requested_at, body=dict(body)
            )
        with self._before_failing(export, store):
            self.hook.finish_polling(poller)

    @contextmanager
    def _before_failing(self, export: SubmittedExport, store: ExportStateStore) -> Iterator[None]:
        """Before the task fails while it waits, prepare what its next try does, or say it."""
        try:
            yield
        except CruxExportFailedError as error:
            if isinstance(error, self._final_errors):
                store.save(export, settled=True)
            raise
        except CruxError:
            if CLEAR_DISCARDS_STATE and self.durable:
                self.log.warning(
                    "A retry of this task resumes export %s. If you clear the task, choose 'Keep task state and "
                    "resume' (REST API: keep_task_state); otherwise it requests another export, with another e-mail",
                    export.export_uuid,
                )
            raise

    def _finish(
        self, context: Context, export: SubmittedExport, body: Mapping[str, Any], store: ExportStateStore
    ) -> str:
        if self.do_xcom_push:
            value = {
                "export_uuid": export.export_uuid,
                "interval_start": body.get("start_date"),
                "interval_end": body.get("end_date"),
                "requested_at": iso_instant(export.requested_at) if export.requested_at else None,
                "request": dict(body),
            }
            context["ti"].xcom_push(key="export_interval", value=value)
        store.save(export, settled=True)
        if self.wait_for_completion:
            self.log.info("Export %s is done", export.export_uuid)
        return export.export_uuid

    def _build_request(self, context: Context) -> orders.OrdersExportRequest:
        own = {name: getattr(self, name) for name in (*_INTERVAL_ARGUMENTS, *_FILTERS)}
        # only declared parameters: Airflow puts everything in a run's conf among its params
        declared = self._own_params.union(context["dag"].params)
        params = {name: value for name, value in context["params"].items() if name in declared}
        arguments = coerce_rendered(export_arguments_from_params(params)) | coerce_rendered(own)
        ends = {name: parse_instant(name, arguments.pop(name)) for name in _INTERVAL_ARGUMENTS if name in arguments}
        interval = interval_from_context(context, lookback=self.lookback, **ends)
        if interval.end > datetime.now(UTC):
            self.log.warning(
                "The interval ends in the future, at %s: it will miss orders created after this export",
                interval.end.isoformat(),
            )
        return orders.OrdersExportRequest(start_date=interval.start, end_date=interval.end, **arguments)

    def _update_rendered_fields(self, body: Mapping[str, Any]) -> None:
        """Show in the tab of rendered templates what is exported (Airflow 3)."""
        self.interval_start, self.interval_end = body.get("start_date"), body.get("end_date")
        for name in _FILTERS:
            setattr(self, name, body.get(name))

    def _check_arguments(self) -> None:
        """Reject what is invalid when the DAG is parsed; a template is checked when it is rendered."""
        unknown = frozenset(name for name in self.template_fields if is_template(getattr(self, name)))
        own = {name: getattr(self, name) for name in (*_INTERVAL_ARGUMENTS, *_FILTERS) if name not in unknown}
        known = coerce_rendered(own)
        ends = {name: known.pop(name) for name in _INTERVAL_ARGUMENTS if name in known}
        problems = orders.request_problems(known, unknown=unknown)
        problems += polling.wait_problems(self.poll_interval, self.timeout)
        if self.lookback is not None and not _is_positive_timedelta(self.lookback):
            problems.append(f"lookback: {self.lookback!r} is not a length of time; use a timedelta above 0")
        problems += choice_problems(vars(self), _CHOICES)
        if self.on_ambiguous == "fail" and not self.durable:
            problems.append("on_ambiguous: 'fail' needs durable=True; leave durable out, or use 'retry'")
        if not self.crux_conn_id:
            problems.append(f"crux_conn_id: {self.crux_conn_id!r} is not the id of a connection; use one")
        problems += _interval_problems(ends)
        if problems:
            raise InvalidArgumentsError(f"Task {self.task_id!r}: {'; '.join(problems)}")


def _is_positive_timedelta(value: object) -> bool:
    return isinstance(value, timedelta) and value > timedelta(0)


def _interval_problems(ends: Mapping[str, str | datetime]) -> list[str]:
    try:
        instants = [parse_instant(name, value) for name, value in ends.items()]
        if len(instants) == 2:
            Interval(*instants)
    except CruxIntervalError as error:
        return [str(error)]
    return []
