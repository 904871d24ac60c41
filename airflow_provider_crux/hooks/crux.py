"""
The connection to Crux Connect for workers, with requests as the transport.

What to send, what a response means and when to send again is decided in :mod:`airflow_provider_crux.api`.
"""

from __future__ import annotations

import time
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook, mask_secret

from airflow_provider_crux import connection_form
from airflow_provider_crux.api import orders_list
from airflow_provider_crux.api.auth import TokenAuth
from airflow_provider_crux.api.connection_check import CONNECTION_NAME, check_result, connection_check_flow
from airflow_provider_crux.api.errors import missing_connection
from airflow_provider_crux.api.exports import SubmittedExport
from airflow_provider_crux.api.polling import POLL_INTERVAL, TIMEOUT, ExportPoller, PollAgain, longest_wait
from airflow_provider_crux.api.requests import export_orders_request, get_export_request, list_orders_request
from airflow_provider_crux.api.responses import parse_export, parse_export_uuid, parse_orders_list
from airflow_provider_crux.api.settings import EXTRA_FIELDS, ConnectionSettings, connection_name, read_settings
from airflow_provider_crux.exceptions import CruxError, CruxUrlExpiredError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping
    from typing import TypeVar

    from airflow.providers.common.compat.sdk import Connection
    from requests import PreparedRequest, Session

    from airflow_provider_crux.api.orders import OrdersExportRequest
    from airflow_provider_crux.api.requests import ApiRequest, ApiResponse
    from airflow_provider_crux.api.responses import Export, OrdersList
    from airflow_provider_crux.transport.http import HttpClient

    T = TypeVar("T")


