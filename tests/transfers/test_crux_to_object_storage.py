"""The transfer as a task runs it: the sandbox is Crux Connect and the storage of its files, a folder is the target."""

from __future__ import annotations

import csv
import hashlib
import io
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import (
    AirflowException,
    AirflowFailException,
    Asset,
    ObjectStoragePath,
    TaskDeferred,
)

from airflow_provider_crux.exceptions import (
    CruxExportTimeoutError,
    CruxInvalidRequestError,
    CruxTransientError,
    CruxUnavailableError,
)
from airflow_provider_crux.sandbox.csv_file import COLUMNS
from airflow_provider_crux.transfers.crux_to_object_storage import CruxExportToObjectStorageOperator
from tests.transfers.transfer import FILE_PATH, INTERVAL, STATUS_PATH, file_content, make_operator, resume, statuses

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from airflow_provider_crux.sandbox.state import Sandbox


def files_beside(target: Path) -> list[Path]:
    return list(target.parent.iterdir()) if target.parent.exists() else []


def test_the_file_is_stored_byte_for_byte_and_described(done_uuid: str, target: Path, context) -> None:
    assert make_operator(done_uuid, target).execute(context) == f"file://{target}"
    content = target.read_bytes()
    assert content == file_content(done_uuid)
    assert content.startswith(b"\xef\xbb\xbf")
    rows = len(list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline="")))) - 1
    assert rows > 0
    assert context["ti"].pushed == {
        "export_file": {
            "path": f"file://{target}",
            "bytes": len(content),
            "rows": rows,
            "sha256": hashlib.sha256(content).hexdigest(),
            "format": "csv",
            "columns": list(COLUMNS),
            "export_uuid": done_uuid,
        }
    }
    assert files_beside(target) == [target]


def test_the_file_is_downloaded_without_the_token(held_sandbox: Sandbox, done_uuid: str, target: Path, context) -> None:
    make_operator(done_uuid, target).execute(context)
    (download,) = [entry for entry in held_sandbox.requests if entry["path"].startswith(FILE_PATH)]
    assert download["authorization"] is None


@pytest.mark.parametrize("deferrable", [False, True])
def test_an_export_that_is_done_costs_one_poll_and_one_download(
    held_sandbox: Sandbox, done_uuid: str, target: Path, context, deferrable: bool
) -> None:
    make_operator(done_uuid, target, deferrable=deferrable).execute(context)
    assert target.exists()
    assert statuses(held_sandbox, STATUS_PATH) == [200]
    assert statuses(held_sandbox, FILE_PATH) == [200]


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_an_object_storage_path_is_accepted(done_uuid: str, target: Path, context, scheme: str) -> None:
    path = ObjectStoragePath(f"{scheme}{target}")
    CruxExportToObjectStorageOperator(task_id="store", export_uuid=done_uuid, path=path).execute(context)
    assert target.exists()


def test_an_existing_file_is_an_error_before_anything_is_sent(
    held_sandbox: Sandbox, done_uuid: str, target: Path, context
) -> None:
    target.parent.mkdir()
    target.write_text("mine")
    requests_before = len(held_sandbox.requests)
    with pytest.raises(AirflowFailException, match=f"path: .*{target}.*overwrite=True"):
        make_operator(done_uuid, target).execute(context)
    assert (target.read_text(), len(held_sandbox.requests)) == ("mine", requests_before)
    make_operator(done_uuid, target, overwrite=True).execute(context)
    assert target.read_bytes() == file_content(done_uuid)


