"""
Ten thousand exports that wait in one triggerer's event loop, against the sandbox in another process.

Prints how many events came, logins and connections were made, how late the event loop ran, and what it cost.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import subprocess
import sys
import time
from collections import Counter
from uuid import uuid4

# A connection for Airflow, before it is imported: the sandbox announces its address when it listens.
SERVER = """
import sys
from uuid import uuid4
from airflow_provider_crux.sandbox.rules import judge
from airflow_provider_crux.sandbox.server import SandboxServer
from airflow_provider_crux.sandbox.settings import SandboxSettings
count, seconds, lifetime = int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
def ready():
    uuids = [server.sandbox.add_export(judge({})) for _ in range(count)]
    print(server.sandbox.url, *uuids, flush=True)
server = SandboxServer(settings=SandboxSettings(export_seconds=seconds, token_lifetime=lifetime), on_ready=ready)
server.serve_until_stopped()
"""


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--exports", type=int, default=10_000)
    parser.add_argument("--poll-interval", type=float, default=30, help="seconds")
    parser.add_argument("--done-after", type=float, default=75, help="seconds until every export is done")
    parser.add_argument("--token-lifetime", type=int, default=30, help="seconds; Crux Connect's are good for two hours")
    return parser.parse_args()


async def measure(uuids: list[str], poll_interval: float) -> dict[str, object]:
    """Run one trigger for each export, and watch the event loop meanwhile."""
    import psutil

    from airflow_provider_crux.triggers.exports import CruxExportTrigger

    states: Counter[str] = Counter()
    lag, connections = [0.0], [0]

    async def wait(uuid: str) -> None:
        now = time.time()
        trigger = CruxExportTrigger(
            crux_conn_id="crux_default",
            export_uuid=uuid,
            asked_at=now,
            deadline=now + 3600,
            poll_interval=poll_interval,
        )
        async for event in trigger.run():
            states[event.payload["state"]] += 1

    async def watch() -> None:
        me = psutil.Process()
        for tick in range(1_000_000):
            before = time.monotonic()
            await asyncio.sleep(0.05)
            lag.append(time.monotonic() - before - 0.05)
            if tick % 20 == 0:
                connections.append(len(me.net_connections("inet")))

    watching = asyncio.create_task(watch())
    began, cpu = time.monotonic(), time.process_time()
    await asyncio.gather(*(wait(uuid) for uuid in uuids))
    seconds, cpu = time.monotonic() - began, time.process_time() - cpu
    watching.cancel()
    lag.sort()
    return {
        "events": dict(states),
        "seconds": round(seconds, 1),
        "CPU seconds": round(cpu, 1),
        "connections at most": max(connections),
        "connections left": len(psutil.Process().net_connections("inet")),
        "loop late by (median, 99 %, most), ms": [
            round(1000 * lag[int(part * (len(lag) - 1))], 1) for part in (0.5, 0.99, 1)
        ],
        "peak memory, MiB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def main() -> None:
    """Start the sandbox, measure, and print."""
    import requests

    given = parse()
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(given.exports), str(given.done_after), str(given.token_lifetime)],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        url, *uuids = server.stdout.readline().split()
        settings = {"conn_type": "crux", "host": url, "login": "sandbox", "password": "sandbox"}
        os.environ["AIRFLOW_CONN_CRUX_DEFAULT"] = json.dumps(settings)
        figures = asyncio.run(measure(uuids, given.poll_interval))
        journal = requests.get(f"{url}/sandbox/requests", timeout=120).json()
    finally:
        server.kill()
        server.wait()
    paths = Counter(entry["path"].split("/")[2] for entry in journal)
    statuses = Counter(entry["status"] for entry in journal)
    figures |= {"logins": paths["organizations"], "looks": paths["data"], "answers": dict(statuses)}
    for name, value in figures.items():
        print(f"{name}: {value}")


if __name__ == "__main__":
    os.environ.setdefault("AIRFLOW_HOME", f"/tmp/crux-benchmark-{uuid4()}")
    main()
