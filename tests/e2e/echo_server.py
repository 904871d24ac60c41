"""A server and proxy that rejects every request and repeats the received secret in its response."""

from __future__ import annotations

import contextlib
import html
import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import quote


class _EchoHandler(BaseHTTPRequestHandler):
    def _reject(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        proxy_credentials = self.headers.get("Proxy-Authorization")
        secret = proxy_credentials or self.headers.get("Authorization") or body
        # as received, in JSON, in JSON within JSON, as a bytes literal, URL-encoded, and HTML-encoded
        encodings = [secret, json.dumps(secret), json.dumps(json.dumps(secret)), str(secret.encode())]
        response = json.dumps({"you sent": [*encodings, quote(secret, safe=""), html.escape(secret)]}).encode()
        self.send_response(407 if proxy_credentials else 400, secret if secret.isascii() else None)
        self.send_header("Content-Type", f"application/json; you={quote(secret)}")
        self.send_header("Content-Length", str(len(response)))
        self.end_headers()
        self.wfile.write(response)

    do_GET = do_POST = do_CONNECT = _reject  # noqa: N815 - names that http.server requires

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@contextlib.contextmanager
def echo_server() -> Iterator[str]:
    """Run the server on loopback until the block ends; the value is its host and port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _EchoHandler)
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, name="echo-server", daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
