"""
A server that costs next to nothing, so that what is measured is the client: it answers without looking at much.

Run as a process of its own: ``python -m benchmarks.server LATENCY LOOKS`` prints its port. Every answer comes LATENCY
seconds after its request. Whatever is looked at is done at its LOOKS-th look.
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

from benchmarks import fresh

UUID_OF_EXPORT = str(UUID(int=1))
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


class Server(asyncio.Protocol):
    """One connection; the counts are those of all."""

    latency = 0.0
    looks = 1
    counts: ClassVar[Counter[str]] = Counter()
    seen: ClassVar[Counter[str]] = Counter()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where to answer."""
        self.transport = transport
        self.received = b""
        self.counts["connections"] += 1

    def data_received(self, data: bytes) -> None:
        """ApiResponse what has come whole."""
        self.received += data
        head, end, rest = self.received.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if not end or (length and len(rest) < int(length[1])):
            return
        self.received = b""
        _, path, _ = head.partition(b"\r\n")[0].decode().split(" ")
        status, content = self.answer(path)
        body = json.dumps(content).encode()
        answer = (
            f"HTTP/1.1 {status} -\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
        if path == "/counts":
            self.transport.write(answer)  # type: ignore[attr-defined]
        else:
            asyncio.get_running_loop().call_later(self.latency, self.transport.write, answer)  # type: ignore[attr-defined]

    def answer(self, path: str) -> tuple[int, object]:
        """Return status and content: as Crux Connect, dbt Cloud, or a service that is not ready (404)."""
        if path == "/counts":
            return 200, self.counts
        self.counts[kind := path.split("/")[2]] += 1
        if kind == "organizations":
            return 200, {"auth_token": "only-for-this-benchmark"}
        if kind == "orders":
            return 200, {"uuid": UUID_OF_EXPORT}
        self.seen[path] += 1
        self.counts["looks"] += 1
        done = self.seen[path] >= self.looks
        if kind == "data":
            uuid = path.split("/")[4]
            url = f"https://files.example/{uuid}.csv?X-Amz-Signature=0"
            return 200, {"uuid": uuid, "status": "complete" if done else "pending", "url": url if done else None}
        if kind == "v2":
            return 200, {"data": {"status": 10 if done else 3}}
        return (200 if done else 404), {}


@contextlib.contextmanager
def running(*, latency: float = 0.0, looks: int = 1) -> Iterator[str]:
    """Run the server in another process and give its URL."""
    with fresh.serving("-m", "benchmarks.server", str(latency), str(looks)) as port:
        yield f"http://127.0.0.1:{port}"


def counts(url: str) -> Counter[str]:
    """Return what a running server has counted."""
    return Counter(requests.get(f"{url}/counts", timeout=60).json())


async def main() -> None:
    """Serve until the process is ended."""
    Server.latency, Server.looks = float(sys.argv[1]), int(sys.argv[2])
    server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
