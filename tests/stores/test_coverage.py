"""Coverage of a folder in every store: what fails, what is a gap, and what other clients change meanwhile."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, ObjectStoragePath

from airflow_provider_crux.transfers.crux_to_object_storage import CruxExportToObjectStorageOperator
from tests.manifests import manifest, manifest_name
from tests.operators.lake import find_gaps
from tests.stores.refusals import connected, container_sas
from tests.stores.servers import Disk
from tests.transfers.transfer import INTERVAL, context_with, done_uuid, make_operator

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_crux.sandbox.state import Sandbox
    from tests.stores.servers import Azure, Store

__all__ = ["context_with", "done_uuid", "find_gaps"]

DAYS = [datetime(2026, 1, day, tzinfo=UTC) for day in range(1, 7)]
TIME = {"since": DAYS[0], "until": DAYS[5]}
ALL = [(DAYS[0], DAYS[5])]
DAY_4 = "orders/2026-01-04.csv"

with_containers = pytest.mark.parametrize("running_store", ["azure", "gcs", "s3"], indirect=True, scope="session")
on_azure = pytest.mark.parametrize("running_store", ["azure"], indirect=True, scope="session")


def put_day(store: Store, host: str, day: int, *, end: datetime | None = None) -> None:
    """Let another client store the file of a day and its manifest, or replace them."""
    start = DAYS[day - 1]
    name = f"orders/{start:%Y-%m-%d}.csv"
    content = manifest(start, end or DAYS[day], host=host)
    store.put(name, b"12345678")
    store.put(manifest_name(name), json.dumps(content).encode())


def fill_caches(*urls: str) -> None:
    """List everything, as another task of the process does: fsspec keeps these listings."""
    for url in urls:
        folder = ObjectStoragePath(url)
        folder.fs.find(folder.path)
        folder.fs.ls(folder.path)
        list(folder.iterdir())


@pytest.fixture
def host(held_sandbox: Sandbox) -> str:
    return held_sandbox.url.removeprefix("http://")


@pytest.fixture
def store_day_4(done_uuid: str, context_with):
    """Return a function that runs the task that stores the export of a day, with or without a manifest."""

    def execute(url: str, **arguments: Any) -> str:
        operator = make_operator(done_uuid, url, **arguments)
        operator.upstream_task_ids.add("export")
        return operator.execute(context_with({"export_uuid": done_uuid, **INTERVAL}))

    return execute


@pytest.mark.usefixtures("host")
@pytest.mark.parametrize("key", ["", "orders/", "orders/2026"])
@with_containers
def test_a_container_that_does_not_exist_fails_the_task(store: Store, find_gaps, key: str) -> None:
    word = "container" if store.name == "azure" else "bucket"
    with pytest.raises(AirflowFailException) as caught:
        find_gaps(store.url(key, "no-such-container"), **TIME)
    url = store.url(key, "no-such-container")
    assert str(caught.value) in {
        f"path: {path!r}: the {word} 'no-such-container' does not exist; create it, or correct the path"
        for path in (url, url.rstrip("/"))
    }


@pytest.mark.usefixtures("host")
@pytest.mark.parametrize("key", ["", "orders/", "orders/2026"])
def test_in_a_folder_that_does_not_exist_everything_is_missing(store: Store, find_gaps, key: str) -> None:
    assert find_gaps(store.url(key), **TIME)[0] == ALL


@pytest.mark.usefixtures("host")
@on_azure
def test_a_key_for_one_container_is_enough(store: Azure, find_gaps, monkeypatch) -> None:
    """It cannot read the properties of the container, so they cannot tell whether it exists."""
    limited = connected(store, monkeypatch, extra=container_sas(store, "rwdl"))
    assert find_gaps(limited.url("orders/"), **TIME)[0] == ALL


@pytest.mark.usefixtures("host")
@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize("name", ["a.csv", "orders/2026/a.csv"])
def test_a_file_instead_of_a_folder_fails_the_task(store: Store, find_gaps, name: str, slash: str) -> None:
    store.put(name, b"12345678")
    with pytest.raises(AirflowFailException, match=rf"path: .*{name}/?' is a file; use the folder that holds the fil"):
        find_gaps(store.url(f"{name}{slash}"), **TIME)


@pytest.mark.parametrize("another", [False, True], ids=["one connection", "two connections"])
def test_what_other_clients_change_is_seen_in_the_same_process(
    store: Store, host: str, find_gaps, store_day_4, monkeypatch, *, another: bool
) -> None:
    folder = store.url("orders/")
    store_folder = connected(store, monkeypatch).url("orders/") if another else folder
    put_day(store, host, 1)
    put_day(store, host, 2)
    assert find_gaps(folder, **TIME)[0] == [(DAYS[2], DAYS[5])]

    fill_caches(folder, store_folder)
    store.delete("orders/2026-01-01.csv")
    put_day(store, host, 2, end=DAYS[1] + timedelta(hours=12))
    put_day(store, host, 3)
    store_day_4(f"{store_folder}2026-01-04.csv", manifest=True)
    assert find_gaps(folder, **TIME)[0] == [
        (DAYS[0], DAYS[1]),
        (DAYS[1] + timedelta(hours=12), DAYS[2]),
        (DAYS[4], DAYS[5]),
    ]

    fill_caches(folder, store_folder)
    store.put(DAY_4, b"longer" + store.content(DAY_4))
    assert find_gaps(folder, **TIME)[0][-1] == (DAYS[3], DAYS[5])
    store_day_4(f"{store_folder}2026-01-04.csv", manifest=True, overwrite=True)
    assert find_gaps(folder, **TIME)[0][-1] == (DAYS[4], DAYS[5])


def test_a_file_that_another_client_stored_after_a_listing_exists(
    store: Store, host: str, store_day_4, held_sandbox: Sandbox
) -> None:
    put_day(store, host, 1)
    fill_caches(store.url("orders/"))
    put_day(store, host, 4)
    with pytest.raises(AirflowFailException, match="already exists; set overwrite=True"):
        store_day_4(store.url(DAY_4))
    assert not [entry for entry in held_sandbox.requests if entry["path"].startswith("/sandbox-files/")]


def test_a_manifest_that_another_client_stores_during_the_download_is_removed(
    store: Store, host: str, store_day_4, monkeypatch
) -> None:
    """Meanwhile, another task of the process has listed the folder."""
    put_day(store, host, 1)
    chunks = CruxExportToObjectStorageOperator._stop_when_killed

    def chunks_and_another_client(operator: object, *arguments: Any) -> Iterator[bytes]:
        yield from chunks(operator, *arguments)
        fill_caches(store.url("orders/"))
        put_day(store, host, 4)

    monkeypatch.setattr(CruxExportToObjectStorageOperator, "_stop_when_killed", chunks_and_another_client)
    store_day_4(store.url(DAY_4), overwrite=True)
    assert store.names() == ["orders/2026-01-01.csv", DAY_4, manifest_name("orders/2026-01-01.csv")]


@pytest.mark.usefixtures("host")
def test_a_file_that_another_client_replaced_by_a_folder_is_listed(store: Store, host: str, find_gaps) -> None:
    store.put("orders", b"12345678")
    fill_caches(store.url(""))
    store.delete("orders")
    put_day(store, host, 1)
    assert find_gaps(store.url("orders/"), **TIME)[0] == [(DAYS[1], DAYS[5])]


# not on the emulator of Google, which keeps objects as files: a folder stays a folder
@pytest.mark.parametrize("running_store", ["azure", "s3", "disk"], indirect=True, scope="session")
def test_a_folder_that_another_client_removed_after_a_listing_is_no_folder(store: Store, store_day_4) -> None:
    store.put(f"{DAY_4}/a.csv", b"12345678")
    fill_caches(store.url("orders/"), store.url(f"{DAY_4}/"))
    with pytest.raises(AirflowFailException, match="is a folder; use the path of a file"):
        store_day_4(store.url(DAY_4))
    fill_caches(store.url("orders/"), store.url(f"{DAY_4}/"))
    store.delete(f"{DAY_4}/a.csv")
    if isinstance(store, Disk):
        (store.folder / DAY_4).rmdir()
    store_day_4(store.url(DAY_4))
    assert store.names() == [DAY_4]
