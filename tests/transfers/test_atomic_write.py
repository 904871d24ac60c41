"""All or nothing, on a disk and on a real S3: what is at the path, and what is left beside it."""

from __future__ import annotations

import contextlib
import gc
import hashlib
import os
import signal
import subprocess
import sys
import textwrap
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from airflow.providers.common.compat.sdk import ObjectStoragePath
from fsspec.spec import AbstractBufferedFile, AbstractFileSystem
from upath import UPath

from airflow_provider_crux.transfers.atomic_write import StoredFile, atomic_write, store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import ObjectStore

MIB = 1024 * 1024
KEY = "orders/2026-01-02.csv"
S3_PATH = f"s3://aws_loopback@exports/{KEY}"
LARGE = b"0123456789abcdef" * (20 * MIB // 16)  # three parts
SMALL = b"\xef\xbb\xbfa,b\r\n1,2\r\n"


@dataclass
class Place:
    """
    Somewhere to write to.

    :param path: the path to write.
    :param names: everything that is there.
    :param content: what is at the path.
    :param unfinished: uploads that were begun, and neither completed nor given up.
    """

    path: ObjectStoragePath
    names: Callable[[], list[str]]
    content: Callable[[], bytes]
    unfinished: Callable[[], list[str]] = field(default=list)


@pytest.fixture
def on_disk(tmp_path: Path) -> Place:
    path = tmp_path / KEY

    def names() -> list[str]:
        return [str(found.relative_to(tmp_path)) for found in tmp_path.rglob("*") if found.is_file()]

    return Place(ObjectStoragePath(str(path)), names, path.read_bytes)


@pytest.fixture
def in_s3(s3: ObjectStore) -> Place:
    return Place(ObjectStoragePath(S3_PATH), s3.names, lambda: s3.content(KEY), s3.unfinished)


@pytest.fixture
def elsewhere() -> Iterator[Place]:
    """Give a file system of which nothing is known but that it can rename."""
    path = UPath(f"memory:///exports/{KEY}")
    fs = path.fs
    yield Place(path, lambda: [name.removeprefix("/exports/") for name in fs.find("/")], lambda: fs.cat(path.path))
    with contextlib.suppress(FileNotFoundError):
        fs.rm("/exports", recursive=True)


@pytest.fixture(params=["on_disk", "in_s3", "elsewhere"])
def place(request: pytest.FixtureRequest) -> Place:
    return request.getfixturevalue(request.param)


def write(place: Place, content: bytes) -> None:
    with atomic_write(place.path) as file:
        for begin in range(0, len(content), MIB):
            file.write(content[begin : begin + MIB])


@pytest.mark.parametrize("content", [b"", SMALL, LARGE, LARGE[: 16 * MIB]], ids=["empty", "small", "large", "even"])
def test_a_file_is_there_whole_and_byte_for_byte(place: Place, content: bytes) -> None:
    write(place, content)
    assert place.content() == content
    assert place.names() == [KEY]
    assert place.unfinished() == []


def test_a_large_object_is_uploaded_in_parts_of_eight_mebibytes(in_s3: Place, s3: ObjectStore) -> None:
    write(in_s3, LARGE)
    assert s3.client.head_object(Bucket="exports", Key=KEY)["ETag"].endswith('-3"')


def fail(path: ObjectStoragePath, content: bytes, error: BaseException) -> None:
    """Let a write fail in the middle, and throw the file away: if it is still open, it completes its upload now."""

    def begin() -> None:
        with atomic_write(path) as file:
            file.write(content)
            raise error

    with pytest.raises(type(error), match="cut"):
        begin()
    error.__traceback__ = None
    gc.collect()


@pytest.mark.parametrize("content", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_error_in_the_middle_leaves_nothing_now_or_later(place: Place, error: type[BaseException], content) -> None:
    fail(place.path, content, error("cut"))
    assert place.names() == []
    assert place.unfinished() == []


@pytest.mark.parametrize("content", [SMALL, LARGE], ids=["small", "large"])
def test_an_error_in_the_middle_leaves_the_file_that_was_there(place: Place, content: bytes) -> None:
    write(place, b"old")
    fail(place.path, content, ValueError("cut"))
    assert place.content() == b"old"
    assert place.names() == [KEY]
    assert place.unfinished() == []


def test_the_file_that_was_there_stays_until_the_new_one_is_whole(place: Place) -> None:
    write(place, b"old")
    with atomic_write(place.path) as file:
        file.write(LARGE)
        assert place.content() == b"old"
    assert place.content() == LARGE
    assert place.names() == [KEY]


def test_of_two_who_write_at_once_one_file_is_there_whole(place: Place) -> None:
    # on a disk the second takes the first one's temporary file for left over: the first fails, and is tried again
    with contextlib.suppress(FileNotFoundError), atomic_write(place.path) as first:
        first.write(LARGE)
        with atomic_write(place.path) as second:
            second.write(SMALL)
        assert place.content() == SMALL
        first.write(b"end")
    assert place.content() in (SMALL, LARGE + b"end")
    assert place.names() == [KEY]


def test_an_object_that_was_committed_is_not_committed_again_with_someone_elses_transaction(in_s3: Place) -> None:
    write(in_s3, LARGE)
    fail(in_s3.path, SMALL, ValueError("cut"))
    assert not in_s3.path.fs.transaction.files


def test_a_store_that_does_not_let_go_of_the_parts_does_not_hide_the_error(in_s3: Place, monkeypatch, caplog) -> None:
    from s3fs.core import S3File

    def unreachable(self: S3File) -> None:
        raise OSError("store unreachable")

    monkeypatch.setattr(S3File, "discard", unreachable)
    fail(in_s3.path, LARGE, ValueError("cut"))
    assert in_s3.names() == []
    assert f"Parts of an upload to {in_s3.path} may be left" in caplog.text


def test_a_bucket_that_is_not_there_is_an_error_and_not_made(s3: ObjectStore) -> None:
    with pytest.raises(FileNotFoundError), atomic_write(ObjectStoragePath("s3://aws_loopback@none/a.csv")) as file:
        file.write(SMALL)
    assert [bucket["Name"] for bucket in s3.client.list_buckets()["Buckets"]] == ["exports"]


class AzureLikeFile(AbstractBufferedFile):
    """As adlfs does it: closing completes the upload, whatever was said of it, and there is no other way to."""

    def _upload_chunk(self, final: bool = False) -> bool:
        if final:
            self.fs.objects.append(self.path)
        return True


class AzureLike(AbstractFileSystem):
    cachable = False

    def __init__(self) -> None:
        super().__init__()
        self.objects: list[str] = []

    def _open(self, path: str, mode: str = "rb", **given: object) -> AzureLikeFile:
        return AzureLikeFile(self, path, mode, **given)


@pytest.mark.parametrize("content", [SMALL, LARGE], ids=["small", "large"])
def test_where_closing_completes_an_upload_an_error_does_not_close_it(content: bytes) -> None:
    path = SimpleNamespace(protocol="abfs", path=f"exports/{KEY}", fs=AzureLike())
    fail(path, content, ValueError("cut"))
    assert path.fs.objects == []
    with atomic_write(path) as file:
        file.write(content)
    assert path.fs.objects == [f"exports/{KEY}"]


def test_a_file_url_is_the_path_in_it_and_a_file_gets_the_umasks_permissions(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        store([SMALL], ObjectStoragePath(f"file://{tmp_path}/a b.csv"))
    finally:
        os.umask(before)
    assert (tmp_path / "a b.csv").read_bytes() == SMALL
    assert (tmp_path / "a b.csv").stat().st_mode & 0o777 == 0o640


def run(code: str, *arguments: str) -> subprocess.Popen[str]:
    """Run code in a process of its own, which is told to go on, or killed, by what the test does with it."""
    head = "import sys; from airflow.providers.common.compat.sdk import ObjectStoragePath\n"
    head += "from airflow_provider_crux.transfers.atomic_write import store, atomic_write\n"
    command = [sys.executable, "-c", head + textwrap.dedent(code), *arguments]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def kill_in_the_middle(path: ObjectStoragePath) -> None:
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
    kill_in_the_middle(in_s3.path)
    assert in_s3.names() == []
    write(in_s3, SMALL)
    assert in_s3.content() == SMALL


def test_a_killed_task_leaves_no_file_and_the_next_clears_away_its_temporary_one(on_disk: Place) -> None:
    kill_in_the_middle(on_disk.path)
    (left,) = on_disk.names()
    assert left.startswith("orders/.2026-01-02.csv.")
    write(on_disk, SMALL)
    assert on_disk.names() == [KEY]


def test_what_a_killed_task_left_is_cleared_away_and_nothing_else(place: Place) -> None:
    name = place.path.name
    ours = f".{name}.0123456789abcdef.part"
    others = [f".{name}.part", f".{name}.0.0123456789abcdef.part", f"x.{name}.0123456789abcdef.part", f".{name}.x.part"]
    folder = place.path.path.rpartition("/")[0]
    place.path.fs.makedirs(folder, exist_ok=True)
    for other in (ours, *others):
        place.path.fs.pipe_file(f"{folder}/{other}", b"x")
    write(place, SMALL)
    left = {found.rpartition("/")[2] for found in place.names()}
    # S3 has no temporary names, and there any name may be someone's
    assert left - {ours} == {name, *others}
    assert (ours in left) == (place.path.protocol == "s3")


def test_a_disk_that_is_full_leaves_no_file(on_disk: Place) -> None:
    code = """
        import resource
        resource.setrlimit(resource.RLIMIT_FSIZE, (1024 * 1024, 1024 * 1024))
        try:
            store([b"x" * 700_000, b"x" * 700_000], ObjectStoragePath(sys.argv[1]))
        except OSError as error:
            print("refused:", error)
    """
    write(on_disk, b"old")
    with run(code, str(on_disk.path)) as task:
        said, _ = task.communicate()
    assert "refused: [Errno 27] File too large" in said
    assert on_disk.names() == [KEY]
    assert on_disk.content() == b"old"


def test_what_is_stored_is_described(place: Place) -> None:
    stored = store([SMALL[:2], SMALL[2:8], b"", SMALL[8:]], place.path)
    assert stored == StoredFile(
        path=str(place.path), bytes=len(SMALL), rows=1, sha256=hashlib.sha256(SMALL).hexdigest()
    )
    assert place.content() == SMALL


def test_a_source_that_fails_leaves_nothing(place: Place) -> None:
    def chunks() -> Iterator[bytes]:
        yield LARGE
        raise ConnectionError("cut")

    with pytest.raises(ConnectionError):
        store(chunks(), place.path)
    gc.collect()
    assert place.names() == place.unfinished() == []


def test_a_file_without_records_is_stored_or_not_as_is_asked(place: Place) -> None:
    header = b"\xef\xbb\xbfa,b\r\n"
    stored = store([header], place.path, skip_if_empty=True)
    assert (stored.rows, stored.bytes) == (0, len(header))
    assert place.names() == place.unfinished() == []
    assert store([header], place.path) == stored
    assert place.content() == header
    store([SMALL], place.path, skip_if_empty=True)
    assert place.content() == SMALL


@pytest.mark.parametrize("where", ["on_disk", "in_s3"])
def test_a_large_file_adds_less_than_64_mebibytes(where: str, request: pytest.FixtureRequest) -> None:
    place: Place = request.getfixturevalue(where)
    code = """
        from pathlib import Path
        row = b'"Apt. 4, rear\\n2nd floor",62701,"say ""hi"" twice",' + b"x" * 300 + b"\\r\\n"
        chunk = row * (256 * 1024 // len(row))
        def peak():
            # not ru_maxrss, which begins with what this process's parent had
            line = Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()
            return int(line[0]) // 1024
        path = ObjectStoragePath(sys.argv[1])
        store([chunk] * 2, path)
        before = peak()
        stored = store((bytes(bytearray(chunk)) for _ in range(128 * 4)), path)
        print("grown by", peak() - before, stored.rows == 128 * 4 * (256 * 1024 // len(row)) - 1)
    """
    with run(code, str(place.path)) as task:
        said, _ = task.communicate()
    (line,) = [line for line in said.splitlines() if line.startswith("grown by")]
    _, _, grown, counted = line.split()
    assert int(grown) < 64
    assert counted == "True"
