"""
Ways in which a store says no: keys that may do little, and a server that answers as Google's does.

A connection of these has an id of its own, because Airflow keeps the file system of an id as long as the process lives.
"""

from __future__ import annotations

from contextlib import contextmanager
from copy import copy
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import TYPE_CHECKING, Any, NamedTuple

from azure.storage.blob import ContainerSasPermissions, generate_container_sas

from tests.stores.relay import google_error, relay
from tests.stores.servers import GoogleCloudStorage, connection_variable

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest

    from tests.stores.relay import Request
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
    requests: list[Request]


@contextmanager
def refusing_google(status: int) -> Iterator[RefusingGoogle]:
    """Run a server that answers every request with an error; it passes none on."""
    with relay("http://127.0.0.1:9", lambda *_: google_error(status, GOOGLE_MESSAGES[status])) as running:
        yield RefusingGoogle(GoogleCloudStorage(running.url), running.requests)
