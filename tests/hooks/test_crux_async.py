"""The triggerer's hook against real servers on 127.0.0.1: the sandbox, and some that misbehave or count."""

from __future__ import annotations

import asyncio
import json
import re
import ssl
import time
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import pytest
from aiohttp import web
from asgiref.sync import async_to_sync

from airflow_provider_crux.api.orders import OrdersExportRequest
from airflow_provider_crux.api.requests import ApiResponse
from airflow_provider_crux.api.responses import Export, ExportState
from airflow_provider_crux.exceptions import (
    CruxAuthenticationError,
    CruxError,
    CruxInvalidConnectionError,
    CruxInvalidResponseError,
    CruxNotFoundError,
    CruxRequestRejectedError,
    CruxUnavailableError,
)
from airflow_provider_crux.hooks import crux_async
from airflow_provider_crux.hooks.crux import CruxHook
from airflow_provider_crux.hooks.crux_async import MAX_CONNECTIONS, CruxAsyncHook
from airflow_provider_crux.sandbox.state import Sandbox
from airflow_provider_crux.triggers.exports import CruxExportTrigger
from tests.certificates import self_signed_certificate
from tests.raw_server import LOGIN_PATH, TOKEN, UUID, raw_server, respond_with, unused_url

MASK_SECRET = "airflow_provider_crux.hooks.crux_async.mask_secret"


@pytest.fixture
def uuid(sandbox: Sandbox) -> str:
    """Request an export from the sandbox, as a worker does."""
    return CruxHook().export_orders(OrdersExportRequest())


@pytest.fixture
def login(connect, sandbox: Sandbox) -> None:
    """Give the connection a login instead of a token."""
    connect(host=sandbox.url, login=sandbox.settings.user, password=sandbox.settings.password)


def logins(sandbox: Sandbox) -> int:
    return sum(entry["path"] == LOGIN_PATH for entry in sandbox.requests)


async def poll(uuid: str = UUID, conn_id: str = "crux_default") -> Export:
    async with CruxAsyncHook(conn_id) as hook:
        return await hook.get_export(uuid)


