"""Requests a task's export once, however its tries end: resumes an earlier one, or saves an intent first."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowSkipException

from airflow_provider_crux.api.errors import (
    export_failed,
    export_gone,
    outcome_unknown,
    proves_not_processed,
    request_changed,
)
from airflow_provider_crux.api.polling import within_not_found_grace
from airflow_provider_crux.api.responses import ExportState
from airflow_provider_crux.api.spelling import export_body
from airflow_provider_crux.exceptions import (
    CruxError,
    CruxExportFailedError,
    CruxInvalidRequestError,
    CruxNotFoundError,
    CruxPermanentError,
)
from airflow_provider_crux.task.durable import Intent

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_crux.api.exports import SubmittedExport
    from airflow_provider_crux.api.orders import OrdersExportRequest
    from airflow_provider_crux.hooks.crux import CruxHook
    from airflow_provider_crux.task.durable import ExportStateStore


class ExportSubmission:
    """
    The request of one try. It alone decides what the record of an earlier try means.

    With ``at_most_one`` only a person can cause a second request, by clearing the task. ``count`` increases a counter.
    """

    def __init__(
        self,
        request: OrdersExportRequest,
        hook: CruxHook,
        store: ExportStateStore,
        *,
        at_most_one: bool,
        count: Callable[[str], None],
        log: Any,
    ) -> None:
        self._request = request
        self._hook = hook
        self._store = store
        self._at_most_one = at_most_one
        self._count = count
        self._log = log
        self._earlier: SubmittedExport | Intent | None = None
        self._intent: Intent | None = None

    def resume(self) -> SubmittedExport | None:
        """
        Return the export that an earlier try requested, if it can still be used.

        :raises CruxError: if its status is unknown, so this try must not request another one; with ``at_most_one`` also
            if it cannot be used, or an earlier try may have requested one.
        """
        earlier = self._store.load()
        if earlier is None:
            return None
        if isinstance(earlier, Intent):
            if self._at_most_one:
                self._store.settle(earlier)
                self._count("exports.ambiguous")
                raise outcome_unknown(earlier.since)
            self._earlier = earlier
            return None
        problem = self._problem(earlier)
        if problem is None:
            self._log.info("Resuming export %s, requested by an earlier try of this task", earlier.export_uuid)
            self._count("exports.resumed")
            return earlier
        error, reason = problem
        if self._at_most_one:
            self._store.settle(earlier)
            raise error
        self._log.warning(
            "Export %s, which an earlier try requested at %s, %s: this try requests another one. The e-mail of the "
            "earlier export may still be sent",
            earlier.export_uuid,
            earlier.as_xcom()["requested_at"],
            reason,
        )
        self._earlier = earlier
        return None

    def skip_if_no_orders(self) -> None:
        """List the orders of the request, which e-mails nobody; raise AirflowSkipException if there is none."""
        try:
            has_orders = self._hook.has_orders(self._request)
        except CruxInvalidRequestError:  # no export can be requested either
            raise
        except CruxError as error:  # the list is only a convenience: the export says what is wrong, or succeeds
            self._log.warning("Could not check whether there are orders; requesting the export anyway: %s", error)
            return
        if not has_orders:
            raise AirflowSkipException(
                f"Crux Connect lists no orders for {json.dumps(self._request.as_json())}: no export was requested"
            )

    def submit(self) -> SubmittedExport:
        """Request an export, and record it so that the next try can resume it."""
        export_body(self._request, self._hook.settings.version)  # raises an error if the version cannot say it
        self._log_request()
        try:
            export = self._hook.submit_export(self._request, before_sending=self._save_intent)
        except CruxError as error:
            if self._intent is None:  # nothing was sent
                raise
            if proves_not_processed(error):
                self._store.discard_intent(self._earlier)
                raise
            self._count("exports.ambiguous")
            if self._at_most_one or isinstance(error, CruxPermanentError):
                # there is no retry: the error asks a person to check
                self._store.settle(self._intent)
                since = self._intent.since.isoformat()
                raise type(error)(f"{error}. It may have been under way since {since}") from error
            raise
        self._store.save(export)
        self._count("exports.requested")
        self._log.info(
            "Crux Connect is preparing export %s and will e-mail the token's user when the file is ready",
            export.export_uuid,
        )
        return export

    def _log_request(self) -> None:
        if isinstance(self._earlier, Intent):
            self._log.warning(
                "An earlier try may have requested an export since %s; its outcome is unknown. This try requests "
                "another one, because on_ambiguous is 'retry': two e-mails may be sent",
                self._earlier.since.isoformat(),
            )
        body = self._request.as_json()
        filters = {name: value for name, value in body.items() if name not in ("start_date", "end_date")}
        self._log.info(
            "Requesting an export of the orders from %s to %s over connection %r, filters: %s",
            body.get("start_date"),
            body.get("end_date"),
            self._hook.crux_conn_id,
            json.dumps(filters) if filters else "none",
        )

    def _save_intent(self) -> None:
        """Save an intent before the request is sent; if it is sent again, once more, with the time of the first."""
        self._intent = self._intent or Intent(datetime.now(UTC))
        self._store.save_intent(self._intent)

    def _problem(self, export: SubmittedExport) -> tuple[CruxError, str] | None:
        """Return why an earlier export cannot be reused, as an error and in words for the log; ``None`` if it can."""
        if (export.crux_conn_id, export.request) != (self._hook.crux_conn_id, self._request):
            return request_changed(export.export_uuid), "has other filters, another interval or another connection"
        outcome = self._hook.poll_export(export.export_uuid)
        if isinstance(outcome, CruxError):
            if within_not_found_grace(outcome, accepted_at=export.accepted_at, now=datetime.now(UTC)):
                return None
            if not isinstance(outcome, CruxNotFoundError):
                raise outcome
            return export_gone(export.export_uuid, peer=self._hook.settings.peer), "is no longer known to Crux Connect"
        if outcome.state is ExportState.FAILED:
            error = export_failed(export.export_uuid, outcome.status)
            return CruxExportFailedError(f"{error}. To request another one, clear the task"), "failed at Crux Connect"
        return None
