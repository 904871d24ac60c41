"""Every case of docs/evidence/stores.md: a task stores an export, and something happens."""

from __future__ import annotations

import gc
import gzip
import io
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet
import pytest
from airflow.exceptions import AirflowException
from airflow.providers.common.compat.sdk import AirflowFailException, ObjectStoragePath

from airflow_provider_crux.exceptions import CruxTransientError, CruxUnavailableError
from airflow_provider_crux.files.atomic_write import atomic_write
from tests.raw_server import FILE_PATH, TOKEN, UUID, Connection, RawServer, raw_server
from tests.stores.table import (
    ANOTHER_TASK,
    CASES,
    CUT,
    KILLED,
    NO_FILE,
    OTHERS_STAYS,
    PAGE,
    SIZES,
    STAYS,
    WHOLE,
    Case,
    page,
)
from tests.transfers.transfer import ROW, csv_file, make_operator

if TYPE_CHECKING:
    from tests.stores.servers import Store

# starts processes
pytestmark = pytest.mark.slow

KEY = "orders/2026-01-02.csv"
MANIFEST = "orders/_2026-01-02.csv.manifest.json"
OLD, THEIRS = b"old", b"theirs"
OLD_MANIFEST, THEIR_MANIFEST = b'{"of": "old"}', b'{"of": "theirs"}'


