"""A proxy between Airflow and Crux Connect: what failed, and whether the request may have been processed."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
from airflow.providers.common.compat.sdk import DAG

from airflow_provider_crux.api.orders import OrdersExportRequest
from airflow_provider_crux.exceptions import (
    CruxAmbiguousError,
    CruxError,
    CruxInvalidConnectionError,
    CruxUnavailableError,
)
from airflow_provider_crux.hooks.crux import CruxHook
from airflow_provider_crux.hooks.crux_async import CruxAsyncHook
from airflow_provider_crux.operators.orders import CruxOrdersExportOperator
from tests.certificates import self_signed_certificate
from tests.raw_server import (
    EXPORT_PATH,
    POLL_PATH,
    TOKEN,
    UUID,
    Connection,
    RawServer,
    json_response,
    raw_server,
    unused_url,
)

START = datetime(2026, 1, 1, tzinfo=UTC)
REQUEST = OrdersExportRequest(start_date=START, end_date=datetime(2026, 1, 2, tzinfo=UTC))

pytestmark = pytest.mark.usefixtures("delays")


def poll_on_worker() -> CruxError | str:
    try:
        return CruxHook().get_export(UUID).status
    except CruxError as error:
        return error


def poll_in_triggerer() -> CruxError | str:
    async def poll() -> CruxError | str:
        async with CruxAsyncHook("crux_default") as hook:
            try:
                return (await hook.get_export(UUID)).status
            except CruxError as error:
                return error

    return asyncio.run(poll())


on_both_transports = pytest.mark.parametrize("poll", [poll_on_worker, poll_in_triggerer])


@contextmanager
def server_behind(relay: str, folder: Path, fault, path: str) -> Iterator[tuple[RawServer, RawServer, dict[str, str]]]:
    """Run a proxy and a server; give both, and the connection's extras without the proxy."""
    tls, bundle = self_signed_certificate(folder) if relay == "tunnel" else (None, None)
    with raw_server(getattr(Connection, relay), "") as proxy, raw_server(fault, path, tls=tls) as server:
        yield proxy, server, {} if bundle is None else {"ca_bundle": str(bundle)}


@pytest.mark.parametrize("relay", ["forward", "tunnel"])
def test_export_is_requested_once_if_the_response_is_lost_behind_the_environments_proxy(
    connect, make_context, monkeypatch, tmp_path: Path, relay: str
) -> None:
    operator = CruxOrdersExportOperator(task_id="export", interval_start="2026-01-01", interval_end="2026-01-02")
    context = make_context(
        dag=DAG("proxied", schedule=None, start_date=START),
        dag_run=SimpleNamespace(run_type="manual", run_after=START),
        params={},
    )
    with server_behind(relay, tmp_path, Connection.reset, EXPORT_PATH) as (proxy, server, extra):
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        monkeypatch.setenv("NO_PROXY", "localhost,.example")
        connect(host=server.url, password=TOKEN, extra=extra)
        with pytest.raises(CruxAmbiguousError, match="the response was lost"):
            operator.execute(context)
        assert server.exports_maybe_started == 1
        assert proxy.connections == 1


@on_both_transports
@pytest.mark.parametrize("relay", ["forward", "tunnel"])
def test_lost_response_is_not_called_a_missing_proxy(connect, tmp_path: Path, relay: str, poll) -> None:
    with server_behind(relay, tmp_path, Connection.reset, POLL_PATH) as (proxy, server, extra):
        connect(host=server.url, password=TOKEN, extra={**extra, "proxy": proxy.url, "max_retries": 0})
        message = str(poll())
    assert "the response was lost (" in message
    for lie in ("Nothing was sent", "connect to proxy", "cannot connect"):
        assert lie not in message


