"""A server, or proxy, that refuses everything and repeats in its answer every secret that it was sent."""

from __future__ import annotations

import contextlib
import html
import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import quote


class _Repeats(BaseHTTPRequestHandler):
    def _refuse(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        through_proxy = self.headers.get("Proxy-Authorization")
        secret = through_proxy or self.headers.get("Authorization") or body
        # as it came, in JSON, in JSON within JSON, as bytes, for a URL, and for a page
        spelled = [secret, json.dumps(secret), json.dumps(json.dumps(secret)), str(secret.encode())]
        answer = json.dumps({"you sent": [*spelled, quote(secret, safe=""), html.escape(secret)]}).encode()
        self.send_response(407 if through_proxy else 400, secret if secret.isascii() else None)
        self.send_header("Content-Type", f"application/json; you={quote(secret)}")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_GET = do_POST = do_CONNECT = _refuse  # noqa: N815 - as http.server has it

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@contextlib.contextmanager
def repeating_server() -> Iterator[str]:
    """Run it on loopback for the length of the block, and give its host and port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Repeats)
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, name="repeating-server", daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
