"""Controls Airflow 2 through its database and command line, because its web server needs more time than a test."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import sys
import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from tests.real_airflow.instance import AirflowInstance, DagRun, TaskInstance, parse_timestamp
from tests.real_airflow.processes import run_airflow, run_command

_TRIGGER_ALL = """
import json, sys
from datetime import datetime
from airflow.api.common.trigger_dag import trigger_dag
dag_id, runs = sys.argv[1], json.loads(sys.argv[2])
for run_id, logical_date in runs:
    trigger_dag(dag_id, run_id, execution_date=datetime.fromisoformat(logical_date))
"""


class Airflow2(AirflowInstance):
    """Airflow 2, through its command line and its metadata database, whose schema no longer changes."""

    def unhealthy(self) -> str:
        # A component has the name of its command, and its job is named after it.
        expected = {f"{component.name.capitalize()}Job" for component in self.components}
        running = {row["job_type"] for row in self._rows("SELECT job_type FROM job WHERE state = 'running'")}
        absent = expected - running
        return f"not registered: {', '.join(sorted(absent))}" if absent else ""

    def dag_ids(self) -> set[str]:
        # `airflow dags trigger` needs the serialized DAG, which Airflow writes after the row in `dag`.
        return {row["dag_id"] for row in self._rows("SELECT dag_id FROM serialized_dag")}

    def import_errors(self) -> dict[str, str]:
        rows = self._rows("SELECT filename, stacktrace FROM import_error")
        return {row["filename"]: row["stacktrace"] for row in rows}

    def trigger(self, dag_id: str, logical_date: datetime | None = None, conf: Mapping[str, Any] | None = None) -> str:
        run_id = f"manual__{uuid.uuid4()}"
        arguments = ["dags", "trigger", dag_id, "--run-id", run_id, "--conf", json.dumps(dict(conf or {}))]
        if logical_date is not None:
            arguments += ["--exec-date", logical_date.isoformat()]
        run_airflow(arguments, self.environment)
        return run_id

    def trigger_all(self, dag_id: str, logical_dates: Sequence[datetime]) -> list[str]:
        # The command triggers one run, and takes some seconds to start.
        runs = [(f"manual__{uuid.uuid4()}", logical_date.isoformat()) for logical_date in logical_dates]
        command = [sys.executable, "-c", _TRIGGER_ALL, dag_id, json.dumps(runs)]
        run_command(command, self.environment)
        return [run_id for run_id, _ in runs]

    def backfill(self, dag_id: str, date: datetime) -> None:
        # This command returns when the run has finished.
        dates = ["--start-date", date.isoformat(), "--end-date", date.isoformat()]
        run_airflow(["dags", "backfill", dag_id, *dates], self.environment)

    def dag_runs(self, dag_id: str) -> list[DagRun]:
        rows = self._rows("SELECT * FROM dag_run WHERE dag_id = ? ORDER BY execution_date", dag_id)
        return [
            DagRun(
                dag_id=dag_id,
                run_id=row["run_id"],
                run_type=row["run_type"],
                state=row["state"],
                logical_date=parse_timestamp(row["execution_date"]),
                data_interval_start=parse_timestamp(row["data_interval_start"]),
                data_interval_end=parse_timestamp(row["data_interval_end"]),
                run_after=None,
            )
            for row in rows
        ]

    def task_instance(self, run: DagRun, task_id: str, map_index: int = -1) -> TaskInstance:
        rows = self._rows(
            "SELECT state, try_number, pid FROM task_instance"
            " WHERE dag_id = ? AND run_id = ? AND task_id = ? AND map_index = ?",
            *(run.dag_id, run.run_id, task_id, map_index),
        )
        if not rows:
            raise LookupError(f"{run.dag_id} {run.run_id} has no task instance {task_id}[{map_index}]")
        return TaskInstance(rows[0]["state"] or "none", rows[0]["try_number"], rows[0]["pid"])

    def task_states(self, run: DagRun) -> dict[str, str]:
        rows = self._rows(
            "SELECT task_id, map_index, state FROM task_instance WHERE dag_id = ? AND run_id = ? ORDER BY task_id",
            *(run.dag_id, run.run_id),
        )
        return {f"{row['task_id']}[{row['map_index']}]": row["state"] or "none" for row in rows}

    def xcom(self, run: DagRun, task_id: str, key: str = "return_value", map_index: int = -1) -> Any:
        rows = self._rows(
            "SELECT value FROM xcom WHERE dag_id = ? AND run_id = ? AND task_id = ? AND key = ? AND map_index = ?",
            *(run.dag_id, run.run_id, task_id, key, map_index),
        )
        if not rows:
            raise LookupError(f"{run.dag_id} {run.run_id} {task_id}[{map_index}] pushed no XCom with key {key}")
        return json.loads(rows[0]["value"])

    def clear(self, run: DagRun, task_id: str, *, only_failed: bool = False, keep_task_state: bool = False) -> None:
        assert not keep_task_state
        assert run.logical_date is not None
        date = run.logical_date.isoformat()
        arguments = ["--task-regex", f"^{task_id}$", "--start-date", date, "--end-date", date, "--yes"]
        arguments += ["--only-failed"] if only_failed else []
        run_airflow(["tasks", "clear", run.dag_id, *arguments], self.environment)

    def variable_keys(self) -> set[str]:
        return {row["key"] for row in self._rows("SELECT key FROM variable")}

    def connection_ids(self) -> set[str]:
        return {row["conn_id"] for row in self._rows("SELECT conn_id FROM connection")}

    def _rows(self, statement: str, *values: object) -> list[sqlite3.Row]:
        with contextlib.closing(sqlite3.connect(self.home / "airflow.db", timeout=30)) as connection:
            connection.row_factory = sqlite3.Row
            return connection.execute(statement, values).fetchall()
