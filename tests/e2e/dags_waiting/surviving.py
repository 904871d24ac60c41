"""Waits that end before the export is done: something is killed, or the time is up. Each exports a day of its own."""

from datetime import UTC, datetime, timedelta

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_crux.operators.orders import CruxOrdersExportOperator

ANY_TIME = datetime(2025, 1, 1, tzinfo=UTC)


def the_day(number):
    """Return the arguments of a wait on the worker, which is retried, for the orders of a day in February."""
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


with DAG("e2e_killed_task", schedule=None, start_date=ANY_TIME):
    CruxOrdersExportOperator(**the_day(1))

with DAG("e2e_lost_machine", schedule=None, start_date=ANY_TIME):
    CruxOrdersExportOperator(**the_day(2))

with DAG("e2e_killed_triggerer", schedule=None, start_date=ANY_TIME):
    CruxOrdersExportOperator(**the_day(3) | {"deferrable": True})

with DAG("e2e_killed_index", schedule=None, start_date=ANY_TIME):
    CruxOrdersExportOperator.partial(**the_day(4)).expand(line_item_status=[["unallocated"], ["rejected"]])

# Between two tries there is time to see that the first is over, and there are enough of them for a test that is late.
with DAG("e2e_timed_out", schedule=None, start_date=ANY_TIME):
    CruxOrdersExportOperator(**the_day(5) | {"timeout": 2, "retries": 20, "retry_delay": timedelta(seconds=10)})

with DAG("e2e_cleared", schedule=None, start_date=ANY_TIME):
    CruxOrdersExportOperator(**the_day(6))
