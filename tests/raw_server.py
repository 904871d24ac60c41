"""A server on 127.0.0.1 that can misbehave at the socket, and records which requests it received."""

from __future__ import annotations

import json
import re
import select
import socket
import ssl
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from socketserver import BaseRequestHandler, ThreadingTCPServer
from typing import Any, Final
from urllib.parse import urlsplit

UUID: Final = "b9888421-594c-4d2f-9f0d-3b138a16c845"
TOKEN: Final = "d7bb2fbb0c666dee5a5a36634baac3114e08ba9c"
SIGNATURE: Final = "0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0"
CSV: Final = b"\xef\xbb\xbforder_uuid,quantity\r\n1,2\r\n"

EXPORT_PATH: Final = "/api/orders/export/"
POLL_PATH: Final = "/api/data/export/"
LOGIN_PATH: Final = "/api/organizations/user-login/"
FILE_PATH: Final = "/files/"

PATIENCE: Final = 20.0
"""Seconds after which a server that never finishes gives up: a client that is still connected has no time limit."""


def http_response(status: int, body: bytes = b"", *headers: str) -> bytes:
    """Return a complete response. It closes the connection, so that no other request is sent on it."""
    lines = [f"HTTP/1.1 {status} Reason", "Connection: close", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def json_response(content: object) -> bytes:
    return http_response(200, json.dumps(content).encode(), "Content-Type: application/json")


def path_of(head: str) -> str:
    """Return the path of a request; a request to a proxy has a URL, or host and port, in its place."""
    target = head.split()[1]
    return urlsplit(target).path if target.startswith("http") else target


class Connection:
    """
    One accepted connection.

    :param sock: its socket.
    :param server: records the requests.
    """

    def __init__(self, sock: socket.socket, server: RawServer) -> None:
        self.socket = sock
        self.server = server
        self.request = ""
        self.path = ""
        self.body = b""

    def read_request(self) -> str:
        """Read and record a complete request; return its path, or nothing if the client has disconnected."""
        received = b""
        while b"\r\n\r\n" not in received:
            chunk = self.socket.recv(65536)
            if not chunk:
                return ""
            received += chunk
        head, _, body = received.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
        missing = int(length[1]) - len(body) if length else 0
        while missing > 0:
            chunk = self.socket.recv(65536)
            if not chunk:
                return ""
            body += chunk
            missing -= len(chunk)
            received += chunk
        self.body = body
        self.request = received.decode("latin-1")
        self.path = path_of(self.request)
        self.server.requests.append(self.request)
        return self.path

    def normal_response(self) -> bytes:
        """Return what Crux Connect, or the storage of its files, responds to the request."""
        if self.path.startswith(EXPORT_PATH):
            return json_response({"uuid": UUID})
        if self.path.startswith(POLL_PATH):
            return json_response({"uuid": UUID, "status": "completed", "url": self.server.file_url})
        if self.path.startswith(LOGIN_PATH):
            return json_response({"auth_token": TOKEN})
        return http_response(200, CSV)

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def respond(self, status: int, body: bytes = b"", *headers: str) -> None:
        """Send a response. 4xx (except 408), and 503 with ``Retry-After``, mean that the request was not processed."""
        come_back = any(re.fullmatch(r"Retry-After: (\d+|\w{3}, .* GMT)", header) for header in headers)
        self.server.rejected += (400 <= status < 500 and status != 408) or (status == 503 and come_back)
        self.send(http_response(status, body, *headers))

    def send_forever(self, *pieces: bytes, pause: float = 0.0) -> None:
        """Send the pieces, and repeat the last one until the client disconnects."""
        for piece in pieces[:-1]:
            self.send(piece)
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            self.send(pieces[-1])
            if pause and self.server.stopping.wait(pause):
                return
        self.server.gave_up = True

    def stay_silent(self) -> None:
        """Send nothing more; wait until the client disconnects."""
        self.socket.settimeout(PATIENCE)
        try:
            while self.socket.recv(65536):
                pass
        except TimeoutError:
            self.server.gave_up = True

    def tunnel(self) -> None:
        """Serve CONNECT as a proxy does."""
        host, _, port = self.path.partition(":")
        with socket.create_connection((host, int(port))) as target:
            self.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
            self.relay(target)

    def forward(self) -> None:
        """Send a request on to the server that it names, as a plain proxy does."""
        method, url, rest = self.request.split(" ", 2)
        parts = urlsplit(url)
        with socket.create_connection((parts.hostname, parts.port)) as target:
            target.sendall(f"{method} {parts.path}?{parts.query} {rest}".encode("latin-1"))
            self.relay(target)

    def relay(self, target: socket.socket) -> None:
        """Relay all bytes in both directions until one side ends; if the target resets its connection, reset ours."""
        destination = {self.socket: target, target: self.socket}
        while True:
            for source in select.select([*destination], [], [])[0]:
                try:
                    data = source.recv(65536)
                except ConnectionResetError:
                    self.reset()
                    return
                if not data:
                    return
                destination[source].sendall(data)

    def reset_unread(self) -> None:
        """Reset the connection after the request has arrived, but before it is read."""
        select.select([self.socket], [], [])
        self.reset()

    def reset(self) -> None:
        """Reset the connection; what is still buffered is discarded."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


Fault = Callable[[Connection], None]
"""What a server does with a request."""


def respond_with(*responses: bytes, then: Fault = lambda _: None) -> Fault:
    """Return a fault that sends these responses, one for each request; the last one again for all later requests."""

    def fault(connection: Connection) -> None:
        connection.send(responses[min(len(connection.server.requests), len(responses)) - 1])
        then(connection)

    return fault


class _Handler(BaseRequestHandler):
    server: RawServer

    def handle(self) -> None:
        connection = Connection(self.request, self.server)
        try:
            if self.server.tls is not None:
                connection.socket = self.server.tls.wrap_socket(self.request, server_side=True)
            if self.server.before_request or connection.read_request().startswith(self.server.faulty_path):
                self.server.fault(connection)
            elif connection.path:
                connection.send(connection.normal_response())
        except (ConnectionError, ssl.SSLError):
            pass  # the client has disconnected
        finally:
            if connection.socket is not self.request:
                connection.socket.close()  # socketserver knows only the socket without TLS


class RawServer(ThreadingTCPServer):
    """
    Responds as Crux Connect does, except to requests for one path.

    :param fault: what happens to these.
    :param faulty_path: how their path begins.
    :param before_request: whether the fault comes before a request is read, and so whatever its path is.
    :param tls: certificate and key; ``None`` for plain HTTP.
    :param scheme: the scheme of its URLs; with ``tls`` it is https.
    """

    daemon_threads = False
    request_queue_size = 64

    def __init__(
        self,
        fault: Fault,
        faulty_path: str = "/",
        *,
        before_request: bool = False,
        tls: ssl.SSLContext | None = None,
        scheme: str = "http",
    ) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.fault, self.faulty_path, self.before_request, self.tls = fault, faulty_path, before_request, tls
        self.scheme = "https" if tls else scheme
        self.connections = 0
        self.requests: list[str] = []
        self.rejected = 0
        self.gave_up = False
        self.fault_errors: list[BaseException | None] = []
        self.stopping = threading.Event()
        self._accepted = threading.Condition()

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a connection and count it."""
        accepted = super().get_request()
        # else a reset could discard what was sent just before it
        accepted[0].setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._accepted:
            self.connections += 1
            self._accepted.notify_all()
        return accepted

    def await_connections(self, number: int) -> None:
        """Wait until so many are accepted: a client that gives up early may be gone before the server accepts it."""
        with self._accepted:
            self._accepted.wait_for(lambda: self.connections >= number, timeout=PATIENCE)

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.server_address[1]}"

    @property
    def file_url(self) -> str:
        return f"{self.url}{FILE_PATH}{UUID}.csv?X-Amz-Expires=600&X-Amz-Signature={SIGNATURE}"

    @property
    def exports_maybe_started(self) -> int:
        """How many exports this server may have started."""
        return self.count_requests(EXPORT_PATH) - (self.rejected if self.faulty_path == EXPORT_PATH else 0)

    def count_requests(self, path: str) -> int:
        """Return how many complete requests for a path were received."""
        return sum(path_of(head).startswith(path) for head in self.requests)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Keep the error of a fault for the test; the standard library would print it and continue."""
        self.fault_errors.append(sys.exc_info()[1])


@contextmanager
def raw_server(fault: Fault, faulty_path: str = "/", **options: Any) -> Iterator[RawServer]:
    """Run a server until the block ends."""
    server = RawServer(fault, faulty_path, **options)
    thread = threading.Thread(target=server.serve_forever, args=(0.005,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.stopping.set()
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def unused_url() -> Iterator[str]:
    """Give a URL at which no server listens, and none will until the block ends."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


@contextmanager
def silent_url() -> Iterator[str]:
    """Give a URL at which the kernel completes connections, but no response ever comes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@contextmanager
def full_backlog() -> Iterator[str]:
    """Give a URL at which further connections are neither accepted nor refused."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
