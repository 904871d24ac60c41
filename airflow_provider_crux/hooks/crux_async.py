"""
The connection to Crux Connect for triggers, with aiohttp as the transport.

What to send, what a response means and when to send again is decided in :mod:`airflow_provider_crux.api`, as for the
worker's hook.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

import aiohttp
from airflow.providers.common.compat.connection import get_async_connection, get_async_extra_dejson
from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook, mask_secret
from asgiref.sync import sync_to_async

from airflow_provider_crux.api import errors
from airflow_provider_crux.api.auth import TokenAuth
from airflow_provider_crux.api.errors import missing_connection
from airflow_provider_crux.api.polling import PollAgain
from airflow_provider_crux.api.requests import MAX_RESPONSE_BYTES, ApiRequest, ApiResponse, get_export_request
from airflow_provider_crux.api.responses import parse_export
from airflow_provider_crux.api.retries import Outcome, Retries, unwrap
from airflow_provider_crux.api.settings import ConnectionSettings, connection_name, read_settings
from airflow_provider_crux.exceptions import (
    CruxAuthenticationError,
    CruxError,
    CruxNotFoundError,
    CruxPermissionDeniedError,
    CruxTransientError,
)
from airflow_provider_crux.transport.http import USER_AGENT, proxy_and_tls_context

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Generator
    from typing import Self, TypeVar

    from airflow_provider_crux.api.polling import ExportPoller
    from airflow_provider_crux.api.responses import Export

    T = TypeVar("T")

MAX_CONNECTIONS: Final = 50
"""How many connections an event loop opens for one Airflow connection, however many exports it waits for."""

_SHARED: WeakKeyDictionary[asyncio.AbstractEventLoop, _SharedClients] = WeakKeyDictionary()


class CruxAsyncHook(BaseHook):
    """
    Get the status of exports from an event loop, over an Airflow connection of type ``crux``.

    Use it with ``async with``, once for each wait. All waits of an event loop whose connections are equal share one
    session, at most 50 connections and one token. The connection is read when a wait begins, and again when Crux
    Connect rejects a request (401, 403, 404), because somebody may have corrected it.

    .. code-block:: python

        async with CruxAsyncHook("crux_default") as hook:
            export = await hook.get_export(export_uuid)

    :param crux_conn_id: id of the connection.
    """

    def __init__(self, crux_conn_id: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.crux_conn_id = crux_conn_id
        self._client: _AsyncClient | None = None

    async def __aenter__(self) -> Self:
        """Return the hook."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Leave the shared session; the last wait closes it."""
        await self._use(None)

    async def get_export(self, export_uuid: str) -> Export:
        """
        Get the status of an export.

        :param export_uuid: the export.
        :return: the export.
        :raises CruxError: as :meth:`airflow_provider_crux.hooks.crux.CruxHook.get_export` does.
        """
        client = self._client or await self._read_connection()
        try:
            return await client.get_export(export_uuid)
        except (CruxAuthenticationError, CruxPermissionDeniedError, CruxNotFoundError):
            corrected = await self._read_connection()
            if corrected is client:
                raise
        return await corrected.get_export(export_uuid)

    async def poll(self, poller: ExportPoller) -> Export | PollAgain:
        """Poll an export once, and log what is unusual; see :meth:`.ExportPoller.evaluate`."""
        outcome: Export | CruxError
        try:
            outcome = await self.get_export(poller.export_uuid)
        except CruxError as error:
            outcome = error
        result = poller.evaluate(outcome, datetime.now(UTC))
        if isinstance(result, PollAgain) and result.warning is not None:
            self.log.warning(result.warning)
        return result

    async def _read_connection(self) -> _AsyncClient:
        """Read the connection, and return the client of its settings."""
        shared = _SHARED.setdefault(asyncio.get_running_loop(), _SharedClients())
        settings = await shared.read_settings(self.crux_conn_id)
        client = shared.clients.get(settings)
        if client is None:
            client = shared.clients[settings] = _AsyncClient(settings, shared)
        await self._use(client)
        return client

    async def _use(self, client: _AsyncClient | None) -> None:
        """Join a client, and leave the one before it."""
        previous, self._client = self._client, client
        if client is not None:
            client.users += 1
        if previous is not None:
            await previous.leave()


