"""
Tests that one run never causes a second e-mail with `on_ambiguous="fail"`, whatever ends its tries, and whenever.

The server counts the requests, so nothing depends on how the operator remembers its export. `make disruptions` runs
many more tries, and also counts what `on_ambiguous="retry"` costs.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import sqlite3
import time
from collections import defaultdict
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from random import Random, SystemRandom
from typing import TYPE_CHECKING

import pytest

from tests.e2e.disrupted_api import EXECUTION_TIMEOUT, DisruptedApi, Run, disrupted_api
from tests.e2e.disruptions import FIRST_LOGICAL_DATE, Kind, make_plans
from tests.raw_server import TOKEN
from tests.real_airflow.instance import AirflowInstance, DagRun
from tests.real_airflow.launcher import AIRFLOW_VERSION, POOL_SLOTS, SHORT_HEARTBEAT_TIMEOUTS, running_airflow
from tests.real_airflow.sandbox_airflow import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Iterator

DAGS = Path(__file__).parent / "dags_disrupted"
LONG = "CRUX_DISRUPTED_TRIES" in os.environ
TRIES = int(os.environ.get("CRUX_DISRUPTED_TRIES", "14"))  # how many tries are disrupted, at most
SEED = int(os.environ.get("CRUX_DISRUPTED_SEED", SystemRandom().randrange(10**6)))

pytestmark = [
    pytest.mark.e2e,
    # one version for each place of the record; make disruptions runs on every version
    pytest.mark.skipif(
        AIRFLOW_VERSION not in {(2, 11), (3, 3)} and not LONG, reason="the oldest and the newest version are enough"
    ),
]

# How many failed runs a person clears afterwards.
CLEARED_RUNS = 5 if LONG else 1


@pytest.fixture(scope="module")
def api() -> Iterator[DisruptedApi]:
    """Run the server that disrupts tries."""
    random = Random(SEED)
    plans = make_plans(random, "fail", TRIES, FIRST_LOGICAL_DATE, again=0.5)
    if LONG:
        plans += make_plans(random, "retry", TRIES // 2, FIRST_LOGICAL_DATE + timedelta(days=10))
    with disrupted_api(plans) as running:
        yield running


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory, api: DisruptedApi) -> Iterator[AirflowInstance]:
    """Run a real Airflow whose only connection is the server."""
    env = {
        **SHORT_HEARTBEAT_TIMEOUTS,
        # A suspended try occupies a worker even when the scheduler has given it up, but then no slot of the pool.
        "AIRFLOW__CORE__PARALLELISM": str(3 * POOL_SLOTS),
        "AIRFLOW_CONN_CRUX_DEFAULT": json.dumps({"conn_type": "crux", "host": api.server.url, "password": TOKEN}),
        "CRUX_DISRUPTED_PORT": str(api.server.server_address[1]),
        "CRUX_DISRUPTED_TIMEOUT": str(EXECUTION_TIMEOUT),
        "PYTHONPATH": os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH")])),
    }
    with running_airflow(tmp_path_factory.mktemp("disrupted"), DAGS, env) as instance:
        yield instance


@pytest.fixture(scope="module", autouse=True)
def finished(airflow: AirflowInstance, api: DisruptedApi) -> dict[str, DagRun]:
    """Start all runs at once; return them when all are final and no process of a try is left, by run_id."""
    started = time.monotonic()
    api.find_process = airflow.own_process
    if AIRFLOW_VERSION < (3, 0):  # later, only the API server writes to the database
        api.database_is_locked = partial(database_is_locked, airflow.home / "airflow.db")
    dates = defaultdict(list)
    for run in api.runs.values():
        dates[run.plan.dag_id].append(run.plan.logical_date)
    airflow.wait_for_dags(set(dates))
    for dag_id, logical_dates in dates.items():
        airflow.trigger_all(dag_id, logical_dates)

    def unfinished() -> str:
        runs = [run for dag_id in dates for run in airflow.dag_runs(dag_id)]
        open_runs = [f"{run.dag_id} {run.run_id} is {run.state}" for run in runs if not run.finished]
        open_runs += [f"{run.plan.dag_id} {run.run_id} has a process" for run in api.runs.values() if run.running]
        missing = len(api.runs) - len(runs)
        return f"{missing} missing, unfinished: {open_runs} (seed {SEED})" if missing or open_runs else ""

    airflow.wait_while(unfinished, timeout=120 + 10 * len(api.runs))
    # On a machine under load, Airflow can fail a try before it has begun; such a run has not called the server.
    begun = {key: run for key, run in api.runs.items() if run.run_id}
    assert len(begun) > 0.9 * len(api.runs), f"seed {SEED}: {len(begun)} of {len(api.runs)} runs have begun"
    api.runs = begun
    final = {run.run_id: run for dag_id in dates for run in airflow.dag_runs(dag_id)}
    print(report(api, final, time.monotonic() - started))
    return final


def test_no_run_requests_a_second_export_if_on_ambiguous_is_fail(api: DisruptedApi) -> None:
    runs = runs_with(api, "fail")
    twice = [str(run) for run in runs if len(run.posts) > 1]

    assert not api.server.fault_errors
    assert sum(len(run.disruptions) for run in runs) > TRIES / 2, f"seed {SEED}: the disruptions did not happen"
    assert not twice, f"seed {SEED}:\n" + "\n".join(twice)


def test_every_run_returns_its_one_export_or_says_since_when_a_request_may_have_been_under_way(
    airflow: AirflowInstance, api: DisruptedApi, finished: dict[str, DagRun]
) -> None:
    wrong = []
    for run in api.runs.values():
        dag_run = finished[run.run_id]
        if dag_run.state == "success":
            try:
                returned = airflow.xcom(dag_run, "export")
            except LookupError:
                # Of two tries at once, Airflow 2 lets one succeed while the other one removes its XComs.
                suspended = any(disruption.kind is Kind.SUSPENDED for disruption in run.plan.disruptions)
                if AIRFLOW_VERSION < (3, 0) and suspended:
                    continue
                raise
            if returned not in run.uuids:
                wrong.append(f"{run} returned another UUID")
        elif not tells_of_request(run, log_of(airflow, dag_run)):
            wrong.append(f"{run} failed and did not say why\n{airflow.task_log_tail(dag_run)}")

    assert not wrong, f"seed {SEED}:\n" + "\n".join(wrong)


def test_person_who_clears_a_failed_run_requests_the_export_again(
    airflow: AirflowInstance, api: DisruptedApi, finished: dict[str, DagRun]
) -> None:
    api.enabled = False
    failed = [run for run in runs_with(api, "fail") if finished[run.run_id].state == "failed"]
    assert failed, f"seed {SEED}: no run failed"

    for run in failed[-CLEARED_RUNS:]:
        posts = len(run.posts)
        airflow.clear(finished[run.run_id], "export")
        airflow.wait_for_run(run.plan.dag_id, run.run_id)
        assert len(run.posts) == posts + 1, f"seed {SEED}: {run}"


def database_is_locked(file: Path) -> bool:
    """Tell whether nobody can write to an SQLite database for a second."""
    with contextlib.closing(sqlite3.connect(file, timeout=1)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return True
    return False


def runs_with(api: DisruptedApi, policy: str) -> list[Run]:
    """Return the runs whose `on_ambiguous` is this."""
    return [run for run in api.runs.values() if run.plan.policy == policy]


def log_of(airflow: AirflowInstance, run: DagRun) -> str:
    """Return the complete logs of all tries: of two tries at once, the first one may be the one that fails the run."""
    folder = airflow.home / "logs" / f"dag_id={run.dag_id}" / f"run_id={run.run_id}"
    return "".join(log.read_text() for log in sorted(folder.glob("task_id=export/**/attempt=*.log")))


def tells_of_request(run: Run, log: str) -> bool:
    """Return whether a log says that this request, or an earlier one, and since when, may have been accepted."""
    if "The export may have been started" in log:
        return True
    since = re.search(r"which may have been under way since (\S+)\. .* clear the task", log)
    latest = min(run.posts, default=time.time())
    return since is not None and run.tries[0].begun_at <= datetime.fromisoformat(since[1]).timestamp() <= latest


def report(api: DisruptedApi, finished: dict[str, DagRun], seconds: float) -> str:
    """Return what was disrupted, and how many requests each run sent."""
    lines = [f"\nseed {SEED}, {seconds:.0f} s"]
    for policy in dict.fromkeys(run.plan.policy for run in api.runs.values()):
        runs = runs_with(api, policy)
        failed = [run for run in runs if finished[run.run_id].state == "failed"]
        numbers = {
            "runs": len(runs),
            "tries": sum(len(run.tries) for run in runs),
            "disrupted tries": sum(len(run.disruptions) for run in runs),
            "POSTs": sum(len(run.posts) for run in runs),
            "second POSTs": sum(max(0, len(run.posts) - 1) for run in runs),
            "failed runs": len(failed),
            "failed runs without a POST": sum(not run.posts for run in failed),
        }
        lines.append(f'on_ambiguous="{policy}": {", ".join(f"{number} {name}" for name, number in numbers.items())}')
        posts = defaultdict(list)
        for run in runs:
            for disruption, progress in run.disruptions:
                posts[disruption.kind, progress].append(len(run.posts))
        lines += [
            f"| {kind} | {progress} | {len(counts)} tries | {min(counts)}..{max(counts)} POSTs a run |"
            for (kind, progress), counts in sorted(posts.items())
        ]
    return "\n".join(lines)
