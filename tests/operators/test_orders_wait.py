"""The operator when it waits, and when it comes back after a crash; the sandbox counts the e-mails."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from threading import Thread
from types import SimpleNamespace
from typing import Any

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
from airflow_provider_crux.sandbox.server import running_sandbox
from airflow_provider_crux.sandbox.settings import SandboxSettings
from airflow_provider_crux.sandbox.state import Sandbox

PATH = "/api/data/export/"
BODY = {"start_date": "2026-01-01T00:00:00.000Z", "end_date": "2026-01-02T00:00:00.000Z"}


class TaskInstance:
    """What one try pushes; Airflow removes it before the next."""

    def __init__(self) -> None:
        self.pushed: dict[str, Any] = {}

    def xcom_push(self, key: str, value: Any) -> None:
        self.pushed[key] = value


class StateStore(dict[str, Any]):
    """Airflow's task state store, which outlives a try."""

    set = dict.__setitem__

    def delete(self, key: str) -> None:
        self.pop(key, None)


class DeadStore(StateStore):
    """One that answers nothing but questions."""

    def set(self, key: str, value: Any) -> None:
        raise RuntimeError("database is locked")

    def delete(self, key: str) -> None:
        raise RuntimeError("database is locked")


@pytest.fixture
def sandbox(connect):
    """Hold every export until the test lets it be done."""
    with running_sandbox(SandboxSettings(export_seconds=None)) as running:
        connect(host=running.url, password=running.settings.token, extra={"max_retries": 0})
        yield running


@pytest.fixture
def store() -> StateStore:
    return StateStore()


def operator(**given: Any) -> CruxOrdersExportOperator:
    ends = {"interval_start": "2026-01-01", "interval_end": "2026-01-02"}
    return CruxOrdersExportOperator(task_id="export", poll_interval=0.01, **(ends | given))


def context(store: StateStore | None) -> dict[str, Any]:
    dag = DAG("waiting", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC))
    dag_run = SimpleNamespace(run_type="manual", run_after=datetime(2026, 1, 5, tzinfo=UTC))
    given = {"dag": dag, "dag_run": dag_run, "params": {}, "ti": TaskInstance()}
    return given if store is None else given | {"task_state_store": store}


def deferred(task: CruxOrdersExportOperator, given: dict[str, Any]) -> TaskDeferred:
    with pytest.raises(TaskDeferred) as caught:
        task.execute(given)
    return caught.value


def crash_while_waiting(store: StateStore | None, **given: Any) -> str:
    """Let a first try ask for an export and then die while it waits; return the export's uuid."""
    told = deferred(operator(wait_for_completion=True, deferrable=True, **given), context(store))
    return told.kwargs["export_uuid"]


def test_it_returns_when_the_export_is_done(sandbox: Sandbox) -> None:
    sandbox.settings = SandboxSettings(export_seconds=0.2)
    given = context(None)
    uuid = operator(wait_for_completion=True).execute(given)
    assert [uuid] == sandbox.exports
    looks = [entry for entry in sandbox.requests if entry["path"].startswith(PATH)]
    assert len(looks) > 1
    assert given["ti"].pushed == {
        "export_request": BODY,
        "export_interval": {
            "export_uuid": uuid,
            "interval_start": BODY["start_date"],
            "interval_end": BODY["end_date"],
        },
    }


def test_deferred_it_asks_on_the_worker_and_waits_in_the_trigger(sandbox: Sandbox) -> None:
    before = time.time()
    told = deferred(operator(wait_for_completion=True, deferrable=True, timeout=600), context(None))
    assert [entry["method"] for entry in sandbox.requests] == ["POST"]
    _, arguments = told.trigger.serialize()
    assert arguments["export_uuid"] == sandbox.exports[0]
    assert before <= arguments["requested_at"] <= time.time()
    assert before + 600 <= arguments["deadline"] <= time.time() + 600
    assert told.timeout > timedelta(seconds=600 + 300)

    given = context(None)
    event = {"export_uuid": sandbox.exports[0], "state": "done"}
    again = operator(wait_for_completion=True, deferrable=True)  # Airflow makes the operator anew
    assert again.resume_execution(told.method_name, {"event": event, **told.kwargs}, given) == sandbox.exports[0]
    assert given["ti"].pushed["export_interval"]["interval_start"] == BODY["start_date"]


