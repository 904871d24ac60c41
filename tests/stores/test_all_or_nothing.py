"""What is at a path after each ending of a write, on every store."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import pytest
from airflow.providers.common.compat.sdk import ObjectStoragePath

from airflow_provider_crux.exceptions import CruxInvalidRequestError
from airflow_provider_crux.files.atomic_write import atomic_write

if TYPE_CHECKING:
    from tests.stores.servers import Store

MIB = 1024 * 1024
KEY = "orders/2026-01-02.csv"
CONTENTS = {"12 KB": b"0123456789ab" * 1000, "20 MiB": b"0123456789abcdef" * (20 * MIB // 16)}
contents = pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS)
overwrites = pytest.mark.parametrize("overwrite", [True, False], ids=["overwrite", "keep"])


def write(store: Store, content: bytes, *, overwrite: bool, key: str = KEY) -> None:
    with atomic_write(ObjectStoragePath(store.url(key)), overwrite=overwrite) as file:
        for start in range(0, len(content), MIB):
            file.write(content[start : start + MIB])


@contents
@overwrites
def test_a_file_is_stored(store: Store, overwrite: bool, content: bytes) -> None:
    write(store, content, overwrite=overwrite)
    assert (store.names(), store.unfinished()) == ([KEY], [])
    assert store.content(KEY) == content


@contents
def test_a_file_that_another_writer_stores_meanwhile_stays(store: Store, content: bytes) -> None:
    def write_while_another_does() -> None:
        with atomic_write(ObjectStoragePath(store.url(KEY)), overwrite=False) as file:
            file.write(content)
            store.put(KEY, b"theirs")

    with pytest.raises(CruxInvalidRequestError, match="already exists; set overwrite=True"):
        write_while_another_does()
    gc.collect()
    assert store.names() == [KEY]
    assert store.content(KEY) == b"theirs"


@contents
def test_the_store_itself_decides_about_a_file_that_another_writer_stores_at_the_last_moment(
    store: Store, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other writer is later than our last check."""
    target = ObjectStoragePath(store.url(KEY))
    check = "airflow_provider_crux.files.atomic_write._check_not_stored_meanwhile"
    monkeypatch.setattr(check, lambda _: store.put(KEY, b"theirs"))

    def write_once() -> None:
        with atomic_write(target, overwrite=False) as file:
            file.write(content)
            if store.name == "disk":  # which does not check
                store.put(KEY, b"theirs")

    with pytest.raises(CruxInvalidRequestError, match="already exists; set overwrite=True"):
        write_once()
    assert store.content(KEY) == b"theirs"


@contents
@pytest.mark.parametrize("older", [True, False], ids=["older file", "no file"])
@overwrites
def test_a_write_that_fails_leaves_what_was_there(store: Store, content: bytes, older: bool, overwrite: bool) -> None:
    if older:
        store.put(KEY, b"old")

    def fail() -> None:
        with atomic_write(ObjectStoragePath(store.url(KEY)), overwrite=overwrite) as file:
            file.write(content)
            raise ConnectionError("cut")

    with pytest.raises((ConnectionError, CruxInvalidRequestError)) as caught:
        fail()
    del caught
    gc.collect()
    assert store.names() == ([KEY] if older else [])
    assert not older or store.content(KEY) == b"old"
    if store.name != "azure":  # which drops them itself
        assert store.unfinished() == []
