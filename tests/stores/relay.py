"""
A relay on loopback before an emulator: it records the requests, and answers some of them as another server would.

:func:`google_conditions` does what fake-gcs-server 1.54.0 leaves out, and what Google Cloud Storage does with a
condition for a resumable upload: it accepts the request that begins the upload, repeats the condition in the URL of the
upload, and evaluates it when the upload is completed (googleapis/google-cloud-java#201, fsouza/fake-gcs-server#1967 and
#2260).
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

_HOP_BY_HOP = {"connection", "content-length", "date", "server", "transfer-encoding"}


@dataclass(frozen=True)
class Response:
    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name), None)


@dataclass(frozen=True)
class Request:
    """A request. Its path contains the query; the names of its headers are in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def query(self) -> dict[str, str]:
        return {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}


Send = Callable[[Request], Response]
"""Sends a request on to the emulator, and returns its response."""

Behavior = Callable[[Request, Send], Response]
"""What a relay does with a request."""


def pass_on(request: Request, send: Send) -> Response:
    return send(request)


class Relay(ThreadingHTTPServer):
    """
    Passes requests on to a server.

    :param target: the URL of the server.
    :param behavior: what happens to a request.
    """

    daemon_threads = True

    def __init__(self, target: str, behavior: Behavior = pass_on) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.target, self.behavior = target, behavior
        self.requests: list[Request] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def send(self, request: Request) -> Response:
        connection = HTTPConnection(urlsplit(self.target).netloc)
        try:
            connection.request(request.method, request.path, request.body, request.headers)
            response = connection.getresponse()
            body = response.read()
        finally:
            connection.close()
        headers = tuple((name, value.replace(self.target, self.url)) for name, value in response.getheaders())
        return Response(response.status, headers, body)


class _Handler(BaseHTTPRequestHandler):
    server: Relay
    protocol_version = "HTTP/1.1"

    def relay(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.command, self.path, headers, self.rfile.read(int(headers.get("content-length", 0))))
        self.server.requests.append(request)
        response = self.server.behavior(request, self.server.send)
        self.send_response(response.status)
        for name, value in response.headers:
            if name.lower() not in _HOP_BY_HOP:
                self.send_header(name, value)
        length = response.header("content-length") if self.command == "HEAD" else None
        self.send_header("Content-Length", length or str(len(response.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(response.body)

    do_DELETE = do_GET = do_HEAD = do_PATCH = do_POST = do_PUT = relay  # noqa: N815 - http.server's names

    def log_message(self, *_: Any) -> None:
        """Print nothing."""


@contextmanager
def relay(target: str, behavior: Behavior = pass_on) -> Iterator[Relay]:
    """Run a relay until the block ends."""
    server = Relay(target, behavior)
    thread = threading.Thread(target=server.serve_forever, args=(0.005,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


_completing = threading.Lock()


def google_conditions(request: Request, send: Send) -> Response:
    """Evaluate ``ifGenerationMatch=0`` of a resumable upload when it is completed."""
    query = request.query
    if "/upload/" not in request.path or query.get("ifGenerationMatch") != "0" or "uploadType" not in query:
        return send(request)
    if "upload_id" not in query:
        response = send(request)
        headers = [
            (name, f"{value}&ifGenerationMatch=0" if name.lower() == "location" else value)
            for name, value in response.headers
        ]
        return Response(response.status, tuple(headers), response.body)
    if request.headers.get("content-range", "").endswith("/*"):  # not the last one
        return send(request)
    with _completing:
        return precondition_failed() if _exists(query["name"], request, send) else send(request)


def _exists(name: str, request: Request, send: Send) -> bool:
    (bucket,) = re.findall(r"/b/([^/]+)/o", request.path)
    path = f"/storage/v1/b/{bucket}/o/{quote(name, safe='')}"
    return send(Request("GET", path, {"host": request.headers["host"]}, b"")).status == 200


def precondition_failed() -> Response:
    return google_error(412, "At least one of the pre-conditions you specified did not hold.")


def google_error(status: int, message: str) -> Response:
    """Return an error as Google Cloud Storage does."""
    body = json.dumps({"error": {"code": status, "message": message, "errors": [{"reason": "any"}]}}).encode()
    return Response(status, (("Content-Type", "application/json; charset=UTF-8"),), body)