@pytest.mark.parametrize("deferrable", [False, True])
def test_a_file_that_appears_during_the_download_stays(
    done_uuid: str, target: Path, context, monkeypatch, deferrable: bool
) -> None:
    operator = make_operator(done_uuid, target, deferrable=deferrable)
    real = operator._stop_when_killed

    def chunks_and_another_writer(chunks: Iterable[bytes], path: ObjectStoragePath) -> Iterator[bytes]:
        yield from real(chunks, path)
        target.write_text("theirs")

    monkeypatch.setattr(operator, "_stop_when_killed", chunks_and_another_writer)
    with pytest.raises(AirflowFailException, match=f"path: .*{target}.* already exists; set overwrite=True"):
        operator.execute(context)
    assert target.read_text() == "theirs"
    assert files_beside(target) == [target]
    assert context["ti"].pushed == {}


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        (None, "None is not a path"),
        ("", "'' is not a path"),
        (" ", "' ' is not a path"),
        ("None", "'None' is not a path"),
        ("{folder}", "is a folder"),
        ("file://{folder}", "is a folder"),
        ("file://{folder}/new/", "is a folder"),
        ("nope://bucket/a.csv", "cannot be opened .* use a scheme"),
        (7, "cannot be opened"),
        (["/lake/a.csv"], "cannot be opened"),
        ({"path": "/lake/a.csv"}, "cannot be opened"),
    ],
)
def test_an_unusable_path_fails_the_task_before_anything_is_downloaded(
    held_sandbox: Sandbox, done_uuid: str, tmp_path: Path, context, *, path: Any, problem: str
) -> None:
    """A native template can render to anything."""
    if isinstance(path, str):
        path = path.replace("{folder}", str(tmp_path))
    operator = CruxExportToObjectStorageOperator(
        task_id="store", export_uuid=done_uuid, path="file:///x", overwrite=True, poll_interval=0.01
    )
    for run in (
        lambda: operator.execute(context),
        lambda: resume(operator, context, export_uuid=done_uuid, state="done"),
    ):
        operator.path = path
        with pytest.raises(AirflowFailException, match=f"path: .*{problem}"):
            run()
    assert statuses(held_sandbox, STATUS_PATH) == []
    assert statuses(held_sandbox, FILE_PATH) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("body", [b"", b"<?xml version='1.0'?><Error/>", b'{"error": "denied"}', b"\x89PNG\r\n\x1a\n"])
def test_a_body_that_is_no_export_is_not_stored(
    held_sandbox: Sandbox, done_uuid: str, target: Path, context, body: bytes
) -> None:
    target.parent.mkdir()
    target.write_text("yesterday's")
    held_sandbox.respond_next(FILE_PATH, 200, {"Content-Length": str(len(body))}, body)
    operator = make_operator(done_uuid, target, overwrite=True)
    with pytest.raises(CruxUnavailableError, match=r"HTTP 200, but with .* Nothing was stored"):
        operator.execute(context)
    assert target.read_text() == "yesterday's"
    assert files_beside(target) == [target]
    assert context["ti"].pushed == {}
    assert statuses(held_sandbox, FILE_PATH) == [200]
    # storage that returns it once, so the next try succeeds
    operator.execute(context)
    assert target.read_bytes() == file_content(done_uuid)


@pytest.mark.parametrize("status", [204, 307, 404])
def test_a_try_after_a_status_that_storage_returned_once_succeeds(
    held_sandbox: Sandbox, done_uuid: str, target: Path, context, status: int
) -> None:
    held_sandbox.respond_next(FILE_PATH, status)
    operator = make_operator(done_uuid, target)
    with pytest.raises(CruxUnavailableError, match=f"HTTP {status} .*Try again later; if it fails again") as caught:
        operator.execute(context)
    assert "proxy" not in str(caught.value)
    assert files_beside(target) == []
    operator.execute(context)
    assert target.read_bytes() == file_content(done_uuid)


@pytest.mark.parametrize("deferrable", [False, True])
def test_a_missing_connection_fails_the_task_immediately(target: Path, context, deferrable: bool) -> None:
    uuid = "b9888421-594c-4d2f-9f0d-3b138a16c845"
    operator = make_operator(uuid, target, crux_conn_id="crux_gone", deferrable=deferrable)
    with pytest.raises(AirflowFailException, match="Connection 'crux_gone' does not exist"):
        operator.execute(context)
    with pytest.raises(AirflowFailException, match="Connection 'crux_gone' does not exist"):
        resume(operator, context, export_uuid=uuid, state="unknown")


