"""
Ten thousand waits in one event loop, as in a triggerer, each for several looks at a server that answers after 100 ms.

Ours against the triggers of the HTTP provider and of dbt Cloud, each in a fresh process. ``python -m
benchmarks.waiting WHOSE WAITS`` runs one of them and prints its figures.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import random
import sys
import time
from collections.abc import AsyncIterator, Callable
from typing import Any
from uuid import UUID

from benchmarks import fresh, server
from benchmarks.figures import Goal, Row

WAITS = 10_000
FEWER, TIMES = 2_000, 3
"""As many waits, so often: their CPU time spreads as that of many more does."""
LOOKS = 3
LOOKS_A_SECOND = 400
"""Of all waits together: 50 connections make 500 looks of 100 ms."""
LATENCY = 0.1


def ours(number: int, interval: float) -> Any:
    """Return our trigger."""
    from airflow_provider_crux.triggers.exports import CruxExportTrigger

    now = time.time()
    return CruxExportTrigger(
        crux_conn_id="benchmark",
        export_uuid=str(UUID(int=number)),
        requested_at=now,
        deadline=now + 3600,
        poll_interval=interval,
    )


def http(number: int, interval: float) -> Any:
    """Return the HTTP provider's trigger, which looks until the answer is no longer 404."""
    from airflow.providers.http.triggers.http import HttpSensorTrigger

    return HttpSensorTrigger(endpoint=f"/api/jobs/{number}/", http_conn_id="benchmark", poke_interval=interval)


def dbt_cloud(number: int, interval: float) -> Any:
    """Return dbt Cloud's trigger."""
    from airflow.providers.dbt.cloud.triggers.dbt import DbtCloudRunJobTrigger

    return DbtCloudRunJobTrigger(
        conn_id="benchmark", run_id=number, account_id=1, end_time=time.time() + 3600, poll_interval=interval
    )


class Bare:
    """What cannot be undercut with aiohttp: one session for all, a look, and nothing said of what comes back."""

    session: Any = None
    users = 0

    def __init__(self, number: int, interval: float) -> None:
        self.number, self.interval = number, interval

    async def run(self) -> AsyncIterator[None]:
        """Look until it is done."""
        import aiohttp

        if Bare.session is None:
            Bare.session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=50))
        url = f"{json.loads(os.environ['AIRFLOW_CONN_BENCHMARK'])['host']}/api/data/export/{UUID(int=self.number)}/"
        Bare.users += 1
        headers = {"Authorization": "Token only-for-this-benchmark"}
        while True:
            async with Bare.session.get(url, headers=headers) as response:
                if json.loads(await response.read())["url"]:
                    break
            await asyncio.sleep(self.interval)
        Bare.users -= 1
        if not Bare.users:
            await Bare.session.close()
        yield


TRIGGERS: dict[str, Callable[[int, float], Any]] = {
    "ours": ours,
    "HTTP provider": http,
    "dbt Cloud": dbt_cloud,
    "bare aiohttp": Bare,
}


def connection(whose: str, url: str) -> dict[str, Any]:
    """Return the Airflow connection to the server, as each provider wants it."""
    host, _, port = url.removeprefix("http://").partition(":")
    match whose:
        case "ours" | "bare aiohttp":
            return {"conn_type": "crux", "host": url, "login": "benchmark", "password": "benchmark"}
        case "HTTP provider":
            return {"conn_type": "http", "host": host, "port": int(port)}
        case _:
            return {"conn_type": "dbt_cloud", "host": f"{host}:{port}", "login": "1", "password": "benchmark"}


def over_http(whose: str) -> None:
    """Let dbt Cloud's hook speak plain http as the others do: it knows https only, which would cost it more."""
    if whose == "dbt Cloud":
        from airflow.providers.dbt.cloud.hooks.dbt import DbtCloudHook

        https = DbtCloudHook.get_request_url_params

        def plain(*given: Any, **named: Any) -> tuple[str, dict[str, Any]]:
            url, data = https(*given, **named)
            return url.replace("https://", "http://"), data

        DbtCloudHook.get_request_url_params = staticmethod(plain)


