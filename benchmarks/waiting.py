"""
Measures ten thousand waits in one event loop, as in a triggerer. The server responds to each poll after 100 ms.

Our trigger is compared with those of the HTTP provider and of dbt Cloud, each in a new process. ``python -m
benchmarks.waiting CONTENDER WAITS`` measures one of them and prints the values.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import random
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from fractions import Fraction
from typing import Any
from uuid import UUID

from benchmarks import server
from benchmarks.results import Goal, Row
from benchmarks.subprocesses import run_python

WAITS = 10_000
FEWER_WAITS, ROUNDS = 2_000, 3
"""Several rounds of fewer waits show how much the CPU time varies."""
POLLS = 3
POLLS_PER_SECOND = 400
"""The polls of all waits. 50 connections can make 500 polls of 100 ms per second."""
LATENCY = 0.1
CPU = "CPU s per 10,000 polls"


def ours(number: int, interval: float) -> Any:
    """Return our trigger."""
    from airflow_provider_crux.triggers.exports import CruxExportTrigger

    now = time.time()
    return CruxExportTrigger(
        crux_conn_id="benchmark",
        export_uuid=str(UUID(int=number)),
        accepted_at=now,
        deadline=now + 3600,
        poll_interval=interval,
    )


def http(number: int, interval: float) -> Any:
    """Return the HTTP provider's trigger, which polls until the response is no longer 404."""
    from airflow.providers.http.triggers.http import HttpSensorTrigger

    return HttpSensorTrigger(endpoint=f"/api/jobs/{number}/", http_conn_id="benchmark", poke_interval=interval)


def dbt_cloud(number: int, interval: float) -> Any:
    """Return dbt Cloud's trigger."""
    from airflow.providers.dbt.cloud.triggers.dbt import DbtCloudRunJobTrigger

    return DbtCloudRunJobTrigger(
        conn_id="benchmark", run_id=number, account_id=1, end_time=time.time() + 3600, poll_interval=interval
    )


class BareAiohttp:
    """The lower bound with aiohttp: all waits share one session, and the responses are not validated."""

    session: Any = None
    active_waits = 0

    def __init__(self, number: int, interval: float) -> None:
        self.number, self.interval = number, interval

    async def run(self) -> AsyncIterator[None]:
        """Poll until the export is done."""
        import aiohttp

        if BareAiohttp.session is None:
            BareAiohttp.session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=50))
        url = f"{json.loads(os.environ['AIRFLOW_CONN_BENCHMARK'])['host']}/api/data/export/{UUID(int=self.number)}/"
        BareAiohttp.active_waits += 1
        headers = {"Authorization": "Token only-for-this-benchmark"}
        while True:
            async with BareAiohttp.session.get(url, headers=headers) as response:
                if json.loads(await response.read())["url"]:
                    break
            await asyncio.sleep(self.interval)
        BareAiohttp.active_waits -= 1
        if not BareAiohttp.active_waits:
            await BareAiohttp.session.close()
        yield


TRIGGERS: dict[str, Callable[[int, float], Any]] = {
    "ours": ours,
    "HTTP provider": http,
    "dbt Cloud": dbt_cloud,
    "bare aiohttp": BareAiohttp,
}


def connection(contender: str, url: str) -> dict[str, Any]:
    """Return the Airflow connection to the server, as each provider needs it."""
    host, _, port = url.removeprefix("http://").partition(":")
    match contender:
        case "ours" | "bare aiohttp":
            return {"conn_type": "crux", "host": url, "login": "benchmark", "password": "benchmark"}
        case "HTTP provider":
            return {"conn_type": "http", "host": host, "port": int(port)}
        case _:
            return {"conn_type": "dbt_cloud", "host": f"{host}:{port}", "login": "1", "password": "benchmark"}


def use_http(contender: str) -> None:
    """Make dbt Cloud's hook use HTTP like the others. It supports only HTTPS, and TLS would cost CPU time."""
    if contender == "dbt Cloud":
        from airflow.providers.dbt.cloud.hooks.dbt import DbtCloudHook

        https_params = DbtCloudHook.get_request_url_params

        def http_params(*args: Any, **kwargs: Any) -> tuple[str, dict[str, Any]]:
            url, data = https_params(*args, **kwargs)
            return url.replace("https://", "http://"), data

        DbtCloudHook.get_request_url_params = staticmethod(http_params)


