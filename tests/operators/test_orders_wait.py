"""The operator that waits, and that resumes after a crash; the sandbox counts the e-mails."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from threading import Thread
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowFailException, TaskDeferred

from airflow_provider_crux.api.polling import NOT_FOUND_GRACE
from airflow_provider_crux.exceptions import (
    CruxExportFailedError,
    CruxExportTimeoutError,
    CruxInvalidRequestError,
    CruxUnavailableError,
)
from airflow_provider_crux.operators.orders import CruxOrdersExportOperator
from airflow_provider_crux.sandbox.state import SandboxSettings

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_crux.sandbox.state import Sandbox

STATUS_PATH = "/api/data/export/"
BODY = {"start_date": "2026-01-01T00:00:00.000Z", "end_date": "2026-01-02T00:00:00.000Z"}
WAIT = {"wait_for_completion": True}
DEFER = {"wait_for_completion": True, "deferrable": True}


class StateStore(dict[str, Any]):
    """Airflow's task state store, which outlives a try."""

    set = dict.__setitem__


class ReadOnlyStore(StateStore):
    """A store that can be read and not written."""

    def set(self, key: str, value: Any) -> None:
        raise RuntimeError("database is locked")


class UnreadableStore(StateStore):
    """A store that cannot be read."""

    def get(self, key: str) -> Any:
        raise RuntimeError("database is locked")


class Task:
    """
    One task instance. Each try has an operator and a context of its own; the store outlives them.

    :param make_context: the fixture.
    :param store: Airflow's task state store; ``None`` below Airflow 3.3.
    """

    def __init__(self, make_context: Callable[..., dict[str, Any]], store: StateStore | None) -> None:
        self.store = store
        self.pushed: dict[str, Any] = {}
        self.tries, self.max_tries = 0, 2
        self._make_context = make_context

    def run(self, **arguments: Any) -> str:
        """Run a try, and return the UUID of its export; what it pushed is in ``pushed``."""
        return make_operator(**arguments).execute(self.new_context())

    def defer(self, **arguments: Any) -> TaskDeferred:
        """Run a try until it defers."""
        with pytest.raises(TaskDeferred) as deferral:
            self.run(**DEFER, **arguments)
        return deferral.value

    def crash_while_waiting(self, **arguments: Any) -> str:
        """Run a try that requests an export and ends while it waits, and return the UUID of the export."""
        return self.defer(**arguments).kwargs["export_uuid"]

    def resume(self, deferral: TaskDeferred, **event: Any) -> str:
        """Resume a try with a trigger's event and with what the try deferred with."""
        return self._resume(deferral, {"event": event, **deferral.kwargs})

    def resume_in_dag_test(self, deferral: TaskDeferred, **event: Any) -> str:
        """Resume a try as ``dag.test()`` does: with the event alone."""
        return self._resume(deferral, {"event": event})

    def _resume(self, deferral: TaskDeferred, kwargs: dict[str, Any]) -> str:
        return make_operator(**DEFER).resume_execution(deferral.method_name, kwargs, self.new_context())

    def succeed(self, **arguments: Any) -> str:
        """Run a try that succeeds, with the callbacks that Airflow calls then."""
        operator, context = make_operator(**arguments), self.new_context()
        uuid = operator.execute(context)
        for callback in operator.on_success_callback:
            callback(context)
        return uuid

    def clear(self) -> None:
        """Do what Airflow does when a person clears the task instance."""
        self.max_tries += self.tries

    def new_context(self) -> dict[str, Any]:
        """Return the context of the next try."""
        self.tries += 1
        context = self._make_context(
            identity={"try_number": self.tries, "max_tries": self.max_tries},
            dag=DAG("waiting", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)),
            dag_run=SimpleNamespace(run_type="manual", run_after=datetime(2026, 1, 5, tzinfo=UTC)),
            params={},
            **({} if self.store is None else {"task_state_store": self.store}),
        )
        # Airflow removes what a try pushed before the next one
        self.pushed = context["ti"].pushed
        return context


def make_operator(**arguments: Any) -> CruxOrdersExportOperator:
    interval = {"interval_start": "2026-01-01", "interval_end": "2026-01-02"}
    return CruxOrdersExportOperator(task_id="export", **({"poll_interval": 0.01} | interval | arguments))


@pytest.fixture
def task(make_context, held_sandbox: Sandbox) -> Task:
    return Task(make_context, StateStore())


@pytest.fixture
def task_without_store(make_context, held_sandbox: Sandbox) -> Task:
    """A task below Airflow 3.3, whose record is in a Variable."""
    return Task(make_context, None)


@pytest.fixture(params=["task", "task_without_store"], ids=["task state store", "Variable"])
def any_task(request) -> Task:
    return request.getfixturevalue(request.param)


