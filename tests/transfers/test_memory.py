"""A file that is converted is not kept in memory: measured by the benchmark, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from benchmarks.converting import measure
from benchmarks.loading import write_file

# starts processes
pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


# of 2 GiB, the benchmark measures at most 128 MiB for Parquet, and 64 for CSV; a row has 440 bytes
@pytest.mark.parametrize(("kind", "times", "allowed"), [("parquet", 36, 160), ("hashed csv", 36, 64)])
def test_a_large_file_is_converted_in_little_memory(kind: str, times: int, allowed: int, tmp_path: Path) -> None:
    file = tmp_path / "orders.csv"
    write_file(file, 20_000)
    result = measure(kind, file, times)
    assert result["MiB"] < allowed
    assert result["rows"] == times * 20_000  # so the file was really that large


def test_a_record_without_an_end_is_not_kept_in_memory(tmp_path: Path) -> None:
    code = """
        import json, sys
        from pathlib import Path
        from airflow.providers.common.compat.sdk import ObjectStoragePath
        from airflow_provider_crux.exceptions import CruxInvalidResponseError
        from airflow_provider_crux.api.exports import (SubmittedExport)
        from airflow_provider_crux.files.store import FileOptions, store
        from tests.transfers.transfer import csv_file

        def peak():
            return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) / 1024

        def save(options, *chunks):
            path, submitted = ObjectStoragePath(sys.argv[1]), SubmittedExport("uuid", None, None)
            store(chunks, path, options=options, submitted=submitted, count_orders=True)

        def growth(options, beginning):
            save(options, csv_file({}), *[b"\\r\\n"] * 8)  # so many chunks that Arrow is loaded
            before, outcome = peak(), "stored"
            try:
                save(options, csv_file({}), beginning, *[b"a" * 1024 * 1024] * 100)
            except CruxInvalidResponseError:
                outcome = "rejected"
            return outcome, peak() - before

        kinds = FileOptions(), FileOptions(personal_data="drop"), FileOptions(file_format="parquet")
        print(json.dumps([growth(options, beginning) for options in kinds for beginning in (b'"', b"x")]))
    """
    command = [sys.executable, "-c", textwrap.dedent(code), f"file://{tmp_path}/orders"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    results = json.loads(done.stdout.splitlines()[-1])
    # a quote that is never closed, and a line that never ends: as they are, in other columns, and as Parquet
    assert [outcome for outcome, _ in results] == ["stored"] * 2 + ["rejected"] * 4
    assert all(growth < 32 for _, growth in results), results