def orders(size: int) -> bytes:
    header, row = csv_file(), csv_file(ROW)[len(csv_file()) :]
    return header + row * (1 + (size - len(header)) // len(row))


CONTENTS = {name: orders(size) for name, size in SIZES.items()}


@contextmanager
def serving(
    connect: Any, content: bytes, then: Callable[[], bool] | None = None, after: int = 0
) -> Iterator[RawServer]:
    """
    Serve a done export.

    :param then: what happens after ``after`` bytes of its file; returns whether the rest follows.
    """

    def send(connection: Connection) -> None:
        head = (
            f"HTTP/1.1 200 OK\r\nContent-Type: text/csv\r\nContent-Length: {len(content)}\r\nConnection: close\r\n\r\n"
        )
        connection.send(head.encode() + content[:after])
        if then is None or then():
            connection.send(content[after:])

    with raw_server(send, FILE_PATH) as server:
        connect(host=server.url, password=TOKEN, extra={"max_retries": 0})
        yield server


def await_unfinished_upload(store: Store) -> None:
    """Wait until the store has a part of the file. Google Cloud Storage does not tell."""
    while store.name != "gcs" and not store.unfinished():
        pass


TASK = """
import sys
from types import SimpleNamespace
from airflow_provider_crux.transfers.crux_to_object_storage import CruxExportToObjectStorageOperator

uuid, path, overwrite, manifest = sys.argv[1:]
operator = CruxExportToObjectStorageOperator(
    task_id="store", export_uuid=uuid, path=path, overwrite=overwrite == "True", manifest=manifest == "True"
)
task_instance = SimpleNamespace(dag_id="d", run_id="r", map_index=-1)
operator.execute({"ti": task_instance})
"""


def run_and_kill(case: Case, store: Store, connect: Any, content: bytes, manifest: bool) -> None:
    tasks: list[subprocess.Popen[bytes]] = []

    def kill() -> bool:
        await_unfinished_upload(store)
        tasks[0].kill()
        return False

    with serving(connect, content, kill, case.after or 0):
        command = [sys.executable, "-c", TASK, UUID, store.url(KEY), str(case.overwrite), str(manifest)]
        with subprocess.Popen(command) as task:
            tasks.append(task)
        assert task.returncode == -9


def run(case: Case, store: Store, connect: Any, context: Any, content: bytes, manifest: bool) -> RawServer:
    """Run the task, which raises what it raises."""

    def happen() -> bool:
        if case.event == ANOTHER_TASK:
            if len(content) > SIZES["12 KB"] * 2 and store.name == "azure":
                await_unfinished_upload(store)  # only then does it matter to Azure
            # like a task does it: Azure's own client may send a small file at once, which drops no blocks on Azurite
            with atomic_write(ObjectStoragePath(store.url(KEY))) as file:
                file.write(THEIRS)
            if manifest:
                store.put(MANIFEST, THEIR_MANIFEST)
        return case.event != CUT

    after = len(content) * 9 // 10 if case.after is None else case.after
    with serving(connect, content, happen, after) as server:
        result = make_operator(UUID, store.url(KEY), overwrite=case.overwrite, manifest=manifest).execute(context)
    assert result == store.url(KEY)
    return server


ERRORS = {
    (CUT, NO_FILE): (CruxUnavailableError, "Nothing was stored"),
    (CUT, STAYS): (CruxUnavailableError, "Nothing was stored"),
    (ANOTHER_TASK, OTHERS_STAYS): (AirflowFailException, "already exists; set overwrite=True"),
}


def runs() -> Iterator[Any]:
    for case in CASES:
        for size in case.sizes:
            both = size == "12 KB" and (case.older or case.event == ANOTHER_TASK)
            for manifest in (False, True) if both else (case.older and case.event in (CUT, KILLED),):
                yield pytest.param(case, size, manifest, id=f"{case}, {size}{', manifest' * manifest}")


@pytest.mark.parametrize(("case", "size", "manifest"), list(runs()))
def test_a_file_is_stored_completely_or_not_at_all(
    store: Store, connect: Any, context: Any, case: Case, size: str, manifest: bool
) -> None:
    content, result = CONTENTS[size], case.result_on(store.name, size)
    if case.older:
        store.put(KEY, OLD)
        if manifest:
            store.put(MANIFEST, OLD_MANIFEST)

    if case.event == KILLED:
        run_and_kill(case, store, connect, content, manifest)
    elif result == WHOLE:
        run(case, store, connect, context, content, manifest)
    else:
        error, message = ERRORS.get((case.event, result), (AirflowFailException, "already exists; set overwrite=True"))
        if case.event == ANOTHER_TASK and case.overwrite:
            error, message = CruxTransientError, "Another task stored .* during this upload.* A retry replaces it"
        with pytest.raises(error, match=message) as caught:
            run(case, store, connect, context, content, manifest)
        # Airflow retries what a retry can fix
        assert isinstance(caught.value, AirflowException) == (error is AirflowFailException)
        del caught
    gc.collect()  # a file that is still open would complete its upload now

    files = {WHOLE: (content, None), STAYS: (OLD, OLD_MANIFEST), OTHERS_STAYS: (THEIRS, THEIR_MANIFEST)}
    if result == NO_FILE:
        assert store.names() == []
    else:
        expected, its_manifest = files[result]
        assert store.content(KEY) == expected
        assert set(store.names()) <= {KEY, MANIFEST} if manifest else store.names() == [KEY]
        if manifest and result == WHOLE:
            assert json.loads(store.content(MANIFEST))["bytes"] == len(content)
        elif manifest and case.event == ANOTHER_TASK and case.overwrite:
            assert MANIFEST not in store.names()  # which only means that the interval is exported again
        elif manifest:
            assert store.content(MANIFEST) == its_manifest
    left = store.name in case.left and store.name != "gcs"
    if case.event != ANOTHER_TASK:
        assert [name.rpartition("/")[0] for name in store.unfinished()] == ["orders"] * left

    if result != WHOLE:
        with serving(connect, content):
            make_operator(UUID, store.url(KEY), overwrite=True, manifest=manifest).execute(context)
        assert store.content(KEY) == content
        assert bool(store.unfinished()) == (left and store.name != "azure")


@pytest.mark.parametrize(
    ("arguments", "read"),
    [
        ({}, lambda stored: stored),
        ({"compression": "gzip"}, gzip.decompress),
        ({"file_format": "parquet"}, lambda stored: pyarrow.parquet.read_table(io.BytesIO(stored)).num_rows),
    ],
    ids=["csv", "gzip", "parquet"],
)
@pytest.mark.parametrize("size", SIZES)
def test_every_format_is_stored_whole(store: Store, connect: Any, context: Any, size: str, arguments, read) -> None:
    content = CONTENTS[size]
    with serving(connect, content):
        make_operator(UUID, store.url(KEY), **arguments).execute(context)
    assert store.names() == [KEY]
    assert read(store.content(KEY)) in (content, content.count(b"\r\n") - 1)
    assert store.unfinished() == []


def test_the_committed_page_is_that_of_the_cases() -> None:
    assert PAGE.read_text() == page(), "run python -m tests.stores.table, and read the difference"


def test_nothing_is_downloaded_if_the_file_exists(store: Store, connect: Any, context: Any) -> None:
    store.put(KEY, OLD)
    with serving(connect, CONTENTS["12 KB"]) as server:
        with pytest.raises(AirflowFailException, match="already exists"):
            make_operator(UUID, store.url(KEY)).execute(context)
        assert server.requests == []
