"""A server on loopback that can misbehave at the socket, and counts what reached it."""

from __future__ import annotations

import json
import re
import socket
import ssl
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from socketserver import BaseRequestHandler, ThreadingTCPServer
from typing import Any, Final
from urllib.parse import urlsplit

UUID: Final = "b9888421-594c-4d2f-9f0d-3b138a16c845"
TOKEN: Final = "d7bb2fbb0c666dee5a5a36634baac3114e08ba9c"
SIGNATURE: Final = "0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0"
CSV: Final = b"\xef\xbb\xbforder_uuid\r\n1\r\n"

EXPORT: Final = "/api/orders/export/"
LOOK: Final = "/api/data/export/"
LOGIN: Final = "/api/organizations/user-login/"
FILE: Final = "/files/"

PATIENCE: Final = 20.0
"""Seconds after which a server that never ends gives up: a client that is still there has no bound of its own."""


def answer(status: int, body: bytes = b"", *headers: str) -> bytes:
    """Return a whole answer, after which the connection ends: what comes next must not go out on it."""
    lines = [f"HTTP/1.1 {status} Said", "Connection: close", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def said(content: object, *headers: str) -> bytes:
    return answer(200, json.dumps(content).encode(), "Content-Type: application/json", *headers)


def path_in(head: str) -> str:
    """Return what a request is for; a proxy is asked for a whole URL, or for a host and its port."""
    target = head.split()[1]
    return urlsplit(target).path if target.startswith("http") else target


class Wire:
    """
    One connection, as a fault sees it.

    :param wire: the socket.
    :param server: whose notes are kept.
    """

    def __init__(self, wire: socket.socket, server: Server) -> None:
        self.socket = wire
        self.server = server
        self.path = ""

    def read(self) -> str:
        """Read a request to its end, note it, and return its path; nothing where the client went away before."""
        came = b""
        while b"\r\n\r\n" not in came:
            more = self.socket.recv(65536)
            if not more:
                return ""
            came += more
        head, _, body = came.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
        missing = int(length[1]) - len(body) if length else 0
        while missing > 0:
            more = self.socket.recv(65536)
            if not more:
                return ""
            missing -= len(more)
        came = head.decode("latin-1")
        self.path = path_in(came)
        self.server.came.append(came)
        return self.path

    def good(self) -> bytes:
        """Return what Crux Connect, or the storage of its files, answers to the request that was read."""
        if self.path.startswith(EXPORT):
            return said({"uuid": UUID})
        if self.path.startswith(LOOK):
            return said({"uuid": UUID, "status": "completed", "url": self.server.file_url})
        if self.path.startswith(LOGIN):
            return said({"auth_token": TOKEN})
        return answer(200, CSV)

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def say(self, status: int, body: bytes = b"", *headers: str) -> None:
        """Answer; by 4xx (but 408) and 503 the server vouches that it did nothing."""
        self.server.refused += (400 <= status < 500 and status != 408) or status == 503
        self.send(answer(status, body, *headers))

    def forever(self, *pieces: bytes, pause: float = 0.0) -> None:
        """Send the last of the pieces again and again, until the client goes away."""
        for piece in pieces[:-1]:
            self.send(piece)
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            self.send(pieces[-1])
            if pause and self.server.ended.wait(pause):
                return
        self.server.tired = True

    def hold(self) -> None:
        """Say nothing more until the client goes away."""
        self.socket.settimeout(PATIENCE)
        try:
            while self.socket.recv(65536):
                pass
        except TimeoutError:
            self.server.tired = True

    def tunnel(self) -> None:
        """Do what a proxy is asked to do by CONNECT: pass everything on, both ways."""
        host, _, port = self.path.partition(":")
        with socket.create_connection((host, int(port))) as behind:
            self.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
            there = threading.Thread(target=_pass_on, args=(self.socket, behind))
            there.start()
            _pass_on(behind, self.socket)
            there.join()

    def reset_unread(self) -> None:
        """Break the connection off when the request has come, but was not read."""
        self.socket.recv(1, socket.MSG_PEEK)
        self.reset()

    def reset(self) -> None:
        """Break the connection off: without a farewell, and without what was not sent yet."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)


Fault = Callable[[Wire], None]


class _Handler(BaseRequestHandler):
    server: Server

    def handle(self) -> None:
        wire = Wire(self.request, self.server)
        try:
            if self.server.tls is not None:
                wire.socket = self.server.tls.wrap_socket(self.request, server_side=True)
            if self.server.at_once or wire.read().startswith(self.server.faulty):
                self.server.fault(wire)
            elif wire.path:
                wire.send(wire.good())
        except (ConnectionError, ssl.SSLError):
            pass  # the client had enough
        finally:
            if wire.socket is not self.request:
                wire.socket.close()  # socketserver knows the socket without TLS alone


class Server(ThreadingTCPServer):
    """
    Answers as Crux Connect does, but for the calls that begin with one path.

    :param fault: what happens to those.
    :param faulty: how their path begins.
    :param at_once: whether the fault comes before anything was read, and so whatever was asked for.
    :param tls: certificate and key; ``None`` for plain http.
    :param scheme: what its URLs say; with ``tls`` it is https.
    """

    daemon_threads = False
    request_queue_size = 64

    def __init__(
        self,
        fault: Fault,
        faulty: str = "/",
        *,
        at_once: bool = False,
        tls: ssl.SSLContext | None = None,
        scheme: str = "http",
    ) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.fault, self.faulty, self.at_once, self.tls = fault, faulty, at_once, tls
        self.scheme = "https" if tls else scheme
        self.connections = 0
        self.taken = threading.Condition()
        self.came: list[str] = []
        self.refused = 0
        self.tired = False
        self.mistakes: list[BaseException | None] = []
        self.ended = threading.Event()

    def get_request(self) -> tuple[socket.socket, Any]:
        """Take a connection, and count it."""
        taken = super().get_request()
        with self.taken:
            self.connections += 1
            self.taken.notify_all()
        return taken

    def await_connections(self, number: int) -> None:
        """Wait until so many were taken: a client that gave up early may be gone before the server turns to it."""
        with self.taken:
            self.taken.wait_for(lambda: self.connections >= number, timeout=PATIENCE)

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.server_address[1]}"

    @property
    def file_url(self) -> str:
        return f"{self.url}{FILE}{UUID}.csv?X-Amz-Expires=600&X-Amz-Signature={SIGNATURE}"

    @property
    def may_have_started(self) -> int:
        """Return how many exports this server may have started."""
        return self.asked(EXPORT) - (self.refused if self.faulty == EXPORT else 0)

    def asked(self, path: str) -> int:
        """Return how many requests for a path came whole."""
        return sum(path_in(head).startswith(path) for head in self.came)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Keep a mistake in a fault for the test to see: the standard library would print it and go on."""
        self.mistakes.append(sys.exc_info()[1])


@contextmanager
def running(fault: Fault, faulty: str = "/", **options: Any) -> Iterator[Server]:
    """Run a server until the block ends."""
    server = Server(fault, faulty, **options)
    thread = threading.Thread(target=server.serve_forever, args=(0.005,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.ended.set()
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def nobody() -> Iterator[str]:
    """Give a URL at which nobody listens, and nobody will meanwhile."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


@contextmanager
def crowded() -> Iterator[str]:
    """Give a URL at which no further connection is taken, nor refused."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