class _SharedClients:
    """What the waits of one event loop share: a client for each distinct connection, and reads in progress."""

    def __init__(self) -> None:
        self.clients: dict[ConnectionSettings, _AsyncClient] = {}
        self._reads: dict[str, asyncio.Task[ConnectionSettings]] = {}

    async def read_settings(self, crux_conn_id: str) -> ConnectionSettings:
        """Read a connection; waits that begin together, as after a restart of the triggerer, share one read."""
        read = self._reads.get(crux_conn_id)
        if read is None:
            read = self._reads[crux_conn_id] = asyncio.create_task(_read_settings(crux_conn_id))
            read.add_done_callback(lambda _: self._reads.pop(crux_conn_id, None))
        return await asyncio.shield(read)


async def _read_settings(crux_conn_id: str) -> ConnectionSettings:
    try:
        connection = await get_async_connection(crux_conn_id)
    except AirflowNotFoundException:
        raise missing_connection(crux_conn_id) from None
    return read_settings(connection, await get_async_extra_dejson(connection), connection_name(crux_conn_id))


class _AsyncClient:
    """The session and the token of all waits whose connections say the same."""

    def __init__(self, settings: ConnectionSettings, shared: _SharedClients) -> None:
        self.users = 0
        self._settings = settings
        self._shared = shared
        # masked in logs before the next request, because the masker may block
        self._to_mask = list(settings.secrets)
        self._auth = TokenAuth(settings, on_login=self._to_mask.append)
        self._network: asyncio.Task[tuple[str | None, ssl.SSLContext | bool]] | None = None
        self._session: aiohttp.ClientSession | None = None
        # The login in progress: waits whose token expired together all get the response to one login. It is kept until
        # the first of them has the token; later ones find the token itself.
        self._login: asyncio.Task[ApiResponse] | None = None
        self._slots = asyncio.Semaphore(MAX_CONNECTIONS)

    async def leave(self) -> None:
        """End one wait; the last one closes the session."""
        self.users -= 1
        if self.users == 0:
            # removed first: whoever comes while it closes opens another one
            self._shared.clients.pop(self._settings, None)
            if self._session is not None:
                await self._session.close()

    async def get_export(self, export_uuid: str) -> Export:
        """See :meth:`CruxAsyncHook.get_export`."""
        response = await self._run_flow(self._auth.auth_flow(get_export_request(export_uuid, self._settings.version)))
        return parse_export(response, requested=export_uuid, secrets=self._auth.secrets())

    async def _run_flow(self, flow: Generator[ApiRequest, ApiResponse, T]) -> T:
        """Send what the flow yields, send it the responses, and return what it returns."""
        try:
            request = next(flow)
            while True:
                if request.token is not None:
                    request = flow.send(await self._send(request))
                    continue
                login = self._login = self._login or asyncio.create_task(self._send(request))
                try:
                    request = flow.send(await asyncio.shield(login))
                finally:
                    if login.done() and self._login is login:
                        self._login = None
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]

    async def _send(self, request: ApiRequest) -> ApiResponse:
        """Send a request, and send it again as ``send_with_retries`` does for workers."""
        while self._to_mask:
            # Not asyncio.to_thread: before Airflow 3.2 the masker talks to the triggerer's supervisor through asgiref,
            # which would open another event loop there, and the triggerer would end at the stray response.
            await sync_to_async(mask_secret)(self._to_mask.pop())
        retries = Retries(request.action, self._settings.peer, self._settings.max_retries)
        outcome: Outcome
        while True:
            try:
                outcome = await self._exchange(request)
            except CruxTransientError as error:
                outcome = error
            delay = retries.delay_after(outcome)
            if delay is None:
                return unwrap(outcome)
            await asyncio.sleep(delay)

    async def _exchange(self, request: ApiRequest) -> ApiResponse:
        """Send one request and read its response; errors say only whether it can have been processed."""
        settings = self._settings
        proxy, context = await self._proxy_and_certificates()
        total = settings.connect_timeout + settings.response_timeout
        exchange = SimpleNamespace(connected=False)
        try:
            # the slot is awaited here, not in aiohttp's pool, which would count the time into the total
            async with self._slots:
                sent_at = datetime.now(UTC)
                async with self._open_session().request(
                    request.method,
                    f"{settings.base_url}{request.path}",
                    json=request.body,
                    headers=request.headers,
                    allow_redirects=False,
                    proxy=proxy,
                    ssl=context,
                    timeout=aiohttp.ClientTimeout(
                        # limits slow bodies; and sock_read no longer applies after an interim response (103)
                        total=total,
                        sock_connect=settings.connect_timeout,
                        sock_read=settings.read_timeout,
                    ),
                    trace_request_ctx=exchange,
                ) as response:
                    return ApiResponse(response.status, response.headers, await _read_body(response), sent_at=sent_at)
        except (aiohttp.ClientError, TimeoutError) as error:
            factory = _error_factory(error, exchange.connected)
            # aiohttp's ClientErrors include timeouts with texts of their own
            timed_out = isinstance(error, TimeoutError) and not isinstance(error, aiohttp.ClientError)
            late = f"{'response incomplete' if exchange.connected else 'no connection'} after {total:g} s"
            reason = late if timed_out else f"{type(error).__name__}: {error}"
            raise factory(request.action, reason, peer=settings.peer, secrets=self._auth.secrets()) from None

    async def _proxy_and_certificates(self) -> tuple[str | None, ssl.SSLContext | bool]:
        """Read files and the environment once, in a thread."""
        if self._network is None:
            self._network = asyncio.create_task(asyncio.to_thread(proxy_and_tls_context, self._settings))
        try:
            return await asyncio.shield(self._network)
        except CruxError:
            self._network = None  # somebody may put the file there
            raise

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=MAX_CONNECTIONS),
                headers={"User-Agent": USER_AGENT},
                # a session cookie of a login must not authenticate us beside the token
                cookie_jar=aiohttp.DummyCookieJar(),
                trace_configs=[_connection_trace()],
            )
        return self._session


