"""The trigger as a triggerer runs it, against the sandbox."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from airflow.triggers.base import TriggerEvent

from airflow_provider_crux.api.orders import OrdersExportRequest
from airflow_provider_crux.hooks.crux import CruxHook
from airflow_provider_crux.sandbox.server import running_sandbox
from airflow_provider_crux.sandbox.state import Sandbox, SandboxSettings
from airflow_provider_crux.triggers.exports import CruxExportTrigger

PATH = "/api/data/export/"
PASSWORD = "correct horse battery staple"


@pytest.fixture
def sandbox(connect):
    """Hold every export until the test lets it be done; the connection logs in."""
    with running_sandbox(SandboxSettings(password=PASSWORD, export_seconds=None)) as running:
        connect(host=running.url, login=running.settings.user, password=PASSWORD, extra={"max_retries": 0})
        yield running


@pytest.fixture
def uuid(sandbox: Sandbox) -> str:
    return CruxHook().export_orders(OrdersExportRequest())


def trigger(uuid: str, *, timeout: float = 3600, asked: float = 0, poll_interval: float = 0.01) -> CruxExportTrigger:
    now = time.time()
    return CruxExportTrigger(
        crux_conn_id="crux_default",
        export_uuid=uuid,
        requested_at=now - asked,
        deadline=now + timeout,
        poll_interval=poll_interval,
    )


async def events(trigger: CruxExportTrigger) -> list[Any]:
    """Run a trigger as made from its stored arguments, to its end."""
    path, arguments = trigger.serialize()
    assert path == f"{CruxExportTrigger.__module__}.{CruxExportTrigger.__qualname__}"
    return [event.payload async for event in CruxExportTrigger(**arguments).run() if isinstance(event, TriggerEvent)]


def looks(sandbox: Sandbox) -> list[int]:
    return [entry["status"] for entry in sandbox.requests if entry["path"].startswith(PATH)]


async def after_looks(sandbox: Sandbox, count: int, do: Any, *arguments: Any) -> None:
    await asyncio.to_thread(sandbox.wait_for, method="GET", path_prefix=PATH, count=count, timeout=30)
    do(*arguments)


def run_while(sandbox: Sandbox, waiting: CruxExportTrigger, count: int, do: Any, *arguments: Any) -> list[Any]:
    """Run a trigger, and do something when it has looked so many times."""

    async def both() -> list[Any]:
        told, _ = await asyncio.gather(events(waiting), after_looks(sandbox, count, do, *arguments))
        return told

    return asyncio.run(both())


def test_it_fires_once_when_the_export_is_done(sandbox: Sandbox, uuid: str) -> None:
    told = run_while(sandbox, trigger(uuid), 3, sandbox.finish_export, uuid)
    assert told == [{"export_uuid": uuid, "state": "done"}]
    assert len(looks(sandbox)) > 3


def test_it_fires_once_when_the_export_failed(sandbox: Sandbox, uuid: str) -> None:
    told = run_while(sandbox, trigger(uuid), 1, sandbox.fail_export, uuid)
    assert told == [{"export_uuid": uuid, "state": "failed"}]


def test_it_looks_a_last_time_before_it_says_too_late(sandbox: Sandbox, uuid: str) -> None:
    # the deadline passed while no triggerer ran
    assert asyncio.run(events(trigger(uuid, timeout=-100))) == [{"export_uuid": uuid, "state": "timeout"}]
    assert looks(sandbox) == [200]
    sandbox.finish_export(uuid)
    assert asyncio.run(events(trigger(uuid, timeout=-100))) == [{"export_uuid": uuid, "state": "done"}]


def test_it_outlives_tokens_and_four_failures_in_a_row(sandbox: Sandbox, uuid: str) -> None:
    def trouble() -> None:
        sandbox.expire_tokens()
        for status in (503, 500, 429, 502):
            sandbox.respond_next(PATH, status)

    async def scenario() -> list[Any]:
        waiting = asyncio.create_task(events(trigger(uuid)))
        await after_looks(sandbox, 2, trouble)
        await after_looks(sandbox, 10, trouble)
        await after_looks(sandbox, 20, sandbox.finish_export, uuid)
        return await waiting

    assert asyncio.run(scenario()) == [{"export_uuid": uuid, "state": "done"}]
    assert {503, 500, 429, 502, 401} <= set(looks(sandbox))


def test_it_gives_up_after_five_failures_in_a_row(sandbox: Sandbox, uuid: str) -> None:
    for _ in range(5):
        sandbox.respond_next(PATH, 500)
    assert asyncio.run(events(trigger(uuid))) == [{"export_uuid": uuid, "state": "error"}]
    assert looks(sandbox) == [500] * 5


def test_not_found_is_waited_out_for_a_minute_after_the_request_only(sandbox: Sandbox, uuid: str) -> None:
    sandbox.respond_next(PATH, 404)
    sandbox.finish_export(uuid)
    assert asyncio.run(events(trigger(uuid, asked=30))) == [{"export_uuid": uuid, "state": "done"}]
    sandbox.respond_next(PATH, 404)
    assert asyncio.run(events(trigger(uuid, asked=61))) == [{"export_uuid": uuid, "state": "error"}]


def test_a_word_that_is_new_is_warned_of_once_and_waited_out(sandbox: Sandbox, uuid: str, logged) -> None:
    body = f'{{"uuid": "{uuid}", "status": "polishing", "url": null}}'.encode()
    sandbox.respond_next(PATH, 200, {"Content-Type": "application/json"}, body)
    sandbox.respond_next(PATH, 200, {"Content-Type": "application/json"}, body)
    sandbox.finish_export(uuid)
    assert asyncio.run(events(trigger(uuid))) == [{"export_uuid": uuid, "state": "done"}]
    assert logged().count("polishing") == 1


def test_no_secret_is_in_its_arguments_its_event_or_its_log(sandbox: Sandbox, uuid: str, logged) -> None:
    sandbox.finish_export(uuid)
    waiting = trigger(uuid)
    seen = [str(asyncio.run(events(waiting))), str(waiting.serialize()), repr(waiting)]
    sandbox.respond_next(PATH, 400, body=f"you sent {PASSWORD}".encode())
    seen += [str(asyncio.run(events(trigger(uuid)))), logged()]
    assert "you sent" in seen[-1]
    for secret in (PASSWORD, "X-Amz-Signature", "sandbox-files"):
        assert not [text for text in seen if secret in text]


def test_a_person_who_ends_the_wait_is_told_that_the_export_goes_on(logged) -> None:
    uuid = "b9888421-594c-4d2f-9f0d-3b138a16c845"
    asyncio.run(trigger(uuid).on_kill())
    assert f"no call that cancels an export: {uuid} goes on" in logged()