@pytest.mark.parametrize("event", [{"state": "unknown"}, {"state": "new"}, {}])
def test_after_an_unknown_event_the_worker_polls_once(
    held_sandbox: Sandbox, done_uuid: str, target: Path, context, event: dict[str, str]
) -> None:
    resume(make_operator(done_uuid, target), context, export_uuid=done_uuid, **event)
    assert target.read_bytes() == file_content(done_uuid)
    # the second one is that of this test
    assert statuses(held_sandbox, STATUS_PATH) == [200, 200]
    assert statuses(held_sandbox, FILE_PATH) == [200, 200]


def test_the_transfer_waits_for_the_export(held_sandbox: Sandbox, export_uuid: str, target: Path, context) -> None:
    def finish_after_three_polls() -> None:
        held_sandbox.wait_for("GET", f"{STATUS_PATH}{export_uuid}", count=3)
        held_sandbox.finish_export(export_uuid)

    finishing = Thread(target=finish_after_three_polls)
    finishing.start()
    make_operator(export_uuid, target).execute(context)
    finishing.join()
    assert target.exists()


def test_an_export_that_is_late_fails_the_task(export_uuid: str, target: Path, context) -> None:
    with pytest.raises(CruxExportTimeoutError):
        make_operator(export_uuid, target, timeout=0.1).execute(context)
    assert files_beside(target) == []


def test_a_deferrable_transfer_waits_in_the_trigger_and_stores_in_the_worker(
    held_sandbox: Sandbox, export_uuid: str, target: Path, context
) -> None:
    operator = make_operator(export_uuid, target, deferrable=True)
    with pytest.raises(TaskDeferred) as deferral:
        operator.execute(context)
    held_sandbox.finish_export(export_uuid)
    kwargs = {"event": {"export_uuid": export_uuid, "state": "done"}, **deferral.value.kwargs}
    resumed = make_operator(export_uuid, target, deferrable=True)
    assert resumed.resume_execution("execute_complete", kwargs, context) == f"file://{target}"
    assert target.exists()
    # one before the transfer deferred, and one for the URL
    assert statuses(held_sandbox, STATUS_PATH) == [200, 200]


@pytest.mark.parametrize("deferrable", [False, True])
def test_a_failed_export_fails_the_task_immediately(
    held_sandbox: Sandbox, done_uuid: str, target: Path, context, deferrable: bool
) -> None:
    held_sandbox.fail_export(done_uuid)
    with pytest.raises(AirflowFailException, match=f"{done_uuid} failed"):
        make_operator(done_uuid, target, deferrable=deferrable).execute(context)
    with pytest.raises(AirflowFailException, match=f"{done_uuid} failed"):
        resume(make_operator(done_uuid, target), context, export_uuid=done_uuid, state="failed")
    assert files_beside(target) == []


def test_an_expired_url_is_replaced_once(held_sandbox: Sandbox, done_uuid: str, target: Path, context) -> None:
    held_sandbox.respond_next(FILE_PATH, 403)
    make_operator(done_uuid, target).execute(context)
    assert statuses(held_sandbox, FILE_PATH) == [403, 200]
    assert statuses(held_sandbox, STATUS_PATH) == [200, 200]
    for _ in range(3):
        held_sandbox.respond_next(FILE_PATH, 403)
    with pytest.raises(CruxTransientError):
        make_operator(done_uuid, target, overwrite=True).execute(context)
    assert statuses(held_sandbox, FILE_PATH) == [403, 200, 403, 403]


