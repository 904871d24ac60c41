"""Controls Airflow 3 through its REST API."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from tests.real_airflow.instance import RUN_SECONDS, AirflowInstance, DagRun, TaskInstance, parse_timestamp
from tests.real_airflow.processes import AirflowTestError


class Airflow3(AirflowInstance):
    """Airflow 3, through its REST API. Requests are retried, because a locked SQLite database causes HTTP 500."""

    def __init__(self, home: Path, environment: Mapping[str, str]) -> None:
        super().__init__(home, environment)
        self.base_url = self.environment["AIRFLOW__API__BASE_URL"]
        self._session_without_retries = _session(Retry(total=0))

    @cached_property
    def _session(self) -> requests.Session:
        session = _session(
            Retry(total=6, backoff_factor=0.2, status_forcelist=[500, 503], allowed_methods={"GET", "POST"})
        )
        # Airflow 3.1 requires a token even if everybody is an administrator. Anybody can request one.
        token = self._check(session.get(f"{self.base_url}/auth/token", timeout=30))["access_token"]
        session.headers["Authorization"] = f"Bearer {token}"
        return session

    def unhealthy(self) -> str:
        try:
            response = self._session_without_retries.get(f"{self.base_url}/api/v2/monitor/health", timeout=5)
            response.raise_for_status()
        except requests.RequestException as error:
            return f"no response from the health endpoint: {type(error).__name__}"
        health = response.json()
        # The test decides whether there is a triggerer. The other components always exist.
        reporting = {"scheduler", "triggerer", "dag-processor"} & {component.name for component in self.components}
        expected = {"metadatabase", *(name.replace("-", "_") for name in reporting)}
        unhealthy = [name for name in sorted(expected) if (health.get(name) or {}).get("status") != "healthy"]
        return f"not healthy: {', '.join(unhealthy)}" if unhealthy else ""

    def dag_ids(self) -> set[str]:
        return {dag["dag_id"] for dag in self._get("dags", limit=100)["dags"]}

    def import_errors(self) -> dict[str, str]:
        errors = self._get("importErrors", limit=100)["import_errors"]
        return {error["filename"]: error["stack_trace"] for error in errors}

    def trigger(self, dag_id: str, logical_date: datetime | None = None, conf: Mapping[str, Any] | None = None) -> str:
        run_id = f"manual__{uuid.uuid4()}"
        response = self._session.post(
            f"{self.base_url}/api/v2/dags/{dag_id}/dagRuns",
            json={
                "dag_run_id": run_id,
                "logical_date": logical_date and logical_date.isoformat(),
                "conf": dict(conf or {}),
            },
            timeout=30,
        )
        # The run_id is unique, so HTTP 409 means that an earlier attempt of this request has succeeded.
        if response.status_code != 409:
            self._check(response)
        return run_id

    def backfill(self, dag_id: str, date: datetime) -> None:
        # Airflow reads and then writes in one transaction. If another process writes in between, SQLite rejects the
        # transaction at once. A backfill without runs is left over and blocks the next one until it is canceled.
        body = {"dag_id": dag_id, "from_date": date.isoformat(), "to_date": date.isoformat()}

        def rejected() -> str:
            response = self._session_without_retries.post(
                f"{self.base_url}/api/v2/backfills", json=body, headers=dict(self._session.headers), timeout=30
            )
            if response.ok:
                return ""
            for leftover in self._get("backfills", dag_id=dag_id)["backfills"]:
                self._session.put(f"{self.base_url}/api/v2/backfills/{leftover['id']}/cancel", timeout=30)
            return f"could not create a backfill of {dag_id}: HTTP {response.status_code} {response.text[:200]}"

        self.wait_while(rejected, RUN_SECONDS)

    def dag_runs(self, dag_id: str) -> list[DagRun]:
        runs = self._get(f"dags/{dag_id}/dagRuns", limit=100, order_by="run_after")["dag_runs"]
        return [
            DagRun(
                dag_id=dag_id,
                run_id=run["dag_run_id"],
                run_type=run["run_type"],
                state=run["state"],
                logical_date=parse_timestamp(run["logical_date"]),
                data_interval_start=parse_timestamp(run["data_interval_start"]),
                data_interval_end=parse_timestamp(run["data_interval_end"]),
                run_after=parse_timestamp(run["run_after"]),
                partition_key=run.get("partition_key"),
            )
            for run in runs
        ]

    def task_instance(self, run: DagRun, task_id: str, map_index: int = -1) -> TaskInstance:
        run_path = f"dags/{run.dag_id}/dagRuns/{quote(run.run_id, safe='')}"
        task = self._get(f"{run_path}/taskInstances/{task_id}/{map_index}")
        return TaskInstance(task["state"] or "none", task["try_number"], task["pid"])

    def task_states(self, run: DagRun) -> dict[str, str]:
        tasks = self._get(f"dags/{run.dag_id}/dagRuns/{quote(run.run_id, safe='')}/taskInstances", limit=100)
        return {f"{task['task_id']}[{task['map_index']}]": task["state"] or "none" for task in tasks["task_instances"]}

    def xcom(self, run: DagRun, task_id: str, key: str = "return_value", map_index: int = -1) -> Any:
        run_path = f"dags/{run.dag_id}/dagRuns/{quote(run.run_id, safe='')}"
        entry = self._get(f"{run_path}/taskInstances/{task_id}/xcomEntries/{key}", map_index=map_index)
        return entry["value"]

    def rendered_fields(self, run: DagRun, task_id: str) -> dict[str, Any]:
        """Return what the tab "Rendered Templates" of a task instance shows."""
        fields: dict[str, Any] = self._get(
            f"dags/{run.dag_id}/dagRuns/{quote(run.run_id, safe='')}/taskInstances/{task_id}"
        )["rendered_fields"]
        return fields

    def retries(self, dag_id: str, task_id: str) -> int:
        """Return how often Airflow retries a task of the latest version of a DAG."""
        return int(self._get(f"dags/{dag_id}/tasks/{task_id}")["retries"])

    def clear(self, run: DagRun, task_id: str, *, only_failed: bool = False, keep_task_state: bool = False) -> None:
        body = {"dag_run_id": run.run_id, "task_ids": [task_id], "only_failed": only_failed, "dry_run": False}
        if keep_task_state:
            body["keep_task_state"] = True
        response = self._session.post(
            f"{self.base_url}/api/v2/dags/{run.dag_id}/clearTaskInstances", json=body, timeout=30
        )
        self._check(response)

    def variable_keys(self) -> set[str]:
        return {variable["key"] for variable in self._get("variables", limit=100)["variables"]}

    def connection_ids(self) -> set[str]:
        return {connection["connection_id"] for connection in self._get("connections", limit=100)["connections"]}

    def _get(self, path: str, **params: Any) -> Any:
        response = self._session.get(f"{self.base_url}/api/v2/{path}", params=params, timeout=30)
        if response.status_code == 404:
            raise LookupError(f"{response.url}: {response.text}")
        return self._check(response)

    @staticmethod
    def _check(response: requests.Response) -> Any:
        if not response.ok:
            raise AirflowTestError(f"{response.url} returned HTTP {response.status_code}: {response.text[:2000]}")
        return response.json()


def _session(retry: Retry) -> requests.Session:
    session = requests.Session()
    # Do not send requests for 127.0.0.1 to a proxy that the developer's environment names.
    session.trust_env = False
    session.mount("http://", HTTPAdapter(max_retries=retry))
    return session
