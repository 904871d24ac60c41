"""The triggerer's hook against real servers on loopback: the sandbox, and some that break off or count."""

from __future__ import annotations

import asyncio
import json
import re
import ssl
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from aiohttp import web
from airflow.providers.common.compat import sdk
from asgiref.sync import async_to_sync
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from airflow_provider_crux.api.responses import Export, ExportState
from airflow_provider_crux.exceptions import (
    CruxAuthenticationError,
    CruxInvalidConnectionError,
    CruxInvalidResponseError,
    CruxNotFoundError,
    CruxRequestRejectedError,
    CruxUnavailableError,
)
from airflow_provider_crux.hooks.crux import CruxHook
from airflow_provider_crux.hooks.crux_async import MAX_CONNECTIONS, shared_hook
from airflow_provider_crux.sandbox.state import Sandbox

LOGIN = "/api/organizations/user-login/"
UUID = "b9888421-594c-4d2f-9f0d-3b138a16c845"
TOKEN = "d7bb2fbb0c666dee5a5a36634baac3114e08ba9c"


@pytest.fixture
def uuid(sandbox: Sandbox) -> str:
    """Ask the sandbox for an export, as the worker does."""
    from airflow_provider_crux.api.orders import OrdersExportRequest

    return CruxHook().export_orders(OrdersExportRequest())


@pytest.fixture
def login(connect, sandbox: Sandbox) -> None:
    """Let the connection be one with a login."""
    connect(host=sandbox.url, login=sandbox.settings.user, password=sandbox.settings.password)


def logins(sandbox: Sandbox) -> int:
    return sum(entry["path"] == LOGIN for entry in sandbox.requests)


async def look(uuid: str = UUID, conn_id: str = "crux_default") -> Export:
    async with shared_hook(conn_id) as hook:
        return await hook.get_export(uuid)


@asynccontextmanager
async def server(answer: Callable[[web.Request], Awaitable[web.StreamResponse]], tls: ssl.SSLContext | None = None):
    """ApiResponse every request on a free port of loopback; give the URL."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
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


def test_it_sees_what_the_workers_hook_sees(sandbox: Sandbox, uuid: str) -> None:
    seen = asyncio.run(look(uuid))
    assert seen.state is ExportState.DONE
    assert seen.url is not None
    assert "Signature" not in repr(seen)
    by_worker, by_trigger = sandbox.requests[-2:]
    assert by_trigger["user_agent"] == by_worker["user_agent"]
    assert (by_trigger["status"], by_trigger["authorization"]) == (200, "Token ***")


def test_all_waits_log_in_once_and_once_more_when_their_token_lapses(sandbox: Sandbox, uuid: str, login) -> None:
    async def many() -> None:
        async with shared_hook("crux_default"):
            await asyncio.gather(*(look(uuid) for _ in range(200)))
            assert logins(sandbox) == 1
            sandbox.expire_tokens()
            await asyncio.gather(*(look(uuid) for _ in range(200)))
            assert logins(sandbox) == 2

    asyncio.run(many())


def test_a_wait_that_is_cancelled_takes_no_login_from_the_others(connect) -> None:
    asked = asyncio.Event()
    go_on = asyncio.Event()
    paths: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        paths.append(request.path)
        if request.path == LOGIN:
            asked.set()
            await go_on.wait()
            return web.json_response({"auth_token": TOKEN})
        return pending(request)

    async def scenario() -> None:
        async with server(answer) as url:
            connect(host=url, login="ada", password="secret-word")
            waits = [asyncio.create_task(look()) for _ in range(3)]
            await asked.wait()
            waits[0].cancel()
            await asyncio.sleep(0)  # the cancellation is delivered
            late = asyncio.create_task(look())
            go_on.set()
            assert [seen.status for seen in await asyncio.gather(*waits[1:], late)] == ["pending"] * 3
            assert waits[0].cancelled()

    asyncio.run(scenario())
    assert paths.count(LOGIN) == 1


def test_no_more_than_fifty_connections_are_open_however_many_wait(connect) -> None:
    open_now, most = 0, 0
    full = asyncio.Event()

    async def answer(request: web.Request) -> web.Response:
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
        async with server(answer) as url:
            connect(host=url, password=TOKEN)
            await asyncio.gather(*(look(str(uuid4())) for _ in range(300)))

    asyncio.run(scenario())
    assert most == 50


def test_the_session_is_one_for_all_and_closed_by_the_last(sandbox: Sandbox, uuid: str) -> None:
    async def scenario() -> None:
        async with shared_hook("crux_default") as first:
            async with shared_hook("crux_default") as second:
                assert first is second
                await second.get_export(uuid)
                session = first._session
            assert session is not None
            assert not session.closed
        assert session.closed
        async with shared_hook("crux_default") as third:
            assert third is not first
            await third.get_export(uuid)

    asyncio.run(scenario())


def test_credentials_that_a_person_corrects_serve_the_waits_that_are_under_way(
    connect, sandbox: Sandbox, uuid: str
) -> None:
    async def scenario() -> None:
        connect(host=sandbox.url, password="0" * 40)
        async with shared_hook("crux_default") as hook:
            with pytest.raises(CruxAuthenticationError):
                await hook.get_export(uuid)
            connect(host=sandbox.url, password=sandbox.settings.token)
            assert (await hook.get_export(uuid)).state is ExportState.DONE

    asyncio.run(scenario())


def test_a_token_is_masked_before_it_is_used(sandbox: Sandbox, uuid: str, login, monkeypatch) -> None:
    masked: list[tuple[str, int]] = []
    monkeypatch.setattr(sdk, "mask_secret", lambda secret: masked.append((secret, len(sandbox.requests))))
    before = len(sandbox.requests)
    asyncio.run(look(uuid))
    (password, at_first), (token, after_login) = masked
    assert (password, at_first) == (sandbox.settings.password, before)
    assert len(token) == 40
    assert after_login == before + 1


def test_the_masker_can_speak_to_the_triggerers_supervisor(sandbox: Sandbox, uuid: str, monkeypatch) -> None:
    """As it does in Airflow 3.0 and 3.1, over streams that belong to the triggerer's event loop."""
    loops: list[asyncio.AbstractEventLoop] = []

    async def speak() -> None:
        loops.append(asyncio.get_running_loop())

    async def scenario() -> asyncio.AbstractEventLoop:
        await look(uuid)
        return asyncio.get_running_loop()

    monkeypatch.setattr(sdk, "mask_secret", lambda secret: async_to_sync(speak)())
    assert [asyncio.run(scenario())] == loops


