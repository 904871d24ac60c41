"""Tests the example crux_orders_backfill with a real scheduler and a real S3: it requests only what is missing."""

from __future__ import annotations

import io
import json
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pyarrow.parquet
import pytest

from airflow_provider_crux.sandbox.server import running_sandbox
from airflow_provider_crux.sandbox.state import SandboxSettings
from tests.manifests import manifest, manifest_name
from tests.object_store import BUCKET, ObjectStore, running_s3  # noqa: F401 - a fixture
from tests.real_airflow.instance import RUN_SECONDS
from tests.real_airflow.request_bodies import api_timestamp
from tests.real_airflow.sandbox_airflow import REPOSITORY, airflow_with_sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_crux.sandbox.state import Sandbox
    from tests.real_airflow.instance import AirflowInstance, DagRun

pytestmark = pytest.mark.e2e

EXAMPLE = "crux_orders_backfill"
EXPORT_PATH = "/api/orders/export/"
WEEK, DAY = timedelta(days=7), timedelta(days=1)
SINCE = datetime(2026, 1, 1, tzinfo=UTC)
TODAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
STARTS = [TODAY - 30 * DAY + number * WEEK for number in range(5)]


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    """Run a sandbox that holds every export until the test finishes it."""
    with running_sandbox(SandboxSettings(export_seconds=None)) as running:
        yield running


@pytest.fixture(scope="module")
def s3(running_s3: ObjectStore, sandbox: Sandbox) -> ObjectStore:  # noqa: F811 - the fixture
    """Return an S3 server whose bucket has all orders but those of the last 30 days."""
    running_s3.client.create_bucket(Bucket=BUCKET)
    file, host = "lake/history/earlier.parquet", sandbox.url.removeprefix("http://")
    running_s3.client.put_object(Bucket=BUCKET, Key=file, Body=b"12345678")
    content = json.dumps(manifest(SINCE, STARTS[0], requested_at=STARTS[0].isoformat(), bytes=8, host=host))
    running_s3.client.put_object(Bucket=BUCKET, Key=manifest_name(file), Body=content.encode())
    return running_s3


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory, sandbox: Sandbox, s3: ObjectStore) -> Iterator[AirflowInstance]:
    """Run a real Airflow with the example alone. Its scheduled run starts at once."""
    connection = {"conn_type": "crux", "host": sandbox.url, "password": sandbox.settings.token}
    env = {
        # On a machine under load, Airflow 3.0 sometimes fails a task before it has started.
        "AIRFLOW__CORE__DEFAULT_TASK_RETRY_DELAY": "1",
        "AIRFLOW_CONN_CRUX_DEFAULT": json.dumps({**connection, "extra": {"hash_key": "a key of this test"}}),
        "AIRFLOW_CONN_AWS_LOOPBACK": s3.connection,
        "AIRFLOW_VAR_CRUX_ORDERS_FOLDER": f"s3://aws_loopback@{BUCKET}/lake",
    }
    dag_file = REPOSITORY / "dags_examples" / f"{EXAMPLE}.py"
    folder = tmp_path_factory.mktemp("e2e")
    with airflow_with_sandbox(folder, [dag_file], sandbox, env, triggerer=True, quick_polls=True) as instance:
        yield instance


@pytest.fixture(scope="module")
def first_run(airflow: AirflowInstance, sandbox: Sandbox) -> DagRun:
    """Wait for the scheduled run, which loads 30 days; one of its files is stored after a deferral."""
    airflow.wait_for_dags({EXAMPLE})
    sandbox.wait_for("POST", EXPORT_PATH, len(STARTS), timeout=RUN_SECONDS)
    *done, late = sandbox.exports
    for uuid in done:
        sandbox.finish_export(uuid)
    (run,) = airflow.dag_runs(EXAMPLE)
    for index in range(len(STARTS)):
        airflow.wait_for_task(run, "export_orders", "success", index)
    (late_index,) = (
        index
        for index in range(len(STARTS))
        if airflow.xcom(run, "export_orders", "return_value", map_index=index) == late
    )
    airflow.wait_for_task(run, "store_orders", "deferred", late_index)
    sandbox.finish_export(late)
    return airflow.wait_for_run(EXAMPLE, run.run_id)


