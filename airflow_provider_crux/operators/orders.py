"""The export of orders as a task."""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowSkipException, BaseOperator, conf

from airflow_provider_crux.api import orders, polling
from airflow_provider_crux.api.polling import ExportPoller, requested_at_from_event, within_not_found_grace
from airflow_provider_crux.api.responses import ExportState
from airflow_provider_crux.arguments import (
    coerce_rendered,
    export_arguments_from_params,
    is_template,
)
from airflow_provider_crux.deferral import (
    ExportWaitMixin,
    InvalidArgumentsError,
    export_uuid_of,
    fail_without_retry,
)
from airflow_provider_crux.durable import ExportStateStore, SubmittedExport, delete_variable, fingerprint
from airflow_provider_crux.exceptions import (
    CruxAmbiguousError,
    CruxError,
    CruxIntervalError,
    CruxNotFoundError,
    CruxPermanentError,
)
from airflow_provider_crux.interval import Interval, interval_from_context, parse_instant

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

_INTERVAL_ARGUMENTS = ("interval_start", "interval_end")
_FILTERS = ("start", "limit", "sort", "line_item_status", "status_conjunction")
_ON_AMBIGUOUS = ("retry", "fail")


class CruxOrdersExportOperator(ExportWaitMixin, BaseOperator):
    """
    Request an export of the orders of the run's interval, and return the export's UUID.

    Crux Connect prepares a CSV file in the background and e-mails the user whose token it is. One execution sends one
    request; an ambiguous request is never resent. With ``wait_for_completion`` the task succeeds when the export is
    done; with ``deferrable`` it occupies no worker while it waits.

    **Durable.** The task saves the UUID as soon as it receives it: in Airflow's task state store, or below Airflow 3.3
    in an Airflow Variable. A retry, after an error or a crash of anything, resumes that export instead of requesting
    another one, unless the export failed, is gone, or the request has changed. Clearing a task that failed resumes too;
    clearing one that succeeded requests a new export.

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

    .. note:: A retry after a lost response may send a second e-mail; the error says so, and ``on_ambiguous="fail"``
        forbids it. So may, with ``durable=False``, every retry of a task that failed while it waited. Non-retryable
        errors fail the task immediately.

    :param interval_start: start of the interval: ISO 8601 text, a datetime, a date, or a day in eight digits
        (``20260102``), UTC without a time zone. Default: the run's parameter ``orders_interval_start``, if the DAG has
        one, else as above. ``interval_end`` and the filters default to the run's parameters too, see
        :func:`~airflow_provider_crux.arguments.orders_export_params`. Templated.
    :param interval_end: end of the interval, likewise. Templated.
    :param lookback: length of the interval, above 0: it begins so long before its end, whatever the run's own period
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
    :param on_ambiguous: what to do if the export may have been started, because the response was lost: ``retry`` (the
        default) leaves it to Airflow's retries, which may send a second e-mail; ``fail`` fails the task immediately.
    :param skip_if_no_orders: whether to list the orders first, without an e-mail, and to skip the task if there is
        none; default False. If the list cannot be read, the export is requested anyway.
    :param crux_conn_id: id of the Airflow connection; default ``crux_default``. Templated.
    :raises CruxInvalidRequestError: when the DAG is parsed, if an argument that is not a template is invalid.
    :raises AirflowFailException: in a run, for every error that a retry cannot fix.
    :raises AirflowSkipException: with ``skip_if_no_orders``, if there is no order.
    :raises CruxTransientError: if a retry may help.
    :raises CruxAmbiguousError: if the response to the request was lost.
    :raises CruxExportFailedError: while it waits, if the export failed.
    :raises CruxExportTimeoutError: while it waits, if the export is late.
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
        :raises CruxExportFailedError: if the export failed; a retry requests another one.
        :raises CruxExportTimeoutError: if it is not done in time; a retry continues to wait for it.
        """
        permanent = (CruxPermanentError, *((CruxAmbiguousError,) if self.on_ambiguous == "fail" else ()))
        with fail_without_retry(*permanent):
            body, export = self._request_or_resume(context)
            if self.wait_for_completion:
                place = "triggerer" if self.deferrable else "worker"
                self.log.info("Waiting for the export in the %s, for at most %g seconds", place, self.timeout)
                poller = ExportPoller(
                    export.export_uuid, export.requested_at, time.time() + self.timeout, self.poll_interval
                )
                if self.deferrable:
                    self.defer_until_done(poller, export_uuid=export.export_uuid, body=body)
                self.hook.finish_polling(poller)
        return self._finish(context, export, body)

    def execute_complete(
        self,
        context: Context,
        event: Any = None,
        *,
        export_uuid: str | None = None,
        requested_at: float = 0.0,
        body: Mapping[str, Any] | None = None,
    ) -> str:
        """Resume when the trigger has fired; see :meth:`execute`."""
        uuid = self._export_uuid = export_uuid or export_uuid_of(event)
        requested_at = requested_at or requested_at_from_event(event)
        with fail_without_retry(CruxPermanentError):
            self.raise_unless_done(event, export_uuid=uuid, requested_at=requested_at)
            body = self._build_request(context).as_json() if body is None else body
            self._update_rendered_fields(body)
            return self._finish(context, SubmittedExport(uuid, requested_at), body)

    def on_kill(self) -> None:
        """Say what ending the task does not end."""
        if self._export_uuid is not None:
            self.log.warning(
                "Crux Connect cannot cancel an export: %s continues, and its e-mail will be sent", self._export_uuid
            )

    def _request_or_resume(self, context: Context) -> tuple[dict[str, Any], SubmittedExport]:
        """Return the body of the request, and its export: one that an earlier try requested, or a new one."""
        request = self._build_request(context)
        body = request.as_json()
        # Before the request: if this push failed after it, a retry would send a second e-mail.
        if self.do_xcom_push:
            context["ti"].xcom_push(key="export_request", value=body)
        self._update_rendered_fields(body)
        store = ExportStateStore(context, durable=self.durable, log=self.log)
        request_fingerprint = fingerprint(self.crux_conn_id, body)
        export = store.load(request_fingerprint)
        if export is not None and self._is_reusable(export):
            self.log.info("Resuming export %s, requested by an earlier try of this task", export.export_uuid)
        else:
            if self.skip_if_no_orders:
                self._skip_if_no_orders(request)
            filters = {name: value for name, value in body.items() if name not in ("start_date", "end_date")}
            self.log.info(
                "Requesting an export of the orders from %s to %s over connection %r, filters: %s",
                body["start_date"],
                body["end_date"],
                self.crux_conn_id,
                json.dumps(filters) if filters else "none",
            )
            export = SubmittedExport(self.hook.export_orders(request), time.time())
            store.save(export, request_fingerprint)
            self.log.info(
                "Crux Connect is preparing export %s and will e-mail the token's user when the file is ready",
                export.export_uuid,
            )
        self._export_uuid = export.export_uuid
        return body, export

    def _skip_if_no_orders(self, request: orders.OrdersExportRequest) -> None:
        try:
            has_orders = self.hook.has_orders(request)
        except CruxError as error:  # the list is only a convenience: the export says what is wrong, or succeeds
            self.log.warning("Could not check whether there are orders; requesting the export anyway: %s", error)
            return
        if not has_orders:
            raise AirflowSkipException(
                f"Crux Connect lists no orders for {json.dumps(request.as_json())}: no export was requested"
            )

    def _is_reusable(self, export: SubmittedExport) -> bool:
        """
        Tell whether the export of an earlier try can still be used.

        :raises CruxError: if its status is unknown; then this try must not request another one.
        """
        outcome = self.hook.poll_export(export.export_uuid)
        if within_not_found_grace(outcome, requested_at=export.requested_at, now=time.time()):
            return True
        if isinstance(outcome, CruxNotFoundError):
            self.log.warning("Crux Connect no longer knows export %s of an earlier try", export.export_uuid)
            return False
        if isinstance(outcome, CruxError):
            raise outcome
        if outcome.state is ExportState.FAILED:
            self.log.warning("Export %s of an earlier try failed", export.export_uuid)
            return False
        return True

    def _finish(self, context: Context, export: SubmittedExport, body: Mapping[str, Any]) -> str:
        if self.do_xcom_push:
            requested_at = datetime.fromtimestamp(export.requested_at, UTC).isoformat()
            value = {
                "export_uuid": export.export_uuid,
                "interval_start": body.get("start_date"),
                "interval_end": body.get("end_date"),
                # dag.test() resumes a deferred task with the event alone, and one of an earlier version has no time
                "requested_at": requested_at if export.requested_at else None,
                "request": dict(body),
            }
            context["ti"].xcom_push(key="export_interval", value=value)
        store = ExportStateStore(context, durable=self.durable, log=self.log)
        store.save(export, fingerprint(self.crux_conn_id, body), completed=True)
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
        problems = orders.violations(known, unknown=unknown)
        problems += polling.violations(self.poll_interval, self.timeout)
        if self.lookback is not None and not _is_positive_timedelta(self.lookback):
            problems.append(f"lookback: {self.lookback!r} is not a length of time; use a timedelta above 0")
        if self.on_ambiguous not in _ON_AMBIGUOUS:
            problems.append(f"on_ambiguous: {self.on_ambiguous!r} is unknown; use 'retry' or 'fail'")
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