@asynccontextmanager
async def server(respond: Callable[[web.Request], Awaitable[web.StreamResponse]], tls: ssl.SSLContext | None = None):
    """Respond to every request on a free port of 127.0.0.1; give the URL."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", respond)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
    finally:
        await runner.cleanup()


def pending(request: web.Request) -> web.Response:
    return web.json_response({"uuid": request.path.split("/")[-2], "status": "pending", "url": None})


def test_poll_is_like_that_of_the_worker(sandbox: Sandbox, uuid: str) -> None:
    export = asyncio.run(poll(uuid))
    assert export.state is ExportState.DONE
    assert export.url is not None
    assert "Signature" not in repr(export)
    by_worker, by_trigger = sandbox.requests[-2:]
    assert by_trigger["user_agent"] == by_worker["user_agent"]
    assert (by_trigger["status"], by_trigger["authorization"]) == (200, "Token ***")


def test_response_says_when_its_request_was_sent(sandbox: Sandbox, uuid: str, monkeypatch) -> None:
    sent_at: list[Any] = []
    parse = crux_async.parse_export

    def record(response: ApiResponse, **arguments: Any) -> Export:
        sent_at.append(response.sent_at)
        return parse(response, **arguments)

    monkeypatch.setattr(crux_async, "parse_export", record)
    before = time.time()
    asyncio.run(poll(uuid))
    assert before < sent_at[0].timestamp() < time.time()


@pytest.mark.parametrize("host", ["127.1", "2130706433", "0.0.0.0", "[::ffff:127.0.0.1]"])
def test_an_unusual_address_of_this_machine_works_for_worker_and_triggerer(
    sandbox: Sandbox, uuid: str, host: str, connect
) -> None:
    connect(host=sandbox.url.replace("127.0.0.1", host), password=sandbox.settings.token)
    assert CruxHook().get_export(uuid).state is ExportState.DONE
    assert asyncio.run(poll(uuid)).state is ExportState.DONE


def test_all_waits_share_one_login_for_each_token(sandbox: Sandbox, uuid: str, login) -> None:
    async def scenario() -> None:
        async with CruxAsyncHook("crux_default") as hook:
            await asyncio.gather(hook.get_export(uuid), *(poll(uuid) for _ in range(200)))
            assert logins(sandbox) == 1
            sandbox.expire_tokens()
            await asyncio.gather(*(poll(uuid) for _ in range(200)))
            assert logins(sandbox) == 2

    asyncio.run(scenario())


def test_cancelled_wait_does_not_cancel_the_login_of_the_others(connect) -> None:
    login_requested = asyncio.Event()
    login_allowed = asyncio.Event()
    paths: list[str] = []

    async def respond(request: web.Request) -> web.Response:
        paths.append(request.path)
        if request.path == LOGIN_PATH:
            login_requested.set()
            await login_allowed.wait()
            return web.json_response({"auth_token": TOKEN})
        return pending(request)

    async def scenario() -> None:
        async with server(respond) as url:
            connect(host=url, login="ada", password="secret-word")
            # it goes on until the late wait has joined
            async with CruxAsyncHook("crux_default") as hook:
                waits = [asyncio.create_task(get()) for get in (poll, poll, lambda: hook.get_export(UUID))]
                await login_requested.wait()
                waits[0].cancel()
                await asyncio.sleep(0)  # the cancellation is delivered
                late = asyncio.create_task(poll())
                login_allowed.set()
                assert [export.status for export in await asyncio.gather(*waits[1:], late)] == ["pending"] * 3
            assert waits[0].cancelled()

    asyncio.run(scenario())
    assert paths.count(LOGIN_PATH) == 1


def test_at_most_fifty_connections_are_open(connect) -> None:
    open_now, most = 0, 0
    full = asyncio.Event()

    async def respond(request: web.Request) -> web.Response:
        nonlocal open_now, most
        open_now += 1
        most = max(most, open_now)
        if open_now == MAX_CONNECTIONS:
            full.set()
        await full.wait()
        await asyncio.sleep(0)
        open_now -= 1
        return pending(request)

    async def scenario() -> None:
        async with server(respond) as url:
            connect(host=url, password=TOKEN)
            await asyncio.gather(*(poll(str(uuid4())) for _ in range(300)))

    asyncio.run(scenario())
    assert most == 50


@pytest.fixture
def sessions(monkeypatch) -> list[aiohttp.ClientSession]:
    """Return a list that records every session that is opened."""
    opened: list[aiohttp.ClientSession] = []
    real = aiohttp.ClientSession

    def open_session(**options: Any) -> aiohttp.ClientSession:
        opened.append(real(**options))
        return opened[-1]

    monkeypatch.setattr(aiohttp, "ClientSession", open_session)
    return opened


def test_one_session_is_shared_and_closed_by_the_last_wait(sandbox: Sandbox, uuid: str, sessions) -> None:
    async def scenario() -> None:
        async with CruxAsyncHook("crux_default") as first:
            async with CruxAsyncHook("crux_default") as second:
                await first.get_export(uuid)
                await second.get_export(uuid)
            assert [session.closed for session in sessions] == [False]
            await first.get_export(uuid)
        assert [session.closed for session in sessions] == [True]
        await poll(uuid)
        assert [session.closed for session in sessions] == [True, True]

    asyncio.run(scenario())


def test_200_waits_share_one_session_one_login_and_at_most_fifty_connections(connect, sessions) -> None:
    logins, connections = 0, set()
    all_polled = asyncio.Event()

    async def respond(request: web.Request) -> web.Response:
        nonlocal logins
        connections.add(request.transport.get_extra_info("peername"))
        if request.path == LOGIN_PATH:
            logins += 1
            return web.json_response({"auth_token": TOKEN})
        return pending(request)

    async def wait(number: int) -> None:
        async with CruxAsyncHook("crux_default") as hook:
            assert (await hook.get_export(str(uuid4()))).status == "pending"
            if number == 0:
                all_polled.set()
            await all_polled.wait()
            await hook.get_export(str(uuid4()))

    async def scenario() -> None:
        async with server(respond) as url:
            connect(host=url, login="ada", password="secret-word")
            await asyncio.gather(*(wait(number) for number in reversed(range(200))))

    asyncio.run(scenario())
    assert [session.closed for session in sessions] == [True]
    assert logins == 1
    assert len(connections) <= MAX_CONNECTIONS


def test_waits_that_begin_together_share_one_read_of_the_connection(connect, sandbox, uuid: str, monkeypatch) -> None:
    reads: list[str] = []
    real = crux_async.get_async_connection

    async def read(conn_id: str) -> Any:
        reads.append(conn_id)
        await asyncio.sleep(0.01)
        return await real(conn_id)

    monkeypatch.setattr(crux_async, "get_async_connection", read)
    connect("crux_other", host=sandbox.url, password=sandbox.settings.token)

    async def scenario() -> None:
        async with CruxAsyncHook("crux_default") as hook:
            await asyncio.gather(hook.get_export(uuid), *(poll(uuid) for _ in range(200)), poll(uuid, "crux_other"))
            assert sorted(reads) == ["crux_default", "crux_other"]
            await hook.get_export(uuid)
            assert len(reads) == 2
            await poll(uuid)
            assert len(reads) == 3

    asyncio.run(scenario())


def test_cancelled_wait_does_not_cancel_the_read_of_the_others(sandbox: Sandbox, uuid: str, monkeypatch) -> None:
    real = crux_async.get_async_connection
    reading = asyncio.Event()

    async def read(conn_id: str) -> Any:
        reading.set()
        await asyncio.sleep(0.01)
        return await real(conn_id)

    monkeypatch.setattr(crux_async, "get_async_connection", read)

    async def scenario() -> None:
        waits = [asyncio.create_task(poll(uuid)) for _ in range(3)]
        await reading.wait()
        waits[0].cancel()
        assert [export.state for export in await asyncio.gather(*waits[1:])] == [ExportState.DONE] * 2
        assert waits[0].cancelled()

    asyncio.run(scenario())


@pytest.fixture
def accounts() -> dict[str, str]:
    """Return two accounts: the one export that each token can see."""
    return {"a" * 40: str(uuid4()), "b" * 40: str(uuid4())}


def test_new_waits_use_another_account_while_old_waits_continue(connect, accounts: dict[str, str], sessions) -> None:
    (old_token, old_uuid), (new_token, new_uuid) = accounts.items()
    tokens: list[str] = []

    async def respond(request: web.Request) -> web.Response:
        tokens.append(request.headers["Authorization"].removeprefix("Token "))
        return pending(request) if accounts[tokens[-1]] in request.path else web.Response(status=404)

    async def scenario() -> None:
        async with server(respond) as url:
            connect(host=url, password=old_token)
            async with CruxAsyncHook("crux_default") as old:
                await old.get_export(old_uuid)
                connect(host=url, password=new_token)
                async with CruxAsyncHook("crux_default") as new:
                    await new.get_export(new_uuid)
                    await old.get_export(old_uuid)
                    assert [session.closed for session in sessions] == [False, False]
                assert [session.closed for session in sessions] == [False, True]
                await old.get_export(old_uuid)

    asyncio.run(scenario())
    assert tokens == [old_token, new_token, old_token, old_token]


def test_new_waits_use_another_host_while_old_waits_continue(connect) -> None:
    hosts: list[str] = []

    async def respond(request: web.Request) -> web.Response:
        hosts.append(f"http://{request.host}")
        return pending(request)

    async def scenario() -> tuple[str, str]:
        async with server(respond) as old_url, server(respond) as new_url:
            connect(host=old_url, password=TOKEN)
            async with CruxAsyncHook("crux_default") as old:
                await old.get_export(UUID)
                connect(host=new_url, password=TOKEN)
                await poll()
                await old.get_export(UUID)
            return old_url, new_url

    old_url, new_url = asyncio.run(scenario())
    assert hosts == [old_url, new_url, old_url]


@pytest.mark.parametrize("status", [401, 403, 404])
def test_rejected_wait_reads_the_connection_again(connect, sessions, status: int) -> None:
    tokens: list[str] = []

    async def respond(request: web.Request) -> web.Response:
        tokens.append(request.headers["Authorization"].removeprefix("Token "))
        return pending(request) if tokens[-1] == TOKEN else web.Response(status=status)

    async def scenario() -> None:
        async with server(respond) as url:
            connect(host=url, password="0" * 40)
            async with CruxAsyncHook("crux_default") as hook:
                with pytest.raises(CruxError, match=f"HTTP {status}"):
                    await hook.get_export(UUID)
                assert tokens == ["0" * 40], "the same connection was tried twice"
                connect(host=url, password=TOKEN)
                assert (await hook.get_export(UUID)).status == "pending"
                assert tokens == ["0" * 40, "0" * 40, TOKEN]
                assert [session.closed for session in sessions] == [True, False]

    asyncio.run(scenario())


def test_missing_connection_is_named(connect, monkeypatch) -> None:
    with pytest.raises(CruxInvalidConnectionError, match="Connection 'crux_gone' does not exist: create it"):
        asyncio.run(poll(conn_id="crux_gone"))
    connect("crux_gone", host="http://127.0.0.1:1", password=TOKEN, extra={"max_retries": 0})
    with pytest.raises(CruxUnavailableError):
        asyncio.run(poll(conn_id="crux_gone"))


def test_missing_connection_ends_the_trigger_with_an_event(logged) -> None:
    now = time.time()
    trigger = CruxExportTrigger(
        crux_conn_id="crux_gone", export_uuid=UUID, accepted_at=now, deadline=now + 60, poll_interval=0.01
    )

    async def run() -> list[Any]:
        return [event.payload async for event in trigger.run()]

    assert asyncio.run(run()) == [{"export_uuid": UUID, "state": "unknown"}]
    assert "Connection 'crux_gone' does not exist" in logged()


def test_running_waits_use_corrected_credentials(connect, sandbox: Sandbox, uuid: str) -> None:
    async def scenario() -> None:
        connect(host=sandbox.url, password="0" * 40)
        async with CruxAsyncHook("crux_default") as hook:
            with pytest.raises(CruxAuthenticationError):
                await hook.get_export(uuid)
            connect(host=sandbox.url, password=sandbox.settings.token)
            assert (await hook.get_export(uuid)).state is ExportState.DONE

    asyncio.run(scenario())


def test_token_is_masked_before_it_is_used(sandbox: Sandbox, uuid: str, login, monkeypatch) -> None:
    masked: list[tuple[str, int]] = []
    monkeypatch.setattr(MASK_SECRET, lambda secret: masked.append((secret, len(sandbox.requests))))
    before = len(sandbox.requests)
    asyncio.run(poll(uuid))
    (password, at_first), (token, after_login) = masked
    assert (password, at_first) == (sandbox.settings.password, before)
    assert len(token) == 40
    assert after_login == before + 1


def test_token_of_a_shared_login_is_masked_once(sandbox: Sandbox, uuid: str, login, monkeypatch) -> None:
    masked: list[str] = []
    monkeypatch.setattr(MASK_SECRET, masked.append)

    async def scenario() -> None:
        await asyncio.gather(*(poll(uuid) for _ in range(20)))

    asyncio.run(scenario())
    assert len(masked) == len(set(masked)) == 2


def test_masker_runs_in_the_event_loop_of_the_triggerer(sandbox: Sandbox, uuid: str, monkeypatch) -> None:
    """In Airflow 3.0 and 3.1 it talks to the supervisor over streams that belong to this event loop."""
    loops: list[asyncio.AbstractEventLoop] = []

    async def talk() -> None:
        loops.append(asyncio.get_running_loop())

    async def scenario() -> asyncio.AbstractEventLoop:
        await poll(uuid)
        return asyncio.get_running_loop()

    monkeypatch.setattr(MASK_SECRET, lambda secret: async_to_sync(talk)())
    assert [asyncio.run(scenario())] == loops


def test_netrc_does_not_replace_the_token(sandbox: Sandbox, uuid: str, monkeypatch, tmp_path: Path) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login ada password wrong\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    assert asyncio.run(poll(uuid)).state is ExportState.DONE


def test_no_cookie_is_kept(connect) -> None:
    cookies: list[Any] = []

    async def respond(request: web.Request) -> web.Response:
        cookies.append(dict(request.cookies))
        response = pending(request)
        response.set_cookie("session", "abc")
        return response

    async def scenario() -> None:
        async with server(respond) as url, CruxAsyncHook("crux_default") as hook:
            connect(host=url, password=TOKEN)
            await hook.get_export(UUID)
            await hook.get_export(UUID)

    asyncio.run(scenario())
    assert cookies == [{}, {}]


@pytest.mark.parametrize("source", ["connection", "environment", "environment without scheme"])
def test_proxy_is_used_as_by_a_worker(connect, monkeypatch, source: str) -> None:
    urls: list[str] = []

    async def respond(request: web.Request) -> web.Response:
        urls.append(str(request.url))
        return pending(request)

    async def scenario() -> None:
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        async with server(respond) as proxy:
            extra = {"allow_http": True} | ({"proxy": proxy} if source == "connection" else {})
            if source == "environment":
                monkeypatch.setenv("http_proxy", proxy)
            if source == "environment without scheme":
                monkeypatch.setenv("http_proxy", proxy.removeprefix("http://"))
            connect(host="http://crux.invalid", password=TOKEN, extra=extra)
            assert (await poll()).status == "pending"
            assert (await asyncio.to_thread(CruxHook().get_export, UUID)).status == "pending"

    asyncio.run(scenario())
    assert urls == [f"http://crux.invalid/api/data/export/{UUID}/"] * 2


def test_password_echoed_by_the_proxy_is_masked(connect) -> None:
    async def respond(request: web.Request) -> web.Response:
        return web.Response(status=407, text=f"not you: {request.headers['Proxy-Authorization'].split()[1]}, hunter2")

    async def scenario() -> None:
        async with server(respond) as proxy:
            extra = {"allow_http": True, "proxy": proxy.replace("http://", "http://ada:hunter2@")}
            connect(host="http://crux.invalid", password=TOKEN, extra=extra)
            with pytest.raises(CruxRequestRejectedError, match=re.escape("'not you: ***, ***'")):
                await poll()

    asyncio.run(scenario())


def test_proxy_other_than_http_is_rejected_with_a_remedy(connect) -> None:
    connect(password=TOKEN, extra={"proxy": "socks5://ada:secret-word@127.0.0.1:1080"})
    with pytest.raises(CruxInvalidConnectionError, match="deferrable=False") as caught:
        asyncio.run(poll())
    assert "secret-word" not in str(caught.value)


def test_untrusted_certificate_and_ca_bundle(connect, tmp_path: Path) -> None:
    tls, bundle = self_signed_certificate(tmp_path)

    async def respond(request: web.Request) -> web.Response:
        return pending(request)

    async def scenario() -> None:
        async with server(respond, tls) as url:
            connect(host=url, password=TOKEN)
            with pytest.raises(CruxInvalidConnectionError, match="the certificate of Crux Connect is not trusted"):
                await poll()
            connect(host=url, password=TOKEN, extra={"ca_bundle": str(bundle)})
            assert (await poll()).status == "pending"

    asyncio.run(scenario())


def test_missing_ca_bundle(connect) -> None:
    connect(password=TOKEN, extra={"ca_bundle": "/no/such/file.pem"})
    with pytest.raises(CruxInvalidConnectionError, match=r"ca_bundle.*/no/such/file\.pem"):
        asyncio.run(poll())


@pytest.mark.parametrize(
    ("response", "error", "message"),
    [
        (b"", CruxUnavailableError, "the response was lost"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{", CruxUnavailableError, "the response was lost"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n<p>hm</p>",
            CruxInvalidResponseError,
            "its body is not a JSON object",
        ),
        (b"no HTTP at all\r\n\r\n", CruxUnavailableError, "the response was lost"),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", CruxNotFoundError, "404"),
        (b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", CruxUnavailableError, "503"),
    ],
)
def test_response_means_the_same_as_on_a_worker(connect, response: bytes, error: type[Exception], message: str) -> None:
    with raw_server(respond_with(response)) as server:
        connect(host=server.url, password=TOKEN, extra={"max_retries": 0})
        with pytest.raises(error, match=message) as in_triggerer:
            asyncio.run(poll())
        with pytest.raises(error, match=message) as on_worker:
            CruxHook().get_export(UUID)
    assert type(in_triggerer.value) is type(on_worker.value)
    for caught in (in_triggerer, on_worker):
        assert TOKEN not in str(caught.value)


def test_endless_response_is_not_read_to_its_end(connect) -> None:
    async def respond(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b" " * 65536)

    async def scenario() -> None:
        async with server(respond) as url:
            connect(host=url, password=TOKEN)
            with pytest.raises(CruxInvalidResponseError, match="its body exceeds 1048576 bytes"):
                await poll()

    asyncio.run(scenario())


def test_refused_connection_sends_nothing(connect) -> None:
    with unused_url() as url:
        connect(host=url, password=TOKEN, extra={"max_retries": 0})
        with pytest.raises(CruxUnavailableError, match="Nothing was sent"):
            asyncio.run(poll())


def test_unavailable_service_is_retried_after_the_requested_delay(sandbox: Sandbox, uuid: str) -> None:
    before = len(sandbox.requests)
    sandbox.respond_next("/api/data/export/", 503, {"Retry-After": "0"})
    assert asyncio.run(poll(uuid)).state is ExportState.DONE
    assert [entry["status"] for entry in sandbox.requests[before:]] == [503, 200]


def test_redirect_is_not_followed(sandbox: Sandbox, uuid: str) -> None:
    sandbox.respond_next("/api/data/export/", 302, {"Location": f"{sandbox.url}/elsewhere/"})
    with pytest.raises(CruxRequestRejectedError, match="Redirects are not followed"):
        asyncio.run(poll(uuid))
    assert "/elsewhere/" not in json.dumps(sandbox.requests)
