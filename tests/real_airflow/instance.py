"""What a test asks of a running Airflow, in words that do not depend on its version."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from tests.e2e.processes import AirflowTestError, Part, tail, wait

RUN_SECONDS = 150
"""The most that one wait for runs may take: all of a module's runs compete for the same two cores."""
POLL_SECONDS = 0.5

FINAL_RUN_STATES = {"success", "failed"}
FINAL_TASK_STATES = {"success", "failed", "upstream_failed", "skipped", "removed"}


@dataclass(frozen=True)
class DagRun:
    """One run as the metadata database holds it; None where this version of Airflow has no such value."""

    dag_id: str
    run_id: str
    run_type: str
    state: str
    logical_date: datetime | None
    data_interval_start: datetime | None
    data_interval_end: datetime | None
    run_after: datetime | None
    partition_key: str | None = None

    @property
    def finished(self) -> bool:
        """Whether the scheduler is through with it."""
        return self.state in FINAL_RUN_STATES


@dataclass(frozen=True)
class TaskInstance:
    """One task of one run as the metadata database holds it."""

    state: str
    """For example "running", "deferred", "up_for_retry"; "none" before the scheduler has looked at it."""
    try_number: int
    """1 for the first try; a task that was deferred goes on under the same number."""
    pid: int | None
    """Of the process that runs it; None while that is being started, stale while it is not running."""


