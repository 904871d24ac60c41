"""The sensor in its three modes, against the sandbox."""

from __future__ import annotations

import time
from datetime import datetime, timedelta, tzinfo
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    BaseSensorOperator,
    TaskDeferred,
)

from airflow_provider_crux.exceptions import CruxUnavailableError
from airflow_provider_crux.hooks.crux import CruxHook
from airflow_provider_crux.sensors.exports import CruxExportSensor
from airflow_provider_crux.task.waiting import MIN_RESUME_DELAY

if TYPE_CHECKING:
    from airflow_provider_crux.sandbox.state import Sandbox

STATUS_PATH = "/api/data/export/"
UNKNOWN_UUID = "b9888421-594c-4d2f-9f0d-3b138a16c845"


class Clock:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.start = time.time()
        self.sleeps: list[float] = []
        self.on_sleep = lambda: None

    def time(self) -> float:
        return self.start + sum(self.sleeps)

    monotonic = time

    def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.on_sleep()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Replace the time for the sensor, its hook and Airflow's base class, not for the sandbox."""
    clock = Clock()

    class ClockDatetime(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:
            return datetime.fromtimestamp(clock.time(), tz)

    for module in (CruxExportSensor.__module__, CruxHook.__module__):
        monkeypatch.setattr(f"{module}.datetime", ClockDatetime)
    for module in (CruxExportSensor.__module__, BaseSensorOperator.__module__):
        monkeypatch.setattr(f"{module}.time", clock)
    return clock


def make_sensor(export_uuid: str, **arguments: Any) -> CruxExportSensor:
    return CruxExportSensor(task_id="wait", export_uuid=export_uuid, **arguments)


def resume(sensor: CruxExportSensor, **event: Any) -> None:
    """Resume a deferred sensor with a trigger's event."""
    sensor.resume_execution("execute_complete", {"event": event, "accepted_at": time.time()}, {})


def test_the_sensor_pokes_until_the_export_is_done(held_sandbox: Sandbox, export_uuid: str, clock: Clock) -> None:
    def finish_at_third_sleep() -> None:
        if len(clock.sleeps) == 3:
            held_sandbox.finish_export(export_uuid)

    clock.on_sleep = finish_at_third_sleep
    make_sensor(export_uuid, poke_interval=7).execute({})
    assert clock.sleeps == [7, 7, 7]


def test_the_sensor_times_out_as_every_sensor_does(export_uuid: str, clock: Clock) -> None:
    with pytest.raises(AirflowSensorTimeout):
        make_sensor(export_uuid, poke_interval=30, timeout=100).execute({})
    assert sum(clock.sleeps) == 120


with_and_without_soft_fail = pytest.mark.parametrize(
    ("soft_fail", "error"), [(False, AirflowFailException), (True, AirflowSkipException)]
)


@with_and_without_soft_fail
def test_a_failed_export_fails_the_task_or_skips_it_with_soft_fail(
    held_sandbox: Sandbox, export_uuid: str, soft_fail: bool, error: type[Exception]
) -> None:
    held_sandbox.fail_export(export_uuid)
    with pytest.raises(error):
        make_sensor(export_uuid, soft_fail=soft_fail).execute({})


@with_and_without_soft_fail
def test_a_failed_export_fails_a_resumed_task_or_skips_it_with_soft_fail(
    export_uuid: str, soft_fail: bool, error: type[Exception]
) -> None:
    with pytest.raises(error):
        resume(make_sensor(export_uuid, soft_fail=soft_fail, deferrable=True), export_uuid=export_uuid, state="failed")


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({}, AirflowFailException),
        ({"soft_fail": True}, AirflowSkipException),
        ({"never_fail": True}, AirflowSkipException),
    ],
    ids=["neither", "soft_fail", "never_fail"],
)
@pytest.mark.parametrize("deferrable", [False, True], ids=["poke", "deferrable"])
def test_what_the_first_poll_finds_fails_or_skips_the_task_in_every_mode(
    held_sandbox: Sandbox, export_uuid: str, arguments: dict[str, bool], error: type[Exception], deferrable: bool
) -> None:
    held_sandbox.fail_export(export_uuid)
    for uuid in (export_uuid, "not-a-uuid"):
        with pytest.raises(error) as caught:
            make_sensor(uuid, deferrable=deferrable, **arguments).execute({})
        assert caught.type is error


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({}, CruxUnavailableError),
        ({"soft_fail": True}, CruxUnavailableError),
        ({"never_fail": True}, AirflowSkipException),
    ],
    ids=["neither", "soft_fail", "never_fail"],
)
def test_only_never_fail_skips_a_resumed_task_for_an_error_that_a_retry_may_fix(
    held_sandbox: Sandbox, export_uuid: str, arguments: dict[str, bool], error: type[Exception]
) -> None:
    with pytest.raises(error):
        resume(make_sensor(export_uuid, deferrable=True, **arguments), export_uuid=export_uuid, state="unknown")


def test_a_late_export_skips_a_resumed_task_with_soft_fail(export_uuid: str) -> None:
    with pytest.raises(AirflowSkipException):
        resume(make_sensor(export_uuid, deferrable=True, soft_fail=True), export_uuid=export_uuid, state="timed_out")


