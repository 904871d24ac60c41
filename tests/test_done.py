"""When an export is done: its status and its URL together, for every task that waits, in a worker and in a trigger."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowFailException, AirflowSensorTimeout, TaskDeferred

from airflow_provider_crux.exceptions import CruxExportFailedError, CruxExportTimeoutError
from airflow_provider_crux.operators.orders import CruxOrdersExportOperator
from airflow_provider_crux.sensors.exports import CruxExportSensor
from airflow_provider_crux.task import waiting as deferral
from airflow_provider_crux.transfers.crux_to_object_storage import CruxExportToObjectStorageOperator
from airflow_provider_crux.triggers.exports import CruxExportTrigger
from tests.raw_server import (
    CSV,
    EXPORT_PATH,
    POLL_PATH,
    TOKEN,
    UUID,
    Connection,
    Fault,
    RawServer,
    json_response,
    raw_server,
)

START = datetime(2026, 1, 1, tzinfo=UTC)
NO_ORDERS = "may hold no orders"


def export_operator(folder: Path, **arguments: Any) -> CruxOrdersExportOperator:
    return CruxOrdersExportOperator(
        task_id="export",
        interval_start="2026-01-01",
        interval_end="2026-01-02",
        wait_for_completion=True,
        poll_interval=0.02,
        **arguments,
    )


def sensor(folder: Path, **arguments: Any) -> CruxExportSensor:
    return CruxExportSensor(task_id="wait", export_uuid=UUID, poke_interval=0.02, **arguments)


def transfer(folder: Path, **arguments: Any) -> CruxExportToObjectStorageOperator:
    return CruxExportToObjectStorageOperator(
        task_id="store", export_uuid=UUID, path=f"file://{folder}/orders.csv", poll_interval=0.02, **arguments
    )


TASKS = (export_operator, sensor, transfer)
in_every_task = pytest.mark.parametrize("make_task", TASKS)
in_worker_and_trigger = pytest.mark.parametrize("deferrable", [False, True], ids=["worker", "trigger"])


def respond_to_polls(*polls: tuple[str, bool]) -> Fault:
    """Let polls find these, one after the other, and the last one again and again: a status, and whether a URL."""

    def fault(connection: Connection) -> None:
        status, has_url = polls[min(connection.server.count_requests(POLL_PATH), len(polls)) - 1]
        url = connection.server.file_url if has_url else None
        connection.send(json_response({"uuid": UUID, "status": status, "url": url}))

    return fault


@pytest.fixture
def run(connect, make_context, monkeypatch, tmp_path: Path):
    """Return a function that runs a task, in the triggerer too if it defers, and returns the server that it used."""
    # a real triggerer leaves the scheduler the time to notice that the task has deferred
    monkeypatch.setattr(deferral, "MIN_RESUME_DELAY", 0.0)

    def run_task(
        make_task: Callable[..., Any], *polls: tuple[str, bool], deferrable: bool, timeout: float = 20
    ) -> RawServer:
        context = make_context(
            dag=DAG("waiting", schedule=None, start_date=START),
            dag_run=SimpleNamespace(run_type="manual", run_after=START),
            params={},
        )
        task = make_task(tmp_path, deferrable=deferrable, timeout=timeout)
        with raw_server(respond_to_polls(*polls), POLL_PATH) as server:
            connect(host=server.url, password=TOKEN, extra={"max_retries": 0})
            try:
                task.execute(context)
            except TaskDeferred as deferred:
                _, arguments = deferred.trigger.serialize()
                events = asyncio.run(events_of(CruxExportTrigger(**arguments)))
                task.resume_execution(deferred.method_name, {**deferred.kwargs, "event": events[0]}, context)
            assert server.count_requests(EXPORT_PATH) == (make_task is export_operator)
            return server

    return run_task


async def events_of(trigger: CruxExportTrigger) -> list[Any]:
    return [event.payload async for event in trigger.run()]


@in_every_task
@in_worker_and_trigger
def test_export_without_a_file_is_polled_until_it_has_one(run, make_task, deferrable: bool, tmp_path: Path) -> None:
    server = run(make_task, *[("COMPLETED", False)] * 4, ("COMPLETED", True), deferrable=deferrable)
    assert server.count_requests(POLL_PATH) >= 5
    if make_task is transfer:
        assert (tmp_path / "orders.csv").read_bytes() == CSV


@in_every_task
@in_worker_and_trigger
def test_export_that_gets_no_file_times_out_and_the_error_says_that_it_may_hold_no_orders(
    run, make_task, deferrable: bool, logged
) -> None:
    error = AirflowSensorTimeout if make_task is sensor else CruxExportTimeoutError
    with pytest.raises(error, match=NO_ORDERS):
        run(make_task, ("COMPLETED", False), deferrable=deferrable, timeout=0.2)
    if not deferrable:
        assert logged().count(f"{NO_ORDERS}; still waiting") == 1


@in_every_task
@in_worker_and_trigger
def test_export_of_an_unknown_status_with_a_url_is_done(run, make_task, deferrable: bool, tmp_path: Path) -> None:
    run(make_task, ("pending", False), ("DONE", True), deferrable=deferrable)
    if make_task is transfer:
        assert (tmp_path / "orders.csv").read_bytes() == CSV


@in_every_task
@in_worker_and_trigger
def test_pending_export_is_not_done_although_it_has_a_url(run, make_task, deferrable: bool) -> None:
    """Its file may be incomplete."""
    server = run(make_task, *[("processing", True)] * 3, ("COMPLETED", True), deferrable=deferrable)
    assert server.count_requests(POLL_PATH) >= 4


@in_every_task
@in_worker_and_trigger
def test_failed_export_has_failed_although_it_has_a_url(run, make_task, deferrable: bool) -> None:
    with pytest.raises(CruxExportFailedError if make_task is export_operator else AirflowFailException):
        run(make_task, ("pending", False), ("FAILED", True), deferrable=deferrable)


@in_every_task
def test_export_that_is_done_when_the_task_resumes_after_the_timeout_is_done(run, make_task) -> None:
    """The worker polls once more to say what is wrong, and nothing is."""
    # the operator does not poll before it defers
    polls_until_the_timeout = 1 if make_task is export_operator else 2
    run(make_task, *[("pending", False)] * polls_until_the_timeout, ("COMPLETED", True), deferrable=True, timeout=1e-5)
