"""The sensor in its three modes, against the sandbox."""

from __future__ import annotations

import time
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    BaseSensorOperator,
    TaskDeferred,
)

from airflow_provider_crux.api.orders import OrdersExportRequest
from airflow_provider_crux.exceptions import CruxUnavailableError
from airflow_provider_crux.hooks.crux import CruxHook
from airflow_provider_crux.sandbox.server import running_sandbox
from airflow_provider_crux.sandbox.state import Sandbox, SandboxSettings
from airflow_provider_crux.sensors.exports import CruxExportSensor

PATH = "/api/data/export/"
UNKNOWN = "b9888421-594c-4d2f-9f0d-3b138a16c845"


@pytest.fixture
def sandbox(connect):
    """Hold every export until the test lets it be done."""
    with running_sandbox(SandboxSettings(export_seconds=None)) as running:
        connect(host=running.url, password=running.settings.token, extra={"max_retries": 0})
        yield running


@pytest.fixture
def uuid(sandbox: Sandbox) -> str:
    return CruxHook().export_orders(OrdersExportRequest())


class Clock:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.begin = time.time()
        self.slept: list[float] = []
        self.on_sleep = lambda: None

    def time(self) -> float:
        return self.begin + sum(self.slept)

    monotonic = time

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.on_sleep()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Stand in for the time as the sensor and Airflow's base class of it see it, not as the sandbox does."""
    standing_in = Clock()
    for module in (CruxExportSensor.__module__, BaseSensorOperator.__module__):
        monkeypatch.setattr(f"{module}.time", standing_in)
    return standing_in


def sensor(uuid: str, **given: Any) -> CruxExportSensor:
    return CruxExportSensor(task_id="wait", export_uuid=uuid, **given)


def test_it_pokes_until_the_export_is_done(sandbox: Sandbox, uuid: str, clock: Clock) -> None:
    def finish() -> None:
        if len(clock.slept) == 3:
            sandbox.finish_export(uuid)

    clock.on_sleep = finish
    sensor(uuid, poke_interval=7).execute({})
    assert clock.slept == [7, 7, 7]


def test_it_is_late_when_airflow_says_so(sandbox: Sandbox, uuid: str, clock: Clock) -> None:
    with pytest.raises(AirflowSensorTimeout):
        sensor(uuid, poke_interval=30, timeout=100).execute({})
    assert sum(clock.slept) == 120


@pytest.mark.parametrize("mode", ["poke", "deferrable"])
@pytest.mark.parametrize("soft_fail", [False, True])
def test_an_export_that_failed_fails_or_skips_the_task(sandbox: Sandbox, uuid: str, mode: str, soft_fail: bool) -> None:
    sandbox.fail_export(uuid)
    if mode == "poke":
        with pytest.raises(AirflowSkipException if soft_fail else AirflowFailException):
            sensor(uuid, soft_fail=soft_fail).execute({})
        return
    told = {"event": {"export_uuid": uuid, "state": "failed"}, "requested_at": time.time()}
    with pytest.raises(AirflowSkipException if soft_fail else AirflowFailException):
        sensor(uuid, soft_fail=soft_fail, deferrable=True).resume_execution("execute_complete", told, {})


def test_passing_failures_are_borne_four_times_in_a_row(sandbox: Sandbox, uuid: str, clock: Clock) -> None:
    for _ in range(4):
        sandbox.respond_next(PATH, 503)
    sandbox.finish_export(uuid)
    sensor(uuid).execute({})
    for _ in range(5):
        sandbox.respond_next(PATH, 503)
    with pytest.raises(CruxUnavailableError):
        sensor(uuid).execute({})


@pytest.mark.parametrize("mode", ["poke", "reschedule"])
def test_an_export_that_nobody_knows_fails_after_a_minute(sandbox: Sandbox, clock: Clock, mode: str) -> None:
    waiting = sensor(UNKNOWN, poke_interval=25, mode=mode)
    # in the mode reschedule the next poke would be another process's: this one has to find out
    pokes = 1 if mode == "reschedule" else 4
    for _ in range(pokes - 1):
        assert not waiting.poke({})
        clock.sleep(25)
    with pytest.raises(AirflowFailException, match="404"):
        waiting.poke({})
    assert 60 <= sum(clock.slept) < 110


def test_deferred_it_looks_first_and_hands_the_rest_to_the_trigger(sandbox: Sandbox, uuid: str) -> None:
    now = time.time()
    with pytest.raises(TaskDeferred) as deferred:
        sensor(uuid, deferrable=True, poke_interval=5, timeout=600).execute({})
    _, arguments = deferred.value.trigger.serialize()
    assert arguments["export_uuid"] == uuid
    assert arguments["poll_interval"] == 5
    assert now + 600 <= arguments["deadline"] <= time.time() + 600
    # sooner than that Airflow 3.3 does not bear to be called back
    assert now + 10 <= arguments["first_poll_at"] <= time.time() + 10
    # Airflow's own limit comes later than the trigger's
    assert deferred.value.timeout.total_seconds() > 600 + 300
    sandbox.finish_export(uuid)
    sensor(uuid, deferrable=True).execute({})


@pytest.mark.parametrize(
    ("state", "error"), [("done", None), ("timeout", AirflowSensorTimeout), ("error", CruxUnavailableError)]
)
def test_it_ends_as_the_trigger_says(sandbox: Sandbox, uuid: str, state: str, error: type[Exception] | None) -> None:
    told = {"event": {"export_uuid": uuid, "state": state}, "requested_at": time.time()}
    waiting = sensor(uuid, deferrable=True)
    if error is None:
        waiting.resume_execution("execute_complete", told, {})
        return
    with pytest.raises(error):
        waiting.resume_execution("execute_complete", told, {})


def test_where_the_trigger_could_not_look_the_worker_does(sandbox: Sandbox, uuid: str) -> None:
    sandbox.finish_export(uuid)
    told = {"event": {"state": "nonsense"}, "requested_at": time.time()}
    sensor(uuid, deferrable=True).resume_execution("execute_complete", told, {})
    assert sandbox.requests[-1]["path"] == f"{PATH}{uuid}/"


def test_a_limit_of_the_task_that_is_shorter_holds_in_the_triggerer(sandbox: Sandbox, uuid: str) -> None:
    from datetime import timedelta

    limit = timedelta(seconds=30)
    with pytest.raises(TaskDeferred) as deferred:
        sensor(uuid, deferrable=True, timeout=600, execution_timeout=limit).execute({})
    assert deferred.value.timeout == limit
