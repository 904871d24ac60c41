"""The operator that waits; the sandbox counts the e-mails."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from threading import Thread
from typing import TYPE_CHECKING

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_crux.exceptions import (
    CruxExportFailedError,
    CruxExportTimeoutError,
    CruxInvalidRequestError,
    CruxUnavailableError,
)
from airflow_provider_crux.sandbox.state import SandboxSettings
from tests.operators.task_instance import BODY, WAIT, ReadOnlyStore, Task, make_operator

if TYPE_CHECKING:
    from airflow_provider_crux.sandbox.state import Sandbox

STATUS_PATH = "/api/data/export/"


def test_the_task_succeeds_when_the_export_is_done(held_sandbox: Sandbox, task_without_store: Task) -> None:
    before = datetime.now(UTC)

    def polls() -> int:
        return sum(entry["path"].startswith(STATUS_PATH) for entry in held_sandbox.requests)

    held_sandbox.settings = SandboxSettings(export_seconds=2)
    held_sandbox.clock = lambda: before + timedelta(seconds=polls())  # each poll takes a second
    uuid = task_without_store.run(**WAIT)
    assert held_sandbox.exports == [uuid]
    assert polls() == 2
    assert task_without_store.pushed == {
        "export_interval": {
            "export_uuid": uuid,
            "interval_start": BODY["start_date"],
            "interval_end": BODY["end_date"],
            "requested_at": task_without_store.pushed["export_interval"]["requested_at"],
            "request": BODY,
        },
    }
    requested_at = datetime.fromisoformat(task_without_store.pushed["export_interval"]["requested_at"])
    assert before <= requested_at <= datetime.now(UTC)


def test_a_deferrable_task_requests_in_the_worker_and_waits_in_the_trigger(
    held_sandbox: Sandbox, task_without_store: Task
) -> None:
    before = time.time()
    deferral = task_without_store.defer(timeout=600)
    assert [entry["method"] for entry in held_sandbox.requests] == ["POST"]
    _, arguments = deferral.trigger.serialize()
    assert arguments["export_uuid"] == held_sandbox.exports[0]
    requested_at = datetime.fromisoformat(deferral.kwargs["export"]["requested_at"]).timestamp()
    assert before <= requested_at <= arguments["accepted_at"] <= time.time()
    assert before + 600 <= arguments["deadline"] <= time.time() + 600
    assert deferral.timeout > timedelta(seconds=600 + 300)

    uuid = task_without_store.resume(deferral, export_uuid=held_sandbox.exports[0], state="done")
    assert [uuid] == held_sandbox.exports
    assert task_without_store.pushed["export_interval"]["interval_start"] == BODY["start_date"]


def test_dag_test_resumes_the_task_with_the_event_alone(held_sandbox: Sandbox, any_task: Task) -> None:
    deferral = any_task.defer()
    done = {"export_uuid": held_sandbox.exports[0], "state": "done"}
    assert [any_task.resume_in_dag_test(deferral, **done)] == held_sandbox.exports
    pushed = any_task.pushed["export_interval"]
    assert pushed["interval_end"] == BODY["end_date"]
    assert pushed["requested_at"] == deferral.kwargs["export"]["requested_at"]
    with pytest.raises(AirflowFailException, match="not a UUID"):
        any_task.resume_in_dag_test(deferral, state="done")


def test_dag_test_resumes_although_the_export_could_not_be_saved_and_a_retry_resumes_too(
    held_sandbox: Sandbox, make_context
) -> None:
    store = ReadOnlyStore(writes=1)  # the intent
    task = Task(make_context, store)
    deferral = task.defer()
    store.writes = 9
    task.resume_in_dag_test(deferral, export_uuid=held_sandbox.exports[0], state="done")
    assert task.pushed["export_interval"]["requested_at"] is not None
    assert [task.run()] == held_sandbox.exports


def test_dag_test_does_not_know_when_an_export_was_requested_if_the_task_is_not_durable(
    held_sandbox: Sandbox, make_context
) -> None:
    task = Task(make_context, None)
    deferral = task.defer(durable=False)
    task.resume_in_dag_test(deferral, export_uuid=held_sandbox.exports[0], state="done")
    assert task.pushed["export_interval"]["requested_at"] is None


@pytest.mark.parametrize(
    ("state", "error"),
    [("failed", CruxExportFailedError), ("timed_out", CruxExportTimeoutError), ("unknown", CruxUnavailableError)],
)
def test_the_task_fails_as_the_trigger_reports(
    held_sandbox: Sandbox, task_without_store: Task, state: str, error: type[Exception]
) -> None:
    deferral = task_without_store.defer()
    with pytest.raises(error):
        task_without_store.resume(deferral, export_uuid=held_sandbox.exports[0], state=state)


def test_waiting_in_the_worker_ends_when_the_export_fails(held_sandbox: Sandbox, task_without_store: Task) -> None:
    def fail_first_export() -> None:
        held_sandbox.wait_for("GET", STATUS_PATH)
        held_sandbox.fail_export(held_sandbox.exports[0])

    failing = Thread(target=fail_first_export)
    failing.start()
    with pytest.raises(CruxExportFailedError):
        task_without_store.run(**WAIT)
    failing.join()


def test_waiting_in_the_worker_ends_when_the_export_is_late(task_without_store: Task) -> None:
    with pytest.raises(CruxExportTimeoutError):
        task_without_store.run(**WAIT, timeout=0.1)


def test_a_person_who_ends_the_task_learns_that_the_export_continues(task_without_store: Task, logged) -> None:
    operator = make_operator()
    operator.on_kill()
    assert "cannot cancel" not in logged()
    uuid = operator.execute(task_without_store.new_context())
    operator.on_kill()
    assert f"Crux Connect cannot cancel an export: {uuid} continues" in logged()


@pytest.mark.parametrize("name", ["poll_interval", "timeout"])
def test_an_invalid_number_of_seconds_fails_when_the_dag_is_parsed(name: str) -> None:
    with pytest.raises(CruxInvalidRequestError, match=f"'export'.*{name}: 0 is not"):
        make_operator(**{name: 0})