@pytest.mark.parametrize("relay", [None, "forward", "tunnel"], ids=["no proxy", "plain proxy", "tunnel"])
def test_export_is_requested_on_a_connection_of_its_own(connect, tmp_path: Path, relay: str | None) -> None:
    """On one that the server closes just now, nobody could know whether the request was read."""

    def serve_once(connection: Connection) -> None:
        connection.send(json_response({"uuid": UUID}).replace(b"Connection: close", b"Connection: keep-alive"))
        connection.socket.settimeout(5)
        if connection.read_request():
            connection.reset()

    hook = CruxHook()
    with server_behind(relay or "forward", tmp_path, serve_once, EXPORT_PATH) as (proxy, server, extra):
        connect(host=server.url, password=TOKEN, extra={**extra, "proxy": proxy.url} if relay else extra)
        with hook.get_conn():
            assert [hook.export_orders(REQUEST), hook.export_orders(REQUEST)] == [UUID, UUID]
        assert server.count_requests(EXPORT_PATH) == 2
        assert server.connections == 2


def serve_socks(connection: Connection) -> None:
    connection.socket.recv(3)
    connection.send(b"\x05\x00")
    port = int.from_bytes(connection.socket.recv(10)[-2:])
    with socket.create_connection(("127.0.0.1", port)) as target:
        connection.send(b"\x05\x00\x00\x01" + bytes(6))
        connection.relay(target)


def test_socks_proxy_counts_as_part_of_the_connection(connect) -> None:
    pytest.importorskip("socks")
    with raw_server(serve_socks, before_request=True) as proxy, raw_server(Connection.reset, EXPORT_PATH) as server:
        url = proxy.url.replace("http://", "socks5://")
        connect(host=server.url, password=TOKEN, extra={"proxy": url})
        with pytest.raises(CruxAmbiguousError):
            CruxHook().export_orders(REQUEST)
        assert server.exports_maybe_started == 1
    with pytest.raises(CruxUnavailableError, match="Nothing was sent"):
        CruxHook().export_orders(REQUEST)


@on_both_transports
def test_untrusted_certificate_of_the_proxy_sends_nothing(connect, tmp_path: Path, poll) -> None:
    tls, _ = self_signed_certificate(tmp_path)
    with raw_server(Connection.tunnel, "", tls=tls) as proxy:
        connect(host="https://127.0.0.1:9", password=TOKEN, extra={"proxy": proxy.url})
        error = poll()
        assert isinstance(error, CruxInvalidConnectionError)
        assert "certificate" in str(error)
        assert proxy.requests == []


@on_both_transports
def test_proxy_that_fails_during_its_tls_handshake_received_nothing(connect, poll) -> None:
    with raw_server(Connection.reset_unread, before_request=True) as proxy:
        url = proxy.url.replace("http://", "https://")
        connect(host="https://127.0.0.1:9", password=TOKEN, extra={"proxy": url, "max_retries": 0})
        error = poll()
    assert isinstance(error, CruxUnavailableError)
    assert "Nothing was sent" in str(error)


def test_refused_connection_after_a_request_is_a_lost_response(connect) -> None:
    """aiohttp itself sends a GET request once more; the error of the second attempt does not tell about the first."""

    async def scenario() -> str:
        async def close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            server.close()
            writer.close()

        server = await asyncio.start_server(close, "127.0.0.1", 0)
        connect(host=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", password=TOKEN, extra={"max_retries": 0})
        async with CruxAsyncHook("crux_default") as hook:
            with pytest.raises(CruxError) as caught:
                await hook.get_export(UUID)
            return str(caught.value)

    message = asyncio.run(scenario())
    assert "the response was lost (ClientConnectorError" in message
    assert "Nothing was sent" not in message


@on_both_transports
def test_missing_proxy_received_nothing(connect, poll) -> None:
    with unused_url() as proxy:
        connect(host="http://127.0.0.1:9", password=TOKEN, extra={"proxy": proxy, "max_retries": 0})
        assert "cannot connect to Crux Connect" in (message := str(poll()))
        assert "Nothing was sent" in message
