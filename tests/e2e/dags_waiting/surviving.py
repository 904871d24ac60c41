"""Waits that are interrupted by a killed process, a timeout or a cleared task. Each DAG exports its own day."""

from datetime import UTC, datetime, timedelta

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_crux.operators.orders import CruxOrdersExportOperator

START_DATE = datetime(2025, 1, 1, tzinfo=UTC)


def arguments_for_day(number):
    """Return the arguments of an operator that exports a day in February and waits on the worker, with retries."""
    start = datetime(2025, 2, number, tzinfo=UTC)
    return {
        "task_id": "export",
        "interval_start": start,
        "interval_end": start + timedelta(days=1),
        "wait_for_completion": True,
        "deferrable": False,
        "poll_interval": 1,
        "retries": 3,
        "retry_delay": timedelta(seconds=1),
    }


with DAG("e2e_killed_task", schedule=None, start_date=START_DATE):
    CruxOrdersExportOperator(**arguments_for_day(1))

with DAG("e2e_lost_machine", schedule=None, start_date=START_DATE):
    CruxOrdersExportOperator(**arguments_for_day(2))

with DAG("e2e_killed_triggerer", schedule=None, start_date=START_DATE):
    CruxOrdersExportOperator(**arguments_for_day(3) | {"deferrable": True})

with DAG("e2e_killed_map_index", schedule=None, start_date=START_DATE):
    CruxOrdersExportOperator.partial(**arguments_for_day(4)).expand(line_item_status=[["unallocated"], ["rejected"]])

# The retry delay is long enough for the test to observe it, and there are enough retries for a slow test.
with DAG("e2e_timed_out", schedule=None, start_date=START_DATE):
    CruxOrdersExportOperator(
        **arguments_for_day(5) | {"timeout": 2, "retries": 20, "retry_delay": timedelta(seconds=5)}
    )

with DAG("e2e_cleared", schedule=None, start_date=START_DATE):
    CruxOrdersExportOperator(**arguments_for_day(6))

# The only try fails because the export is late.
with DAG("e2e_failed_then_cleared", schedule=None, start_date=START_DATE):
    CruxOrdersExportOperator(**arguments_for_day(7) | {"timeout": 2, "retries": 0})

with DAG("e2e_failed_then_discarded", schedule=None, start_date=START_DATE):
    CruxOrdersExportOperator(**arguments_for_day(8) | {"timeout": 2, "retries": 0})
