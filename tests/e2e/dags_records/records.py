"""Exports whose first try ends after its request. Each DAG exports its own day in June 2025."""

import os
import signal
from datetime import UTC, datetime, timedelta

import airflow
from airflow.providers.common.compat.sdk import DAG, BaseOperator

from airflow_provider_crux.operators.orders import CruxOrdersExportOperator

START_DATE = datetime(2025, 1, 1, tzinfo=UTC)
AIRFLOW_3 = not airflow.__version__.startswith("2.")
# The command that triggers a run of Airflow 2 takes several seconds.
SCHEDULE = None if AIRFLOW_3 else "@once"


def arguments_for_day(number):
    """Return the arguments of an operator that exports a day in June."""
    start = datetime(2025, 6, number, tzinfo=UTC)
    return {
        "task_id": "export",
        "interval_start": start,
        "interval_end": start + timedelta(days=1),
        "retries": 2,
        "retry_delay": timedelta(seconds=1),
    }


def fail_in_first_try(context, result=None):
    """Fail the first try after its export was requested and the task has done its work."""
    if context["ti"].try_number == 1:
        raise RuntimeError("the first try fails")


def kill_in_first_try(context):
    """Kill the process of the first try while Airflow calls its callbacks, as a lack of memory does."""
    if context["ti"].try_number == 1:
        os.kill(os.getpid(), signal.SIGKILL)


class Nothing(BaseOperator):
    """Do nothing."""

    def execute(self, context):
        """Do nothing."""


# The test clears the other task before the next try begins.
with DAG("records_other_task_cleared", schedule=SCHEDULE, start_date=START_DATE):
    CruxOrdersExportOperator(
        **arguments_for_day(1) | {"retry_delay": timedelta(seconds=20)}, post_execute=fail_in_first_try
    )
    Nothing(task_id="other")

if AIRFLOW_3:
    # It calls this function before the one that removes the record.
    with DAG("records_killed_in_callback", schedule=SCHEDULE, start_date=START_DATE):
        CruxOrdersExportOperator(**arguments_for_day(2), on_success_callback=kill_in_first_try)

    # What the execution API does wrong is in the test.
    with DAG("records_read_fails", schedule=SCHEDULE, start_date=START_DATE):
        CruxOrdersExportOperator(**arguments_for_day(3), post_execute=fail_in_first_try)

    with DAG("records_read_says_absent", schedule=SCHEDULE, start_date=START_DATE):
        CruxOrdersExportOperator(**arguments_for_day(4), post_execute=fail_in_first_try)

    with DAG("records_intent_not_saved", schedule=SCHEDULE, start_date=START_DATE):
        CruxOrdersExportOperator(**arguments_for_day(5))
else:
    with DAG("records_killed_in_callback", schedule=SCHEDULE, start_date=START_DATE):
        export = CruxOrdersExportOperator(**arguments_for_day(2))
        # after the function that removes the record
        export.on_success_callback = [*export.on_success_callback, kill_in_first_try]