def test_four_consecutive_transient_errors_are_tolerated_and_the_fifth_is_not(
    held_sandbox: Sandbox, export_uuid: str, clock: Clock
) -> None:
    for _ in range(4):
        held_sandbox.respond_next(STATUS_PATH, 503)
    held_sandbox.finish_export(export_uuid)
    make_sensor(export_uuid).execute({})
    for _ in range(5):
        held_sandbox.respond_next(STATUS_PATH, 503)
    with pytest.raises(CruxUnavailableError):
        make_sensor(export_uuid).execute({})


@pytest.mark.parametrize("mode", ["poke", "reschedule"])
def test_an_unknown_export_fails_the_task_after_a_minute(held_sandbox: Sandbox, clock: Clock, mode: str) -> None:
    sensor = make_sensor(UNKNOWN_UUID, poke_interval=25, mode=mode)
    # in the mode reschedule the next poke would be another process's, so the first one must find out
    pokes = 1 if mode == "reschedule" else 4
    for _ in range(pokes - 1):
        assert not sensor.poke({})
        clock.sleep(25)
    with pytest.raises(AirflowFailException, match="404"):
        sensor.poke({})
    assert 60 <= round(sum(clock.sleeps), 3) < 110


def test_an_export_that_is_not_known_yet_occupies_a_worker_for_the_rest_of_the_minute_at_most(
    held_sandbox: Sandbox, export_uuid: str, clock: Clock
) -> None:
    held_sandbox.respond_next(STATUS_PATH, 404)
    assert not make_sensor(export_uuid, poke_interval=3600, mode="reschedule").poke({})
    assert [round(seconds, 3) for seconds in clock.sleeps] == [60]


def test_a_deferrable_sensor_polls_once_and_leaves_the_rest_to_the_trigger(
    held_sandbox: Sandbox, export_uuid: str
) -> None:
    now = time.time()
    with pytest.raises(TaskDeferred) as deferral:
        make_sensor(export_uuid, deferrable=True, poke_interval=5, timeout=600).execute({})
    _, arguments = deferral.value.trigger.serialize()
    assert arguments["export_uuid"] == export_uuid
    assert arguments["poll_interval"] == 5
    assert now + 600 <= arguments["deadline"] <= time.time() + 600
    # Airflow 3.3 fails a task that resumes sooner
    assert now + 10 <= arguments["first_poll_at"] <= time.time() + 10
    # Airflow's own limit comes later than the trigger's
    assert deferral.value.timeout.total_seconds() > 600 + 300
    held_sandbox.finish_export(export_uuid)
    make_sensor(export_uuid, deferrable=True).execute({})
    polls = [entry["path"] for entry in held_sandbox.requests if entry["method"] == "GET"]
    assert polls == [f"{STATUS_PATH}{export_uuid}/"] * 2


def test_a_short_timeout_does_not_resume_the_task_before_airflow_can(export_uuid: str) -> None:
    with pytest.raises(TaskDeferred) as deferral:
        make_sensor(export_uuid, deferrable=True, poke_interval=1, timeout=2).execute({})
    trigger = deferral.value.trigger
    assert trigger.deadline < trigger.first_poll_at
    assert MIN_RESUME_DELAY - 5 < trigger.first_poll_at - time.time() <= MIN_RESUME_DELAY


def test_a_resumed_sensor_succeeds_when_the_export_is_done(held_sandbox: Sandbox, export_uuid: str) -> None:
    resume(make_sensor(export_uuid, deferrable=True), export_uuid=export_uuid, state="done")
    assert [entry["method"] for entry in held_sandbox.requests] == ["POST"]


@pytest.mark.parametrize(("state", "error"), [("timed_out", AirflowSensorTimeout), ("unknown", CruxUnavailableError)])
def test_a_resumed_sensor_fails_as_the_trigger_reports(export_uuid: str, state: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        resume(make_sensor(export_uuid, deferrable=True), export_uuid=export_uuid, state=state)


@pytest.mark.parametrize("state", ["unknown", "pending", "nonsense"])
def test_if_the_trigger_does_not_know_the_state_the_worker_polls(
    held_sandbox: Sandbox, export_uuid: str, state: str
) -> None:
    held_sandbox.finish_export(export_uuid)
    resume(make_sensor(export_uuid, deferrable=True), export_uuid=export_uuid, state=state)
    assert held_sandbox.requests[-1]["path"] == f"{STATUS_PATH}{export_uuid}/"


def test_if_the_event_names_no_export_the_worker_polls(held_sandbox: Sandbox, export_uuid: str) -> None:
    held_sandbox.finish_export(export_uuid)
    resume(make_sensor(export_uuid, deferrable=True), state="failed")
    assert held_sandbox.requests[-1]["path"] == f"{STATUS_PATH}{export_uuid}/"


def test_a_shorter_execution_timeout_of_the_task_also_applies_in_the_triggerer(export_uuid: str) -> None:
    limit = timedelta(seconds=30)
    with pytest.raises(TaskDeferred) as deferral:
        make_sensor(export_uuid, deferrable=True, timeout=600, execution_timeout=limit).execute({})
    assert deferral.value.timeout == limit
