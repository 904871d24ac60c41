"""Every case of docs/evidence/stores.md: a task stores an export, and something happens."""

from __future__ import annotations

import gc
import gzip
import io
import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow.parquet
import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, ObjectStoragePath

from airflow_provider_crux.exceptions import CruxTransientError, CruxUnavailableError
from airflow_provider_crux.files.atomic_write import atomic_write
from tests.raw_server import FILE_PATH, TOKEN, UUID, Connection, RawServer, raw_server
from tests.stores.table import (
    ANOTHER_TASK,
    CASES,
    CUT,
    KILLED,
    MIB,
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


@dataclass
class Task:
    """A task that stores an export in :attr:`store`."""

    store: Store
    connect: Any
    context: Any

    @contextmanager
    def serving(
        self, content: bytes, then: Callable[[], bool] | None = None, after: int | None = None
    ) -> Iterator[RawServer]:
        """
        Serve a done export.

        :param then: what happens after ``after`` bytes of its file; returns whether the rest follows.
        """

        def send(connection: Connection) -> None:
            head = ["HTTP/1.1 200 OK", "Content-Type: text/csv", f"Content-Length: {len(content)}", "Connection: close"]
            connection.send("\r\n".join([*head, "", ""]).encode() + content[:after])
            if then is not None and then():
                connection.send(content[after:])

        with raw_server(send, FILE_PATH) as server:
            self.connect(host=server.url, password=TOKEN, extra={"max_retries": 0})
            yield server

    def execute(self, **arguments: Any) -> None:
        url = self.store.url(KEY)
        assert make_operator(UUID, url, **arguments).execute(self.context) == url

    def await_unfinished_upload(self) -> None:
        """Wait until the store has a part of the file. Google Cloud Storage does not tell."""
        while self.store.name != "gcs" and not self.store.unfinished():
            pass

    def run(self, case: Case, content: bytes, manifest: bool) -> None:
        """Run a case; what the task raises is raised."""

        def happen() -> bool:
            if case.event == ANOTHER_TASK:
                if self.store.name == "azure" and len(content) > MIB:
                    self.await_unfinished_upload()  # only then does it matter to Azure
                # As a task does it: Azure's own client sends a small file at once, which drops no blocks on Azurite.
                with atomic_write(ObjectStoragePath(self.store.url(KEY))) as file:
                    file.write(THEIRS)
                if manifest:
                    self.store.put(MANIFEST, THEIR_MANIFEST)
            return case.event != CUT

        with self.serving(content, happen, len(content) * 9 // 10 if case.after is None else case.after):
            self.execute(overwrite=case.overwrite, manifest=manifest)

    def run_and_kill(self, case: Case, content: bytes, manifest: bool) -> None:
        tasks: list[subprocess.Popen[bytes]] = []

        def kill() -> bool:
            self.await_unfinished_upload()
            tasks[0].kill()
            return False

        with self.serving(content, kill, case.after):
            command = [sys.executable, "-c", TASK, UUID, self.store.url(KEY), str(case.overwrite), str(manifest)]
            with subprocess.Popen(command) as process:
                tasks.append(process)
            assert process.returncode == -signal.SIGKILL


@pytest.fixture
def task(store: Store, connect: Any, context: Any) -> Task:
    return Task(store, connect, context)


def expected_error(case: Case) -> tuple[type[Exception], str]:
    if case.event == CUT:
        return CruxUnavailableError, "Nothing was stored"
    if case.event == ANOTHER_TASK and case.overwrite:
        return CruxTransientError, "Another task stored .* during this upload.* A retry replaces it"
    return AirflowFailException, "already exists; set overwrite=True"


def runs() -> Iterator[Any]:
    for case in CASES:
        for size in case.sizes:
            both = size == "12 KB" and (case.older or case.event == ANOTHER_TASK)
            for manifest in (False, True) if both else (case.older and case.event in (CUT, KILLED),):
                yield pytest.param(case, size, manifest, id=f"{case}, {size}{', manifest' * manifest}")


@pytest.mark.parametrize(("case", "size", "manifest"), list(runs()))
def test_a_file_is_stored_completely_or_not_at_all(task: Task, case: Case, size: str, manifest: bool) -> None:
    store, content, result = task.store, CONTENTS[size], case.result_on(task.store.name, size)
    if case.older:
        store.put(KEY, OLD)
        if manifest:
            store.put(MANIFEST, OLD_MANIFEST)
    if case.event == KILLED:
        task.run_and_kill(case, content, manifest)
    elif result == WHOLE:
        task.run(case, content, manifest)
    else:
        error, message = expected_error(case)
        with pytest.raises(error, match=message) as caught:
            task.run(case, content, manifest)
        del caught
    gc.collect()  # a file that is still open would complete its upload now

    files = {NO_FILE: {}, STAYS: {KEY: OLD}, OTHERS_STAYS: {KEY: THEIRS}, WHOLE: {KEY: content}}[result]
    stored = {name: store.content(name) for name in store.names()}
    described = stored.pop(MANIFEST, None)
    assert stored == files
    # If the other's manifest is already removed when Azure drops the upload, its interval is only exported again.
    kept = manifest and not (case.event == ANOTHER_TASK and case.overwrite)
    if result == WHOLE:
        assert (described is not None) == manifest
        assert described is None or json.loads(described)["bytes"] == len(content)
    else:
        assert described == ({STAYS: OLD_MANIFEST, OTHERS_STAYS: THEIR_MANIFEST}.get(result) if kept else None)

    left = store.name in case.left and store.name != "gcs"  # which cannot tell
    if case.event != ANOTHER_TASK:
        assert [name.rpartition("/")[0] for name in store.unfinished()] == ["orders"] * left
    with task.serving(content):
        task.execute(overwrite=True, manifest=manifest)
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
def test_every_format_is_stored_whole(task: Task, size: str, arguments: dict[str, Any], read: Any) -> None:
    content = CONTENTS[size]
    with task.serving(content):
        task.execute(**arguments)
    assert task.store.names() == [KEY]
    assert read(task.store.content(KEY)) in (content, content.count(b"\r\n") - 1)
    assert task.store.unfinished() == []


def test_nothing_is_downloaded_if_the_file_exists(task: Task) -> None:
    task.store.put(KEY, OLD)
    with task.serving(CONTENTS["12 KB"]) as server:
        with pytest.raises(AirflowFailException, match="already exists"):
            task.execute()
        assert server.requests == []


def test_the_committed_page_is_that_of_the_cases() -> None:
    assert PAGE.read_text() == page(), "run python -m tests.stores.table, and read the difference"
