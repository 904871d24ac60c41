"""Places to write to, and a transfer as a task runs it."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import Asset, ObjectStoragePath
from upath import UPath

from airflow_provider_crux.api.orders import OrdersExportRequest
from airflow_provider_crux.hooks.crux import CruxHook
from tests.object_store import BUCKET, ObjectStore, running_s3, s3
from tests.transfers.places import KEY, Place
from tests.transfers.transfer import Transfer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from airflow_provider_crux.sandbox.state import Sandbox

__all__ = ["ObjectStore", "running_s3", "s3"]


@pytest.fixture
def on_disk(tmp_path: Path) -> Place:
    path = tmp_path / KEY

    def names() -> list[str]:
        return [str(entry.relative_to(tmp_path)) for entry in tmp_path.rglob("*") if entry.is_file()]

    return Place(ObjectStoragePath(str(path)), names, path.read_bytes)


@pytest.fixture
def in_s3(s3: ObjectStore) -> Place:
    path = ObjectStoragePath(f"s3://aws_loopback@{BUCKET}/{KEY}")
    return Place(path, s3.names, lambda: s3.content(KEY), s3.pending_uploads)


@pytest.fixture
def in_memory() -> Iterator[Place]:
    """Return a file system about which only one thing is known: it can rename."""
    path = UPath(f"memory:///exports/{KEY}")
    fs = path.fs
    yield Place(path, lambda: [name.removeprefix("/exports/") for name in fs.find("/")], lambda: fs.cat(path.path))
    with contextlib.suppress(FileNotFoundError):
        fs.rm("/exports", recursive=True)


@pytest.fixture(params=["on_disk", "in_s3", "in_memory"])
def place(request: pytest.FixtureRequest) -> Place:
    return request.getfixturevalue(request.param)


class OutletEvents:
    """Airflow's accessor of asset events by asset. It uses URIs, because below 3.2 an asset has no hash."""

    def __init__(self) -> None:
        self.by_uri: dict[str, Any] = {}

    def __getitem__(self, asset: Asset) -> Any:
        return self.by_uri.setdefault(asset.uri, SimpleNamespace(extra={"mine": 1}))


@pytest.fixture
def done_uuid(held_sandbox: Sandbox) -> str:
    """Request the orders of one day, finish the export, and return its UUID."""
    day = OrdersExportRequest(start_date=datetime(2026, 1, 4, tzinfo=UTC), end_date=datetime(2026, 1, 5, tzinfo=UTC))
    uuid = CruxHook().export_orders(day)
    held_sandbox.finish_export(uuid)
    return uuid


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "lake" / "orders.csv"


@pytest.fixture
def context_with(make_context) -> Callable[..., dict[str, Any]]:
    """Return a function that makes a context; its arguments are what upstream tasks pushed."""
    return lambda *upstream: make_context(upstream=upstream, outlet_events=OutletEvents())


@pytest.fixture
def context(context_with) -> dict[str, Any]:
    return context_with()


@pytest.fixture
def transfer(held_sandbox: Sandbox, done_uuid: str, target: Path, context_with) -> Transfer:
    return Transfer(held_sandbox, done_uuid, target, context_with)
