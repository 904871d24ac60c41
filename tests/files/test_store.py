"""A file that is stored byte for byte: what is stored, what is counted, and how much memory that takes."""

from __future__ import annotations

import gc
import hashlib
import subprocess
import sys
import textwrap
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import ObjectStoragePath

from airflow_provider_crux.api.exports import SubmittedExport
from airflow_provider_crux.files.store import FileOptions, StoredFile, store
from tests.files.places import MIB

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tests.files.places import Place

SMALL = b"\xef\xbb\xbforder_uuid,b\r\n1,2\r\n"


def save(chunks: Iterable[bytes], path: ObjectStoragePath, **arguments: Any) -> StoredFile:
    return store(chunks, path, options=FileOptions(), submitted=SubmittedExport("uuid", None, None), **arguments)


def test_the_stored_file_is_described(place: Place) -> None:
    stored = save([SMALL[:2], SMALL[2:8], b"", SMALL[8:]], place.path)
    assert stored == StoredFile(
        path=str(place.path),
        bytes=len(SMALL),
        rows=1,
        sha256=hashlib.sha256(SMALL).hexdigest(),
        columns=["order_uuid", "b"],
    )
    assert place.content() == SMALL


def test_a_failing_source_leaves_nothing(place: Place) -> None:
    def chunks() -> Iterator[bytes]:
        yield SMALL + bytes(20 * MIB)
        raise ConnectionError("cut")

    with pytest.raises(ConnectionError):
        save(chunks(), place.path)
    gc.collect()
    assert place.names() == place.pending_uploads() == []


def test_a_file_without_records_is_stored(place: Place) -> None:
    header = b"\xef\xbb\xbfa,b\r\n"
    stored = save([header], place.path)
    assert (stored.rows, stored.bytes) == (0, len(header))
    assert place.content() == header


@pytest.mark.slow
@pytest.mark.parametrize("options", [FileOptions(), FileOptions(personal_data="drop")], ids=["as it is", "converted"])
def test_counting_many_orders_takes_little_memory(tmp_path: Path, options: FileOptions) -> None:
    def chunks() -> Iterator[bytes]:
        yield b"order_uuid,sku\r\n"
        for first in range(0, 100_000, 5000):
            yield b"".join(b"%d,a\r\n%d,b\r\n" % (n, n) for n in range(first, first + 5000))
        yield b"0,c\r\n"

    path, submitted = ObjectStoragePath(f"file://{tmp_path}/orders"), SubmittedExport("uuid", None, None)
    tracemalloc.start()
    stored = store(chunks(), path, options=options, submitted=submitted, count_orders=True)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (stored.rows, stored.orders) == (200_001, 100_000)
    # a set of that many integers takes 10
    assert peak < 8 * MIB


@pytest.mark.slow
@pytest.mark.parametrize("place", ["on_disk", "in_s3"], indirect=True)
def test_a_large_file_takes_less_than_64_mebibytes_of_memory(place: Place) -> None:
    code = """
        import sys
        from pathlib import Path
        from airflow.providers.common.compat.sdk import ObjectStoragePath
        from airflow_provider_crux.api.exports import (SubmittedExport)
        from airflow_provider_crux.files.store import FileOptions, store
        row = b'"Apt. 4, rear\\n2nd floor",62701,"say ""hi"" twice",' + b"x" * 300 + b"\\r\\n"
        chunk = row * (256 * 1024 // len(row))
        def peak():
            # not ru_maxrss, which starts at the peak of the parent process
            line = Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()
            return int(line[0]) // 1024
        def save(chunks):
            path, submitted = ObjectStoragePath(sys.argv[1]), SubmittedExport("uuid", None, None)
            return store(chunks, path, options=FileOptions(), submitted=submitted)
        save([chunk] * 2)
        before = peak()
        stored = save(bytes(bytearray(chunk)) for _ in range(128 * 4))
        print("growth", peak() - before, stored.rows == 128 * 4 * (256 * 1024 // len(row)) - 1)
    """
    command = [sys.executable, "-c", textwrap.dedent(code), str(place.path)]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    (line,) = [line for line in output.splitlines() if line.startswith("growth")]
    _, growth, is_count_right = line.split()
    assert int(growth) < 64
    assert is_count_right == "True"
