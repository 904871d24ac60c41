"""The store itself decides whether a new object may be stored, as far as it can; if it cannot, we check."""

from __future__ import annotations

import gc
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import ObjectStoragePath

from airflow_provider_crux.exceptions import CruxInvalidRequestError
from airflow_provider_crux.files.atomic_write import atomic_write
from tests.stores.relay import Relay, Request, Response, Send, pass_on, precondition_failed, relay
from tests.stores.servers import S3, GoogleCloudStorage, Store, connection_variable
from tests.stores.test_all_or_nothing import CONTENTS, KEY, contents, overwrites, write

ALREADY_EXISTS = "already exists; set overwrite=True"


@pytest.fixture
def before(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Return a context manager that runs a relay before a store, and gives both, the store as seen through it."""

    @contextmanager
    def relayed(store: Store, behavior: Any) -> Iterator[tuple[Relay, Store]]:
        with relay(store.endpoint, behavior) as running:
            through = type(store)(running.url)
            # Airflow keeps the file system of each connection
            through.conn_id = f"relayed_{running.server_address[1]}"  # type: ignore[misc]
            monkeypatch.setenv(*connection_variable(through))
            yield running, through

    return relayed


def begins_upload(request: Request) -> bool:
    return request.query.get("uploadType") == "resumable" and "upload_id" not in request.query


def completes_upload(request: Request) -> bool:
    """Whether the request makes the object: the last part to Google, or what ends an upload to S3."""
    return (
        "upload_id" in request.query and not request.headers.get("content-range", "/*").endswith("/*")
    ) or request.headers.get("if-none-match") == "*"


@pytest.mark.parametrize("running_store", ["gcs"], indirect=True)
class TestGoogle:
    @contents
    @overwrites
    def test_the_request_that_begins_an_upload_has_the_condition_unless_we_overwrite(
        self, store: GoogleCloudStorage, before: Any, overwrite: bool, content: bytes
    ) -> None:
        with before(store, pass_on) as (running, through):
            write(through, content, overwrite=overwrite)
        (first,) = filter(begins_upload, running.requests)
        assert first.query.get("ifGenerationMatch") == (None if overwrite else "0")
        assert store.content(KEY) == content

    @contents
    @pytest.mark.parametrize("when", [begins_upload, completes_upload])
    def test_412_at_either_end_of_an_upload_means_that_the_file_exists(
        self, store: GoogleCloudStorage, before: Any, when: Callable[[Request], bool], content: bytes
    ) -> None:
        """Google responds at the end. The other task stores its file after our last check."""

        def refuse(request: Request, send: Send) -> Response:
            if not when(request):
                return send(request)
            store.put(KEY, b"theirs")
            return precondition_failed()

        with before(store, refuse) as (_, through), pytest.raises(CruxInvalidRequestError, match=ALREADY_EXISTS):
            write(through, content, overwrite=False)
        gc.collect()
        assert store.names() == [KEY]
        assert store.content(KEY) == b"theirs"


def s3_error(status: int, code: str) -> Response:
    """Return an error as most S3-compatible stores return it: it does not say which condition failed."""
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>from the relay</Message></Error>"
    return Response(status, (("Content-Type", "application/xml"),), body.encode())


@pytest.mark.parametrize("running_store", ["s3"], indirect=True)
class TestS3:
    @contents
    @overwrites
    def test_the_request_that_ends_an_upload_has_the_condition_unless_we_overwrite(
        self, store: S3, before: Any, overwrite: bool, content: bytes
    ) -> None:
        with before(store, pass_on) as (running, through):
            write(through, content, overwrite=overwrite)
        conditions = [request.headers.get("if-none-match") for request in running.requests]
        assert conditions.count("*") == (not overwrite)
        assert store.content(KEY) == content

    @contents
    def test_412_without_a_condition_means_that_the_file_exists(self, store: S3, before: Any, content: bytes) -> None:
        def refuse(request: Request, send: Send) -> Response:
            if not completes_upload(request):
                return send(request)
            store.put(KEY, b"theirs")
            return s3_error(412, "PreconditionFailed")

        with before(store, refuse) as (_, through), pytest.raises(CruxInvalidRequestError, match=ALREADY_EXISTS):
            write(through, content, overwrite=False)
        gc.collect()
        assert (store.content(KEY), store.unfinished()) == (b"theirs", [])

    @contents
    def test_another_invalid_request_is_raised_as_it_is(self, store: S3, before: Any, content: bytes) -> None:
        def refuse(request: Request, send: Send) -> Response:
            return s3_error(400, "InvalidArgument") if completes_upload(request) else send(request)

        with before(store, refuse) as (_, through), pytest.raises(OSError, match="from the relay"):
            write(through, content, overwrite=False)
        gc.collect()
        assert (store.names(), store.unfinished()) == ([], [])

    @contents
    @pytest.mark.parametrize("theirs", [True, False], ids=["file", "no file"])
    def test_a_store_without_conditions_is_checked(self, store: S3, before: Any, theirs: bool, content: bytes) -> None:
        def without_conditions(request: Request, send: Send) -> Response:
            return s3_error(501, "NotImplemented") if "if-none-match" in request.headers else send(request)

        with before(store, without_conditions) as (running, through):
            path = ObjectStoragePath(through.url(KEY))

            def write_once() -> None:
                with atomic_write(path, overwrite=False) as file:
                    file.write(content)
                    if theirs:
                        store.put(KEY, b"theirs")

            if theirs:
                with pytest.raises(CruxInvalidRequestError, match=ALREADY_EXISTS):
                    write_once()
            else:
                write_once()
                assert [request for request in running.requests if "if-none-match" in request.headers]
        gc.collect()
        assert store.content(KEY) == (b"theirs" if theirs else content)
        assert (store.names(), store.unfinished()) == ([KEY], [])

    def test_a_conflict_with_another_upload_is_raised_as_it_is_because_a_retry_may_help(
        self, store: S3, before: Any
    ) -> None:
        def conflict(request: Request, send: Send) -> Response:
            return s3_error(409, "ConditionalRequestConflict") if completes_upload(request) else send(request)

        with before(store, conflict) as (_, through), pytest.raises(OSError, match="from the relay"):
            write(through, CONTENTS["20 MiB"], overwrite=False)
        gc.collect()
        assert (store.names(), store.unfinished()) == ([], [])


@contents
@overwrites
@pytest.mark.parametrize("second_ends_first", [True, False], ids=["nested", "crossed"])
def test_of_two_tasks_that_overlap_on_one_path_one_stores_its_complete_file(
    store: Store, content: bytes, overwrite: bool, second_ends_first: bool
) -> None:
    bodies = [b"1" * len(content), b"2" * len(content)]
    path = ObjectStoragePath(store.url(KEY))
    writers = [atomic_write(path, overwrite=overwrite) for _ in bodies]
    files = [writer.__enter__() for writer in writers]
    for start in range(0, len(content), 1024 * 1024):
        for file, body in zip(files, bodies, strict=True):
            file.write(body[start : start + 1024 * 1024])
    first, last = (1, 0) if second_ends_first else (0, 1)
    writers[first].__exit__(None, None, None)
    large = len(content) > 8 * 1024 * 1024
    if overwrite and not (store.name == "azure" and large):
        writers[last].__exit__(None, None, None)
        first = last
    else:
        message = ALREADY_EXISTS
        if overwrite:  # Azure drops the parts of the other
            message = "Another task stored .* and Azure dropped the parts of this one.* A retry replaces it"
        with pytest.raises(Exception, match=message):
            writers[last].__exit__(None, None, None)
    del files
    gc.collect()
    assert store.names() == [KEY]
    assert store.content(KEY) == bodies[first]
    write(store, content, overwrite=True)  # a retry
    assert store.content(KEY) == content


FAILING = """
    import sys
    from airflow.providers.common.compat.sdk import ObjectStoragePath
    from airflow_provider_crux.files.atomic_write import atomic_write

    path, size, way = sys.argv[1:]
    kept = []  # until the interpreter exits

    def fail():
        with atomic_write(ObjectStoragePath(path)) as file:
            kept.append(file)
            file.write(b"x" * int(size))
            raise ValueError("failed on purpose")

    if way == "in a transaction":
        with ObjectStoragePath(path).fs.transaction:
            fail()
    fail()
"""


@pytest.mark.slow
@contents
@pytest.mark.parametrize("way", ["alone", "in a transaction"])
def test_a_write_that_fails_stores_nothing_when_the_process_ends(store: Store, content: bytes, way: str) -> None:
    """As gcsfs, adlfs and a transaction of fsspec would: their ``discard`` closes the file, or leaves that to later."""
    command = [sys.executable, "-c", textwrap.dedent(FAILING), store.url(KEY), str(len(content)), way]
    task = subprocess.run(command, check=False, capture_output=True, text=True)
    assert task.returncode == 1
    assert "ValueError: failed on purpose" in task.stderr
    assert "Unclosed" not in task.stdout + task.stderr
    assert store.names() == []
    assert store.name == "azure" or store.unfinished() == []


@contents
def test_a_write_that_fails_in_a_transaction_of_the_store_is_not_completed_by_it(store: Store, content: bytes) -> None:
    def fail() -> None:
        path = ObjectStoragePath(store.url(KEY))
        with path.fs.transaction, atomic_write(path) as file:
            file.write(content)
            raise ValueError("failed on purpose")

    with pytest.raises(ValueError, match="on purpose"):
        fail()
    gc.collect()
    assert store.names() == []
