"""The transfer as a task runs it: the sandbox is Crux Connect and the storage of its files, a folder is the lake."""

from __future__ import annotations

import csv
import hashlib
import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import (
    AirflowException,
    AirflowFailException,
    AirflowSkipException,
    Asset,
    ObjectStoragePath,
    TaskDeferred,
)

from airflow_provider_crux.api.orders import OrdersExportRequest
from airflow_provider_crux.exceptions import (
    CruxExportTimeoutError,
    CruxInvalidRequestError,
    CruxTransientError,
    CruxUnavailableError,
)
from airflow_provider_crux.hooks.crux import CruxHook
from airflow_provider_crux.sandbox.server import running_sandbox
from airflow_provider_crux.sandbox.state import Sandbox, SandboxSettings
from airflow_provider_crux.transfers.crux_to_object_storage import CruxExportToObjectStorageOperator

FILES = "/sandbox-files/"
LOOKS = "/api/data/export/"


class TaskInstance:
    def __init__(self, upstream: list[Any]) -> None:
        self.pushed: dict[str, Any] = {}
        self.upstream = upstream
        self.pulled: list[Any] = []

    def xcom_push(self, key: str, value: Any) -> None:
        self.pushed[key] = value

    def xcom_pull(self, task_ids: list[str], key: str) -> list[Any]:
        self.pulled.append((task_ids, key))
        return self.upstream


class OutletEvents:
    """Airflow's accessor, which knows an asset by its name (below 3.2 an asset has no hash)."""

    def __init__(self) -> None:
        self.of: dict[str, Any] = {}

    def __getitem__(self, asset: Asset) -> Any:
        return self.of.setdefault(asset.uri, SimpleNamespace(extra={"mine": 1}))


@pytest.fixture
def sandbox(connect):
    """Hold every export until the test lets it be done."""
    with running_sandbox(SandboxSettings(export_seconds=None)) as running:
        connect(host=running.url, password=running.settings.token, extra={"max_retries": 0})
        yield running


@pytest.fixture
def uuid(sandbox: Sandbox) -> str:
    """Ask for the orders of one hour; they are in the file at once."""
    from datetime import UTC, datetime

    uuid = CruxHook().export_orders(
        OrdersExportRequest(start_date=datetime(2026, 1, 4, tzinfo=UTC), end_date=datetime(2026, 1, 5, tzinfo=UTC))
    )
    sandbox.finish_export(uuid)
    return uuid


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "lake" / "orders.csv"


def operator(uuid: str, target: Path, **given: Any) -> CruxExportToObjectStorageOperator:
    given = {"poll_interval": 0.01} | given
    return CruxExportToObjectStorageOperator(task_id="store", export_uuid=uuid, path=f"file://{target}", **given)


def context(*upstream: Any) -> dict[str, Any]:
    return {"ti": TaskInstance(list(upstream)), "outlet_events": OutletEvents()}


def served(sandbox: Sandbox, uuid: str) -> bytes:
    import requests

    url = CruxHook().get_export(uuid).url
    assert url is not None
    return requests.get(url, timeout=10).content


def asked(sandbox: Sandbox, path: str) -> list[int]:
    return [entry["status"] for entry in sandbox.requests if entry["path"].startswith(path)]


def left_in(target: Path) -> list[Path]:
    return list(target.parent.iterdir()) if target.parent.exists() else []


def test_the_file_is_stored_byte_for_byte_and_described(sandbox: Sandbox, uuid: str, target: Path) -> None:
    given = context()
    assert operator(uuid, target).execute(given) == f"file://{target}"
    content = target.read_bytes()
    assert content == served(sandbox, uuid)
    assert content.startswith(b"\xef\xbb\xbf")
    rows = len(list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline="")))) - 1
    assert rows > 0
    assert given["ti"].pushed == {
        "export_file": {
            "path": f"file://{target}",
            "bytes": len(content),
            "rows": rows,
            "sha256": hashlib.sha256(content).hexdigest(),
            "export_uuid": uuid,
        }
    }
    assert left_in(target) == [target]


def test_the_file_is_fetched_without_the_token(sandbox: Sandbox, uuid: str, target: Path) -> None:
    operator(uuid, target).execute(context())
    (fetch,) = [entry for entry in sandbox.requests if entry["path"].startswith(FILES)]
    assert fetch["authorization"] is None


def test_an_object_storage_path_is_taken_as_it_is(sandbox: Sandbox, uuid: str, target: Path) -> None:
    path = ObjectStoragePath(f"file://{target}")
    CruxExportToObjectStorageOperator(task_id="store", export_uuid=uuid, path=path).execute(context())
    assert target.exists()


