"""
The connection to Crux Connect for triggers, with aiohttp as the transport.

What to send, what a response means and when to send again is decided in :mod:`airflow_provider_crux.api`, as for the
worker's hook.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

import aiohttp
from airflow.providers.common.compat.connection import get_async_connection, get_async_extra_dejson
from airflow.providers.common.compat.sdk import BaseHook, mask_secret
from asgiref.sync import sync_to_async
from requests import Session
from requests.utils import DEFAULT_CA_BUNDLE_PATH, select_proxy

from airflow_provider_crux.api import errors
from airflow_provider_crux.api.auth import TokenAuth
from airflow_provider_crux.api.errors import Peer
from airflow_provider_crux.api.requests import MAX_RESPONSE_BYTES, ApiRequest, ApiResponse, get_export_request
from airflow_provider_crux.api.responses import parse_export
from airflow_provider_crux.api.retries import Outcome, retry_policy, should_retry, unwrap
from airflow_provider_crux.exceptions import (
    CruxAuthenticationError,
    CruxError,
    CruxInvalidConnectionError,
    CruxTransientError,
)
from airflow_provider_crux.hooks.crux import settings_from_connection
from airflow_provider_crux.hooks.http import USER_AGENT, ca_bundle_error

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Generator
    from typing import TypeVar

    from airflow_provider_crux.api.responses import Export
    from airflow_provider_crux.api.settings import ConnectionSettings

    T = TypeVar("T")

MAX_CONNECTIONS: Final = 50
"""How many connections an event loop opens for one Airflow connection, however many exports it waits for."""

_SHARED_HOOKS: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, CruxAsyncHook]] = WeakKeyDictionary()


@asynccontextmanager
async def shared_hook(crux_conn_id: str) -> AsyncIterator[CruxAsyncHook]:
    """
    Return the hook that all waits on one connection in this event loop share. The last one to leave closes it.

    :param crux_conn_id: id of the connection.
    """
    hooks = _SHARED_HOOKS.setdefault(asyncio.get_running_loop(), {})
    hook = hooks.setdefault(crux_conn_id, CruxAsyncHook(crux_conn_id))
    hook.users += 1
    try:
        yield hook
    finally:
        hook.users -= 1
        if hook.users == 0:
            # removed first: whoever comes while it closes opens another one
            del hooks[crux_conn_id]
            await hook.close()


@dataclass
class _ConnectionState:
    """What the Airflow connection said when it was read; a changed connection makes another one."""

    settings: ConnectionSettings
    auth: TokenAuth
    proxy: str | None = field(repr=False)
    # True is aiohttp's default
    ssl: ssl.SSLContext | bool
    # The login in progress: waits whose token expired together all get the response to one login. It is kept until the
    # first of them has the token; later ones find the token itself.
    login: asyncio.Task[ApiResponse] | None = field(default=None, repr=False)


class CruxAsyncHook(BaseHook):
    """
    Get the status of exports from an event loop, over an Airflow connection of type ``crux``; see :func:`shared_hook`.

    One session, at most 50 connections and one token serve every wait. The connection is read once, and again when its
    credentials are rejected, because somebody may have corrected them.

    :param crux_conn_id: id of the connection.
    """

    def __init__(self, crux_conn_id: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.crux_conn_id = crux_conn_id
        self.users = 0
        self._state: _ConnectionState | None = None
        self._session: aiohttp.ClientSession | None = None
        self._read_lock = asyncio.Lock()
        self._slots = asyncio.Semaphore(MAX_CONNECTIONS)
        self._masked: set[str] = set()
        self._to_mask: list[str] = []

    async def close(self) -> None:
        """Close the session."""
        if self._session is not None:
            await self._session.close()

    async def get_export(self, export_uuid: str) -> Export:
        """
        Get the status of an export.

        :param export_uuid: the export.
        :return: the export.
        :raises CruxError: as :meth:`airflow_provider_crux.hooks.crux.CruxHook.get_export` does.
        """
        state = await self._read_connection(None)
        try:
            return await self._get_export(state, export_uuid)
        except CruxAuthenticationError:
            corrected = await self._read_connection(state)
            if corrected is state:
                raise
        return await self._get_export(corrected, export_uuid)

    async def poll_export(self, export_uuid: str) -> Export | CruxError:
        """Return what :meth:`get_export` returns or raises, both as values for the poller."""
        try:
            return await self.get_export(export_uuid)
        except CruxError as error:
            return error

    async def _get_export(self, state: _ConnectionState, export_uuid: str) -> Export:
        response = await self._run_flow(state, state.auth.auth_flow(get_export_request(export_uuid)))
        return parse_export(response, requested=export_uuid, secrets=state.auth.secrets())

    async def _read_connection(self, rejected: _ConnectionState | None) -> _ConnectionState:
        """Return the state of the connection; read it if it is unknown, or if what it said was rejected."""
        async with self._read_lock:
            if self._state is not None and self._state is not rejected:
                return self._state
            connection = await get_async_connection(self.crux_conn_id)
            settings = settings_from_connection(connection, await get_async_extra_dejson(connection))
            if self._state is None or settings != self._state.settings:
                for secret in settings.secrets:
                    self._mask(secret)
                proxy, context = await asyncio.to_thread(_proxy_and_certificates, settings)
                self._state = _ConnectionState(settings, TokenAuth(settings, on_login=self._mask), proxy, context)
            return self._state

    def _mask(self, secret: str) -> None:
        """Schedule a secret to be masked in logs before the next request; the masker may block."""
        if secret not in self._masked:
            self._masked.add(secret)
            self._to_mask.append(secret)

    async def _run_flow(self, state: _ConnectionState, flow: Generator[ApiRequest, ApiResponse, T]) -> T:
        """Send what the flow yields, send it the responses, and return what it returns."""
        try:
            request = next(flow)
            while True:
                if request.token is not None:
                    request = flow.send(await self._send(state, request))
                    continue
                login = state.login = state.login or asyncio.create_task(self._send(state, request))
                try:
                    request = flow.send(await asyncio.shield(login))
                finally:
                    if login.done() and state.login is login:
                        state.login = None
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]

    async def _send(self, state: _ConnectionState, request: ApiRequest) -> ApiResponse:
        """Send a request, and send it again as the retry policy says, as ``send_with_retries`` does for workers."""
        if self._to_mask:
            await self._mask_pending()
        started = time.monotonic()
        first: Outcome
        try:
            first = await self._exchange(state, request)
        except CruxTransientError as error:
            first = error
        if not should_retry(request, first):
            return unwrap(first)
        # only now, because it costs as much as half of the exchange
        from tenacity import AsyncRetrying

        outcomes = [first]

        async def attempt() -> ApiResponse:
            return unwrap(outcomes.pop()) if outcomes else await self._exchange(state, request)

        elapsed = time.monotonic() - started
        policy = retry_policy(request, max_retries=state.settings.max_retries, elapsed=elapsed)
        return await AsyncRetrying(**policy)(attempt)

    async def _mask_pending(self) -> None:
        while self._to_mask:
            # Not asyncio.to_thread: before Airflow 3.2 the masker talks to the triggerer's supervisor through asgiref,
            # which would open another event loop there, and the triggerer would end at the stray response.
            await sync_to_async(mask_secret)(self._to_mask.pop())

    async def _exchange(self, state: _ConnectionState, request: ApiRequest) -> ApiResponse:
        """Send one request and read its response; errors say only whether it can have been processed."""
        settings = state.settings
        total = settings.connect_timeout + settings.response_timeout
        try:
            # the slot is awaited here, not in aiohttp's pool, which would count the time into the total
            async with (
                self._slots,
                self._open_session().request(
                    request.method,
                    f"{settings.base_url}{request.path}",
                    json=request.body,
                    headers=request.headers,
                    allow_redirects=False,
                    proxy=state.proxy,
                    ssl=state.ssl,
                    timeout=aiohttp.ClientTimeout(
                        # limits slow bodies; and sock_read no longer applies after an interim response (103)
                        total=total,
                        sock_connect=settings.connect_timeout,
                        sock_read=settings.read_timeout,
                    ),
                ) as response,
            ):
                return ApiResponse(
                    status=response.status,
                    headers={name.lower(): value for name, value in response.headers.items()},
                    body=await _read_body(response),
                )
        except (aiohttp.ClientError, TimeoutError) as error:
            factory = _error_factory(error)
            # aiohttp's ClientErrors include timeouts with texts of their own
            timed_out = isinstance(error, TimeoutError) and not isinstance(error, aiohttp.ClientError)
            reason = f"response incomplete after {total:g} s" if timed_out else f"{type(error).__name__}: {error}"
            raise factory(request, reason, peer=Peer(settings.name), secrets=state.auth.secrets()) from None

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=MAX_CONNECTIONS),
                headers={"User-Agent": USER_AGENT},
                # a session cookie of a login must not authenticate us beside the token
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session


def _error_factory(error: Exception) -> Callable[..., CruxError]:
    match error:
        case aiohttp.InvalidURL():  # pragma: no cover - reading the connection rejects such hosts earlier
            return errors.invalid_request_url
        case aiohttp.ClientConnectorCertificateError():
            return errors.certificate_rejected
        case aiohttp.ClientConnectorError() | aiohttp.ConnectionTimeoutError() | aiohttp.ClientHttpProxyError():
            return errors.connection_failed
    return errors.response_lost


def _proxy_and_certificates(settings: ConnectionSettings) -> tuple[str | None, ssl.SSLContext | bool]:
    """Return those of the connection, or else those of the environment, read as requests reads it."""
    url = settings.base_url
    with Session() as session:
        environment = session.merge_environment_settings(url, {}, None, settings.ca_bundle, None)
    proxy = settings.proxy or select_proxy(url, environment["proxies"])
    if proxy is not None and not proxy.startswith(("http://", "https://")):
        raise CruxInvalidConnectionError(
            f"Cannot use {settings.name} in the triggerer: its proxy is not an HTTP proxy; set the extra proxy to the "
            "URL of one, or wait with deferrable=False"
        )
    if not url.startswith("https://"):
        return proxy, True
    bundle = DEFAULT_CA_BUNDLE_PATH if environment["verify"] is True else str(environment["verify"])
    is_folder = Path(bundle).is_dir()
    try:
        return proxy, ssl.create_default_context(
            cafile=None if is_folder else bundle, capath=bundle if is_folder else None
        )
    except (OSError, ssl.SSLError):
        raise ca_bundle_error(settings, bundle) from None


async def _read_body(response: aiohttp.ClientResponse) -> bytes:
    """Read at most one byte more than a response of the API can have."""
    body = bytearray()
    async for chunk in response.content.iter_chunked(64 * 1024):
        body += chunk
        if len(body) > MAX_RESPONSE_BYTES:
            return bytes(body[: MAX_RESPONSE_BYTES + 1])
    return bytes(body)
