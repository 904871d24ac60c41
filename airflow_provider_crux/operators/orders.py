"""Exports of orders, as tasks. The rules of the request stand in ``api``, those of the interval in ``window``."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperator, conf

# What only an execution needs is imported where it is used: a DAG file is parsed every thirty seconds.
from airflow_provider_crux.api import orders, polling
from airflow_provider_crux.exceptions import (
    CruxError,
    CruxIntervalError,
    CruxInvalidRequestError,
    CruxNotFoundError,
    CruxPermanentError,
)
from airflow_provider_crux.rendering import from_text, if_set, is_literal

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_crux.hooks.crux import CruxHook
    from airflow_provider_crux.resumption import AskedFor


# Arguments that go into the request under their own names.
_FILTERS = ("start", "limit", "sort", "line_item_status", "status_conjunction")


class CruxOrdersExportOperator(BaseOperator):
    """
    Ask Crux Connect for an export of the orders of the run's interval, and hand its uuid on.

    Crux Connect prepares a CSV file in the background and e-mails the user whose token it is. One execution sends
    one request; it is never sent again where it may already have been processed. With ``wait_for_completion`` the task
    ends when the export is done; with ``deferrable`` it occupies no worker meanwhile.

    **Survival.** On Airflow 3.3 the uuid is remembered the moment it is answered. A retry, after an error or a crash
    of anything, takes that export up again and asks for no other, unless it failed, is gone, or the request would now
    be another one. When the task has succeeded the record is removed: clearing the task asks anew.

    **Which interval.** Each end that is given wins. What is not given comes from the first of these that there is: the
    run's data interval, if it has length; the period that its partition date opens (Airflow 3.3); ``lookback`` before
    the instant the run stands at (end of its empty interval, else ``run_after``, else now; or ``interval_end``, where
    that is given); the schedule's own last whole period that ended by that instant. A run that an asset triggered takes
    no period from a clock. Where nothing is found the task fails, and sends nothing. Both ends are sent in UTC, cut to
    the second. The specification does not say whether an order of the very end is included: remove duplicates by
    ``order_uuid``.

    **XCom.** ``return_value`` is the uuid of the export, a str. ``export_request`` is the body that was sent.
    ``export_window`` is ``{"export_uuid": ..., "interval_start": ..., "interval_end": ...}``.

    What says which orders is templated but for ``lookback``, and may arrive as text or, with
    ``render_template_as_native_obj``, as an object. ``None``, an empty text and the text ``None`` (what a template
    makes of ``None``) count as not set.

    .. note::
        A retry after an answer that was lost may send a second e-mail; the error says so. So may, below Airflow 3.3 or
        with ``durable=False``, every retry of a task that failed while it waited: there, leave the waiting to
        ``CruxExportSensor``. Errors that a retry cannot mend fail the task at once.

    :param interval_start: start of the interval: ISO 8601 text or a datetime, UTC where it has no time zone. Default:
        the run's parameter of this name, where the DAG has one, else as above. The next six arguments, too, are by
        default the run's parameters, see :func:`~airflow_provider_crux.params.orders_export_params`.
    :param interval_end: end of the interval, likewise.
    :param lookback: length of the interval of a run that has none of its own.
    :param start: index of the first order; see
        :class:`~airflow_provider_crux.api.orders.OrdersExportRequest` for this and the next four.
    :param limit: index of the order at which the results end, not a page size.
    :param sort: ``{"key": ..., "dir": "asc" or "des"}``.
    :param line_item_status: list of line item statuses.
    :param status_conjunction: ``and``, ``or``, ``only`` or ``all``.
    :param wait_for_completion: whether to wait until the export is done; default False.
    :param deferrable: wait in the triggerer, without a worker; default: Airflow's ``[operators] default_deferrable``.
    :param poll_interval: seconds between two looks at the export; default 30.
    :param timeout: seconds to wait for the export; default 3600.
    :param durable: remember the export across tries (Airflow 3.3); default True.
    :param crux_conn_id: id of the Airflow connection; default ``crux_default``. Templated.
    :raises CruxInvalidRequestError: when the DAG is parsed, where an argument that is no template is wrong.
    """

    template_fields: Sequence[str] = (
        "interval_start",
        "interval_end",
        *_FILTERS,
        "crux_conn_id",
    )
    template_fields_renderers = {"sort": "json", "line_item_status": "json"}  # noqa: RUF012 - as Airflow has it
    ui_color = "#dcecf5"
    # Airflow 3 then stores what the fields are in the end, see _show
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
        crux_conn_id: str = "crux_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.interval_start = interval_start
        self.interval_end = interval_end
        self.lookback = lookback
        self.start = start
        self.limit = limit
        self.sort = sort
        self.line_item_status = line_item_status
        self.status_conjunction = status_conjunction
        self.wait_for_completion = wait_for_completion
        self.deferrable = deferrable
        self.poll_interval = poll_interval
        self.timeout = timeout
        self.durable = durable
        self._export_uuid: str | None = None
        self.crux_conn_id = crux_conn_id
        self._check_literals()

    def execute(self, context: Context) -> str:
        """
        Ask for the export, or take up the one that an earlier try asked for; wait for it where that is wanted.

        :returns: the uuid of the export.
        :raises AirflowFailException: for an error that a retry cannot mend.
        :raises CruxTransientError: where nothing was processed; Airflow's retries may bring it through.
        :raises CruxAmbiguousError: where the export may have been started.
        :raises CruxExportFailedError: when the export failed; a retry asks for another.
        :raises CruxExportTimeoutError: when it is not done in time; on Airflow 3.3 a retry goes on waiting for it.
        """
        from airflow_provider_crux.api.waiting import Wait
        from airflow_provider_crux.deferral import defer, failing_at_once

        with failing_at_once(CruxPermanentError):
            body, asked = self._ask(context)
            if self.wait_for_completion:
                where = "triggerer" if self.deferrable else "worker"
                self.log.info("Waiting for it in the %s, for %g seconds at most", where, self.timeout)
                if self.deferrable:
                    deadline = time.time() + self.timeout
                    wait = Wait(asked.export_uuid, asked.asked_at, deadline, self.poll_interval)
                    defer(self, wait, self.crux_conn_id, export_uuid=asked.export_uuid, body=body)
                self._hook.wait_for_export(
                    asked.export_uuid,
                    poll_interval=self.poll_interval,
                    timeout=self.timeout,
                    asked_at=asked.asked_at,
                )
        return self._done(context, asked.export_uuid, body)

    def execute_complete(
        self,
        context: Context,
        event: Any = None,
        *,
        export_uuid: str | None = None,
        asked_at: float = 0.0,
        body: Mapping[str, Any] | None = None,
    ) -> str:
        """Go on when the trigger has fired; see :meth:`execute`."""
        from airflow_provider_crux.api.waiting import uuid_in
        from airflow_provider_crux.deferral import failing_at_once, resume

        # dag.test() hands on the event, and nothing of what the task deferred with
        uuid = export_uuid or uuid_in(event) or ""
        self._export_uuid = uuid
        with failing_at_once(CruxPermanentError):
            resume(event, self._hook, export_uuid=uuid, asked_at=asked_at)
            body = self._request(context).as_json() if body is None else body
            self._show(body)
            return self._done(context, uuid, body)

    def on_kill(self) -> None:
        """Say what ending the task does not end."""
        if self._export_uuid is not None:
            self.log.warning(
                "Crux Connect has no call that cancels an export: %s goes on, and its e-mail will come",
                self._export_uuid,
            )

    def _ask(self, context: Context) -> tuple[dict[str, Any], AskedFor]:
        """Return the body of the request, and the export of it: one that an earlier try asked for, or a new one."""
        from airflow_provider_crux.resumption import AskedFor, ExportMemory, fingerprint

        request = self._request(context)
        body = request.as_json()
        # Before the request, not after it: a failure to store this must not lead to a second e-mail.
        if self.do_xcom_push:
            context["ti"].xcom_push(key="export_request", value=body)
        self._show(body)
        memory = ExportMemory(context, durable=self.durable, log=self.log)
        mark = fingerprint(self.crux_conn_id, body)
        asked = memory.recall(mark)
        if asked is not None and self._is_good(asked):
            self.log.info("Taking up export %s, which an earlier try of this task asked for", asked.export_uuid)
        else:
            filters = {name: value for name, value in body.items() if name not in ("start_date", "end_date")}
            self.log.info(
                "Asking for an export of the orders from %s to %s, filters: %s, over connection %r",
                body["start_date"],
                body["end_date"],
                json.dumps(filters) if filters else "none",
                self.crux_conn_id,
            )
            asked = AskedFor(self._hook.export_orders(request), time.time())
            memory.keep(asked, mark)
            self.log.info(
                "Crux Connect prepares export %s, and e-mails the user whose token it is when its file is there",
                asked.export_uuid,
            )
        self._export_uuid = asked.export_uuid
        return body, asked

    def _is_good(self, asked: AskedFor) -> bool:
        """
        Tell whether a remembered export will do.

        :raises CruxError: where nobody knows: then it is not for this try to ask for another.
        """
        from airflow_provider_crux.api.answers import ExportState
        from airflow_provider_crux.api.waiting import may_appear

        seen = self._hook.look(asked.export_uuid)
        if may_appear(seen, asked_at=asked.asked_at, now=time.time()):
            return True
        if isinstance(seen, CruxNotFoundError):
            self.log.warning("Crux Connect no longer knows export %s of an earlier try", asked.export_uuid)
            return False
        if isinstance(seen, CruxError):
            raise seen
        if seen.state is ExportState.FAILED:
            self.log.warning("Export %s of an earlier try failed", asked.export_uuid)
            return False
        return True

    def _done(self, context: Context, export_uuid: str, body: Mapping[str, Any]) -> str:
        from airflow_provider_crux.resumption import ExportMemory

        if self.do_xcom_push:
            window = {"interval_start": body.get("start_date"), "interval_end": body.get("end_date")}
            context["ti"].xcom_push(key="export_window", value={"export_uuid": export_uuid, **window})
        ExportMemory(context, durable=self.durable, log=self.log).forget()
        if self.wait_for_completion:
            self.log.info("Export %s is done", export_uuid)
        return export_uuid

    @cached_property
    def _hook(self) -> CruxHook:
        from airflow_provider_crux.hooks.crux import CruxHook

        return CruxHook(self.crux_conn_id)

    def _request(self, context: Context) -> orders.OrdersExportRequest:
        from airflow_provider_crux.params import given_in
        from airflow_provider_crux.schedule import run_of
        from airflow_provider_crux.window import instant, resolve

        given = given_in(context["params"]) | {
            name: value
            for name in ("interval_start", "interval_end", *_FILTERS)
            if (value := if_set(getattr(self, name))) is not None
        }
        ends = {name: instant(name, given.pop(name)) for name in ("interval_start", "interval_end") if name in given}
        interval = resolve(run_of(context), lookback=self.lookback, **ends)
        if interval.end > datetime.now(UTC):
            self.log.warning(
                "The interval ends in the future, at %s: orders that are created after this export are not in it",
                interval.end.isoformat(),
            )
        return orders.OrdersExportRequest(start_date=interval.start, end_date=interval.end, **from_text(given))

    def _show(self, body: Mapping[str, Any]) -> None:
        """Let the tab of rendered templates show what is exported (Airflow 3), and not what was left open."""
        self.interval_start, self.interval_end = body.get("start_date"), body.get("end_date")
        for name in _FILTERS:
            setattr(self, name, body.get(name))

    def _check_literals(self) -> None:
        """Refuse what is wrong already when the DAG is parsed; a template is checked when it is rendered."""
        unknown = frozenset(name for name in self.template_fields if not is_literal(getattr(self, name)))
        known = {name: if_set(getattr(self, name)) for name in _FILTERS if name not in unknown}
        told = orders.violations(from_text(known), unknown=unknown)
        told += polling.violations(self.poll_interval, self.timeout)
        if self.lookback is not None and not _is_length(self.lookback):
            told.append(f"lookback: {self.lookback!r} is not a length of time; give a timedelta above 0")
        if not self.crux_conn_id:
            told.append(f"crux_conn_id: {self.crux_conn_id!r} is not the id of a connection; give one")
        ends = {name: if_set(getattr(self, name)) for name in ("interval_start", "interval_end") if name not in unknown}
        told += _wrong_ends({name: value for name, value in ends.items() if value is not None})
        if told:
            raise CruxInvalidRequestError(f"Task {self.task_id!r}: {'; '.join(told)}")


def _wrong_ends(given: Mapping[str, str | datetime]) -> list[str]:
    if not given:
        return []
    from airflow_provider_crux.window import Interval, instant

    try:
        ends = [instant(name, value) for name, value in given.items()]
        if len(ends) == 2:
            Interval(*ends)
    except CruxIntervalError as error:
        return [str(error)]
    return []


def _is_length(value: object) -> bool:
    return isinstance(value, timedelta) and value > timedelta(0)
