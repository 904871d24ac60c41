"""
A server that costs almost no CPU time, so that the benchmarks measure the client. It reads only the path of a request.

It runs in its own process: ``python -m benchmarks.server LATENCY POLLS`` prints its port. Each response is sent LATENCY
seconds after its request. Each job is done at its POLLS-th poll.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import sys
from collections import Counter
from collections.abc import Iterator
from typing import ClassVar
from uuid import UUID

import requests

from benchmarks.subprocesses import running_server

EXPORT_UUID = str(UUID(int=1))
_CONTENT_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


class Server(asyncio.Protocol):
    """Serves one connection. The counters are shared by all connections."""

    latency = 0.0
    polls_until_done = 1
    counts: ClassVar[Counter[str]] = Counter()
    polls_by_path: ClassVar[Counter[str]] = Counter()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport for the responses."""
        self.transport = transport
        self.received = b""
        self.counts["connections"] += 1

    def data_received(self, data: bytes) -> None:
        """Respond if the request is complete."""
        self.received += data
        head, end, rest = self.received.partition(b"\r\n\r\n")
        length = _CONTENT_LENGTH.search(head)
        if not end or (length and len(rest) < int(length[1])):
            return
        self.received = b""
        _, path, _ = head.partition(b"\r\n")[0].decode().split(" ")
        status, content = self.response(path)
        body = json.dumps(content).encode()
        headers = f"Content-Type: application/json\r\nContent-Length: {len(body)}"
        response = f"HTTP/1.1 {status} -\r\n{headers}\r\n\r\n".encode() + body
        if path == "/counts":
            self.transport.write(response)  # type: ignore[attr-defined]
        else:
            asyncio.get_running_loop().call_later(self.latency, self.transport.write, response)  # type: ignore[attr-defined]

    def response(self, path: str) -> tuple[int, object]:
        """Return status and content, as Crux Connect, dbt Cloud, or a service that returns 404 until it is ready."""
        if path == "/counts":
            return 200, self.counts
        self.counts[kind := path.split("/")[2]] += 1
        if kind == "organizations":
            return 200, {"auth_token": "only-for-this-benchmark"}
        if kind == "orders":
            return 200, {"uuid": EXPORT_UUID}
        self.polls_by_path[path] += 1
        self.counts["polls"] += 1
        done = self.polls_by_path[path] >= self.polls_until_done
        if kind == "data":
            uuid = path.split("/")[4]
            url = f"https://files.example/{uuid}.csv?X-Amz-Signature=0"
            return 200, {"uuid": uuid, "status": "complete" if done else "pending", "url": url if done else None}
        if kind == "v2":
            return 200, {"data": {"status": 10 if done else 3}}
        return (200 if done else 404), {}


@contextlib.contextmanager
def running(*, latency: float = 0.0, polls: int = 1) -> Iterator[str]:
    """Run the server in another process. The value is its URL."""
    with running_server("-m", "benchmarks.server", str(latency), str(polls)) as port:
        yield f"http://127.0.0.1:{port}"


def counts(url: str) -> Counter[str]:
    """Return the counters of a running server."""
    return Counter(requests.get(f"{url}/counts", timeout=60).json())


async def main() -> None:
    """Serve until the process is killed."""
    Server.latency, Server.polls_until_done = float(sys.argv[1]), int(sys.argv[2])
    server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
