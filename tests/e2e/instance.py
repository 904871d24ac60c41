"""What a test asks of a running Airflow, in words that do not depend on its version."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.e2e.processes import AirflowTestError, Part, tail

RUN_SECONDS = 150
"""The most that one wait for runs may take: all of a module's runs compete for the same two cores."""
POLL_SECONDS = 0.5


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
        return self.state in {"success", "failed"}


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
    def dag_runs(self, dag_id: str) -> list[DagRun]:
        """Return every run of the DAG, in the order in which they were due."""

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
        self, dag_id: str, count: int, run_type: str | None = None, timeout: float = RUN_SECONDS
    ) -> list[DagRun]:
        """Wait until the DAG has at least `count` runs (of this type) and all have succeeded; return them."""

        def runs() -> list[DagRun]:
            return [run for run in self.dag_runs(dag_id) if run_type in {None, run.run_type}]

        def unfinished() -> str:
            found = runs()
            self._refuse_failed(found)
            if len(found) >= count and all(run.finished for run in found):
                return ""
            return f"{dag_id}: {[(run.run_id, run.state) for run in found]}, expected {count} finished runs"

        self.wait(unfinished, timeout)
        return runs()

    def wait_for_run(self, dag_id: str, run_id: str, timeout: float = RUN_SECONDS) -> DagRun:
        """Wait until this run has succeeded and return it."""

        def this_run() -> DagRun:
            return next(run for run in self.dag_runs(dag_id) if run.run_id == run_id)

        def unfinished() -> str:
            run = this_run()
            self._refuse_failed([run])
            return "" if run.finished else f"{dag_id} {run_id} is {run.state}"

        self.wait(unfinished, timeout)
        return this_run()

    def wait(self, obstacle: Callable[[], str], timeout: float) -> None:
        """Poll until `obstacle` is the empty string; fail at the deadline, or when a part of Airflow has ended."""
        deadline = time.monotonic() + timeout
        while reason := obstacle():
            ended = [part.name for part in self.parts if part.process.poll() is not None]
            if ended or time.monotonic() > deadline:
                cause = f"ended too early: {', '.join(ended)}" if ended else f"not within {timeout:g} s"
                tails = "\n".join(f"--- {part.name}\n{tail(part.log)}" for part in self.parts)
                raise AirflowTestError(f"{reason} ({cause})\n{tails}")
            time.sleep(POLL_SECONDS)

    def task_log_tail(self, run: DagRun) -> str:
        """Return the last lines of each task log of the run, read from the log folder."""
        folder = self.home / "logs" / f"dag_id={run.dag_id}" / f"run_id={run.run_id}"
        return "\n".join(f"--- {log}\n{tail(log)}" for log in sorted(folder.rglob("*.log")))

    def _refuse_failed(self, runs: Sequence[DagRun]) -> None:
        for run in runs:
            if run.state == "failed":
                raise AirflowTestError(f"{run.dag_id} {run.run_id} failed\n{self.task_log_tail(run)}")


def moment(value: str | None) -> datetime | None:
    """Read a time stamp of the REST API's or of SQLite's, which leaves the time zone out and means UTC."""
    if value is None:
        return None
    moment = datetime.fromisoformat(value)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