@pytest.mark.parametrize("previous", [None, "yesterday's"])
def test_an_incomplete_download_keeps_what_was_at_the_path(
    held_sandbox: Sandbox, done_uuid: str, target: Path, context, previous: str | None
) -> None:
    if previous is not None:
        target.parent.mkdir()
        target.write_text(previous)
    held_sandbox.respond_next(FILE_PATH, 200, {"Content-Length": "1000"}, b"order_uuid\r\nhalf a li")
    with pytest.raises(CruxUnavailableError):
        make_operator(done_uuid, target, overwrite=True).execute(context)
    assert files_beside(target) == ([] if previous is None else [target])
    if previous is not None:
        assert target.read_text() == previous


def test_a_killed_task_stores_nothing(done_uuid: str, target: Path, context) -> None:
    operator = make_operator(done_uuid, target)
    operator.on_kill()
    with pytest.raises(AirflowException, match="nothing was stored"):
        operator.execute(context)
    assert files_beside(target) == []


def test_an_export_without_orders_is_stored(held_sandbox: Sandbox, done_uuid: str, target: Path, context) -> None:
    header = b"\xef\xbb\xbfretailer_po_number,order_uuid\r\n"
    held_sandbox.respond_next(FILE_PATH, 200, {"Content-Length": str(len(header))}, header)
    make_operator(done_uuid, target).execute(context)
    assert target.read_bytes() == header
    assert context["ti"].pushed["export_file"]["rows"] == 0


def test_the_event_of_every_asset_describes_the_stored_file(done_uuid: str, target: Path, context_with) -> None:
    interval = {name: INTERVAL[name] for name in ("interval_start", "interval_end")}
    other = {"export_uuid": "b9888421-594c-4d2f-9f0d-3b138a16c845", "interval_start": "x", "interval_end": "y"}
    operator = make_operator(done_uuid, target, outlets=[Asset("orders"), Asset("lake")])
    operator.upstream_task_ids.add("export")
    context = context_with(None, other, {"export_uuid": done_uuid, **INTERVAL})
    operator.execute(context)
    assert context["ti"].pulls == [("export", "export_interval")]
    file = context["ti"].pushed["export_file"]
    extra = {"mine": 1, "export_uuid": done_uuid, **interval} | {
        name: file[name] for name in ("rows", "bytes", "sha256", "columns")
    }
    assert {uri: event.extra for uri, event in context["outlet_events"].by_uri.items()} == {
        Asset("orders").uri: extra,
        Asset("lake").uri: extra,
    }


def test_without_an_upstream_task_the_event_has_no_interval(done_uuid: str, target: Path, context) -> None:
    make_operator(done_uuid, target, outlets=[Asset("orders")]).execute(context)
    (event,) = context["outlet_events"].by_uri.values()
    assert (event.extra["interval_start"], event.extra["interval_end"]) == (None, None)


@pytest.mark.parametrize("name", ["poll_interval", "timeout"])
def test_an_invalid_number_of_seconds_fails_when_the_dag_is_parsed(name: str) -> None:
    with pytest.raises(CruxInvalidRequestError, match=f"'store'.*{name}: -1 is not"):
        make_operator("uuid", Path("/tmp/x"), **{name: -1})


def test_no_secret_is_in_log_xcom_or_error(
    held_sandbox: Sandbox, done_uuid: str, target: Path, context, logged
) -> None:
    make_operator(done_uuid, target).execute(context)
    held_sandbox.respond_next(FILE_PATH, 500, body=b"X-Amz-Signature=0123456789abcdef0123456789abcdef")
    with pytest.raises(CruxUnavailableError) as error:
        make_operator(done_uuid, target, overwrite=True).execute(context)
    texts = [logged(), str(context["ti"].pushed), str(error.value), repr(error.value)]
    assert "Stored export" in texts[0]
    for secret in ("0123456789abcdef", FILE_PATH, held_sandbox.settings.token):
        assert not [text for text in texts if secret in text]


def test_no_xcom_is_pushed_if_the_dag_wants_none(done_uuid: str, target: Path, context) -> None:
    make_operator(done_uuid, target, do_xcom_push=False).execute(context)
    assert context["ti"].pushed == {}
    assert target.exists()
