"""
The connection to Crux Connect for triggers, with aiohttp as transport.

What to send, what an answer means and when to send again is decided in :mod:`airflow_provider_crux.api`, as it is for
the worker's hook.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from airflow.providers.common.compat.sdk import BaseHook

from airflow_provider_crux.api import answers, calls, failures
from airflow_provider_crux.api.authorization import Authorization
from airflow_provider_crux.api.calls import MAX_ANSWER_BYTES, Answer, Call
from airflow_provider_crux.exceptions import (
    CruxBadCredentialsError,
    CruxError,
    CruxInvalidConnectionError,
    CruxTransientError,
)
from airflow_provider_crux.hooks.crux import settings_of
from airflow_provider_crux.hooks.transport import user_agent

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Generator
    from ssl import SSLContext
    from typing import TypeVar

    from aiohttp import ClientResponse, ClientSession

    from airflow_provider_crux.api.answers import Export
    from airflow_provider_crux.api.connection import ConnectionSettings

    T = TypeVar("T")

MAX_CONNECTIONS: Final = 50
"""How many connections an event loop opens for one Airflow connection, however many exports wait in it."""

_SHARED: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, CruxAsyncHook]] = WeakKeyDictionary()


@asynccontextmanager
async def shared_hook(crux_conn_id: str) -> AsyncIterator[CruxAsyncHook]:
    """
    Give the hook that all waits for one connection in this event loop share; the last one to leave closes it.

    :param crux_conn_id: id of the connection.
    """
    hooks = _SHARED.setdefault(asyncio.get_running_loop(), {})
    hook = hooks.setdefault(crux_conn_id, CruxAsyncHook(crux_conn_id))
    hook.users += 1
    try:
        yield hook
    finally:
        hook.users -= 1
        if hook.users == 0:
            # first taken out: whoever comes while it is being closed opens another
            del hooks[crux_conn_id]
            await hook.close()


@dataclass
class _Access:
    """What the Airflow connection said when it was read: a change of it makes another one."""

    settings: ConnectionSettings
    authorization: Authorization
    proxy: str | None = field(repr=False)
    # True is aiohttp's word for its own default
    ssl: SSLContext | bool
    # The login under way: waits whose token lapsed together are all told the answer to one. It is kept until the first
    # of them has learnt the token from it; whoever comes later finds the token.
    login: asyncio.Task[Answer] | None = field(default=None, repr=False)


class CruxAsyncHook(BaseHook):
    """
    Look exports up from an event loop, over an Airflow connection of type ``crux``; see :func:`shared_hook`.

    One session, at most 50 connections and one token serve every wait. The connection is read once, and again when
    its credentials are refused: somebody may have corrected them meanwhile.

    :param crux_conn_id: id of the connection.
    """

    def __init__(self, crux_conn_id: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.crux_conn_id = crux_conn_id
        self.users = 0
        self._access: _Access | None = None
        self._session: ClientSession | None = None
        self._reading = asyncio.Lock()
        self._turns = asyncio.Semaphore(MAX_CONNECTIONS)
        self._masked: set[str] = set()
        self._to_mask: list[str] = []

    async def close(self) -> None:
        """Close the session."""
        if self._session is not None:
            await self._session.close()

    async def get_export(self, export_uuid: str) -> Export:
        """
        Ask how an export stands.

        :param export_uuid: the export.
        :returns: its state.
        :raises CruxError: as :meth:`airflow_provider_crux.hooks.crux.CruxHook.get_export` does.
        """
        access = await self._read_connection(None)
        try:
            return await self._get_export(access, export_uuid)
        except CruxBadCredentialsError:
            corrected = await self._read_connection(access)
            if corrected is access:
                raise
        return await self._get_export(corrected, export_uuid)

    async def look(self, export_uuid: str) -> Export | CruxError:
        """Return what :meth:`get_export` returns or raises; a wait is told of both."""
        try:
            return await self.get_export(export_uuid)
        except CruxError as error:
            return error

    async def _get_export(self, access: _Access, export_uuid: str) -> Export:
        answer = await self._drive(access, access.authorization.authorize(calls.get_export(export_uuid)))
        return answers.export(answer, asked=export_uuid, secrets=access.authorization.secrets())

    async def _read_connection(self, refused: _Access | None) -> _Access:
        """Return what the connection says; read it where that is not known, or where what it said was refused."""
        from airflow.providers.common.compat.connection import get_async_connection, get_async_extra_dejson

        async with self._reading:
            if self._access is not None and self._access is not refused:
                return self._access
            connection = await get_async_connection(self.crux_conn_id)
            settings = settings_of(connection, await get_async_extra_dejson(connection))
            if self._access is None or settings != self._access.settings:
                for secret in settings.secrets:
                    self._mask(secret)
                proxy, ssl = await asyncio.to_thread(_network, self.crux_conn_id, settings)
                authorization = Authorization(
                    conn_id=self.crux_conn_id,
                    username=settings.username,
                    secret=settings.secret,
                    others=settings.secrets_of_proxy,
                    on_login=self._mask,
                )
                self._access = _Access(settings, authorization, proxy, ssl)
            return self._access

    def _mask(self, secret: str) -> None:
        """Have a secret masked in logs before the next call; the masker may block, so it is not called here."""
        if secret not in self._masked:
            self._masked.add(secret)
            self._to_mask.append(secret)

    async def _drive(self, access: _Access, steps: Generator[Call, Answer, T]) -> T:
        """Send what the generator says, tell it what came back, and return what it returns."""
        try:
            call = next(steps)
            while True:
                if call.token is not None:
                    call = steps.send(await self._send(access, call))
                    continue
                login = access.login = access.login or asyncio.create_task(self._send(access, call))
                try:
                    call = steps.send(await asyncio.shield(login))
                finally:
                    if login.done() and access.login is login:
                        access.login = None
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]

    async def _send(self, access: _Access, call: Call) -> Answer:
        """Send a call, and send it again where that is right."""
        if self._to_mask:
            await self._have_masked()
        began = time.monotonic()
        first: Answer | CruxTransientError
        try:
            first = await self._exchange(access, call)
        except CruxTransientError as error:
            first = error
        if isinstance(first, Answer) and not failures.worth_repeating(call, first):
            # as nearly always: tenacity, which is asked now, costs as much as half of the exchange
            return first

        from tenacity import AsyncRetrying

        from airflow_provider_crux.api.repetition import repetition

        # tenacity is to count and judge the first exchange as it does the later ones: it is told of it again
        told = [first]

        async def exchange() -> Answer:
            if not told:
                return await self._exchange(access, call)
            if isinstance(outcome := told.pop(), Answer):
                return outcome
            raise outcome

        spent = time.monotonic() - began
        return await AsyncRetrying(**repetition(call, max_retries=access.settings.max_retries, spent=spent))(exchange)

    async def _have_masked(self) -> None:
        from airflow.providers.common.compat.sdk import mask_secret
        from asgiref.sync import sync_to_async

        while self._to_mask:
            # Not by asyncio.to_thread: in Airflow before 3.2 the masker speaks to the triggerer's supervisor through
            # asgiref, which would open another event loop there, and the triggerer would end at the stray answer.
            await sync_to_async(mask_secret)(self._to_mask.pop())

    async def _exchange(self, access: _Access, call: Call) -> Answer:
        """Send one request and read its answer; errors say only whether the request can have been processed."""
        import aiohttp

        secrets = access.authorization.secrets()
        conn_id = self.crux_conn_id
        total = access.settings.connect_timeout + access.settings.answer_timeout
        try:
            # the turn is waited for here, not in aiohttp's pool: that would count the time into the total
            async with (
                self._turns,
                self._open_session().request(
                    call.method,
                    f"{access.settings.base_url}{call.path}",
                    json=call.body,
                    headers=call.headers,
                    allow_redirects=False,
                    proxy=access.proxy,
                    ssl=access.ssl,
                    timeout=aiohttp.ClientTimeout(
                        # whatever drips; and after an answer ahead of the answer (103) sock_read holds no longer
                        total=total,
                        sock_connect=access.settings.connect_timeout,
                        sock_read=access.settings.read_timeout,
                    ),
                ) as response,
            ):
                return Answer(
                    status=response.status,
                    headers={name.lower(): value for name, value in response.headers.items()},
                    body=await _read(response),
                )
        except aiohttp.InvalidURL as error:  # pragma: no cover - the connection's settings refuse such hosts before
            raise failures.not_usable(call, _reason(error), conn_id=conn_id, secrets=secrets) from None
        except aiohttp.ClientConnectorCertificateError as error:
            raise failures.not_trusted(call, _reason(error), conn_id=conn_id, secrets=secrets) from None
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.ClientHttpProxyError) as error:
            raise failures.not_connected(call, _reason(error), secrets=secrets) from None
        except aiohttp.ClientError as error:
            raise failures.answer_lost(call, _reason(error), secrets=secrets) from None
        except TimeoutError:
            raise failures.answer_lost(call, f"it has no end after {total:g} s", secrets=secrets) from None

    def _open_session(self) -> ClientSession:
        import aiohttp

        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=MAX_CONNECTIONS),
                headers={"User-Agent": user_agent()},
                # a session that a login opened must not speak for us beside the token
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session


def _network(conn_id: str, settings: ConnectionSettings) -> tuple[str | None, SSLContext | bool]:
    """Return proxy and certificates: those of the connection, else those of the environment, read as requests does."""
    import ssl
    from pathlib import Path

    from requests import Session
    from requests.utils import DEFAULT_CA_BUNDLE_PATH, select_proxy

    url = settings.base_url
    with Session() as session:
        found = session.merge_environment_settings(url, {}, None, settings.ca_bundle, None)
    proxy = settings.proxy or select_proxy(url, found["proxies"])
    if proxy is not None and not proxy.startswith(("http://", "https://")):
        raise CruxInvalidConnectionError(
            f"Connection {conn_id!r} cannot be used in the triggerer: its proxy is not an HTTP proxy; give the URL of "
            "one in the extra proxy, or wait with deferrable=False"
        )
    if not url.startswith("https://"):
        return proxy, True
    bundle = DEFAULT_CA_BUNDLE_PATH if found["verify"] is True else str(found["verify"])
    path = Path(bundle)
    try:
        return proxy, ssl.create_default_context(
            cafile=None if path.is_dir() else bundle, capath=bundle if path.is_dir() else None
        )
    except (OSError, ssl.SSLError):
        raise CruxInvalidConnectionError(
            f"Connection {conn_id!r} cannot be used: extra ca_bundle: there are no certificates in {bundle!r} on the "
            "triggerer's machine; give the path of a file of certificates that every machine has"
        ) from None


async def _read(response: ClientResponse) -> bytes:
    """Read an answer, but not much more of it than an answer of the API can have."""
    body = bytearray()
    async for chunk in response.content.iter_chunked(64 * 1024):
        body += chunk
        if len(body) > MAX_ANSWER_BYTES:
            return bytes(body[: MAX_ANSWER_BYTES + 1])
    return bytes(body)


def _reason(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