def test_a_file_that_is_there_is_an_error_before_anything_is_asked(sandbox: Sandbox, uuid: str, target: Path) -> None:
    target.parent.mkdir()
    target.write_text("mine")
    before = len(sandbox.requests)
    with pytest.raises(AirflowFailException, match=f"path: .*{target}.*overwrite=True"):
        operator(uuid, target).execute(context())
    assert (target.read_text(), len(sandbox.requests)) == ("mine", before)
    operator(uuid, target, overwrite=True).execute(context())
    assert target.read_bytes() == served(sandbox, uuid)


def test_it_waits_for_the_export_itself(sandbox: Sandbox, uuid: str, target: Path) -> None:
    from threading import Thread

    pending = CruxHook().export_orders(OrdersExportRequest(limit=3))

    def finish() -> None:
        sandbox.wait_for("GET", f"{LOOKS}{pending}", count=3)
        sandbox.finish_export(pending)

    finishing = Thread(target=finish)
    finishing.start()
    operator(pending, target).execute(context())
    finishing.join()
    assert target.exists()
    late = CruxHook().export_orders(OrdersExportRequest())
    with pytest.raises(CruxExportTimeoutError):
        operator(late, target, overwrite=True, timeout=0.1).execute(context())


def test_deferred_it_waits_in_the_trigger_and_stores_on_the_worker(sandbox: Sandbox, uuid: str, target: Path) -> None:
    pending = CruxHook().export_orders(OrdersExportRequest(limit=3))
    with pytest.raises(TaskDeferred) as deferred:
        operator(pending, target, deferrable=True).execute(context())
    sandbox.finish_export(pending)
    told = {"event": {"export_uuid": pending, "state": "done"}, **deferred.value.kwargs}
    stored = operator(pending, target, deferrable=True).resume_execution("execute_complete", told, context())
    assert stored == f"file://{target}"
    assert target.exists()


def test_deferred_it_stores_at_once_what_is_done(sandbox: Sandbox, uuid: str, target: Path) -> None:
    operator(uuid, target, deferrable=True).execute(context())
    assert target.exists()


@pytest.mark.parametrize("deferrable", [False, True])
def test_an_export_that_failed_fails_the_task_at_once(
    sandbox: Sandbox, uuid: str, target: Path, deferrable: bool
) -> None:
    sandbox.fail_export(uuid)
    with pytest.raises(AirflowFailException, match=f"{uuid} failed"):
        operator(uuid, target, deferrable=deferrable).execute(context())
    told = {"event": {"export_uuid": uuid, "state": "failed"}, "requested_at": 0.0}
    with pytest.raises(AirflowFailException, match=f"{uuid} failed"):
        operator(uuid, target).resume_execution("execute_complete", told, context())
    assert left_in(target) == []


def test_a_url_that_lapsed_is_replaced_once(sandbox: Sandbox, uuid: str, target: Path) -> None:
    sandbox.respond_next(FILES, 403)
    operator(uuid, target).execute(context())
    assert asked(sandbox, FILES) == [403, 200]
    assert asked(sandbox, LOOKS) == [200, 200]
    for _ in range(3):
        sandbox.respond_next(FILES, 403)
    with pytest.raises(CruxTransientError):
        operator(uuid, target, overwrite=True).execute(context())
    assert asked(sandbox, FILES) == [403, 200, 403, 403]


@pytest.mark.parametrize("there", [False, True])
def test_a_connection_cut_in_the_middle_leaves_what_was_there(
    sandbox: Sandbox, uuid: str, target: Path, there: bool
) -> None:
    if there:
        target.parent.mkdir()
        target.write_text("yesterday's")
    sandbox.respond_next(FILES, 200, {"Content-Length": "1000"}, b"order_uuid\r\nhalf a li")
    with pytest.raises(CruxUnavailableError):
        operator(uuid, target, overwrite=True).execute(context())
    assert left_in(target) == ([target] if there else [])
    if there:
        assert target.read_text() == "yesterday's"


def test_ending_the_task_in_the_middle_leaves_nothing(sandbox: Sandbox, uuid: str, target: Path) -> None:
    task = operator(uuid, target)
    task.on_kill()
    with pytest.raises(AirflowException, match="nothing is stored"):
        task.execute(context())
    assert left_in(target) == []


def test_no_orders_are_stored_or_skipped_as_is_wanted(sandbox: Sandbox, uuid: str, target: Path) -> None:
    header = b"\xef\xbb\xbfretailer_po_number,order_uuid\r\n"
    sandbox.respond_next(FILES, 200, {"Content-Length": str(len(header))}, header)
    given = context()
    with pytest.raises(AirflowSkipException, match="no orders"):
        operator(uuid, target, skip_if_empty=True, outlets=[Asset("orders")]).execute(given)
    assert (left_in(target), given["ti"].pushed, given["outlet_events"].of) == ([], {}, {})
    sandbox.respond_next(FILES, 200, {"Content-Length": str(len(header))}, header)
    operator(uuid, target).execute(given)
    assert target.read_bytes() == header
    assert given["ti"].pushed["export_file"]["rows"] == 0
    operator(uuid, target, skip_if_empty=True, overwrite=True).execute(context())
    assert target.read_bytes() != header


