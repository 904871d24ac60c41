"""Each test with the argument ``store`` runs on every kind of store, each empty, with an Airflow connection to it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.stores.servers import Disk, Store, connection_variable, running_azurite, running_gcs, running_s3
from tests.transfers.transfer import context, context_with

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["context", "context_with"]

# Before gcsfs opens a file, it asks by gRPC for the kind of the bucket. The emulator speaks no gRPC: it waits a minute.
os.environ["GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT"] = "false"

SERVERS = {"azure": running_azurite, "gcs": running_gcs, "s3": running_s3}


@pytest.fixture(scope="session", params=[*SERVERS, "disk"])
def running_store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    if request.param == "disk":
        yield Disk(str(tmp_path_factory.mktemp("disk")))
    else:
        with SERVERS[request.param]() as store:
            yield store


@pytest.fixture
def store(running_store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Store]:
    """Return a store with an empty container."""
    if isinstance(running_store, Disk):
        running_store = Disk(str(tmp_path))
    else:
        monkeypatch.setenv(*connection_variable(running_store))
    running_store.create_container(running_store.container)
    yield running_store
    running_store.delete_container(running_store.container)