def test_dag_test_hands_on_the_event_alone_and_that_is_enough(sandbox: Sandbox) -> None:
    told = deferred(operator(wait_for_completion=True, deferrable=True), context(None))
    event = {"export_uuid": sandbox.exports[0], "state": "done"}
    given = context(None)
    assert operator().resume_execution(told.method_name, {"event": event}, given) == sandbox.exports[0]
    assert given["ti"].pushed["export_interval"]["interval_end"] == BODY["end_date"]
    with pytest.raises(AirflowFailException, match="not a uuid"):
        operator().resume_execution(told.method_name, {"event": {"state": "done"}}, context(None))


@pytest.mark.parametrize(
    ("state", "error"),
    [("failed", CruxExportFailedError), ("timeout", CruxExportTimeoutError), ("error", CruxUnavailableError)],
)
def test_it_ends_as_the_trigger_says(sandbox: Sandbox, state: str, error: type[Exception]) -> None:
    told = deferred(operator(wait_for_completion=True, deferrable=True), context(None))
    event = {"export_uuid": sandbox.exports[0], "state": state}
    with pytest.raises(error):
        operator().resume_execution(told.method_name, {"event": event, **told.kwargs}, context(None))


def test_waiting_on_the_worker_ends_when_the_export_fails_or_is_late(sandbox: Sandbox) -> None:
    def fail() -> None:
        sandbox.wait_for("GET", PATH)
        sandbox.fail_export(sandbox.exports[0])

    failing = Thread(target=fail)
    failing.start()
    with pytest.raises(CruxExportFailedError):
        operator(wait_for_completion=True).execute(context(None))
    failing.join()
    with pytest.raises(CruxExportTimeoutError):
        operator(wait_for_completion=True, timeout=0.1).execute(context(None))


@pytest.mark.parametrize("waits", [{}, {"wait_for_completion": True}])
def test_a_retry_takes_the_export_up(sandbox: Sandbox, store: StateStore, waits: dict[str, bool]) -> None:
    uuid = crash_while_waiting(store)
    sandbox.finish_export(uuid)
    given = context(store)
    assert operator(**waits).execute(given) == uuid
    assert sandbox.exports == [uuid]
    assert given["ti"].pushed["export_request"] == BODY
    assert store == {}


def test_a_deferred_retry_takes_the_export_up_and_forgets_it_when_it_is_done(
    sandbox: Sandbox, store: StateStore
) -> None:
    uuid = crash_while_waiting(store)
    told = deferred(operator(wait_for_completion=True, deferrable=True), context(store))
    assert told.kwargs["export_uuid"] == uuid
    assert store != {}
    event = {"export_uuid": uuid, "state": "done"}
    assert operator().resume_execution(told.method_name, {"event": event, **told.kwargs}, context(store)) == uuid
    assert sandbox.exports == [uuid]
    assert store == {}


def test_clearing_a_finished_task_asks_anew(sandbox: Sandbox, store: StateStore) -> None:
    first, second = operator().execute(context(store)), operator().execute(context(store))
    assert sandbox.exports == [first, second]


def test_another_request_or_connection_is_another_export(sandbox: Sandbox, store: StateStore, connect) -> None:
    first = crash_while_waiting(store)
    second = operator(line_item_status=["rejected"]).execute(context(store))
    assert sandbox.exports == [first, second]
    crash_while_waiting(store)
    connect("other", host=sandbox.url, password=sandbox.settings.token)
    operator(crux_conn_id="other").execute(context(store))
    assert len(sandbox.exports) == 4