def test_every_asset_is_told_what_was_stored(sandbox: Sandbox, uuid: str, target: Path) -> None:
    window = {"interval_start": "2026-01-04T00:00:00.000Z", "interval_end": "2026-01-05T00:00:00.000Z"}
    other = {"export_uuid": "b9888421-594c-4d2f-9f0d-3b138a16c845", "interval_start": "x", "interval_end": "y"}
    task = operator(uuid, target, outlets=[Asset("orders"), Asset("lake")])
    task.upstream_task_ids.add("export")
    given = context(None, other, {"export_uuid": uuid, **window})
    task.execute(given)
    assert given["ti"].pulled == [(["export"], "export_interval")]
    file = given["ti"].pushed["export_file"]
    extra = {"mine": 1, "export_uuid": uuid, **window} | {name: file[name] for name in ("rows", "bytes", "sha256")}
    assert {uri: events.extra for uri, events in given["outlet_events"].of.items()} == {
        Asset("orders").uri: extra,
        Asset("lake").uri: extra,
    }


def test_where_nobody_upstream_knows_the_interval_the_event_has_none(sandbox: Sandbox, uuid: str, target: Path) -> None:
    given = context()
    operator(uuid, target, outlets=[Asset("orders")]).execute(given)
    (events,) = given["outlet_events"].of.values()
    assert (events.extra["interval_start"], events.extra["interval_end"]) == (None, None)


@pytest.mark.parametrize("name", ["poll_interval", "timeout"])
def test_an_interval_that_is_none_is_refused_when_the_dag_is_parsed(name: str) -> None:
    with pytest.raises(CruxInvalidRequestError, match=f"'store'.*{name}: -1 is not"):
        operator("uuid", Path("/tmp/x"), **{name: -1})


def test_no_secret_is_in_log_or_xcom(sandbox: Sandbox, uuid: str, target: Path, logged) -> None:
    given = context()
    operator(uuid, target).execute(given)
    sandbox.respond_next(FILES, 500, body=b"X-Amz-Signature=0123456789abcdef0123456789abcdef")
    with pytest.raises(CruxUnavailableError) as caught:
        operator(uuid, target, overwrite=True).execute(given)
    said = [logged(), str(given["ti"].pushed), str(caught.value), repr(caught.value)]
    assert "Stored export" in said[0]
    for secret in ("0123456789abcdef", FILES, sandbox.settings.token):
        assert not [text for text in said if secret in text]


@pytest.mark.parametrize(
    ("path", "namespace", "name"),
    [
        ("file:///lake/orders.csv", "file", "/lake/orders.csv"),
        ("/lake/orders.csv", "file", "/lake/orders.csv"),
        ("s3://aws_lake@bucket/a/b.csv", "s3://bucket", "a/b.csv"),
        ("gs://bucket/a/b.csv", "gs://bucket", "a/b.csv"),
    ],
)
def test_openlineage_is_told_from_where_to_where(path: str, namespace: str, name: str) -> None:
    from airflow_provider_crux.transfers.atomic_write import StoredFile
    from airflow_provider_crux.transfers.lineage import stored_file_lineage

    told = stored_file_lineage(StoredFile(path, bytes=10, rows=2, sha256="0"), "https://api.cruxconnect.com")
    (source,), (file,) = told.inputs, told.outputs
    assert (source.namespace, source.name) == ("crux://api.cruxconnect.com", "orders")
    assert (file.namespace, file.name) == (namespace, name)
    assert (file.outputFacets["outputStatistics"].rowCount, file.outputFacets["outputStatistics"].size) == (2, 10)


def test_openlineage_asks_the_operator_itself(sandbox: Sandbox, uuid: str, target: Path) -> None:
    from airflow.providers.openlineage.extractors.manager import ExtractorManager

    task = operator(uuid, target)
    assert task.get_openlineage_facets_on_complete(None) is None
    task.execute(context())
    from airflow.providers.openlineage.extractors.base import DefaultExtractor

    assert isinstance(ExtractorManager()._get_extractor(task), DefaultExtractor)
    told = DefaultExtractor(task).extract_on_complete(SimpleNamespace(task=task))
    assert [dataset.name for dataset in told.outputs] == [str(target)]


def test_without_xcom_nothing_is_pushed(sandbox: Sandbox, uuid: str, target: Path) -> None:
    given = context()
    operator(uuid, target, do_xcom_push=False).execute(given)
    assert given["ti"].pushed == {}
    assert target.exists()
