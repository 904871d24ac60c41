"""A file that is converted is stored completely or not at all, whatever interrupts it."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from subprocess import PIPE
from threading import Event
from typing import TYPE_CHECKING

import pytest
from airflow.providers.common.compat.sdk import AirflowException

from airflow_provider_crux.exceptions import CruxInvalidResponseError, CruxUnavailableError
from tests.files.places import KEY
from tests.transfers.conversions import FORMATS, HEADER, ROWS, large_file, save
from tests.transfers.transfer import FILE_PATH, csv_file, make_operator

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.files.places import Place
    from tests.transfers.transfer import Transfer

# starts processes
pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
OLD = b"yesterday's"

formats = pytest.mark.parametrize("format_", FORMATS)
places = pytest.mark.parametrize("place", ["on_disk", "in_s3"], indirect=True)


def write_old_file(place: Place) -> None:
    place.path.parent.mkdir(parents=True, exist_ok=True)
    place.path.write_bytes(OLD)


@places
@formats
@pytest.mark.parametrize("is_new", [True, False], ids=["new", "existing"])
def test_an_incomplete_download_keeps_what_was_at_the_path(
    transfer: Transfer, place: Place, format_: str, is_new: bool
) -> None:
    if not is_new:
        write_old_file(place)
    body = large_file(format_)
    transfer.sandbox.respond_next(FILE_PATH, 200, {"Content-Length": str(len(body) + 1)}, body)
    with pytest.raises(CruxUnavailableError):
        transfer.run(path=str(place.path), overwrite=True, **FORMATS[format_])
    assert place.names() == ([] if is_new else [KEY])
    assert place.pending_uploads() == []
    assert is_new or place.content() == OLD
    assert transfer.pushed == {}


@places
@formats
def test_an_error_in_the_middle_keeps_what_was_at_the_path(place: Place, format_: str) -> None:
    def chunks() -> Iterator[bytes]:
        yield large_file(format_)
        yield b"1,2\r\n" + large_file(format_).removeprefix(HEADER)
        if format_ == "gzip":  # which does not read the row of another length
            raise ConnectionError("cut")

    write_old_file(place)
    with pytest.raises(ConnectionError if format_ == "gzip" else CruxInvalidResponseError):
        save(chunks(), place.path, format_)
    assert place.content() == OLD
    assert place.names() == [KEY]
    assert place.pending_uploads() == []


@formats
def test_a_task_that_is_killed_stores_nothing(transfer: Transfer, format_: str) -> None:
    operator = make_operator(transfer.export_uuid, transfer.target, **FORMATS[format_])
    operator.on_kill()
    with pytest.raises(AirflowException, match="The task was killed: nothing was stored"):
        operator.execute(transfer.context_with())
    assert transfer.names == []


def test_after_a_failure_nothing_more_is_read_from_the_download(on_disk: Place) -> None:
    """The next rows are parsed in a thread, which knows nothing of the failure."""
    failed, read_later = Event(), Event()

    def chunks() -> Iterator[bytes]:
        yield HEADER + b"1,2\r\n" + ROWS * 3
        for _ in range(100):
            if failed.wait(0.2):
                read_later.set()
            yield ROWS

    with pytest.raises(CruxInvalidResponseError, match="row 1 has 2 values"):
        save(chunks(), on_disk.path, "parquet")
    failed.set()
    assert not read_later.wait(0.5)


def test_a_process_ends_after_a_failed_conversion() -> None:
    """On a busy machine: a thread of Arrow that still had objects of Python aborted every third one, or hung."""
    code = """
        from airflow_provider_crux.files.column_plan import plan_columns
        from airflow_provider_crux.files.columns import COLUMNS
        from airflow_provider_crux.exceptions import CruxError
        from airflow_provider_crux.files.rows import TypedRows
        names = [column.name for column in COLUMNS]
        rows = TypedRows([",".join(names).encode(), b"\\n1,2", *[b"1" * 1024 * 1024] * 30], plan_columns(names))
        try:
            list(rows)
        except CruxError as error:
            print(type(error).__name__)
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    processes = [subprocess.Popen(command, stdout=PIPE, stderr=PIPE, text=True, cwd=ROOT) for _ in range(8)]
    results = [(*process.communicate(timeout=60), process.returncode) for process in processes]
    assert results == [("UnusableFileError\n", "", 0)] * 8


def run(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.transfers.conversions", *arguments]
    return subprocess.Popen(command, stdin=PIPE, stdout=PIPE, text=True, cwd=ROOT)


@pytest.mark.parametrize(
    ("place", "format_"),
    [("on_disk", "parquet"), ("in_s3", "parquet"), ("on_disk", "converted csv")],
    indirect=["place"],
)
def test_a_process_that_is_killed_leaves_the_old_file(place: Place, format_: str) -> None:
    write_old_file(place)
    with run("killed", str(place.path), format_) as task:
        assert task.stdin
        assert task.stdout
        assert any(line.strip() == "written" for line in task.stdout)
        task.send_signal(signal.SIGKILL)
        task.stdin.close()
    assert task.returncode == -signal.SIGKILL
    assert place.content() == OLD
    # on a disk a temporary file stays
    assert all(name.startswith("orders/.crux-") for name in place.names() if name != KEY)
    save([csv_file({})], place.path, format_)
    assert place.content() != OLD


def test_a_full_disk_keeps_the_existing_file(on_disk: Place) -> None:
    write_old_file(on_disk)
    output, _ = run("full", str(on_disk.path), "parquet").communicate()
    assert "error: [Errno 27] File too large" in output
    assert on_disk.names() == [KEY]
    assert on_disk.content() == OLD
