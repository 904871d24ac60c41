"""A folder of stored files, and the task that finds its gaps."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from airflow_provider_crux.operators.coverage import CruxExportCoverageOperator
from tests.manifests import HOST, manifest, manifest_name
from tests.object_store import BUCKET, ObjectStore

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

DAYS = [datetime(2026, 1, day, tzinfo=UTC) for day in range(1, 32)]
SINCE, UNTIL = "2026-01-01", "2026-01-31"


class Lake(NamedTuple):
    """
    The folder of the stored files.

    :param url: as the task gets it.
    :param put: stores a file by name.
    """

    url: str
    put: Callable[[str, bytes], object]

    def store(self, start: datetime, end: datetime, *, file: str | None = None, **changes: Any) -> str:
        """Store a file and its manifest, as the transfer does, and return the name of the file."""
        name = file or f"dt={start:%Y-%m-%d}/{start:%H%M%S}.parquet"
        content = manifest(start, end, **changes)
        self.put(name, b"12345678")
        self.put(manifest_name(name), json.dumps(content).encode())
        return name


@pytest.fixture
def folder(tmp_path: Path) -> Lake:
    """Return a folder on the local disk, which does not exist until something is stored."""
    root = tmp_path / "lake"

    def put(name: str, content: bytes) -> None:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)

    return Lake(root.as_uri(), put)


@pytest.fixture(params=["folder", "s3", "bucket"])
def lake(request: pytest.FixtureRequest) -> Lake:
    """Return a folder on the local disk, one in a bucket, or the bucket itself."""
    if request.param == "folder":
        return request.getfixturevalue("folder")
    store: ObjectStore = request.getfixturevalue("s3")
    prefix = "orders/" if request.param == "s3" else ""
    return Lake(
        f"s3://aws_loopback@{BUCKET}/{prefix}",
        lambda name, content: store.client.put_object(Bucket=BUCKET, Key=f"{prefix}{name}", Body=content),
    )


@pytest.fixture
def connection(connect) -> None:
    """Set ``crux_default`` to the host from which the files came; nobody listens there."""
    connect(host=f"http://{HOST}", password="token")


@pytest.fixture
def find_gaps(make_context):
    """Return a function that executes the task, and returns the intervals as pairs and the XCom ``coverage``."""

    def execute(path: object, **arguments: Any) -> tuple[list[tuple[datetime, datetime]], dict[str, Any]]:
        context = make_context()
        operator = CruxExportCoverageOperator(
            **{"task_id": "find_gaps", "path": path, "since": SINCE, "until": UNTIL} | arguments
        )
        intervals = operator.execute(context)
        assert all(list(interval) == ["interval_start", "interval_end"] for interval in intervals)
        pairs = [tuple(map(datetime.fromisoformat, interval.values())) for interval in intervals]
        return pairs, context["ti"].pushed.get("coverage", {})

    return execute
