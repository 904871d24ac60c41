"""The trigger as a triggerer runs it, against the sandbox."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest
from airflow.triggers.base import TriggerEvent

from airflow_provider_crux.triggers.exports import CruxExportTrigger

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_crux.sandbox.state import Sandbox

STATUS_PATH = "/api/data/export/"
UUID = "b9888421-594c-4d2f-9f0d-3b138a16c845"


@pytest.fixture
def held_sandbox(held_sandbox: Sandbox, connect) -> Sandbox:
    """Log in with a user name and a password, because such a token expires."""
    user, password = held_sandbox.settings.user, held_sandbox.settings.password
    connect(host=held_sandbox.url, login=user, password=password, extra={"max_retries": 0})
    return held_sandbox


def make_trigger(
    export_uuid: str, *, timeout: float = 3600, age: float = 0, first_poll_in: float = 0
) -> CruxExportTrigger:
    """Return a trigger whose export was requested ``age`` seconds ago."""
    now = time.time()
    return CruxExportTrigger(
        crux_conn_id="crux_default",
        export_uuid=export_uuid,
        accepted_at=now - age,
        deadline=now + timeout,
        poll_interval=0.01,
        first_poll_at=now + first_poll_in,
    )


async def run(trigger: CruxExportTrigger) -> list[Any]:
    """Run a trigger as recreated from its stored arguments, and return the payloads of its events."""
    path, arguments = trigger.serialize()
    assert path == f"{CruxExportTrigger.__module__}.{CruxExportTrigger.__qualname__}"
    return [event.payload async for event in CruxExportTrigger(**arguments).run() if isinstance(event, TriggerEvent)]


def event(trigger: CruxExportTrigger, state: str) -> dict[str, Any]:
    """Return the payload of the event by which a trigger reports a state."""
    return {"export_uuid": trigger.export_uuid, "state": state}


def statuses_of_polls(sandbox: Sandbox) -> list[int]:
    return [entry["status"] for entry in sandbox.requests if entry["path"].startswith(STATUS_PATH)]


async def after_polls(sandbox: Sandbox, count: int, action: Callable[..., None], *arguments: Any) -> None:
    await asyncio.to_thread(sandbox.wait_for, method="GET", path_prefix=STATUS_PATH, count=count, timeout=30)
    action(*arguments)


def run_with_action(
    sandbox: Sandbox, trigger: CruxExportTrigger, count: int, action: Callable[..., None], *arguments: Any
) -> list[Any]:
    """Run a trigger, and do something after its first ``count`` polls."""

    async def run_both() -> list[Any]:
        payloads, _ = await asyncio.gather(run(trigger), after_polls(sandbox, count, action, *arguments))
        return payloads

    return asyncio.run(run_both())


def test_the_trigger_fires_once_when_the_export_is_done(held_sandbox: Sandbox, export_uuid: str) -> None:
    trigger = make_trigger(export_uuid, age=7)
    payloads = run_with_action(held_sandbox, trigger, 3, held_sandbox.finish_export, export_uuid)
    assert payloads == [event(trigger, "done")]
    assert len(statuses_of_polls(held_sandbox)) > 3


@pytest.mark.parametrize("timeout", [1e15, float("inf")])
def test_a_deadline_after_the_last_instant_of_all_is_one_after_a_year(
    held_sandbox: Sandbox, export_uuid: str, timeout: float
) -> None:
    trigger = make_trigger(export_uuid, timeout=timeout)
    assert run_with_action(held_sandbox, trigger, 1, held_sandbox.finish_export, export_uuid) == [
        event(trigger, "done")
    ]


def test_the_trigger_fires_once_when_the_export_failed(held_sandbox: Sandbox, export_uuid: str) -> None:
    trigger = make_trigger(export_uuid)
    payloads = run_with_action(held_sandbox, trigger, 1, held_sandbox.fail_export, export_uuid)
    assert payloads == [event(trigger, "failed")]


def test_the_trigger_polls_a_last_time_before_it_times_out(held_sandbox: Sandbox, export_uuid: str) -> None:
    # the deadline passed while no triggerer ran
    late = make_trigger(export_uuid, timeout=-100)
    assert asyncio.run(run(late)) == [event(late, "timed_out")]
    assert statuses_of_polls(held_sandbox) == [200]
    held_sandbox.finish_export(export_uuid)
    assert asyncio.run(run(late)) == [event(late, "done")]


def test_the_trigger_does_not_fire_before_the_first_poll_even_if_the_deadline_is_earlier(
    held_sandbox: Sandbox, export_uuid: str
) -> None:
    before = time.time()
    (payload,) = asyncio.run(run(make_trigger(export_uuid, timeout=0.1, first_poll_in=1)))
    assert payload["state"] == "timed_out"
    assert time.time() - before >= 1


def test_expired_tokens_and_four_consecutive_errors_are_tolerated(held_sandbox: Sandbox, export_uuid: str) -> None:
    def cause_errors() -> None:
        held_sandbox.expire_tokens()
        for status in (503, 500, 429, 502):
            held_sandbox.respond_next(STATUS_PATH, status)

    trigger = make_trigger(export_uuid)

    async def run_with_errors() -> list[Any]:
        payloads = asyncio.create_task(run(trigger))
        await after_polls(held_sandbox, 2, cause_errors)
        await after_polls(held_sandbox, 10, cause_errors)
        await after_polls(held_sandbox, 20, held_sandbox.finish_export, export_uuid)
        return await payloads

    assert asyncio.run(run_with_errors()) == [event(trigger, "done")]
    assert {503, 500, 429, 502, 401} <= set(statuses_of_polls(held_sandbox))


def test_five_consecutive_errors_end_the_wait(held_sandbox: Sandbox, export_uuid: str) -> None:
    for _ in range(5):
        held_sandbox.respond_next(STATUS_PATH, 500)
    trigger = make_trigger(export_uuid)
    assert asyncio.run(run(trigger)) == [event(trigger, "unknown")]
    assert statuses_of_polls(held_sandbox) == [500] * 5


@pytest.mark.parametrize(("age", "state"), [(30, "done"), (61, "unknown")])
def test_not_found_is_tolerated_for_a_minute_after_the_request(
    held_sandbox: Sandbox, export_uuid: str, age: float, state: str
) -> None:
    held_sandbox.respond_next(STATUS_PATH, 404)
    held_sandbox.finish_export(export_uuid)
    trigger = make_trigger(export_uuid, age=age)
    assert asyncio.run(run(trigger)) == [event(trigger, state)]


def test_an_unknown_status_is_warned_about_once_and_the_wait_continues(
    held_sandbox: Sandbox, export_uuid: str, logged
) -> None:
    body = f'{{"uuid": "{export_uuid}", "status": "polishing", "url": null}}'.encode()
    for _ in range(2):
        held_sandbox.respond_next(STATUS_PATH, 200, {"Content-Type": "application/json"}, body)
    held_sandbox.finish_export(export_uuid)
    trigger = make_trigger(export_uuid)
    assert asyncio.run(run(trigger)) == [event(trigger, "done")]
    assert logged().count("polishing") == 1


def test_no_secret_is_in_arguments_event_or_log(held_sandbox: Sandbox, export_uuid: str, logged) -> None:
    password = held_sandbox.settings.password
    held_sandbox.finish_export(export_uuid)
    trigger = make_trigger(export_uuid)
    texts = [str(asyncio.run(run(trigger))), str(trigger.serialize()), repr(trigger)]
    held_sandbox.respond_next(STATUS_PATH, 400, body=f"you sent {password}".encode())
    texts += [str(asyncio.run(run(make_trigger(export_uuid)))), logged()]
    assert "you sent" in texts[-1]
    for secret in (password, "X-Amz-Signature", "sandbox-files"):
        assert not [text for text in texts if secret in text]


def test_a_person_who_ends_the_wait_learns_that_the_export_continues(logged) -> None:
    asyncio.run(make_trigger(UUID).on_kill())
    assert f"Crux Connect cannot cancel an export: {UUID} continues" in logged()
