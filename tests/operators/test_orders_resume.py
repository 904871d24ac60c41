"""The operator that resumes, and never requests a second export by mistake; the sandbox counts the e-mails."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException

from airflow_provider_crux.api.polling import NOT_FOUND_GRACE
from airflow_provider_crux.exceptions import CruxExportTimeoutError, CruxUnavailableError
from airflow_provider_crux.sandbox.state import SandboxSettings
from tests.operators.task_instance import BODY, WAIT, ReadOnlyStore, Task, UnreadableStore, make_operator

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_crux.sandbox.state import Sandbox

STATUS_PATH = "/api/data/export/"


def assert_earlier_export_is_named(log: str, uuid: str, reason: str) -> None:
    """Assert that the log says which export a try leaves behind, why, and that its e-mail may come."""
    assert f"Export {uuid}, which an earlier try requested at 20" in log
    assert f"{reason}: this try requests another one. The e-mail of the earlier export may still be sent" in log


@pytest.mark.parametrize("arguments", [{}, WAIT], ids=["submits", "waits"])
def test_a_retry_resumes_the_export(held_sandbox: Sandbox, any_task: Task, arguments: dict[str, bool]) -> None:
    uuid = any_task.crash_while_waiting()
    held_sandbox.finish_export(uuid)
    assert any_task.run(**arguments) == uuid
    assert held_sandbox.exports == [uuid]
    assert any_task.pushed["export_interval"]["request"] == BODY


def test_a_deferrable_retry_resumes_the_export(held_sandbox: Sandbox, any_task: Task) -> None:
    uuid = any_task.crash_while_waiting()
    deferral = any_task.defer()
    assert deferral.kwargs["export"]["export_uuid"] == uuid
    assert any_task.resume(deferral, export_uuid=uuid, state="done") == uuid
    assert held_sandbox.exports == [uuid]


@pytest.mark.parametrize("arguments", [{}, WAIT], ids=["submits", "waits"])
def test_a_try_that_failed_after_execute_is_resumed(
    held_sandbox: Sandbox, any_task: Task, arguments: dict[str, bool]
) -> None:
    held_sandbox.settings = SandboxSettings(export_seconds=0)
    # Airflow fails it, for example because it cannot push the return value
    uuid = any_task.run(**arguments)
    assert any_task.succeed(**arguments) == uuid
    assert held_sandbox.exports == [uuid]


@pytest.mark.parametrize("arguments", [{}, WAIT], ids=["submits", "waits"])
def test_a_try_that_cannot_push_its_xcom_is_resumed(
    held_sandbox: Sandbox, any_task: Task, arguments: dict[str, bool]
) -> None:
    held_sandbox.settings = SandboxSettings(export_seconds=0)

    def failing_push(**_: Any) -> None:
        raise ConnectionError("no database")

    context = any_task.new_context()
    context["ti"].xcom_push = failing_push
    with pytest.raises(ConnectionError):
        make_operator(**arguments).execute(context)
    assert held_sandbox.exports == [any_task.run(**arguments)]


def test_a_deferred_try_that_failed_after_execute_complete_is_resumed(held_sandbox: Sandbox, any_task: Task) -> None:
    deferral = any_task.defer()
    uuid = held_sandbox.exports[0]
    any_task.resume(deferral, export_uuid=uuid, state="done")
    held_sandbox.finish_export(uuid)
    assert any_task.succeed(**WAIT) == uuid
    assert held_sandbox.exports == [uuid]


def test_clearing_a_successful_task_requests_a_new_export(held_sandbox: Sandbox, any_task: Task) -> None:
    first = any_task.succeed()
    any_task.clear()
    second = any_task.succeed()
    any_task.clear()
    third = any_task.succeed()
    assert held_sandbox.exports == [first, second, third]


@pytest.mark.parametrize("callbacks", [True, False], ids=["callbacks run", "the worker ends before the callbacks"])
def test_clearing_a_successful_task_requests_a_new_export_even_if_it_has_fewer_retries_now(
    held_sandbox: Sandbox, any_task: Task, callbacks: bool
) -> None:
    any_task.max_tries = 1
    first = any_task.succeed() if callbacks else any_task.run()
    any_task.clear(retries=0)
    assert any_task.max_tries == 1, "as it was"
    second = any_task.run(retries=0)
    assert held_sandbox.exports == [first, second]


def test_clearing_another_task_of_the_run_does_not_make_a_retry_request_a_second_export(
    held_sandbox: Sandbox, any_task: Task
) -> None:
    uuid = any_task.run()  # done, but Airflow cannot store the success
    any_task.clear_another_task()
    assert any_task.run() == uuid
    assert held_sandbox.exports == [uuid]


def test_clearing_a_task_that_failed_while_it_waited_resumes_its_export(held_sandbox: Sandbox, any_task: Task) -> None:
    uuid = any_task.crash_while_waiting()
    any_task.clear()
    assert any_task.run() == uuid
    assert held_sandbox.exports == [uuid]


def test_clearing_a_task_whose_record_airflow_discards_requests_a_new_export(held_sandbox: Sandbox, task: Task) -> None:
    first = task.crash_while_waiting()
    task.clear()
    task.store.clear()
    second = task.run()
    assert held_sandbox.exports == [first, second]


@pytest.mark.parametrize("discards", [True, False], ids=["Airflow 3.4", "before"])
def test_where_a_clear_discards_the_record_the_log_of_the_failed_try_says_how_to_keep_it(
    held_sandbox: Sandbox, any_task: Task, monkeypatch, logged, *, discards: bool
) -> None:
    monkeypatch.setattr("airflow_provider_crux.operators.orders.CLEAR_DISCARDS_STATE", discards)
    with pytest.raises(CruxExportTimeoutError):
        any_task.run(**WAIT, timeout=0.01)
    (uuid,) = held_sandbox.exports
    text = f"A retry of this task resumes export {uuid}. If you clear the task, choose 'Keep task state and resume'"
    assert (text in logged()) == discards


def test_no_variable_remains_after_success(held_sandbox: Sandbox, task_without_store: Task, variables) -> None:
    uuid = task_without_store.crash_while_waiting()
    assert len(variables) == 1
    task_without_store.run()
    assert len(variables) == 1
    assert task_without_store.succeed() == uuid
    assert variables == {}


def test_airflow_3_3_needs_no_variable(held_sandbox: Sandbox, task: Task, variables) -> None:
    task.crash_while_waiting()
    task.succeed()
    assert variables == {}


def test_a_changed_request_is_a_new_export(held_sandbox: Sandbox, any_task: Task, logged) -> None:
    first = any_task.crash_while_waiting()
    second = any_task.run(line_item_status=["rejected"])
    assert held_sandbox.exports == [first, second]
    assert_earlier_export_is_named(logged(), first, "has other filters, another interval or another connection")


def test_a_changed_connection_is_a_new_export(held_sandbox: Sandbox, task: Task, connect, logged) -> None:
    first = task.crash_while_waiting()
    connect("other", host=held_sandbox.url, password=held_sandbox.settings.token)
    second = task.run(crux_conn_id="other")
    assert held_sandbox.exports == [first, second]
    assert_earlier_export_is_named(logged(), first, "has other filters, another interval or another connection")


@pytest.mark.parametrize("deferred", [True, False], ids=["it waits", "it is done"])
def test_with_fail_only_a_clear_requests_another_export_if_the_request_has_changed(
    held_sandbox: Sandbox, any_task: Task, *, deferred: bool
) -> None:
    """A template that renders the present time is no wish for a second e-mail."""
    run = any_task.crash_while_waiting if deferred else any_task.run
    first = run(on_ambiguous="fail")
    for _ in range(2):
        with pytest.raises(AirflowFailException, match=f"requested export {first} with other filters.*clear the task"):
            any_task.run(on_ambiguous="fail", interval_end="2026-01-03")
    assert held_sandbox.exports == [first]
    any_task.clear()
    second = any_task.run(on_ambiguous="fail", interval_end="2026-01-03")
    assert held_sandbox.exports == [first, second]


def make_export_fail(sandbox: Sandbox, task: Task, uuid: str) -> None:
    """Let the export fail."""
    sandbox.fail_export(uuid)


def make_export_old(task: Task) -> None:
    """Let the time be over in which Crux Connect may not know the export yet."""
    record = task.store["crux_export"]
    record["accepted_at"] = (datetime.fromisoformat(record["accepted_at"]) - NOT_FOUND_GRACE).isoformat()


def make_export_vanish(sandbox: Sandbox, task: Task, uuid: str) -> None:
    """Let Crux Connect no longer know the export."""
    make_export_old(task)
    sandbox.respond_next(STATUS_PATH, 404)


UNUSABLE = pytest.mark.parametrize(
    ("make_unusable", "reason"),
    [(make_export_fail, "failed at Crux Connect"), (make_export_vanish, "is no longer known to Crux Connect")],
    ids=["failed", "gone"],
)


@UNUSABLE
def test_an_unusable_export_is_not_resumed(held_sandbox: Sandbox, task: Task, make_unusable, reason, logged) -> None:
    first = task.crash_while_waiting()
    make_unusable(held_sandbox, task, first)
    second = task.run()
    assert held_sandbox.exports == [first, second]
    assert_earlier_export_is_named(logged(), first, reason)


def test_an_export_that_is_unknown_because_of_a_wrong_version_is_resumed_after_a_correction(
    held_sandbox: Sandbox, task: Task, connect
) -> None:
    """Nor is it lost if several tries fail with the wrong version."""
    fields = {"host": held_sandbox.url, "password": held_sandbox.settings.token}
    uuid = task.crash_while_waiting()
    make_export_old(task)
    connect(**fields, extra={"api_version": "timp"})
    for _ in range(2):
        with pytest.raises(AirflowFailException, match="Change the connection's api_version from 'timp' to"):
            task.run()
    connect(**fields)
    task.clear()
    assert task.run() == uuid
    assert held_sandbox.exports == [uuid]


def test_with_fail_an_unknown_export_may_be_one_of_another_version(held_sandbox: Sandbox, task: Task, connect) -> None:
    uuid = task.crash_while_waiting(on_ambiguous="fail")
    make_export_old(task)
    connect(host=held_sandbox.url, password=held_sandbox.settings.token, extra={"api_version": "timp"})
    advice = "change the connection's api_version from 'timp' to 'api' or 'v1'; then this export may still be there"
    with pytest.raises(AirflowFailException, match=f"no longer knows export {uuid}.*{advice}"):
        task.run(on_ambiguous="fail")
    assert held_sandbox.exports == [uuid]


@UNUSABLE
def test_with_fail_only_a_clear_requests_another_export_than_an_unusable_one(
    held_sandbox: Sandbox, task: Task, make_unusable, reason
) -> None:
    first = task.crash_while_waiting(on_ambiguous="fail")
    make_unusable(held_sandbox, task, first)
    with pytest.raises(AirflowFailException):
        task.run(on_ambiguous="fail")
    assert held_sandbox.exports == [first]
    task.clear()
    second = task.run(on_ambiguous="fail")
    assert held_sandbox.exports == [first, second]


def test_with_fail_an_export_that_fails_while_the_task_waits_fails_it_until_it_is_cleared(
    held_sandbox: Sandbox, any_task: Task
) -> None:
    deferral = any_task.defer(on_ambiguous="fail")
    (first,) = held_sandbox.exports
    held_sandbox.fail_export(first)
    with pytest.raises(AirflowFailException, match="failed at Crux Connect"):
        any_task.resume(deferral, export_uuid=first, state="failed", on_ambiguous="fail")
    any_task.clear()
    second = any_task.run(on_ambiguous="fail")
    assert held_sandbox.exports == [first, second]


def test_an_export_that_is_not_known_yet_is_resumed(held_sandbox: Sandbox, task: Task) -> None:
    uuid = task.crash_while_waiting()
    held_sandbox.respond_next(STATUS_PATH, 404)
    assert task.run() == uuid
    assert held_sandbox.exports == [uuid]


@pytest.mark.parametrize(("status", "error"), [(503, CruxUnavailableError), (401, AirflowFailException)])
def test_no_new_export_is_requested_while_the_status_of_the_first_is_unknown(
    held_sandbox: Sandbox, task: Task, status: int, error: type[Exception]
) -> None:
    uuid = task.crash_while_waiting()
    held_sandbox.respond_next(STATUS_PATH, status)
    with pytest.raises(error):
        task.run()
    assert task.run() == uuid
    assert held_sandbox.exports == [uuid]


@pytest.mark.parametrize("tries", [0, 1], ids=["first try", "later try"])
def test_a_store_that_cannot_be_read_fails_a_try_before_the_request(
    held_sandbox: Sandbox, task: Task, tries: int
) -> None:
    task.tries = tries
    task.store = UnreadableStore()
    with pytest.raises(
        AirflowException, match=r"Could not read .* \(RuntimeError: database is locked\).*Nothing was sent"
    ):
        task.run()
    assert held_sandbox.requests == []


def test_nothing_is_sent_if_the_intent_cannot_be_saved(held_sandbox: Sandbox, task: Task) -> None:
    task.store = ReadOnlyStore()
    with pytest.raises(AirflowException, match=r"Could not save .*Nothing was sent"):
        task.run()
    assert held_sandbox.requests == []


@pytest.mark.parametrize("policy", ["retry", "fail"])
def test_a_store_that_cannot_be_written_after_the_request_does_not_fail_the_task(
    held_sandbox: Sandbox, task: Task, logged, policy: str
) -> None:
    task.store = ReadOnlyStore(writes=1)
    uuid = task.run(on_ambiguous=policy)
    assert held_sandbox.exports == [uuid]
    assert f"Export {uuid} is requested" in logged()


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda record: "text", id="text"),
        pytest.param(lambda record: {}, id="empty"),
        pytest.param(lambda record: record | {"export_uuid": "../x"}, id="UUID"),
        pytest.param(lambda record: record | {"requested_at": "now"}, id="time"),
        pytest.param(lambda record: record | {"accepted_at": None}, id="time of the response"),
        pytest.param(lambda record: record | {"requested_at": float("nan")}, id="no number"),
        pytest.param(lambda record: record | {"requested_at": 1e300}, id="no time"),
        pytest.param(lambda record: record | {"settled": {"max_tries": 1}}, id="no try"),
        pytest.param(lambda record: record | {"settled": None}, id="null"),
        pytest.param(lambda record: record | {"request": None}, id="no request"),
        pytest.param(lambda record: record | {"request": {"filters": 1}}, id="request"),
        pytest.param(lambda record: record | {"crux_conn_id": None}, id="no connection"),
        pytest.param(lambda record: {"export_uuid": None}, id="intent without a time"),
    ],
)
def test_a_damaged_record_fails_the_task_before_the_request(
    held_sandbox: Sandbox, task: Task, change: Callable[[dict[str, Any]], object]
) -> None:
    first = task.crash_while_waiting()
    task.store["crux_export"] = change(task.store["crux_export"])
    with pytest.raises(AirflowFailException, match=r"is damaged.*delete the record"):
        task.run()
    assert held_sandbox.exports == [first]


def test_a_task_that_is_not_durable_requests_an_export_in_every_try(
    held_sandbox: Sandbox, any_task: Task, variables
) -> None:
    first, second = any_task.crash_while_waiting(durable=False), any_task.run(durable=False)
    assert held_sandbox.exports == [first, second]
    assert not any_task.store
    assert variables == {}


def test_the_record_contains_no_secret(held_sandbox: Sandbox, task: Task) -> None:
    uuid = task.crash_while_waiting()
    (record,) = task.store.values()
    assert sorted(record) == [
        "accepted_at",
        "crux_conn_id",
        "export_uuid",
        "interval_end",
        "interval_start",
        "request",
        "requested_at",
    ]
    assert record["export_uuid"] == uuid
    assert held_sandbox.settings.token not in str(record)


def test_without_a_record_a_rejected_request_leaves_nothing_to_take_back(
    held_sandbox: Sandbox, task_without_store: Task
) -> None:
    held_sandbox.respond_next("/api/orders/export/", status=403)
    with pytest.raises(AirflowFailException, match="HTTP 403"):
        task_without_store.run(durable=False)
    assert task_without_store.run(durable=False) == held_sandbox.exports[0]
