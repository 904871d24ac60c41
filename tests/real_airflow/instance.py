"""Controls and inspects a running Airflow, in the same way for every version."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from tests.real_airflow.processes import AirflowTestError, Component, tail, wait_while

RUN_SECONDS = 300
"""Timeout of one wait for runs. It is long because all runs of a test module compete for the same two cores."""
POLL_SECONDS = 0.5

FINAL_RUN_STATES = {"success", "failed"}
FINAL_TASK_STATES = {"success", "failed", "upstream_failed", "skipped", "removed"}


@dataclass(frozen=True)
class DagRun:
    """One DAG run as the metadata database holds it; None for a value that this version of Airflow does not have."""

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
        """Whether the run has reached a final state."""
        return self.state in FINAL_RUN_STATES


@dataclass(frozen=True)
class TaskInstance:
    """One task instance as the metadata database holds it."""

    state: str
    """For example "running", "deferred" or "up_for_retry"; "none" before the scheduler has scheduled it."""
    try_number: int
    """1 for the first try. A deferred task resumes with the same number."""
    pid: int | None
    """ID of the process that runs the task. None while the process starts, outdated if the task does not run."""


class AirflowInstance(ABC):
    """A running Airflow, with the same methods for every version."""

    def __init__(self, home: Path, environment: Mapping[str, str]) -> None:
        self.home = home
        self.environment = dict(environment)
        self.components: list[Component] = []

    @abstractmethod
    def unhealthy(self) -> str:
        """Return which components are not healthy yet, or an empty string."""

    @abstractmethod
    def dag_ids(self) -> set[str]:
        """Return the DAGs that the DAG processor has stored."""

    @abstractmethod
    def import_errors(self) -> dict[str, str]:
        """Return the tracebacks of DAG files that could not be imported, by file name."""

    @abstractmethod
    def trigger(self, dag_id: str, logical_date: datetime | None = None, conf: Mapping[str, Any] | None = None) -> str:
        """Trigger a manual run and return its run_id.

        Without a logical date, Airflow 3 leaves it null and Airflow 2 uses the current time.
        """

    def trigger_all(self, dag_id: str, logical_dates: Sequence[datetime]) -> list[str]:
        """Trigger a manual run for each logical date and return their run_ids."""
        return [self.trigger(dag_id, logical_date) for logical_date in logical_dates]

    @abstractmethod
    def backfill(self, dag_id: str, date: datetime) -> None:
        """Backfill the one run that the DAG's schedule has on a date."""

    @abstractmethod
    def dag_runs(self, dag_id: str) -> list[DagRun]:
        """Return every run of the DAG, in the order in which they were due."""

    @abstractmethod
    def task_instance(self, run: DagRun, task_id: str, map_index: int = -1) -> TaskInstance:
        """Return a task instance; LookupError if the run does not have it (yet)."""

    @abstractmethod
    def task_states(self, run: DagRun) -> dict[str, str]:
        """Return the state of every task instance of the run, by its task ID and map index: "export[-1]"."""

    @abstractmethod
    def xcom(self, run: DagRun, task_id: str, key: str = "return_value", map_index: int = -1) -> Any:
        """Return the value of an XCom; LookupError if the task pushed none with that key."""

    @abstractmethod
    def clear(self, run: DagRun, task_id: str, *, only_failed: bool = False, keep_task_state: bool = False) -> None:
        """Clear a finished task instance, or only its failed map indexes, so that it runs again.

        `keep_task_state` is the option of Airflow 3.4. Earlier versions have none, and keep the state.
        """

    @abstractmethod
    def variable_keys(self) -> set[str]:
        """Return the keys of the Variables in the metadata database."""

    @abstractmethod
    def connection_ids(self) -> set[str]:
        """Return the IDs of the connections in the metadata database."""

    def wait_for_dags(self, dag_ids: set[str], timeout: float = RUN_SECONDS) -> None:
        """Wait until all these DAGs can be triggered; fail if any DAG file has an import error."""

        def missing() -> str:
            if errors := self.import_errors():
                traces = "\n".join(f"--- {name}\n{trace}" for name, trace in errors.items())
                raise AirflowTestError(f"cannot import {', '.join(sorted(errors))}", traces)
            absent = dag_ids - self.dag_ids()
            return f"missing DAGs: {', '.join(sorted(absent))}" if absent else ""

        self.wait_while(missing, timeout)

    def wait_for_runs(
        self,
        dag_id: str,
        count: int,
        run_type: str | None = None,
        timeout: float = RUN_SECONDS,
        state: str = "success",
    ) -> list[DagRun]:
        """Wait until the DAG has at least `count` runs (of this type) and all are finished; return them.

        Fails as soon as one of them finishes in a state other than `state`.
        """

        def current_runs() -> list[DagRun]:
            return [run for run in self.dag_runs(dag_id) if run_type in {None, run.run_type}]

        def unfinished() -> str:
            runs = current_runs()
            self._require_state(runs, state)
            if len(runs) >= count and all(run.finished for run in runs):
                return ""
            return f"{dag_id}: {[(run.run_id, run.state) for run in runs]}, expected {count} finished runs"

        self.wait_while(unfinished, timeout, lambda: self._unfinished_tasks(current_runs()))
        return current_runs()

    def wait_for_run(self, dag_id: str, run_id: str, timeout: float = RUN_SECONDS, state: str = "success") -> DagRun:
        """Wait until this run finishes in this state and return it; fail as soon as it finishes in another."""

        def unfinished() -> str:
            run = self.dag_run(dag_id, run_id)
            self._require_state([run], state)
            return "" if run.finished else f"{dag_id} {run_id} is {run.state}"

        self.wait_while(unfinished, timeout, lambda: self._unfinished_tasks([self.dag_run(dag_id, run_id)]))
        return self.dag_run(dag_id, run_id)

    def dag_run(self, dag_id: str, run_id: str) -> DagRun:
        """Return the current state of this run."""
        return next(run for run in self.dag_runs(dag_id) if run.run_id == run_id)

    def task_state(self, run: DagRun, task_id: str, map_index: int = -1) -> str:
        """Return the state of a task instance, for example "deferred"."""
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
        """Wait until a task instance is in this state, in this try or a later one, and return it.

        A running task instance has a pid. A state shorter than POLL_SECONDS can be missed. Fails as soon as the task
        instance reaches another final state.
        """
        matches: list[TaskInstance] = []

        def in_another_state() -> str:
            name = f"{run.dag_id} {run.run_id} {task_id}[{map_index}]"
            try:
                task = self.task_instance(run, task_id, map_index)
            except LookupError:
                return f"{name} does not exist yet"
            if task.state == state and task.try_number >= try_number and (task.pid or state != "running"):
                matches.append(task)
                return ""
            if task.state in FINAL_TASK_STATES:
                raise AirflowTestError(f"{name} is {task.state}, expected {state}", self.task_log_tail(run))
            return f"{name} is {task.state} in try {task.try_number}, expected {state} in try {try_number}"

        self.wait_while(in_another_state, timeout)
        return matches[-1]

    def task_process(
        self, run: DagRun, task_id: str, map_index: int = -1, *, try_number: int = 1, timeout: float = RUN_SECONDS
    ) -> psutil.Process:
        """Wait until a task runs, in this try or a later one, and return the process that executes its code.

        The process may not have called `execute` yet.
        """
        task = self.wait_for_task(run, task_id, "running", map_index, try_number=try_number, timeout=timeout)
        return self.own_process(task.pid)

    def supervisor_process(
        self, run: DagRun, task_id: str, map_index: int = -1, *, try_number: int = 1, timeout: float = RUN_SECONDS
    ) -> psutil.Process:
        """Return the process that starts the task's process, sends its heartbeats and reports how it ended.

        In Airflow 3 it is a worker of the LocalExecutor, in Airflow 2 `airflow tasks run --local`. The task's process
        outlives it, so a test that simulates a lost machine kills both.
        """
        task = self.task_process(run, task_id, map_index, try_number=try_number, timeout=timeout)
        return self.own_process(task.ppid())

    def kill_component(self, name: str) -> None:
        """Send SIGKILL to a component, for example "triggerer", and its descendants. Later waits ignore its end."""
        self._component(name).kill()

    def restart_component(self, name: str) -> None:
        """Restart a component that was killed."""
        component = self._component(name)
        if not component.killed:
            raise AirflowTestError(f"{name} was not killed")
        component.start()

    def own_process(self, pid: int | None) -> psutil.Process:
        """Return a process of this Airflow by its ID; AirflowTestError if it is not one, or has ended."""
        # The parent of an orphaned process is init, and no test may get init to kill.
        for component in self.components:
            for process in component.processes():
                if process.pid == pid:
                    return process
        raise AirflowTestError(f"process {pid} does not belong to this Airflow, or has ended")

    def _component(self, name: str) -> Component:
        return next(component for component in self.components if component.name == name)

    def wait_while(self, pending: Callable[[], str], timeout: float, details: Callable[[], str] = str) -> None:
        """Wait until `pending` returns an empty string; fail after `timeout` seconds, or if a component exits.

        After the timeout, the message ends with the text of `details`.
        """
        wait_while(self.components, pending, timeout, POLL_SECONDS, details)

    def task_log_tail(self, run: DagRun, task_id: str = "*") -> str:
        """Return the last lines of each log of a task, or of all tasks of the run, read from the log folder."""
        folder = self.home / "logs" / f"dag_id={run.dag_id}" / f"run_id={run.run_id}"
        logs = [log for log in sorted(folder.glob(f"task_id={task_id}/**/*.log*")) if log.is_file()]
        return "\n".join(f"--- {log}\n{tail(log)}" for log in logs)

    def _unfinished_tasks(self, runs: Sequence[DagRun]) -> str:
        """Return which tasks of unfinished runs are unfinished, and write the last lines of their logs as well."""
        unfinished = [
            (run, task, state)
            for run in runs
            if not run.finished
            for task, state in self.task_states(run).items()
            if state not in FINAL_TASK_STATES
        ]
        # The map indexes of a task share one folder.
        logs = dict.fromkeys(self.task_log_tail(run, task.partition("[")[0]) for run, task, _ in unfinished)
        sys.stderr.write("\n".join([*logs, ""]))
        tasks = [f"{run.run_id} {task} is {state}" for run, task, state in unfinished]
        return f"unfinished tasks: {', '.join(tasks) or 'none'}"

    def _require_state(self, runs: Sequence[DagRun], state: str) -> None:
        for run in runs:
            if run.finished and run.state != state:
                tasks = [f"{task} is {state}" for task, state in self.task_states(run).items() if state != "success"]
                raise AirflowTestError(
                    f"{run.dag_id} {run.run_id} is {run.state}, expected {state}: {', '.join(tasks)}",
                    self.task_log_tail(run),
                )


def parse_timestamp(value: str | None) -> datetime | None:
    """Parse a timestamp of the REST API or of SQLite, which omits the time zone and means UTC."""
    if value is None:
        return None
    timestamp = datetime.fromisoformat(value)
    return timestamp.replace(tzinfo=UTC) if timestamp.tzinfo is None else timestamp.astimezone(UTC)
