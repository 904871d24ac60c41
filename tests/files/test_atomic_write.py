"""Atomic writes to a disk, to a real S3 and to any file system: what is at the path, and what remains beside it."""

from __future__ import annotations

import errno
import gc
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from airflow.providers.common.compat.sdk import ObjectStoragePath
from fsspec.implementations.local import LocalFileSystem
from fsspec.spec import AbstractBufferedFile, AbstractFileSystem

from airflow_provider_crux.exceptions import CruxInvalidRequestError, CruxTransientError
from airflow_provider_crux.files import atomic_write as atomic_write_module
from airflow_provider_crux.files.atomic_write import atomic_write
from tests.files.places import KEY, MIB
from tests.object_store import BUCKET
from tests.stores.relay import Request, Response, Send, relay

if TYPE_CHECKING:
    from tests.files.places import Place
    from tests.object_store import ObjectStore

# starts processes
pytestmark = pytest.mark.slow

LARGE = b"0123456789abcdef" * (20 * MIB // 16)  # three parts
SMALL = b"\xef\xbb\xbfa,b\r\n1,2\r\n"


def write(path: ObjectStoragePath, *chunks: bytes, overwrite: bool = True) -> None:
    with atomic_write(path, overwrite=overwrite) as file:
        for chunk in chunks:
            for start in range(0, len(chunk), MIB):
                file.write(chunk[start : start + MIB])


@pytest.mark.parametrize("content", [b"", SMALL, LARGE, LARGE[: 16 * MIB]], ids=["empty", "small", "large", "even"])
def test_a_file_is_written_byte_for_byte(place: Place, content: bytes) -> None:
    write(place.path, content)
    assert place.content() == content
    assert place.names() == [KEY]
    assert place.pending_uploads() == []


def test_a_large_object_is_uploaded_in_parts_of_8_mebibytes(in_s3: Place, s3: ObjectStore) -> None:
    write(in_s3.path, LARGE)
    assert s3.client.head_object(Bucket="exports", Key=KEY)["ETag"].endswith('-3"')


def fail_while_writing(path: ObjectStoragePath, content: bytes, error: BaseException) -> None:
    """Let a write fail, and collect its file as garbage: if it is still open, it completes its upload now."""

    def write_and_raise() -> None:
        with atomic_write(path) as file:
            file.write(content)
            raise error

    with pytest.raises(type(error), match="cut"):
        write_and_raise()
    error.__traceback__ = None
    gc.collect()


@pytest.mark.parametrize("content", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_error_while_writing_leaves_nothing_now_or_later(
    place: Place, error: type[BaseException], content: bytes
) -> None:
    fail_while_writing(place.path, content, error("cut"))
    assert place.names() == []
    assert place.pending_uploads() == []


@pytest.mark.parametrize("content", [SMALL, LARGE], ids=["small", "large"])
def test_an_error_while_writing_keeps_the_existing_file(place: Place, content: bytes) -> None:
    write(place.path, b"old")
    fail_while_writing(place.path, content, ValueError("cut"))
    assert place.content() == b"old"
    assert place.names() == [KEY]
    assert place.pending_uploads() == []


def test_the_existing_file_stays_until_the_new_one_is_complete(place: Place) -> None:
    write(place.path, b"old")
    with atomic_write(place.path) as file:
        file.write(LARGE)
        assert place.content() == b"old"
    assert place.content() == LARGE
    assert place.names() == [KEY]


def test_if_two_tasks_write_at_once_both_succeed_and_one_file_is_there_complete(place: Place) -> None:
    with atomic_write(place.path) as first:
        first.write(LARGE)
        with atomic_write(place.path) as second:
            second.write(SMALL)
        assert place.content() == SMALL
        first.write(b"end")
    assert place.content() == LARGE + b"end"
    assert place.names() == [KEY]


WRITERS = 12


@pytest.mark.parametrize("place", ["on_disk", "in_s3"], indirect=True)
def test_many_threads_write_to_one_path_at_once(place: Place) -> None:
    all_ready = Barrier(WRITERS, timeout=60)

    def write_as(writer: int) -> int:
        all_ready.wait()
        for _ in range(3):
            write(ObjectStoragePath(str(place.path)), b"a,b\r\n", *[b"%02d\r\n" % writer] * 1000)
        return writer

    with ThreadPoolExecutor(WRITERS) as threads:
        assert list(threads.map(write_as, range(WRITERS))) == list(range(WRITERS))
    assert place.content() in [b"a,b\r\n" + b"%02d\r\n" % writer * 1000 for writer in range(WRITERS)]
    assert place.names() == [KEY]
    assert place.pending_uploads() == []


def test_many_processes_write_to_one_path_at_once(on_disk: Place) -> None:
    code = """
        import multiprocessing

        path, writers = ObjectStoragePath(sys.argv[1]), int(sys.argv[2])
        fork = multiprocessing.get_context("fork")  # so that one process imports Airflow, instead of each
        all_ready = fork.Barrier(writers, timeout=60)

        def write_as(writer):
            all_ready.wait()
            for _ in range(20):
                with atomic_write(path) as file:
                    for _ in range(1000):
                        file.write(b"%02d\\r\\n" % writer)

        tasks = [fork.Process(target=write_as, args=(writer,)) for writer in range(writers)]
        for task in tasks:
            task.start()
        for task in tasks:
            task.join()
        print([task.exitcode for task in tasks])
    """
    output, _ = run(code, str(on_disk.path), str(WRITERS)).communicate(timeout=120)
    assert output.splitlines()[-1] == str([0] * WRITERS)
    assert on_disk.content() in [b"%02d\r\n" % writer * 1000 for writer in range(WRITERS)]
    assert on_disk.names() == [KEY]


@pytest.mark.parametrize("links", [True, False], ids=["", "without hard links"])
@pytest.mark.parametrize("place", ["on_disk", "in_s3", "in_memory"], indirect=True)
def test_a_file_that_another_writer_stores_meanwhile_stays(place: Place, links: bool, monkeypatch) -> None:
    def no_links(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    def write_while_another_does() -> None:
        with atomic_write(place.path, overwrite=False) as file:
            file.write(LARGE)
            write(place.path, b"theirs")
            file.write(SMALL)

    if not links:
        monkeypatch.setattr(os, "link", no_links)
    path = re.escape(str(place.path))
    with pytest.raises(CruxInvalidRequestError, match=rf"path: '{path}' already exists; set overwrite=True"):
        write_while_another_does()
    assert place.content() == b"theirs"
    assert place.names() == [KEY]
    assert place.pending_uploads() == []
    place.path.unlink()
    write(place.path, SMALL, overwrite=False)
    assert place.content() == SMALL
    assert place.names() == [KEY]


@pytest.mark.parametrize("overwrite", [True, False])
def test_a_new_file_gets_the_mode_of_the_umask(on_disk: Place, overwrite: bool) -> None:
    previous = os.umask(0o027)
    try:
        write(on_disk.path, SMALL, overwrite=overwrite)
    finally:
        os.umask(previous)
    assert Path(on_disk.path.path).stat().st_mode & 0o7777 == 0o640


@pytest.mark.parametrize("mode", [0o600, 0o664, 0o444])
def test_a_replaced_file_keeps_its_mode(on_disk: Place, mode: int) -> None:
    file = Path(on_disk.path.path)
    write(on_disk.path, b"old")
    file.chmod(mode)
    write(on_disk.path, SMALL)
    assert on_disk.content() == SMALL
    assert file.stat().st_mode & 0o7777 == mode


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o444])
def test_from_its_beginning_a_temporary_file_has_the_mode_of_the_file_that_it_replaces(
    on_disk: Place, mode: int
) -> None:
    file = Path(on_disk.path.path)
    write(on_disk.path, b"old")
    file.chmod(mode)
    with atomic_write(on_disk.path):
        (temporary,) = set(file.parent.iterdir()) - {file}
        assert temporary.stat().st_mode & 0o7777 == mode


@pytest.mark.parametrize("existing", [True, False], ids=["target", "no target"])
def test_the_file_that_a_symbolic_link_leads_to_is_replaced(on_disk: Place, tmp_path: Path, existing: bool) -> None:
    link, target = Path(on_disk.path.path), tmp_path / "elsewhere" / "today.csv"
    for folder in (link.parent, target.parent):
        folder.mkdir()
    link.symlink_to(os.path.relpath(target, link.parent))
    if existing:
        target.write_bytes(b"old")
        target.chmod(0o600)
    write(on_disk.path, SMALL)
    assert link.is_symlink()
    assert target.read_bytes() == SMALL
    assert not existing or target.stat().st_mode & 0o7777 == 0o600
    assert sorted(on_disk.names()) == ["elsewhere/today.csv", KEY]
    with pytest.raises(CruxInvalidRequestError, match="already exists"):
        write(on_disk.path, b"new", overwrite=False)
    assert target.read_bytes() == SMALL


def test_an_object_is_not_committed_a_second_time_by_another_transaction_of_the_store(in_s3: Place) -> None:
    write(in_s3.path, LARGE)
    fail_while_writing(in_s3.path, SMALL, ValueError("cut"))
    assert not in_s3.path.fs.transaction.files


def test_a_failure_to_abort_the_upload_is_logged_and_does_not_hide_the_error(in_s3: Place, monkeypatch, caplog) -> None:
    from s3fs.core import S3File

    def unreachable(self: S3File) -> None:
        raise OSError("store unreachable")

    monkeypatch.setattr(S3File, "discard", unreachable)
    fail_while_writing(in_s3.path, LARGE, ValueError("cut"))
    assert in_s3.names() == []
    assert f"Could not abort the upload to {in_s3.path}: its parts may remain in the store" in caplog.text


def test_a_bucket_that_does_not_exist_is_an_error_and_not_created(s3: ObjectStore) -> None:
    with pytest.raises(FileNotFoundError), atomic_write(ObjectStoragePath("s3://aws_loopback@none/a.csv")) as file:
        file.write(SMALL)
    assert [bucket["Name"] for bucket in s3.client.list_buckets()["Buckets"]] == ["exports"]


class AzureFile(AbstractBufferedFile):
    """A file as in adlfs: closing completes the upload in any case, and drops the parts of others."""

    def _upload_chunk(self, final: bool = False) -> bool:
        self.fs.uncommitted.add(id(self))
        if final:
            if self.tell() > self.blocksize and id(self) in self.fs.dropped:
                raise RuntimeError("Failed to upload block: The specified block list is invalid. InvalidBlockList")
            self.fs.dropped |= self.fs.uncommitted
            self.fs.objects.append(self.path)
        return True


class AzureFileSystem(AbstractFileSystem):
    cachable = False

    def __init__(self) -> None:
        super().__init__()
        self.objects: list[str] = []
        self.uncommitted: set[int] = set()
        self.dropped: set[int] = set()

    def _open(self, path: str, mode: str = "rb", **options: object) -> AzureFile:
        return AzureFile(self, path, mode, **options)

    def exists(self, path: str, **_: object) -> bool:
        return path in self.objects


@pytest.mark.parametrize("content", [SMALL, LARGE], ids=["small", "large"])
def test_if_closing_completes_an_upload_an_error_does_not_close_the_file(content: bytes) -> None:
    path = SimpleNamespace(protocol="abfs", path=f"exports/{KEY}", fs=AzureFileSystem())
    fail_while_writing(path, content, ValueError("cut"))
    assert path.fs.objects == []
    with atomic_write(path) as file:
        file.write(content)
    assert path.fs.objects == [f"exports/{KEY}"]


def test_an_older_file_system_without_the_exclusive_mode_is_checked() -> None:
    class OlderFileSystem(AzureFileSystem):
        """As adlfs, gcsfs and s3fs before 2024.12."""

        def _open(self, path: str, mode: str = "rb", **options: object) -> AzureFile:
            if mode == "xb":
                raise NotImplementedError("File mode not supported")
            return super()._open(path, mode, **options)

    path = SimpleNamespace(protocol="abfs", path=f"exports/{KEY}", fs=OlderFileSystem())
    write(path, SMALL, overwrite=False)
    with pytest.raises(CruxInvalidRequestError, match="already exists"):
        write(path, SMALL, overwrite=False)
    assert path.fs.objects == [f"exports/{KEY}"]


@pytest.mark.parametrize("overwrite", [True, False])
def test_an_upload_whose_parts_azure_drops_is_an_error_that_a_retry_fixes_or_says_that_the_file_exists(
    overwrite: bool, monkeypatch
) -> None:
    path = SimpleNamespace(protocol="abfs", path=f"exports/{KEY}", fs=AzureFileSystem())
    check = atomic_write_module._check_not_stored_meanwhile

    def check_before_the_other_ends(_: object) -> None:
        monkeypatch.setattr(atomic_write_module, "_check_not_stored_meanwhile", check)
        write(path, SMALL)

    def overlap() -> None:
        with atomic_write(path, overwrite=overwrite) as file:
            file.write(LARGE)
            if overwrite:
                write(path, SMALL)
            else:
                monkeypatch.setattr(atomic_write_module, "_check_not_stored_meanwhile", check_before_the_other_ends)

    error = CruxTransientError if overwrite else CruxInvalidRequestError
    with pytest.raises(error, match=r"A retry replaces it" if overwrite else "already exists"):
        overlap()
    assert path.fs.objects == [f"exports/{KEY}"]


@pytest.mark.parametrize("status", [501, 412])
@pytest.mark.parametrize("theirs", [True, False], ids=["their file", "no file"])
def test_an_s3_compatible_store_that_knows_no_conditions_or_does_not_name_them_is_checked(
    in_s3: Place, s3: ObjectStore, monkeypatch, theirs: bool, status: int
) -> None:
    def respond(request: Request, send: Send) -> Response:
        if request.headers.get("if-none-match") != "*":
            return send(request)
        if theirs and status == 412:  # after our check
            s3.client.put_object(Bucket=BUCKET, Key=KEY, Body=b"theirs")
        return Response(status, body=b"<Error><Code>%d</Code><Message>from the relay</Message></Error>" % status)

    def write_once() -> None:
        with atomic_write(path, overwrite=False) as file:
            file.write(LARGE)
            if theirs and status == 501:
                s3.client.put_object(Bucket=BUCKET, Key=KEY, Body=b"theirs")

    with relay(s3.client.meta.endpoint_url, respond) as running:
        conn_id = f"relayed_{running.server_address[1]}"  # Airflow keeps the file system of each connection
        connection = json.loads(s3.connection)
        connection["extra"]["endpoint_url"] = running.url
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(connection))
        path = ObjectStoragePath(f"s3://{conn_id}@{BUCKET}/{KEY}")
        if theirs:
            with pytest.raises(CruxInvalidRequestError, match="already exists"):
                write_once()
            assert in_s3.content() == b"theirs"
        elif status == 412:
            with pytest.raises(OSError, match="from the relay"):
                write_once()
            assert in_s3.names() == []
        else:
            write_once()
            assert in_s3.content() == LARGE
    assert in_s3.pending_uploads() == []