class AirflowInstance(ABC):
    """What a test asks of a running Airflow, in words that do not depend on its version."""

    def __init__(self, home: Path, environment: Mapping[str, str]) -> None:
        self.home = home
        self.environment = dict(environment)
        self.parts: list[Part] = []

    @abstractmethod
    def unhealthy(self) -> str:
        """Say what is not up yet, or return an empty string when all is."""

    @abstractmethod
    def dag_ids(self) -> set[str]:
        """Return the DAGs that the DAG processor has stored."""

    @abstractmethod
    def import_errors(self) -> dict[str, str]:
        """Return the DAG files that could not be imported, with their tracebacks."""

    @abstractmethod
    def trigger(self, dag_id: str, logical_date: datetime | None = None, conf: Mapping[str, Any] | None = None) -> str:
        """Start a manual run and return its run_id.

        Without a logical date Airflow 3 leaves it null and Airflow 2 takes now.
        """

    @abstractmethod
    def backfill(self, dag_id: str, date: datetime) -> None:
        """Have the run made that the DAG's schedule has on a date."""

    @abstractmethod
    def dag_runs(self, dag_id: str) -> list[DagRun]:
        """Return every run of the DAG, in the order in which they were due."""

    @abstractmethod
    def task_instance(self, run: DagRun, task_id: str, map_index: int = -1) -> TaskInstance:
        """Return where a task is; LookupError if the run has no such task (yet)."""

    @abstractmethod
    def xcom(self, run: DagRun, task_id: str, key: str = "return_value", map_index: int = -1) -> Any:
        """Return an XCom's value; LookupError if the task pushed none under that key."""

    def wait_for_dags(self, dag_ids: set[str], timeout: float = RUN_SECONDS) -> None:
        """Wait until all these DAGs can be triggered; an import error anywhere ends the wait."""

        def missing() -> str:
            if errors := self.import_errors():
                raise AirflowTestError("\n".join(f"{name}:\n{trace}" for name, trace in errors.items()))
            absent = dag_ids - self.dag_ids()
            return f"no DAG named {', '.join(sorted(absent))}" if absent else ""

        self.wait(missing, timeout)

    def wait_for_runs(
        self,
        dag_id: str,
        count: int,
        run_type: str | None = None,
        timeout: float = RUN_SECONDS,
        state: str = "success",
    ) -> list[DagRun]:
        """Wait until the DAG has at least `count` runs (of this type), all finished; return them.

        Fails as soon as one of them ends in another state than `state`.
        """

        def runs() -> list[DagRun]:
            return [run for run in self.dag_runs(dag_id) if run_type in {None, run.run_type}]

        def unfinished() -> str:
            found = runs()
            self._refuse_others(found, state)
            if len(found) >= count and all(run.finished for run in found):
                return ""
            return f"{dag_id}: {[(run.run_id, run.state) for run in found]}, expected {count} finished runs"

        self.wait(unfinished, timeout)
        return runs()

    def wait_for_run(self, dag_id: str, run_id: str, timeout: float = RUN_SECONDS, state: str = "success") -> DagRun:
        """Wait until this run has ended in this state and return it; fail as soon as it ends in another."""

        def unfinished() -> str:
            run = self.dag_run(dag_id, run_id)
            self._refuse_others([run], state)
            return "" if run.finished else f"{dag_id} {run_id} is {run.state}"

        self.wait(unfinished, timeout)
        return self.dag_run(dag_id, run_id)

    def dag_run(self, dag_id: str, run_id: str) -> DagRun:
        """Return this run as it is now."""
        return next(run for run in self.dag_runs(dag_id) if run.run_id == run_id)

    def task_state(self, run: DagRun, task_id: str, map_index: int = -1) -> str:
        """Return the state of a task, for example "deferred"."""
        return self.task_instance(run, task_id, map_index).state

    def wait_for_task(
        self,
        run: DagRun,
        task_id: str,
        state: str,
        map_index: int = -1,
        *,
        try_number: int = 1,
        timeout: float = RUN_SECONDS,
    ) -> TaskInstance:
        """Wait until a task is in this state, in this try or a later one, and return where it is then.

        A running task has a pid. A state that lasts no longer than POLL_SECONDS can be missed. Fails as soon as the
        task ends in another state.
        """
        found: list[TaskInstance] = []

        def elsewhere() -> str:
            where = f"{run.dag_id} {run.run_id} {task_id}[{map_index}]"
            try:
                task = self.task_instance(run, task_id, map_index)
            except LookupError:
                return f"{where} does not exist yet"
            if task.state == state and task.try_number >= try_number and (task.pid or state != "running"):
                found.append(task)
                return ""
            if task.state in FINAL_TASK_STATES:
                raise AirflowTestError(f"{where} is {task.state}, expected {state}\n{self.task_log_tail(run)}")
            return f"{where} is {task.state} in try {task.try_number}, expected {state} in {try_number}"

        self.wait(elsewhere, timeout)
        return found[-1]

    def task_process(
        self, run: DagRun, task_id: str, map_index: int = -1, *, try_number: int = 1, timeout: float = RUN_SECONDS
    ) -> psutil.Process:
        """Wait until a task is running, in this try or a later one, and return the process that executes its code.

        It may not have come to `execute` yet.
        """
        task = self.wait_for_task(run, task_id, "running", map_index, try_number=try_number, timeout=timeout)
        return self._ours(task.pid)

    def supervisor_process(
        self, run: DagRun, task_id: str, map_index: int = -1, *, try_number: int = 1, timeout: float = RUN_SECONDS
    ) -> psutil.Process:
        """Return the process that started the task's, sends its heartbeats and reports how it ended.

        In Airflow 3 a worker of the LocalExecutor, in Airflow 2 `airflow tasks run --local`. The task's process
        outlives it: kill that one too where the test is about a machine that is lost.
        """
        task = self.task_process(run, task_id, map_index, try_number=try_number, timeout=timeout)
        return self._ours(task.ppid())

    def kill_part(self, name: str) -> None:
        """End a part ("triggerer", "scheduler", ...) and all it started by SIGKILL; waits go on without it."""
        self._part(name).kill()

    def start_part(self, name: str) -> None:
        """Start a part again that was killed."""
        part = self._part(name)
        if not part.killed:
            raise AirflowTestError(f"{name} has not been killed")
        part.start()

    def _ours(self, pid: int | None) -> psutil.Process:
        # A process that has lost its parent is init's child, and nobody must be handed init to kill.
        for part in self.parts:
            for process in part.members():
                if process.pid == pid:
                    return process
        raise AirflowTestError(f"process {pid} is none that this Airflow started, or has ended")

    def _part(self, name: str) -> Part:
        return next(part for part in self.parts if part.name == name)

    def wait(self, obstacle: Callable[[], str], timeout: float) -> None:
        """Poll until `obstacle` is the empty string; fail at the deadline, or when a part of Airflow has ended."""
        wait(self.parts, obstacle, timeout, POLL_SECONDS)

    def task_log_tail(self, run: DagRun) -> str:
        """Return the last lines of each task log of the run, read from the log folder."""
        folder = self.home / "logs" / f"dag_id={run.dag_id}" / f"run_id={run.run_id}"
        return "\n".join(f"--- {log}\n{tail(log)}" for log in sorted(folder.rglob("*.log*")) if log.is_file())

    def _refuse_others(self, runs: Sequence[DagRun], state: str) -> None:
        for run in runs:
            if run.finished and run.state != state:
                raise AirflowTestError(
                    f"{run.dag_id} {run.run_id} is {run.state}, expected {state}\n{self.task_log_tail(run)}"
                )


def moment(value: str | None) -> datetime | None:
    """Read a time stamp of the REST API's or of SQLite's, which leaves the time zone out and means UTC."""
    if value is None:
        return None
    moment = datetime.fromisoformat(value)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
