"""requests as the transport: time limits of a response, and what its errors become."""

from __future__ import annotations

import logging
import re
import threading
import time

import pytest
import requests

from airflow_provider_crux.api.requests import get_export_request
from airflow_provider_crux.api.settings import ConnectionSettings
from airflow_provider_crux.exceptions import CruxUnavailableError
from airflow_provider_crux.transport.adapter import Adapter
from airflow_provider_crux.transport.http import HttpClient
from tests.raw_server import TOKEN, UUID, Connection, http_response, raw_server, respond_with


def session_with(response_timeout: float) -> requests.Session:
    session = requests.Session()
    session.trust_env = False
    session.mount("http://", Adapter(response_timeout))
    return session


def test_complete_response_is_rejected_when_its_time_is_over() -> None:
    """Even bytes that have arrived are not read then."""
    with raw_server(respond_with(http_response(200))) as server, session_with(0) as session:
        with pytest.raises(requests.ConnectionError, match="response incomplete after 0 s"):
            session.get(server.url, timeout=60)
        # the same server, the same response, more time
        session.mount("http://", Adapter(60))
        assert session.get(server.url, timeout=60).status_code == 200


@pytest.mark.parametrize(
    "pieces",
    [
        [b"HTTP/1.1 ", b"2"],
        [b"HTTP/1.1 200 OK\r\nX-A: ", b"b"],
        [b"HTTP/1.1 103 Early Hints\r\n\r\n"],
        [b"HTTP/1.1 200 OK\r\nContent-Length: 999999\r\n\r\n", b" "],
        [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"],
    ],
    ids=["status line", "header", "interim responses", "body", "chunks"],
)
def test_steady_response_without_end_is_lost(pieces: list[bytes]) -> None:
    """The read timeout never applies, because bytes keep arriving."""

    def fault(connection: Connection) -> None:
        connection.send_forever(*pieces, pause=0.005)

    with raw_server(fault) as server, session_with(0.1) as session:
        with pytest.raises(requests.RequestException, match=r"response incomplete after 0\.1 s"):
            session.get(server.url, timeout=60)
        assert not server.gave_up


def client_of(url: str, max_retries: int) -> HttpClient:
    settings = ConnectionSettings(
        name="connection 'crux_default'", base_url=url, username=None, secret=TOKEN, max_retries=max_retries
    )
    return HttpClient(settings, logging.getLogger(__name__))


@pytest.mark.usefixtures("delays")
def test_response_says_when_its_request_was_sent_the_last_time() -> None:
    received: list[float] = []

    def fault(connection: Connection) -> None:
        received.append(time.time())
        if len(received) == 1:
            connection.respond(429, b"", "Retry-After: 0")
            return
        connection.send(connection.normal_response())

    with raw_server(fault) as server:
        client = client_of(server.url, max_retries=1)
        with client.session:
            response = client.send(get_export_request(UUID), secrets=[TOKEN])
    first, second = received
    assert response.sent_at is not None
    assert first < response.sent_at.timestamp() < second


def test_client_says_that_the_response_is_incomplete() -> None:
    def fault(connection: Connection) -> None:
        connection.send_forever(b"HTTP/1.1 200 OK\r\nContent-Length: 999999\r\n\r\n", b" ", pause=0.005)

    with raw_server(fault) as server:
        client = client_of(server.url, max_retries=0)
        client.session.mount("http://", Adapter(0.1))
        with client.session, pytest.raises(CruxUnavailableError) as caught:
            client.send(get_export_request(UUID), secrets=[TOKEN])
        assert re.search(r"the response was lost \(.*response incomplete after 0\.1 s", str(caught.value))
        assert not server.gave_up


@pytest.mark.filterwarnings("error::ResourceWarning")
@pytest.mark.parametrize("headers", [("Content-Length: 4",), ("Content-Length: 4, 0",)], ids=["twice", "list"])
def test_connection_of_a_response_with_two_lengths_is_closed(headers: tuple[str]) -> None:
    closed = threading.Event()

    def fault(connection: Connection) -> None:
        connection.send(http_response(200, b"", *headers))
        connection.socket.settimeout(5)
        assert connection.socket.recv(1) == b""
        closed.set()

    with raw_server(fault) as server, session_with(60) as session:
        with pytest.raises(requests.ConnectionError, match="Content-Length has several values") as caught:
            session.get(server.url, timeout=60)
        # while the error, and all that its traceback refers to, still exists
        assert closed.wait(10), caught
        assert server.fault_errors == []