def test_an_export_that_failed_or_is_gone_is_not_taken_up(sandbox: Sandbox, store: StateStore) -> None:
    sandbox.fail_export(crash_while_waiting(store))
    operator().execute(context(store))
    assert len(sandbox.exports) == 2
    crash_while_waiting(store)
    store["crux_export"]["requested_at"] -= NOT_FOUND_GRACE
    sandbox.answer_next(PATH, 404)
    operator().execute(context(store))
    assert len(sandbox.exports) == 4


def test_an_export_that_is_not_known_yet_is_taken_up(sandbox: Sandbox, store: StateStore) -> None:
    uuid = crash_while_waiting(store)
    sandbox.answer_next(PATH, 404)
    assert operator().execute(context(store)) == uuid


@pytest.mark.parametrize(("status", "error"), [(503, CruxUnavailableError), (401, AirflowFailException)])
def test_where_nobody_knows_how_it_stands_no_other_is_asked_for(
    sandbox: Sandbox, store: StateStore, status: int, error: type[Exception]
) -> None:
    uuid = crash_while_waiting(store)
    sandbox.answer_next(PATH, status)
    with pytest.raises(error):
        operator().execute(context(store))
    assert operator().execute(context(store)) == uuid
    assert sandbox.exports == [uuid]


def test_a_store_that_cannot_be_read_stops_the_task_before_it_asks(sandbox: Sandbox, store: StateStore) -> None:
    def locked(key: str) -> None:
        raise RuntimeError("database is locked")

    store.get = locked
    with pytest.raises(RuntimeError):
        operator().execute(context(store))
    assert sandbox.requests == []


def test_a_store_that_takes_nothing_does_not_fail_a_task_that_has_asked(sandbox: Sandbox, logged) -> None:
    uuid = operator().execute(context(DeadStore()))
    assert sandbox.exports == [uuid]
    said = logged()
    assert f"did not take the record of export {uuid}" in said
    assert "did not remove the record" in said


@pytest.mark.parametrize("record", ["text", {}, {"fingerprint": 1}, {"export_uuid": "../x", "requested_at": 1}])
def test_a_record_that_is_none_of_ours_is_passed_over(sandbox: Sandbox, store: StateStore, record: Any) -> None:
    crash_while_waiting(store)
    store["crux_export"] = record if isinstance(record, str) else {**store["crux_export"], **record} if record else {}
    operator().execute(context(store))
    assert len(sandbox.exports) == 2


@pytest.mark.parametrize("missing", ["store", "durable"])
def test_without_a_store_or_durability_every_try_asks(sandbox: Sandbox, store: StateStore, missing: str) -> None:
    there, given = (None, {}) if missing == "store" else (store, {"durable": False})
    crash_while_waiting(there, **given)
    operator(**given).execute(context(there))
    assert len(sandbox.exports) == 2
    assert store == {}


def test_the_record_holds_no_secret(sandbox: Sandbox, store: StateStore) -> None:
    uuid = crash_while_waiting(store)
    (record,) = store.values()
    assert sorted(record) == ["requested_at", "export_uuid", "fingerprint"]
    assert record["export_uuid"] == uuid
    assert sandbox.settings.token not in str(record)


def test_ending_the_task_is_not_said_to_end_the_export(sandbox: Sandbox, logged) -> None:
    task = operator()
    task.on_kill()
    assert "cancels" not in logged()
    uuid = task.execute(context(None))
    task.on_kill()
    assert f"no call that cancels an export: {uuid} goes on" in logged()


@pytest.mark.parametrize("name", ["poll_interval", "timeout"])
def test_an_interval_that_is_none_is_refused_when_the_dag_is_parsed(name: str) -> None:
    with pytest.raises(CruxInvalidRequestError, match=f"'export'.*{name}: 0 is not"):
        CruxOrdersExportOperator(task_id="export", **{name: 0})