async def measure(contender: str, waits: int) -> dict[str, float]:
    """Run the waits, and measure the lag of the event loop meanwhile."""
    import psutil

    process, lags, sockets, interval = psutil.Process(), [0.0], [0], waits / POLLS_PER_SECOND
    create_trigger = TRIGGERS[contender]
    use_http(contender)
    create_trigger(0, interval)  # loads its imports
    memory_before = process.memory_info().rss

    async def wait(number: int) -> None:
        trigger = create_trigger(number, interval)
        # The others poll all at once, which would overload a triggerer, so the benchmark spreads them.
        if contender != "ours":
            await asyncio.sleep(random.uniform(0, interval))
        async for _ in trigger.run():
            pass

    async def measure_lag() -> None:
        while True:
            due = time.monotonic() + 0.02
            await asyncio.sleep(0.02)
            lags.append(time.monotonic() - due)
            if len(lags) % 100 == 0:
                sockets.append(len(os.listdir("/proc/self/fd")))  # noqa: PTH208 - only the number of entries is needed

    monitor = asyncio.create_task(measure_lag())
    idle_sockets = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    cpu_before = time.process_time()
    await asyncio.gather(*(wait(number) for number in range(1, waits + 1)))
    cpu_seconds = time.process_time() - cpu_before
    monitor.cancel()
    lags.sort()
    return {
        "CPU seconds": cpu_seconds,
        "lag p99 in ms": 1000 * lags[int(0.99 * (len(lags) - 1))],
        "sockets": max(sockets) - idle_sockets,
        "KiB per wait": (process.memory_info().rss - memory_before) / waits / 1024,
    }


def run(contender: str, waits: int = WAITS) -> dict[str, float]:
    """Measure in a new process, with a new server."""
    with server.running(latency=LATENCY, polls=POLLS) as url:
        env = {"AIRFLOW_CONN_BENCHMARK": json.dumps(connection(contender, url))}
        values: dict[str, float] = run_python("-m", "benchmarks.waiting", contender, str(waits), env=env)
        counts = server.counts(url)
    values[CPU] = values.pop("CPU seconds") / counts["polls"] * 10_000
    return values | {"polls": counts["polls"], "logins": counts["organizations"]}


def rows() -> list[Row]:
    """Measure and return the rows."""
    rounds = [{contender: run(contender, FEWER_WAITS)[CPU] for contender in TRIGGERS} for _ in range(ROUNDS)]
    values = {contender: run(contender) for contender in TRIGGERS}
    ours, fewer, many = values["ours"], f"{FEWER_WAITS:,} waits", f"{WAITS:,} waits"
    # Only alternatives that a user could choose have a goal.
    cpu_goals = {"HTTP provider": Goal(Fraction(1, 3)), "dbt Cloud": Goal(Fraction(1, 3)), "bare aiohttp": None}

    def compare(what: str, unit: str, key: str, goals: Mapping[str, Goal | None]) -> list[Row]:
        return [
            Row(f"{many}: {what}", unit, [ours[key]], other, [values[other][key]], goals.get(other))
            for other in cpu_goals
        ]

    return [
        *(
            Row(
                f"{fewer}: CPU time per 10,000 polls",
                "s",
                [results["ours"] for results in rounds],
                other,
                [results[other] for results in rounds],
                goal,
            )
            for other, goal in cpu_goals.items()
        ),
        *compare("CPU time per 10,000 polls", "s", CPU, cpu_goals),
        Row(f"{many}: event loop lag, p99", "ms", [ours["lag p99 in ms"]], goal=Goal(20)),
        *compare("event loop lag, p99", "ms", "lag p99 in ms", {}),
        Row(f"{many}: open sockets, maximum", "", [ours["sockets"]], goal=Goal(50)),
        Row(f"{many}: logins", "", [ours["logins"]], goal=Goal(1)),
        *compare("memory per wait", "KiB", "KiB per wait", {}),
    ]


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    print(json.dumps(asyncio.run(measure(sys.argv[1], int(sys.argv[2])))))