async def measure(whose: str, waits: int) -> dict[str, float]:
    """Run the waits, and watch the event loop meanwhile."""
    import psutil

    me, lags, sockets, interval = psutil.Process(), [0.0], [0], waits / LOOKS_A_SECOND
    make = TRIGGERS[whose]
    over_http(whose)
    make(0, interval)  # imports what it needs
    before = me.memory_info().rss

    async def wait(number: int) -> None:
        trigger = make(number, interval)
        if whose != "ours":  # the others all look at once, which no triggerer would survive: spread for them
            await asyncio.sleep(random.uniform(0, interval))
        async for _ in trigger.run():
            pass

    async def watch() -> None:
        while True:
            due = time.monotonic() + 0.02
            await asyncio.sleep(0.02)
            lags.append(time.monotonic() - due)
            if len(lags) % 100 == 0:
                sockets.append(len(os.listdir("/proc/self/fd")))  # noqa: PTH208 - not a path: what is open

    watching = asyncio.create_task(watch())
    idle = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    cpu = time.process_time()
    await asyncio.gather(*(wait(number) for number in range(1, waits + 1)))
    cpu = time.process_time() - cpu
    watching.cancel()
    lags.sort()
    return {
        "CPU seconds": cpu,
        "lag p99 in ms": 1000 * lags[int(0.99 * (len(lags) - 1))],
        "sockets": max(sockets) - idle,
        "KiB per wait": (me.memory_info().rss - before) / waits / 1024,
    }


def run(whose: str, waits: int = WAITS) -> dict[str, float]:
    """Measure in a fresh process, against a fresh server."""
    with server.running(latency=LATENCY, looks=LOOKS) as url:
        env = {"AIRFLOW_CONN_BENCHMARK": json.dumps(connection(whose, url))}
        found: dict[str, float] = fresh.value_of("-m", "benchmarks.waiting", whose, str(waits), env=env)
        counted = server.counts(url)
    found["CPU s per 10,000 looks"] = found.pop("CPU seconds") / counted["looks"] * 10_000
    return found | {"looks": counted["looks"], "logins": counted["organizations"]}


def rows() -> list[Row]:
    """Measure."""
    cpu = "CPU s per 10,000 looks"
    rounds = [{whose: run(whose, FEWER)[cpu] for whose in TRIGGERS} for _ in range(TIMES)]
    all_of = {whose: run(whose) for whose in TRIGGERS}
    mine, many = [each["ours"] for each in rounds], f"{WAITS:,} waits: "
    # the goal is about what a user would take instead
    others = {"HTTP provider": Goal(1 / 3), "dbt Cloud": Goal(1 / 3), "bare aiohttp": None}
    return [
        *(
            Row("CPU time per 10,000 looks", "s", mine, whose, [each[whose] for each in rounds], goal)
            for whose, goal in others.items()
        ),
        *(
            Row(f"{many}the same", "s", [all_of["ours"][cpu]], whose, [all_of[whose][cpu]], goal)
            for whose, goal in others.items()
        ),
        Row(f"{many}lag of the event loop, p99", "ms", [all_of["ours"]["lag p99 in ms"]], goal=Goal(20)),
        *(
            Row(f"{many}the same", "ms", [all_of["ours"]["lag p99 in ms"]], whose, [all_of[whose]["lag p99 in ms"]])
            for whose in others
        ),
        Row(f"{many}open sockets at most", "", [all_of["ours"]["sockets"]], goal=Goal(50)),
        Row(f"{many}logins", "", [all_of["ours"]["logins"]], goal=Goal(1)),
        *(
            Row(
                f"{many}memory of a wait",
                "KiB",
                [all_of["ours"]["KiB per wait"]],
                whose,
                [all_of[whose]["KiB per wait"]],
            )
            for whose in others
        ),
    ]


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    print(json.dumps(asyncio.run(measure(sys.argv[1], int(sys.argv[2])))))
