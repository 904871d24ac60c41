"""Tasks that fail with a secret at hand: refused, cut off, or by a fault in the program itself."""

import time
from datetime import UTC, datetime, timedelta

from airflow.providers.common.compat.sdk import DAG, BaseOperator

from airflow_provider_crux.api.waiting import Wait
from airflow_provider_crux.deferral import defer
from airflow_provider_crux.operators.orders import CruxOrdersExportOperator
from airflow_provider_crux.transfers.exports import CruxExportToObjectStorageOperator


class LooksInTriggerer(BaseOperator):
    """Look an export up in the triggerer at once; our own tasks would learn on the worker that they may not."""

    def __init__(self, *, crux_conn_id, **kwargs):
        super().__init__(**kwargs)
        self.crux_conn_id = crux_conn_id

    def execute(self, context):
        now = time.time()
        uuid = "00000000-0000-4000-8000-000000000000"
        defer(self, Wait(uuid, now, deadline=now + 60, poll_interval=1), self.crux_conn_id)

    def execute_complete(self, context, event, asked_at):
        raise RuntimeError(f"the triggerer says {event['state']}")


class BreaksWhileReading(CruxExportToObjectStorageOperator):
    """Fails while the file is open, so that the traceback leads through all who know its URL."""

    def _unless_killed(self, chunks):
        yield next(chunks)
        raise ZeroDivisionError("broken while reading")


class BreaksWhileSending(CruxOrdersExportOperator):
    """Fails while a request is being sent, so that the traceback leads through all who know the token."""

    def execute(self, context):
        def broken(*_, **__):
            raise ZeroDivisionError("broken while sending")

        for adapter in self._hook.get_conn().adapters.values():
            adapter.send = broken
        return super().execute(context)


def store(operator, task_id, path="{task_id}.csv"):
    """Make a task that stores an export of the test's."""
    operator(
        task_id=task_id,
        export_uuid=f"{{{{ dag_run.conf['{task_id}'] }}}}",
        path="{{ dag_run.conf['folder'] }}/" + path.format(task_id=task_id),
        crux_conn_id="crux_token",
        deferrable=False,
        poll_interval=1,
    )


with DAG("secrets_faults", schedule=None, start_date=datetime(2025, 1, 1, tzinfo=UTC), default_args={"retries": 0}):
    for connection in ("wrong_token", "wrong_login", "repeated_token", "repeated_login", "proxy"):
        CruxOrdersExportOperator(
            task_id=f"ask_{connection}", lookback=timedelta(days=1), crux_conn_id=f"crux_{connection}"
        )
        LooksInTriggerer(task_id=f"look_{connection}", crux_conn_id=f"crux_{connection}")

    store(CruxExportToObjectStorageOperator, "lapsed")
    store(CruxExportToObjectStorageOperator, "cut_off")
    store(CruxExportToObjectStorageOperator, "no_folder", path="a_file/{task_id}.csv")
    store(BreaksWhileReading, "breaks_while_reading")
    BreaksWhileSending(task_id="breaks_while_sending", lookback=timedelta(days=1), crux_conn_id="crux_login")
