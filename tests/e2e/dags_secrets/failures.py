"""Tasks that fail while they hold a secret: a server rejects them, a download is incomplete, or the code crashes."""

from datetime import UTC, datetime, timedelta

from airflow.providers.common.compat.sdk import DAG, AirflowFailException, BaseOperator

from airflow_provider_crux.api.polling import ExportPoller
from airflow_provider_crux.operators.orders import CruxOrdersExportOperator
from airflow_provider_crux.task.waiting import ExportWaitMixin
from airflow_provider_crux.transfers.crux_to_object_storage import CruxExportToObjectStorageOperator


class PollInTriggerer(ExportWaitMixin, BaseOperator):
    """Defer at once, because the provider's own operators would fail on the worker before they defer."""

    def __init__(self, *, crux_conn_id, **kwargs):
        super().__init__(**kwargs)
        self.crux_conn_id = crux_conn_id

    def execute(self, context):
        now = datetime.now(UTC)
        uuid = "00000000-0000-4000-8000-000000000000"
        self.defer_until_done(ExportPoller(uuid, now, deadline=now + timedelta(minutes=1), poll_interval=1))

    def execute_complete(self, context, event):
        raise AirflowFailException(f"state in the trigger event: {event['state']}")


class CrashWhileReading(CruxExportToObjectStorageOperator):
    """Fail while the file is open, so that the traceback contains every frame that holds its URL or the hash key."""

    def _stop_when_killed(self, chunks, target):
        yield next(chunks)
        raise ZeroDivisionError("crash while reading")


class CrashWhileSending(CruxOrdersExportOperator):
    """Fail while a request is sent, so that the traceback contains every frame that holds the token."""

    def execute(self, context):
        def crash(*_, **__):
            raise ZeroDivisionError("crash while sending")

        for adapter in self.hook.get_conn().adapters.values():
            adapter.send = crash
        return super().execute(context)


def store(operator, task_id, path="{task_id}.csv"):
    """Create a task that stores an export which the test has created."""
    operator(
        task_id=task_id,
        export_uuid=f"{{{{ dag_run.conf['{task_id}'] }}}}",
        path="{{ dag_run.conf['folder'] }}/" + path.format(task_id=task_id),
        crux_conn_id="crux_hash",
        deferrable=False,
        poll_interval=1,
    )


with DAG("secrets_failures", schedule=None, start_date=datetime(2025, 1, 1, tzinfo=UTC), default_args={"retries": 0}):
    for connection in ("wrong_token", "wrong_login", "echoed_token", "echoed_login", "proxy", "missing"):
        CruxOrdersExportOperator(
            task_id=f"request_{connection}", lookback=timedelta(days=1), crux_conn_id=f"crux_{connection}"
        )
        # The task itself is never retried, but a try that Airflow loses on a busy machine is (see launcher.py).
        PollInTriggerer(
            task_id=f"poll_{connection}", crux_conn_id=f"crux_{connection}", retries=1, retry_delay=timedelta(seconds=1)
        )

    store(CruxExportToObjectStorageOperator, "expired_url")
    store(CruxExportToObjectStorageOperator, "truncated_file")
    store(CruxExportToObjectStorageOperator, "no_folder", path="a_file/{task_id}.csv")
    store(CrashWhileReading, "crash_while_reading")
    CrashWhileSending(task_id="crash_while_sending", lookback=timedelta(days=1), crux_conn_id="crux_login")