def test_a_file_url_names_its_path_and_the_umask_sets_the_files_permissions(tmp_path: Path) -> None:
    previous = os.umask(0o027)
    try:
        write(ObjectStoragePath(f"file://{tmp_path}/a b.csv"), SMALL)
    finally:
        os.umask(previous)
    assert (tmp_path / "a b.csv").read_bytes() == SMALL
    assert (tmp_path / "a b.csv").stat().st_mode & 0o777 == 0o640


def run(code: str, *arguments: str) -> subprocess.Popen[str]:
    """Run code in a process of its own, which a test can kill."""
    imports = "import sys; from airflow.providers.common.compat.sdk import ObjectStoragePath\n"
    imports += "from airflow_provider_crux.files.atomic_write import atomic_write\n"
    command = [sys.executable, "-c", imports + textwrap.dedent(code), *arguments]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def kill_while_writing(path: ObjectStoragePath) -> None:
    code = """
        with atomic_write(ObjectStoragePath(sys.argv[1])) as file:
            file.write(b"x" * 20 * 1024 * 1024)
            print("written", flush=True)
            sys.stdin.read()
    """
    with run(code, str(path)) as task:
        assert any(line.strip() == "written" for line in task.stdout)
        task.send_signal(signal.SIGKILL)
        task.stdin.close()
    assert task.returncode == -signal.SIGKILL


