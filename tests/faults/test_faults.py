"""Each fault in each operation over each transport: what the user gets, what was sent, and what is left behind."""

from __future__ import annotations

import asyncio
import time
import traceback
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_crux.api.responses import Export
from airflow_provider_crux.exceptions import CruxAmbiguousError, CruxError
from airflow_provider_crux.hooks import crux_async
from airflow_provider_crux.hooks.crux import CruxHook
from airflow_provider_crux.transport import http
from tests.certificates import self_signed_certificate
from tests.faults.cases import CASES, REDIRECT, SLOW_BODY, Case, Outcome
from tests.faults.operations import DAY, LOGIN_CREDENTIALS, OPERATIONS, PASSWORD, PREVIOUS_CONTENT, Operation
from tests.faults.proxies import PROXY_CASES
from tests.raw_server import (
    CSV,
    EXPORT_PATH,
    FILE_PATH,
    SIGNATURE,
    TOKEN,
    UUID,
    Connection,
    RawServer,
    http_response,
    raw_server,
    unused_url,
)

# waits for timeouts
pytestmark = pytest.mark.slow

SECRETS = (TOKEN, PASSWORD, SIGNATURE, "X-Amz")


@pytest.fixture(autouse=True)
def delays(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Skip every delay before a retry; the list contains their seconds."""
    seconds: list[float] = []

    async def sleep(delay: float) -> None:
        seconds.append(delay)

    monkeypatch.setattr(http, "time", SimpleNamespace(**{**vars(time), "sleep": seconds.append}))
    monkeypatch.setattr(crux_async, "asyncio", SimpleNamespace(**{**vars(asyncio), "sleep": sleep}))
    return seconds


def start_servers(
    stack: ExitStack, case: Case, operation: Operation, folder: Path
) -> tuple[list[RawServer], str, dict[str, Any]]:
    """Start what the case needs; return the servers (the nearest first), the URL, and the extras of the connection."""
    # long if no timeout is tested; otherwise longer than a busy machine needs to connect to itself
    connect_timeout = 0.4 if case.sent else 0.1
    extra: dict[str, Any] = {"connect_timeout": connect_timeout, "read_timeout": 0.1} if case.times_out else {}
    extra |= {"max_retries": 1}
    address = case.address and stack.enter_context(case.address())
    if address and case.proxy is None:
        return [], address, extra
    tls = None
    if case.certificate is not None:
        tls, bundle = self_signed_certificate(folder, **case.certificate)  # type: ignore[arg-type]
        extra["ca_bundle"] = str(bundle)
    # before the server, so that it stops after it: a relay ends when one of its sides does
    proxy = case.proxy and stack.enter_context(raw_server(case.proxy, ""))
    server = stack.enter_context(
        raw_server(case.fault, operation.path, before_request=case.before_request, tls=tls, scheme=case.scheme)
    )
    if case.at_proxy:
        return [server], stack.enter_context(unused_url()), {**extra, "proxy": server.url}
    if address:
        return [server], server.url, {**extra, "proxy": address}
    if proxy is None:
        return [server], server.url, extra
    return [proxy, server], server.url, {**extra, "proxy": proxy.url}


# In the triggerer a login is sent as a poll is: to save the time of its timeouts, it is left out of those cases.
RUNS = [
    (case, operation)
    for case in (*CASES, *PROXY_CASES)
    for operation in OPERATIONS
    if case.expected(operation) and not (case.times_out and str(operation) == "login (triggerer)")
]


@pytest.mark.parametrize(("case", "operation"), RUNS, ids=[f"{case}-{operation}" for case, operation in RUNS])
def test_fault(case: Case, operation: Operation, connect, tmp_path: Path, delays: list[float]) -> None:
    stored, certificates = tmp_path / "stored", tmp_path / "certificates"
    stored.mkdir()
    certificates.mkdir()
    with ExitStack() as stack:
        servers, url, extra = start_servers(stack, case, operation, certificates)
        connect(host=url, extra=extra, **(LOGIN_CREDENTIALS if case.with_login else operation.credentials))
        file_url = f"{url}{FILE_PATH}orders.csv?X-Amz-Expires=600&X-Amz-Signature={SIGNATURE}"
        outcome = operation.outcome(file_url, stored)
        expected = case.expected(operation)
        assert expected is not None
        check_outcome(outcome, expected, operation, url)
        if expected.sent_again and case.delay is not None:
            assert delays
            assert all(case.delay[0] <= seconds <= case.delay[1] for seconds in delays)
        if case.address is None:
            servers[0].await_connections(1 + expected.sent_again)
        if operation.request == "download":
            assert [file.name for file in stored.iterdir()] == ["orders.csv"]
            assert (stored / "orders.csv").read_bytes() == (PREVIOUS_CONTENT if expected.error else case.stored)
    if case.address is None:
        check_traffic(servers, expected, case, operation)
    else:
        assert len(delays) == 1, "the request was not sent again"
        assert not any(server.connections for server in servers)


def check_outcome(outcome: object, expected: Outcome, operation: Operation, url: str) -> None:
    if expected.error is None:
        assert outcome == operation.result
        return
    assert type(outcome) is expected.error
    assert isinstance(outcome, CruxError)
    message = str(outcome).removeprefix(f"Could not {operation.action}: ").replace(url.partition("://")[2], "HOST")
    assert message.startswith(expected.message)
    shown = "".join(traceback.format_exception(outcome)) + repr(outcome)
    assert not [secret for secret in SECRETS if secret in shown.replace("X-Amz-Expires=600", "")]


def check_traffic(servers: list[RawServer], expected: Outcome, case: Case, operation: Operation) -> None:
    for server in servers:
        assert server.fault_errors == []
        assert not server.gave_up, "the server gave up before the client did"
        assert server.exports_maybe_started <= 1
    # a client that times out may be gone before its request is read
    all_counted = case.sent and not (case.before_request or case.times_out)
    received = servers[-1].count_requests(operation.path) if all_counted else servers[0].connections
    if operation.transport == "requests":
        assert received == (2 if expected.sent_again else 1)
    else:
        # aiohttp itself sends a GET request once more if its connection breaks
        assert (received > 1) == expected.sent_again
    if operation.request == "login" and expected.error:
        assert not any(server.count_requests(EXPORT_PATH) for server in servers)
    if not case.sent:
        assert not [head for server in servers for head in server.requests if not head.startswith("CONNECT")]


@pytest.mark.parametrize("operation", OPERATIONS, ids=str)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirect_target_receives_nothing(operation: Operation, status: int, connect, tmp_path: Path) -> None:
    with raw_server(lambda connection: connection.respond(200)) as target:
        location = f"Location: {target.url}{operation.path}"
        with raw_server(lambda connection: connection.respond(status, b"", location), operation.path) as server:
            connect(host=server.url, extra={"max_retries": 0}, **operation.credentials)
            outcome = operation.outcome(server.file_url, tmp_path)
            assert "Redirects are not followed" in str(outcome)
            assert server.count_requests(operation.path) == 1
        assert target.connections == 0
    assert f"HTTP {status}, {REDIRECT}" in {case.name for case in CASES}


def test_late_response_is_not_taken_for_that_of_the_next_request(connect) -> None:
    """After HTTP 103 and a lost response, the connection is not used again: the late response could arrive on it."""

    def fault(connection: Connection) -> None:
        if len(connection.server.requests) > 1:
            connection.send(connection.normal_response())
            return
        connection.send(b"HTTP/1.1 103 Early Hints\r\n\r\n")
        connection.stay_silent()

    with raw_server(fault, EXPORT_PATH) as server:
        connect(host=server.url, password=TOKEN, extra={"read_timeout": 0.1})
        hook = CruxHook()
        with pytest.raises(CruxAmbiguousError):
            hook.export_orders(DAY)
        assert hook.export_orders(DAY) == UUID
        assert server.connections == 2


def test_bytes_after_the_announced_length_are_not_taken_for_the_next_response(connect) -> None:
    other_uuid = UUID.replace("b", "c")

    def fault(connection: Connection) -> None:
        response = connection.normal_response().replace(b"Connection: close", b"Connection: keep-alive")
        connection.send(response + response.replace(UUID.encode(), other_uuid.encode()))
        while connection.read_request():
            connection.send(response)

    with raw_server(fault, EXPORT_PATH) as server:
        connect(host=server.url, password=TOKEN)
        hook = CruxHook()
        with hook.get_conn():
            assert [hook.export_orders(DAY), hook.export_orders(DAY)] == [UUID, UUID]


def test_message_names_a_slow_body(connect, tmp_path: Path) -> None:
    """It is neither silence nor a closed connection: the message says what to look for."""
    (case,) = (case for case in CASES if case.name == SLOW_BODY)
    for operation in (operation for operation in OPERATIONS if operation.request != "login"):
        with raw_server(case.fault, operation.path) as server:
            # no pause is as long as the read timeout
            connect(
                host=server.url,
                extra={"connect_timeout": 0.4, "read_timeout": 0.2, "max_retries": 0},
                **operation.credentials,
            )
            assert "response incomplete after" in str(operation.outcome(server.file_url, tmp_path))
            assert not server.gave_up


def test_steady_file_may_take_longer_than_a_response(connect) -> None:
    body = CSV + bytes(4 * 1024 * 1024)

    def fault(connection: Connection) -> None:
        connection.send(http_response(200, body)[: -len(body)])
        for start in range(0, len(body), 64 * 1024):
            connection.send(body[start : start + 64 * 1024])
            connection.server.stopping.wait(0.02)

    with raw_server(fault, FILE_PATH) as server:
        connect(host=server.url, password=TOKEN, extra={"read_timeout": 0.4})
        with CruxHook().open_file(Export(uuid=UUID, status="completed", url=server.file_url)) as chunks:
            assert b"".join(chunks) == body