def test_the_task_succeeds_when_the_export_is_done(held_sandbox: Sandbox, task_without_store: Task) -> None:
    held_sandbox.settings = SandboxSettings(export_seconds=0.2)
    before = datetime.now(UTC)
    uuid = task_without_store.run(**WAIT)
    assert held_sandbox.exports == [uuid]
    assert len([entry for entry in held_sandbox.requests if entry["path"].startswith(STATUS_PATH)]) > 1
    assert task_without_store.pushed == {
        "export_request": BODY,
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
    assert before <= arguments["requested_at"] <= time.time()
    assert before + 600 <= arguments["deadline"] <= time.time() + 600
    assert deferral.timeout > timedelta(seconds=600 + 300)

    uuid = task_without_store.resume(deferral, export_uuid=held_sandbox.exports[0], state="done")
    assert [uuid] == held_sandbox.exports
    assert task_without_store.pushed["export_interval"]["interval_start"] == BODY["start_date"]


def test_dag_test_resumes_the_task_with_the_event_alone(held_sandbox: Sandbox, task_without_store: Task) -> None:
    deferral = task_without_store.defer()
    uuid = task_without_store.resume_in_dag_test(deferral, export_uuid=held_sandbox.exports[0], state="done")
    assert [uuid] == held_sandbox.exports
    pushed = task_without_store.pushed["export_interval"]
    # what is known only from the request of the first process is not known
    assert (pushed["interval_end"], pushed["requested_at"]) == (BODY["end_date"], None)
    with pytest.raises(AirflowFailException, match="not a UUID"):
        task_without_store.resume_in_dag_test(deferral, state="done")


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


@pytest.mark.parametrize("arguments", [{}, WAIT], ids=["submits", "waits"])
def test_a_retry_resumes_the_export(held_sandbox: Sandbox, any_task: Task, arguments: dict[str, bool]) -> None:
    uuid = any_task.crash_while_waiting()
    held_sandbox.finish_export(uuid)
    assert any_task.run(**arguments) == uuid
    assert held_sandbox.exports == [uuid]
    assert any_task.pushed["export_request"] == BODY


def test_a_deferrable_retry_resumes_the_export(held_sandbox: Sandbox, any_task: Task) -> None:
    uuid = any_task.crash_while_waiting()
    deferral = any_task.defer()
    assert deferral.kwargs["export_uuid"] == uuid
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


def test_a_changed_request_is_a_new_export(held_sandbox: Sandbox, task: Task) -> None:
    first = task.crash_while_waiting()
    second = task.run(line_item_status=["rejected"])
    assert held_sandbox.exports == [first, second]


def test_a_changed_connection_is_a_new_export(held_sandbox: Sandbox, task: Task, connect) -> None:
    first = task.crash_while_waiting()
    connect("other", host=held_sandbox.url, password=held_sandbox.settings.token)
    second = task.run(crux_conn_id="other")
    assert held_sandbox.exports == [first, second]


def test_an_export_that_failed_is_not_resumed(held_sandbox: Sandbox, task: Task) -> None:
    first = task.crash_while_waiting()
    held_sandbox.fail_export(first)
    second = task.run()
    assert held_sandbox.exports == [first, second]


def test_an_export_that_is_gone_is_not_resumed(held_sandbox: Sandbox, task: Task) -> None:
    first = task.crash_while_waiting()
    task.store["crux_export"]["requested_at"] -= NOT_FOUND_GRACE
    held_sandbox.respond_next(STATUS_PATH, 404)
    second = task.run()
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


def test_a_store_that_cannot_be_read_fails_a_later_try_before_the_request(held_sandbox: Sandbox, task: Task) -> None:
    task.tries = 1
    task.store = UnreadableStore()
    with pytest.raises(RuntimeError):
        task.run()
    assert held_sandbox.requests == []


def test_a_store_that_cannot_be_read_does_not_fail_a_first_try(held_sandbox: Sandbox, task: Task, logged) -> None:
    task.store = UnreadableStore()
    uuid = task.run()
    assert held_sandbox.exports == [uuid]
    assert "Could not read the record of an earlier export" in logged()


def test_a_store_that_cannot_be_written_does_not_fail_a_task_that_requested_its_export(
    held_sandbox: Sandbox, task: Task, logged
) -> None:
    task.store = ReadOnlyStore()
    uuid = task.run()
    assert held_sandbox.exports == [uuid]
    assert f"Could not save export {uuid}" in logged()


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda record: "text", id="text"),
        pytest.param(lambda record: {}, id="empty"),
        pytest.param(lambda record: record | {"fingerprint": 1}, id="fingerprint"),
        pytest.param(lambda record: record | {"export_uuid": "../x", "requested_at": 1}, id="UUID"),
        pytest.param(lambda record: record | {"requested_at": "now"}, id="time"),
    ],
)
def test_an_invalid_record_is_ignored(
    held_sandbox: Sandbox, task: Task, change: Callable[[dict[str, Any]], object]
) -> None:
    first = task.crash_while_waiting()
    task.store["crux_export"] = change(task.store["crux_export"])
    second = task.run()
    assert held_sandbox.exports == [first, second]


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
    assert sorted(record) == ["export_uuid", "fingerprint", "requested_at"]
    assert record["export_uuid"] == uuid
    assert held_sandbox.settings.token not in str(record)


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