def test_a_killed_task_leaves_no_object(in_s3: Place) -> None:
    kill_while_writing(in_s3.path)
    assert in_s3.names() == []
    write(in_s3.path, SMALL)
    assert in_s3.content() == SMALL


def test_a_killed_task_leaves_the_existing_file_and_a_temporary_one(on_disk: Place) -> None:
    write(on_disk.path, b"old")
    kill_while_writing(on_disk.path)
    (leftover,) = set(on_disk.names()) - {KEY}
    assert re.fullmatch(r"orders/\.crux-[0-9a-f]{16}\.part", leftover)
    assert on_disk.content() == b"old"
    write(on_disk.path, SMALL)
    assert on_disk.content() == SMALL
    assert sorted(on_disk.names()) == sorted([KEY, leftover])


def test_the_temporary_file_of_a_running_task_stays(on_disk: Place) -> None:
    with atomic_write(on_disk.path) as file:
        (temporary,) = on_disk.names()
        write(on_disk.path, b"theirs")
        assert sorted(on_disk.names()) == sorted([temporary, KEY])
        file.write(SMALL)
    assert on_disk.content() == SMALL
    assert on_disk.names() == [KEY]


# With an ending for temporary files, all but the first would be longer than the 255 bytes that a file system allows.
LONG_NAMES = ["a" * 219, "a" * 233, "a" * 251 + ".csv", "ü" * 125 + "a.csv"]
long_names = pytest.mark.parametrize("name", LONG_NAMES, ids=[f"{len(name.encode())} bytes" for name in LONG_NAMES])