class CruxHook(BaseHook):
    """
    Talk to Crux Connect over an Airflow connection of type ``crux``.

    ``password`` alone is an API token. ``login`` and ``password`` are a user name and its password: the first request
    exchanges them for a token, which stays in memory. The hook logs in again before the token's two hours are over, and
    once if it is rejected. An empty host is production. The extras are described in
    :data:`~airflow_provider_crux.api.settings.EXTRA_FIELDS`; all are optional.

    :param crux_conn_id: id of the connection; default ``crux_default``.
    :raises CruxInvalidConnectionError: at the first use, if a field of the connection is unusable.
    """

    conn_name_attr = "crux_conn_id"
    default_conn_name = "crux_default"
    conn_type = "crux"
    hook_name = "Crux Connect"

    def __init__(self, crux_conn_id: str = default_conn_name, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.crux_conn_id = crux_conn_id

    def export_orders(self, request: OrdersExportRequest) -> str:
        """
        Request an export of orders; see :meth:`submit_export`.

        :param request: which orders.
        :return: the UUID of the export.
        :raises CruxError: as :meth:`submit_export` does.
        """
        return self.submit_export(request).export_uuid

    def submit_export(
        self, request: OrdersExportRequest, *, before_sending: Callable[[], object] | None = None
    ) -> SubmittedExport:
        """
        Request an export of orders. Crux Connect e-mails the token's user for every request that it accepts.

        :param request: which orders.
        :param before_sending: called right before the request is sent, each time; if it raises, nothing is sent.
        :return: the export, and when it was requested.
        :raises CruxAmbiguousError: if the export may have been started; the request was not sent again.
        :raises CruxError: for every other failure, see :mod:`airflow_provider_crux.exceptions`.
        """
        response = self._send(export_orders_request(request, self.settings.version), before_sending)
        uuid = parse_export_uuid(response, secrets=self._auth.secrets())
        now = datetime.now(UTC)
        return SubmittedExport(uuid, request, response.sent_at or now, accepted_at=now, crux_conn_id=self.crux_conn_id)

    def list_orders(self, request: OrdersExportRequest) -> OrdersList:
        """
        List orders without an export, and so without an e-mail. The list is personal data.

        :param request: which orders. A response is at most 1 MiB long, so
            use :meth:`iter_orders`, or ``start`` and ``limit``.
        :return: a page of the list.
        :raises CruxError: see :mod:`airflow_provider_crux.exceptions`.
        """
        return parse_orders_list(self._send(list_orders_request(request, self.settings.version)))

    def iter_orders(self, request: OrdersExportRequest, *, page_size: int = 250) -> Iterator[Mapping[str, Any]]:
        """
        List every order of a request, page after page, without an export and so without an e-mail.

        The orders are personal data. They come by creation, so that new ones are last, unless the request has a
        ``sort``, ``start`` or ``limit``, or Crux Connect rejects that sort.

        The list may change meanwhile. If its sort does not depend on what changes, such as the status, every order that
        is in it from the first page to the last is yielded. It is yielded once if at most half a page of orders come
        and leave between two pages: only the UUIDs of the last ten pages are remembered. An order without a UUID is
        always yielded.

        In ``v1`` and ``timp``, each designation (``rejected``, ``has_tracking``, ``backordered``, ``cancelled`` or
        ``needs_tracking``) is listed by itself, and with several of them, all UUIDs are remembered. In ``timp``, the
        list's dates have no time zone: unless ``start`` or ``limit`` is set, the orders of the days around are listed,
        and those that were created outside the request's dates in UTC are left out.

        :param request: which orders.
        :param page_size: how many orders to list at once, besides one of the page before; at least 1, default 250,
            about 600 KiB. If a page exceeds the 1 MiB of a response, it and all later ones are halved.
        :return: the orders as Crux Connect returns them; a page of them is in memory.
        :raises CruxInvalidRequestError: immediately, if ``page_size`` is invalid, the ``api_version`` cannot say what
            the request does, or ``start`` or ``limit`` is set for several designations.
        :raises CruxInvalidResponseError: also if Crux Connect returns the same page again and again.
        :raises CruxError: for every other failure, see :mod:`airflow_provider_crux.exceptions`.
        """
        return orders_list.iter_orders(request, self.settings.version, self.list_orders, page_size)

    def has_orders(self, request: OrdersExportRequest) -> bool:
        """
        Tell whether any order matches the filters of a request; its ``start``, ``limit`` and ``sort`` do not count.

        If the list may have misread the filters, it logs a warning and returns True.

        :param request: which orders.
        :raises CruxError: see :mod:`airflow_provider_crux.exceptions`.
        """
        result, doubt = orders_list.has_orders(request, self.settings.version, self.list_orders)
        if doubt is not None:
            self.log.warning(doubt)
        return result

    def get_export(self, export_uuid: str) -> Export:
        """
        Get the status of an export.

        :param export_uuid: what :meth:`export_orders` returned.
        :return: the export; if it is done, with a new presigned URL of its file.
        :raises CruxNotFoundError: if there is no such export; also for a moment after the request.
        :raises CruxError: for every other failure, see :mod:`airflow_provider_crux.exceptions`.
        """
        response = self._send(get_export_request(export_uuid, self.settings.version))
        return parse_export(response, requested=export_uuid, secrets=self._auth.secrets())

    def poll_export(self, export_uuid: str) -> Export | CruxError:
        """Return what :meth:`get_export` returns or raises, both as values for the poller."""
        try:
            return self.get_export(export_uuid)
        except CruxError as error:
            return error

    def wait_for_export(
        self,
        export_uuid: str,
        *,
        poll_interval: float = POLL_INTERVAL,
        timeout: float = TIMEOUT,
        accepted_at: datetime | None = None,
    ) -> Export:
        """
        Wait until an export is done.

        Up to four consecutive transient polling errors are tolerated; the fifth is raised. For 60 seconds after the
        request the export may be unknown.

        :param export_uuid: what :meth:`export_orders` returned.
        :param poll_interval: seconds between two polls; default 30.
        :param timeout: seconds to wait at most; default 3600. The last poll comes when they are over.
        :param accepted_at: when the request for the export was accepted, with a time zone; default now.
        :return: the export, with a new presigned URL.
        :raises CruxExportFailedError: if the export failed.
        :raises CruxExportTimeoutError: if it is not done in time.
        :raises CruxError: for every other failure, see :mod:`airflow_provider_crux.exceptions`.
        """
        now = datetime.now(UTC)
        return self.finish_polling(
            ExportPoller(export_uuid, (accepted_at or now).astimezone(UTC), now + longest_wait(timeout), poll_interval)
        )

    def poll(self, poller: ExportPoller) -> Export | PollAgain:
        """Poll an export once, and log what is unusual; see :meth:`.ExportPoller.evaluate`."""
        result = poller.evaluate(self.poll_export(poller.export_uuid), datetime.now(UTC))
        if isinstance(result, PollAgain) and result.warning is not None:
            self.log.warning(result.warning)
        return result

    def finish_polling(self, poller: ExportPoller, result: Export | PollAgain | None = None) -> Export:
        """
        Poll until the poller has its export; see :meth:`wait_for_export`.

        :param poller: the wait.
        :param result: of a poll that was just made; default: poll immediately.
        """
        result = result or self.poll(poller)
        while isinstance(result, PollAgain):
            time.sleep(result.delay)
            result = self.poll(poller)
        return result

    @contextmanager
    def open_file(self, export: Export) -> Iterator[Iterator[bytes]]:
        """
        Open the file of an export in a ``with`` block. If its presigned URL has expired, get a new one once.

        :param export: what :meth:`get_export` or :meth:`wait_for_export` returned; it must be done.
        :return: the file's bytes, in chunks; they are the whole file only if they end without an error.
        :raises CruxUrlExpiredError: if the new URL has expired too.
        :raises CruxError: for every other failure, see :mod:`airflow_provider_crux.exceptions`.
        """
        from airflow_provider_crux.transport.download import open_file

        with ExitStack() as stack:
            try:
                chunks = stack.enter_context(open_file(export, self.settings))
            except CruxUrlExpiredError:
                chunks = stack.enter_context(open_file(self.get_export(export.uuid), self.settings))
            yield chunks

    def test_connection(self) -> tuple[bool, str]:
        """
        Test the connection without an e-mail.

        With a login it logs in. With an API token it requests the status of an export that cannot exist, and then the
        list of orders of one second without any.

        :return: whether it works, and the text to show (without secrets); see
            :func:`airflow_provider_crux.api.connection_check.connection_check_flow`.
        """
        try:
            # Airflow passes a connection under test as a URI, and finds none if it cannot parse its port
            connection = self.get_connection(self.crux_conn_id)
        except AirflowNotFoundException:
            return False, "Airflow cannot read this connection: enter a port from 1 to 65535 (443), and save it"
        try:
            hook = CruxHook(self.crux_conn_id)  # with settings that this one must not keep
            hook.settings = replace(self._read_settings(connection, CONNECTION_NAME), max_retries=0)
            return hook._run_flow(connection_check_flow(hook.settings))
        except CruxError as error:
            return check_result(error)

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Return the form's fields for the extras, for Airflow before 3.2."""
        return connection_form.widgets()

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Return how the form shows the standard fields, for Airflow before 3.2."""
        return connection_form.field_behaviour()

    def get_conn(self) -> Session:
        """
        Return the session: it sends our user agent, trusts what the connection says, and adds the token.

        Only requests to the connection's own host get the token. The session sends nothing again and raises requests'
        own errors: ``requests.ConnectionError`` for all that fails before anything is sent.
        """
        return self._client.session

    @cached_property
    def settings(self) -> ConnectionSettings:
        """The fields of the connection, read at the first use."""
        try:
            connection = self.get_connection(self.crux_conn_id)
        except AirflowNotFoundException:
            raise missing_connection(self.crux_conn_id) from None
        return self._read_settings(connection, connection_name(self.crux_conn_id))

    def _read_settings(self, connection: Connection, name: str) -> ConnectionSettings:
        settings = read_settings(connection, connection.extra_dejson, name)
        for secret in settings.secrets:
            mask_secret(secret)
        if settings.unknown_extras:
            unknown, known = ", ".join(settings.unknown_extras), ", ".join(EXTRA_FIELDS)
            self.log.warning("Unknown extras of %s: %s; the known ones are %s", settings.name, unknown, known)
        return settings

    @cached_property
    def _auth(self) -> TokenAuth:
        return TokenAuth(self.settings, on_login=mask_secret)

    @cached_property
    def _client(self) -> HttpClient:
        # here, so that parsing a DAG file does not import requests
        from airflow_provider_crux.transport.http import HttpClient

        client = HttpClient(self.settings, self.log)
        client.session.auth = self._add_token
        return client

    def _add_token(self, request: PreparedRequest) -> PreparedRequest:
        """Add the token to a request that a user sends through the session to the connection's own host."""
        if (request.url or "").startswith(f"{self.settings.base_url}/"):
            request.headers["Authorization"] = f"Token {self._run_flow(self._auth.token_flow())}"
        return request

    def _send(self, request: ApiRequest, before_sending: Callable[[], object] | None = None) -> ApiResponse:
        return self._run_flow(self._auth.auth_flow(request), before_sending)

    def _run_flow(
        self, flow: Generator[ApiRequest, ApiResponse, T], before_sending: Callable[[], object] | None = None
    ) -> T:
        """Send what the flow yields, send it the responses or throw it the errors, and return what it returns."""
        try:
            request = next(flow)
            while True:
                try:
                    response = self._client.send(request, secrets=self._auth.secrets(), before_sending=before_sending)
                except CruxError as error:
                    request = flow.throw(error)
                else:
                    request = flow.send(response)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
