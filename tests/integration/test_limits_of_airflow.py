"""What Airflow itself does, as the docs say it: if a version does not, a page has to change."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import airflow
import pytest
from airflow.models.taskinstance import TaskInstance

from airflow_provider_crux.exceptions import CruxInvalidConnectionError
from airflow_provider_crux.hooks.crux import CruxHook

HERE = Path(__file__).parent
SECRETS = (HERE.parents[1] / "docs/secrets.md").read_text()
CONNECTION = {
    "password": "d7bb2fbb0c666dee5a5a36634baac3114e08ba9c",
    "extra": {
        "ca_bundle": "/certs/company.pem",
        "hash_key": "abcdefgh-company-12345678",
        "proxy": "http://ada:company@127.0.0.1:3128",
    },
}


def edited_descriptions(home: Path, *cases: str) -> list[str]:
    """Let another connection have the password ``company``, edit ours, and return what Airflow stores, as JSON."""
    environment = os.environ | {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
        "AIRFLOW__API_AUTH__JWT_SECRET": "x" * 64,
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
    }
    connection = json.dumps({**CONNECTION, "extra": json.dumps(CONNECTION["extra"])})
    output = subprocess.run(
        [sys.executable, str(HERE / "edit_connection.py"), connection, "company", *cases],
        env=environment,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout
    return [line for line in output.splitlines() if line.startswith('{"conn_type"')]


@pytest.mark.slow
@pytest.mark.skipif(airflow.__version__ < "3", reason="the form of Airflow 2 does not use the API")
def test_the_documented_setting_keeps_airflow_from_overwriting_extras_with_its_mask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (names,) = re.findall(r"sensitive_var_conn_names = (\S+)", SECRETS)
    masked, kept = edited_descriptions(tmp_path, "", names)
    assert "***" in masked
    monkeypatch.setenv("AIRFLOW_CONN_CRUX_DEFAULT", masked)
    with pytest.raises(CruxInvalidConnectionError, match=r"extra ca_bundle: it contains .*extra hash_key: it contains"):
        _ = CruxHook().settings

    assert json.loads(kept) == {"conn_type": "crux", **CONNECTION}
    monkeypatch.setenv("AIRFLOW_CONN_CRUX_DEFAULT", kept)
    assert CruxHook().settings.ca_bundle == "/certs/company.pem"


@pytest.mark.parametrize("backoff", [False, True])
def test_mapped_tasks_that_fail_together_are_retried_in_the_same_second(backoff: bool) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    task = SimpleNamespace(
        retry_delay=timedelta(minutes=5), retry_exponential_backoff=2.0 * backoff, max_retry_delay=None
    )
    identity = {
        "dag_id": "d",
        "task_id": "export",
        "logical_date": now,
        "execution_date": now,
        "try_number": 1,
        "state": "up_for_retry",
    }
    retries = {
        TaskInstance.next_retry_datetime(
            SimpleNamespace(task=task, end_date=now, retry_delay_override=None, map_index=index, **identity)
        )
        for index in range(100)
    }
    assert len(retries) == 1