@long_names
@pytest.mark.parametrize("overwrite", [True, False])
def test_a_file_may_have_the_longest_name_that_the_disk_allows(tmp_path: Path, name: str, overwrite: bool) -> None:
    path = ObjectStoragePath(f"file://{tmp_path}/{name}")
    write(path, SMALL, overwrite=overwrite)
    write(path, SMALL + SMALL)
    assert (tmp_path / name).read_bytes() == SMALL + SMALL
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


@long_names
def test_a_file_may_have_the_longest_name_that_another_file_system_allows(tmp_path: Path, name: str) -> None:
    # a disk as fsspec knows it, so that the provider does not know that it is one
    path = SimpleNamespace(protocol="sftp", path=f"{tmp_path}/{name}", fs=LocalFileSystem())
    write(path, b"old")
    write(path, SMALL)
    assert (tmp_path / name).read_bytes() == SMALL
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


def test_a_full_disk_keeps_the_existing_file(on_disk: Place) -> None:
    code = """
        import resource
        resource.setrlimit(resource.RLIMIT_FSIZE, (1024 * 1024, 1024 * 1024))
        try:
            with atomic_write(ObjectStoragePath(sys.argv[1])) as file:
                file.write(b"x" * 700_000)
                file.write(b"x" * 700_000)
        except OSError as error:
            print("error:", error)
    """
    write(on_disk.path, b"old")
    with run(code, str(on_disk.path)) as task:
        output, _ = task.communicate()
    assert "error: [Errno 27] File too large" in output
    assert on_disk.names() == [KEY]
    assert on_disk.content() == b"old"