def _error_factory(error: Exception, connected: bool) -> Callable[..., CruxError]:
    if connected:
        return errors.response_lost
    match error:
        case aiohttp.InvalidURL():  # pragma: no cover - reading the connection rejects such hosts earlier
            return errors.invalid_request_url
        case aiohttp.ClientConnectorCertificateError():
            return errors.certificate_rejected
    return errors.connection_failed


def _connection_trace() -> aiohttp.TraceConfig:
    """
    Return a trace that sets ``connected`` of a request's context once a connection, tunnel and TLS included, is there.

    aiohttp's errors do not tell: a proxy that does not answer CONNECT looks like a lost response, and a refused
    connection may come after a request, because aiohttp itself sends a GET request once more.
    """

    async def set_connected(_: aiohttp.ClientSession, context: SimpleNamespace, __: object) -> None:
        context.trace_request_ctx.connected = True

    trace = aiohttp.TraceConfig()
    trace.on_connection_create_end.append(set_connected)
    trace.on_connection_reuseconn.append(set_connected)
    return trace


async def _read_body(response: aiohttp.ClientResponse) -> bytes:
    """Read at most one byte more than a response of the API can have."""
    try:
        return await response.content.readexactly(MAX_RESPONSE_BYTES + 1)
    except asyncio.IncompleteReadError as end:
        return end.partial