def test_a_password_from_netrc_never_takes_the_tokens_place(
    sandbox: Sandbox, uuid: str, monkeypatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login ada password wrong\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    assert asyncio.run(look(uuid)).state is ExportState.DONE


def test_cookies_are_not_kept(connect) -> None:
    cookies: list[Any] = []

    async def answer(request: web.Request) -> web.Response:
        cookies.append(dict(request.cookies))
        response = pending(request)
        response.set_cookie("session", "abc")
        return response

    async def scenario() -> None:
        async with server(answer) as url, shared_hook("crux_default") as hook:
            connect(host=url, password=TOKEN)
            await hook.get_export(UUID)
            await hook.get_export(UUID)

    asyncio.run(scenario())
    assert cookies == [{}, {}]


@pytest.mark.parametrize("named", ["in the connection", "in the environment"])
def test_a_proxy_is_used_wherever_it_is_named(connect, monkeypatch, named: str) -> None:
    seen: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(str(request.url))
        return pending(request)

    async def scenario() -> None:
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        async with server(answer) as proxy:
            extra = {"allow_http": True} | ({"proxy": proxy} if named == "in the connection" else {})
            if named == "in the environment":
                monkeypatch.setenv("http_proxy", proxy)
            connect(host="http://crux.invalid", password=TOKEN, extra=extra)
            assert (await look()).status == "pending"

    asyncio.run(scenario())
    assert seen == [f"http://crux.invalid/api/data/export/{UUID}/"]


def test_a_proxy_that_repeats_its_password_is_not_quoted(connect) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=407, text=f"not you: {request.headers['Proxy-Authorization'].split()[1]}, hunter2")

    async def scenario() -> None:
        async with server(answer) as proxy:
            extra = {"allow_http": True, "proxy": proxy.replace("http://", "http://ada:hunter2@")}
            connect(host="http://crux.invalid", password=TOKEN, extra=extra)
            with pytest.raises(CruxRequestRejectedError, match=re.escape("'not you: ***, ***'")):
                await look()

    asyncio.run(scenario())


