"""A stand-in for Crux Connect that disrupts the tries of tasks: only the server knows when a request is under way."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from threading import Condition
from typing import Any

import psutil

from tests.e2e.disruptions import LOST_RESPONSES, Disruption, Kind, Moment, Plan
from tests.raw_server import EXPORT_PATH, Connection, RawServer, json_response, raw_server
from tests.real_airflow.request_bodies import api_timestamp

TRIES_PATH = "/tries/"
LIST_PATH = "/api/orders/"
EXECUTION_TIMEOUT = 6.0
"""Seconds that a try of a "timed" DAG may take."""
GRACE = 0.3
"""Seconds between SIGTERM and SIGKILL. On Airflow 3 a task continues after SIGTERM."""
NEXT_TRY_SECONDS = 120.0
"""How long a suspended try is suspended if no other begins."""


@dataclass
class Try:
    """One try of a task: its number, its processes, and when `execute` was called."""

    number: int
    task: psutil.Process
    supervisor: psutil.Process
    begun_at: float = field(default_factory=time.time)

    @property
    def expiry(self) -> float:
        """When the execution_timeout of a "timed" DAG expires."""
        return self.begun_at + EXECUTION_TIMEOUT

    @property
    def running(self) -> bool:
        """Whether its process is left."""
        try:
            return self.task.is_running() and self.task.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False


@dataclass
class Run:
    """
    What the server has seen of a run.

    :param plan: what happens to its tries.
    :ivar run_id: its id in Airflow.
    :ivar posts: when each request for an export was accepted, in seconds since the epoch.
    :ivar responses: how many responses to them were sent.
    :ivar polls: how many polls of its exports were received.
    :ivar disruptions: what happened, and how far the run had come.
    """

    plan: Plan
    run_id: str = ""
    tries: list[Try] = field(default_factory=list)
    posts: list[float] = field(default_factory=list)
    uuids: list[str] = field(default_factory=list)
    responses: int = 0
    polls: int = 0
    disruptions: list[tuple[Disruption, str]] = field(default_factory=list)

    def __str__(self) -> str:
        met = "; ".join(f"{disruption.kind} {met}" for disruption, met in self.disruptions) or "none"
        return f"{self.plan} {self.run_id}: {len(self.posts)} POSTs, {len(self.tries)} tries, disrupted: {met}"

    @property
    def running(self) -> bool:
        """Whether a process of any try is left, perhaps suspended: it can still send a request."""
        return any(attempt.running for attempt in self.tries)

    def progress(self) -> str:
        """Return how far the run has come."""
        if len(self.tries) > 1:
            return "in a later try"
        if self.polls:
            return "after the UUID is saved"
        if self.responses:
            return "right after the response"
        return "while the request is under way" if self.posts else "before the request"


class DisruptedApi:
    """
    Responds as Crux Connect does, and carries out the plans.

    :param plans: of all runs.
    :ivar server: the server, while it runs.
    """

    server: RawServer

    def __init__(self, plans: Iterable[Plan]) -> None:
        self.runs = {api_timestamp(plan.logical_date): Run(plan) for plan in plans}
        self.find_process: Callable[[int], psutil.Process] | None = None
        self.database_is_locked: Callable[[], bool] = lambda: False
        self.enabled = True
        self._changed = Condition()

    def respond(self, connection: Connection) -> None:
        """Respond to a request, and disrupt the try that sent it, before or after, if that is planned."""
        run = self._run(connection)
        if connection.path == TRIES_PATH:
            self._begin_try(run, json.loads(connection.body))
            self._step(connection, run, {}, after=Moment.BEGIN)
        elif connection.path == LIST_PATH:
            self._step(connection, run, {"total_results": 1, "orders": [{"uuid": "1"}]}, after=Moment.LIST)
        elif connection.path == EXPORT_PATH:
            export_uuid = str(uuid.uuid4())
            run.posts.append(time.time())
            run.uuids.append(export_uuid)
            self._step(connection, run, {"uuid": export_uuid}, during=Moment.REQUEST, after=Moment.RESPONSE)
        else:
            run.polls += 1
            export = {"uuid": _export_uuid(connection), "status": "completed", "url": "http://127.0.0.1:9/file.csv"}
            self._step(connection, run, export, during=Moment.POLL, after=Moment.RESULT)

    def _run(self, connection: Connection) -> Run:
        if not connection.body:
            return next(run for run in self.runs.values() if _export_uuid(connection) in run.uuids)
        body = json.loads(connection.body)
        return self.runs[body.get("end_date") or api_timestamp(datetime.fromisoformat(body["logical_date"]))]

    def _begin_try(self, run: Run, body: dict[str, Any]) -> None:
        assert self.find_process is not None
        task = self.find_process(body["pid"])
        with self._changed:
            run.run_id = body["run"]
            run.tries.append(Try(body["try_number"], task, self.find_process(task.ppid())))
            self._changed.notify_all()

    def _step(
        self, connection: Connection, run: Run, content: object, *, during: Moment | None = None, after: Moment
    ) -> None:
        current = run.tries[-1]
        disruption = self._planned(run, current, during, after)
        if disruption is None:
            # A request takes a while, so that a disruption planned for a random time can meet it.
            time.sleep(0 if after is Moment.BEGIN else 0.05)
        elif disruption.moment is during:
            self._disrupt_during(connection, run, current, disruption)
        elif disruption.kind is Kind.TIMED_OUT:
            _sleep_until(current.expiry - disruption.delay)
        with contextlib.suppress(OSError):  # the client may be gone
            connection.send(json_response(content))
            run.responses += connection.path == EXPORT_PATH
        if disruption is None:
            return
        if disruption.moment is after:
            self._disrupt_after(run, current, disruption)
        if disruption.kind is Kind.SUSPENDED:
            self._continue_beside_next_try(connection.server, run, current, disruption)

    def _disrupt_during(self, connection: Connection, run: Run, current: Try, disruption: Disruption) -> None:
        if disruption.kind is Kind.TIMED_OUT:
            _sleep_until(current.expiry)
            run.disruptions.append((disruption, run.progress()))
            time.sleep(disruption.delay)
            return
        time.sleep(disruption.delay)
        if disruption.kind not in LOST_RESPONSES:
            self._disrupt(run, current, disruption)
            return
        run.disruptions.append((disruption, run.progress()))
        if disruption.kind is Kind.RESET:
            connection.reset()
            return
        with contextlib.suppress(OSError):  # the client may be gone
            connection.socket.shutdown(socket.SHUT_RDWR)

    def _disrupt_after(self, run: Run, current: Try, disruption: Disruption) -> None:
        if disruption.kind is Kind.TIMED_OUT:
            _sleep_until(current.expiry)
            run.disruptions.append((disruption, run.progress()))
            return
        time.sleep(disruption.delay)
        self._disrupt(run, current, disruption)

    def _planned(self, run: Run, current: Try, during: Moment | None, after: Moment) -> Disruption | None:
        planned = run.plan.disruptions
        if not self.enabled or len(planned) < current.number:
            return None
        disruption = planned[current.number - 1]
        met = {met for met, _ in run.disruptions}
        return disruption if disruption.moment in {during, after} and disruption not in met else None

    def _disrupt(self, run: Run, current: Try, disruption: Disruption) -> None:
        """Send the signals, unless the try has ended; a supervisor that has reported it may run another task."""
        progress = run.progress()
        with contextlib.suppress(psutil.NoSuchProcess):
            current.supervisor.suspend()
            if not current.running:
                current.supervisor.resume()
                return
            run.disruptions.append((disruption, progress))
            if disruption.kind is Kind.SUSPENDED:
                current.task.suspend()
                self._release_database(current)
                return
            if disruption.kind is Kind.MACHINE_LOST:
                current.supervisor.kill()
                current.task.kill()
                return
            current.task.send_signal(signal.SIGKILL if disruption.kind is Kind.KILLED else signal.SIGTERM)
            current.supervisor.resume()
            if disruption.kind is Kind.STOPPED:
                time.sleep(GRACE)
                current.task.kill()

    def _release_database(self, current: Try) -> None:
        """Let a suspended process go on for a moment if it holds the lock of SQLite: no next try could begin."""
        while self.database_is_locked():
            for process in (current.task, current.supervisor):
                process.resume()
            time.sleep(0.002)
            for process in (current.supervisor, current.task):
                process.suspend()

    def _continue_beside_next_try(self, server: RawServer, run: Run, current: Try, disruption: Disruption) -> None:
        deadline = time.monotonic() + NEXT_TRY_SECONDS
        with self._changed:
            while run.tries[-1] is current and time.monotonic() < deadline and not server.stopping.is_set():
                self._changed.wait(0.5)
        time.sleep(disruption.pause)
        for process in (current.task, current.supervisor):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()


def _export_uuid(connection: Connection) -> str:
    return connection.path.strip("/").rpartition("/")[2]


def _sleep_until(moment: float) -> None:
    time.sleep(max(0.0, moment - time.time()))


@contextlib.contextmanager
def disrupted_api(plans: Iterable[Plan]) -> Iterator[DisruptedApi]:
    """Run the server until the block ends."""
    api = DisruptedApi(plans)
    with raw_server(api.respond) as api.server:
        yield api