def test_the_scheduled_run_loads_30_days_in_weeks(
    airflow: AirflowInstance, sandbox: Sandbox, s3: ObjectStore, first_run: DagRun
) -> None:
    coverage = airflow.xcom(first_run, "check", "coverage")
    until = datetime.fromisoformat(coverage["until"])
    assert TODAY <= until <= datetime.now(UTC)
    assert sorted(requested(sandbox)) == [
        (api_timestamp(start), api_timestamp(min(start + WEEK, until))) for start in STARTS
    ]
    assert whole(coverage, until)
    assert stored(s3) == [file_name(start) for start in STARTS]


def test_the_stored_files_hold_hashes_instead_of_names(s3: ObjectStore, first_run: DagRun) -> None:
    for name in stored(s3):
        table = pyarrow.parquet.read_table(io.BytesIO(s3.content(f"lake/history/{name}")))
        assert table.num_rows > 0
        assert all(re.fullmatch("[0-9a-f]{64}", value) for value in table["name"].to_pylist())


def test_another_run_requests_exactly_the_two_files_that_were_deleted(
    airflow: AirflowInstance, sandbox: Sandbox, s3: ObjectStore, first_run: DagRun
) -> None:
    before = len(requested(sandbox))
    with_manifest, without = file_name(STARTS[1]), file_name(STARTS[3])
    for name in (with_manifest, manifest_name(with_manifest), without):
        s3.client.delete_object(Bucket=BUCKET, Key=f"lake/history/{name}")

    # The orders that came in during the test are no gap of this run.
    run_id = airflow.trigger(EXAMPLE, conf={"since": f"{SINCE:%Y-%m-%d}", "until": f"{TODAY:%Y-%m-%d}"})
    sandbox.wait_for("POST", EXPORT_PATH, before + 2, timeout=RUN_SECONDS)
    for uuid in sandbox.exports[before:]:
        sandbox.finish_export(uuid)
    run = airflow.wait_for_run(EXAMPLE, run_id)

    assert sorted(requested(sandbox)[before:]) == [
        (api_timestamp(start), api_timestamp(start + WEEK)) for start in (STARTS[1], STARTS[3])
    ]
    assert airflow.xcom(run, "find_gaps", "coverage")["gaps"] == 2
    assert whole(airflow.xcom(run, "check", "coverage"), TODAY)
    assert stored(s3) == [file_name(start) for start in STARTS]


def test_a_run_without_a_gap_requests_nothing_and_still_checks(
    airflow: AirflowInstance, sandbox: Sandbox, first_run: DagRun
) -> None:
    before = len(requested(sandbox))
    run_id = airflow.trigger(EXAMPLE, conf={"since": f"{SINCE:%Y-%m-%d}", "until": f"{STARTS[0]:%Y-%m-%d}"})
    run = airflow.wait_for_run(EXAMPLE, run_id)

    assert [airflow.task_state(run, task_id) for task_id in ("export_orders", "store_orders")] == ["skipped"] * 2
    assert whole(airflow.xcom(run, "check", "coverage"), STARTS[0])
    assert len(requested(sandbox)) == before


def requested(sandbox: Sandbox) -> list[tuple[str, str]]:
    """Return the interval of every request for an export, in the order of arrival, which may be any within a run."""
    requests = [entry for entry in sandbox.requests if entry["path"] == EXPORT_PATH]
    assert {(entry["method"], entry["status"]) for entry in requests} <= {("POST", 200)}
    return [(entry["body"]["start_date"], entry["body"]["end_date"]) for entry in requests]


def whole(coverage: dict[str, Any], until: datetime) -> bool:
    """Return whether nothing is missing from 2026-01-01 on."""
    return (coverage["gaps"], coverage["covered_seconds"]) == (0, (until - SINCE).total_seconds())


def file_name(start: datetime) -> str:
    """Return the name of the file of an interval."""
    return f"dt={start:%Y-%m-%d}/{start:%H%M%S}.parquet"


def stored(s3: ObjectStore) -> list[str]:
    """Return the names of the files, and fail if one has no manifest."""
    names = [name.removeprefix("lake/history/") for name in s3.names() if "/dt=" in name]
    files = [name for name in names if name.endswith(".parquet")]
    assert sorted(names) == sorted([*files, *(manifest_name(name) for name in files)])
    return sorted(files)
