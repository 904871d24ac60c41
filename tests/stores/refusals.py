"""
Ways in which a store says no: keys that may do little, and a server that answers as Google's does.

A connection of these has an id of its own, because Airflow keeps the file system of an id as long as the process lives.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from copy import copy
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from threading import Thread
from typing import TYPE_CHECKING, Any, NamedTuple

from azure.storage.blob import ContainerSasPermissions, generate_container_sas

from tests.stores.servers import GoogleCloudStorage, connection_variable

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest

    from tests.stores.servers import Azure, Store

GOOGLE_MESSAGES = {
    401: "Invalid Credentials",
    403: "ada@loopback.iam.gserviceaccount.com does not have storage.objects.list access to the Google Cloud Storage "
    "bucket. Permission 'storage.objects.list' denied on resource (or it may not exist).",
    503: "Backend Error",
}


_numbers = count(1)


def connected(store: Store, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> Store:
    """Return the same store by another connection, whose fields differ from those of its own."""
    other = copy(store)
    other.conn_id = f"loopback_{next(_numbers)}"
    monkeypatch.setenv(*connection_variable(other, **changes))
    return other


def container_sas(azure: Azure, permissions: str) -> dict[str, str]:
    """Return the extra of a connection whose key is for what is in the one container only."""
    sas = generate_container_sas(
        azure.account,
        azure.container,
        account_key=azure.key,
        permission=ContainerSasPermissions.from_string(permissions),
        expiry=datetime.now(UTC) + timedelta(hours=1),
    )
    return {"connection_string": f"BlobEndpoint={azure.endpoint}/{azure.account};SharedAccessSignature={sas};"}


class RefusingGoogle(NamedTuple):
    """A server that answers every request as Google does."""

    store: GoogleCloudStorage
    paths: list[str]
    """What was requested."""


@contextmanager
def refusing_google(status: int) -> Iterator[RefusingGoogle]:
    """Run a server that answers every request with an error."""
    paths: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            paths.append(self.path)
            error = {"code": status, "message": GOOGLE_MESSAGES[status], "errors": [{"reason": "any"}]}
            body = json.dumps({"error": error}).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json; charset=UTF-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815 - the server finds it by this name

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield RefusingGoogle(GoogleCloudStorage(f"http://127.0.0.1:{server.server_port}"), paths)
        finally:
            server.shutdown()
