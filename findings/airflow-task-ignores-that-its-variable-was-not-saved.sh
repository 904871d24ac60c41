#!/usr/bin/env bash
# Airflow 3.2.2 (Task SDK 1.2.2): Variable.set and Variable.delete of a task return normally if the API server could not
# save or delete the Variable; the error is only logged.
#
# Behavior: the supervisor passes the API server's HTTP 500 to the task as AirflowRuntimeError(API_SERVER_ERROR). The two
# methods catch it, log it and return None, as after a success. The task state store of Airflow 3.3 raises it.
# Source: airflow/sdk/definitions/variable.py, `set` and `delete`.
# Who meets it: tasks that keep state in a Variable and go on as if it were safe.
# Here the supervisor's answer is given by a stand-in for the socket; Airflow's own code is unchanged.
# Output seen on 2026-11-27:
#   set returned None
#   delete returned None
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
  apache-airflow-core==3.2.2 apache-airflow-task-sdk==1.2.2 'fastapi<0.137' cadwyn==7.0.0 'svcs<26' 2>/dev/null
AIRFLOW_HOME=$folder/home "$folder/venv/bin/python" - >"$folder/output" 2>/dev/null <<'PYTHON'
from airflow.sdk import Variable
from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.comms import ErrorResponse


class Supervisor:
    """Answers each message of the task as after HTTP 500 of the API server."""

    def send(self, message):
        raise AirflowRuntimeError(ErrorResponse(error=ErrorType.API_SERVER_ERROR, detail={"status_code": 500}))


task_runner.SUPERVISOR_COMMS = Supervisor()
results = {"set": Variable.set("state", "1"), "delete": Variable.delete("state")}
for name, result in results.items():
    print(f"{name} returned {result}")
PYTHON
grep returned "$folder/output" | tee "$folder/returned"
diff "$folder/returned" - <<'EXPECTED'
set returned None
delete returned None
EXPECTED