def test_a_proxy_that_is_not_of_http_is_refused_with_a_remedy(connect) -> None:
    connect(password=TOKEN, extra={"proxy": "socks5://ada:secret-word@127.0.0.1:1080"})
    with pytest.raises(CruxInvalidConnectionError, match="deferrable=False") as caught:
        asyncio.run(look())
    assert "secret-word" not in str(caught.value)


def test_a_certificate_that_is_not_trusted_is_told_and_one_of_the_bundle_is_trusted(connect, tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem, private = tmp_path / "cert.pem", tmp_path / "key.pem"
    pem.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(pem, private)

    async def answer(request: web.Request) -> web.Response:
        return pending(request)

    async def scenario() -> None:
        async with server(answer, tls) as url:
            connect(host=url, password=TOKEN)
            with pytest.raises(CruxInvalidConnectionError, match="certificate is not trusted"):
                await look()
            connect(host=url, password=TOKEN, extra={"ca_bundle": str(pem)})
            assert (await look()).status == "pending"

    asyncio.run(scenario())


def test_a_bundle_that_is_not_there_is_told(connect) -> None:
    connect(password=TOKEN, extra={"ca_bundle": "/no/such/file.pem"})
    with pytest.raises(CruxInvalidConnectionError, match=r"ca_bundle.*/no/such/file\.pem"):
        asyncio.run(look())


@pytest.mark.parametrize(
    ("sent", "error", "said"),
    [
        (b"", CruxUnavailableError, "the answer was lost"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{", CruxUnavailableError, "the answer was lost"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n<p>hm</p>", CruxInvalidResponseError, "not in JSON"),
        (b"no HTTP at all\r\n\r\n", CruxUnavailableError, "the answer was lost"),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", CruxNotFoundError, "404"),
        (b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", CruxUnavailableError, "503"),
    ],
)
def test_what_comes_back_is_judged_as_on_the_worker(connect, sent: bytes, error: type[Exception], said: str) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(sent)
        await writer.drain()
        writer.close()

    async def scenario() -> None:
        listener = await asyncio.start_server(answer, "127.0.0.1", 0)
        async with listener:
            url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
            connect(host=url, password=TOKEN, extra={"max_retries": 0})
            with pytest.raises(error, match=said) as by_trigger:
                await look()
            with pytest.raises(error, match=said) as by_worker:
                await asyncio.to_thread(CruxHook().get_export, UUID)
        assert type(by_trigger.value) is type(by_worker.value)
        for caught in (by_trigger, by_worker):
            assert TOKEN not in str(caught.value)

    asyncio.run(scenario())


def test_an_answer_without_end_is_not_read_to_its_end(connect) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b" " * 65536)

    async def scenario() -> None:
        async with server(answer) as url:
            connect(host=url, password=TOKEN)
            with pytest.raises(CruxInvalidResponseError, match="more than 1048576 bytes"):
                await look()

    asyncio.run(scenario())


def test_where_nobody_listens_nothing_was_sent(connect) -> None:
    connect(host="http://127.0.0.1:1", password=TOKEN, extra={"max_retries": 0})
    with pytest.raises(CruxUnavailableError, match="Nothing was sent"):
        asyncio.run(look())


def test_a_call_that_was_refused_is_sent_again_after_the_time_that_was_asked_for(sandbox: Sandbox, uuid: str) -> None:
    before = len(sandbox.requests)
    sandbox.respond_next("/api/data/export/", 503, {"Retry-After": "0"})
    assert asyncio.run(look(uuid)).state is ExportState.DONE
    assert [entry["status"] for entry in sandbox.requests[before:]] == [503, 200]


def test_a_redirect_is_not_followed(sandbox: Sandbox, uuid: str) -> None:
    sandbox.respond_next("/api/data/export/", 302, {"Location": f"{sandbox.url}/elsewhere/"})
    with pytest.raises(Exception, match="Redirects are not followed"):
        asyncio.run(look(uuid))
    assert "/elsewhere/" not in json.dumps(sandbox.requests)
