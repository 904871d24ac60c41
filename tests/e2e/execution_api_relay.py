"""A relay between the tasks of Airflow 3 and the execution API, which makes the API fail for chosen tries."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

_RUN_PATH = re.compile(r"/task-instances/([0-9a-f-]{36})/run$")
_RECORD_PATH = re.compile(r"/(variables|store/ti)/.*crux_export")
_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length"}


@dataclass(frozen=True)
class Fault:
    """
    What one try of a DAG's only task gets instead of its record, for as long as the try lasts.

    :param try_number: 1 for the first try.
    :param method: of the requests that fail: GET reads the record, PUT saves it.
    :param status: of the response.
    """

    try_number: int
    method: str
    status: int


@dataclass
class ExecutionApiRelay:
    """
    The relay's state.

    :param url: URL of the relay, for the setting ``[core] execution_api_server_url``.
    :param faults: by DAG. Each DAG has one task, which does not defer.
    :ivar api_url: URL of the API server, once it is known.
    :ivar failed: how many requests were answered with a fault, by DAG.
    """

    url: str
    faults: dict[str, Fault]
    api_url: str = ""
    failed: dict[str, int] = field(default_factory=dict)
    _tries: dict[str, list[str]] = field(default_factory=dict)

    def add_try(self, dag_id: str, task_instance_id: str) -> None:
        """Note that a try starts. Airflow 3 gives each one an ID of its own."""
        ids = self._tries.setdefault(dag_id, [])
        if task_instance_id not in ids:  # a request that was repeated
            ids.append(task_instance_id)

    def fault_status(self, method: str, path: str, token: str) -> int | None:
        """Return the status of the fault with which a request is answered."""
        if not _RECORD_PATH.search(path):
            return None
        task_instance_id = _subject(token)
        for dag_id, fault in self.faults.items():
            ids = self._tries.get(dag_id, [])
            if task_instance_id in ids[fault.try_number - 1 : fault.try_number] and method == fault.method:
                self.failed[dag_id] = self.failed.get(dag_id, 0) + 1
                return fault.status
        return None


def _subject(token: str) -> str:
    """Return for whom Airflow issued a token: the ID of a task instance."""
    payload = token.split(".")[1]
    return str(json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["sub"])


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def _relay(self) -> None:
        relay = self.server.relay
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        status = relay.fault_status(self.command, self.path, token)
        if status is not None:
            detail = {"reason": "not_found"} if status == 404 else "a fault of this test"
            self._respond(status, {"Content-Type": "application/json"}, json.dumps({"detail": detail}).encode())
            return
        connection = http.client.HTTPConnection(urlsplit(relay.api_url).netloc, timeout=60)
        with contextlib.closing(connection):
            # without Accept-Encoding, because it reads a response
            headers = {name: value for name, value in self.headers.items() if name.lower() != "accept-encoding"}
            connection.request(self.command, self.path, body, headers)
            response = connection.getresponse()
            content = response.read()
        started = _RUN_PATH.search(self.path)
        if started and response.status == 200:
            relay.add_try(json.loads(content)["dag_run"]["dag_id"], started[1])
        self._respond(response.status, dict(response.getheaders()), content)

    def _respond(self, status: int, headers: dict[str, Any], body: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() not in _HOP_BY_HOP:
                self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _relay  # noqa: N815 - names that http.server requires

    def log_message(self, *_: object) -> None:
        """Print nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    relay: ExecutionApiRelay


@contextlib.contextmanager
def execution_api_relay(faults: dict[str, Fault]) -> Iterator[ExecutionApiRelay]:
    """Run the relay on loopback until the block ends."""
    server = _Server(("127.0.0.1", 0), _Handler)
    server.relay = ExecutionApiRelay(f"http://127.0.0.1:{server.server_port}/execution/", faults)
    thread = Thread(target=server.serve_forever, name="execution-api-relay", daemon=True)
    thread.start()
    try:
        yield server.relay
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
