"""Tasks that write a secret to every place that a task can reach. They prove that the search finds it there."""

import base64
import logging
import os
import time
from datetime import UTC, datetime, timedelta

from airflow.providers.common.compat.sdk import DAG, Asset, BaseOperator

from airflow_provider_crux.triggers.exports import CruxExportTrigger

PLANTED = os.environ["SECRETS_PLANTED"]
ASSET = Asset("file:///planted.csv")


class LogSecret(BaseOperator):
    """Write the secret to the log, encoded and in part."""

    def execute(self, context):
        print("base64", base64.b64encode(b"Token " + PLANTED.encode()).decode())  # noqa: T201 - as users do
        logging.getLogger("planted").debug("half: %s", PLANTED[: len(PLANTED) // 2 + 4])


class StoreSecret(BaseOperator):
    """Write the secret to the database: as template, XCom, asset event, and task state (Airflow 3.3)."""

    template_fields = ("template",)

    def __init__(self, *, template, **kwargs):
        super().__init__(**kwargs)
        self.template = template

    def execute(self, context):
        context["outlet_events"][ASSET].extra = {"planted": PLANTED}
        if task_state_store := context.get("task_state_store"):
            task_state_store.set("planted", PLANTED)
        return {"planted": PLANTED}


class RaiseSecret(BaseOperator):
    """Raise an exception with the secret in its message."""

    def execute(self, context):
        raise RuntimeError(PLANTED)


class DeferSecret(BaseOperator):
    """Write the secret to the arguments of a trigger, and to those of the method that resumes the task."""

    def __init__(self, *, first_delay, **kwargs):
        super().__init__(**kwargs)
        self.first_delay = first_delay

    def execute(self, context):
        now = time.time()
        self.defer(
            # This connection does not exist, and the trigger's error names it: the secret is in its log, too.
            trigger=CruxExportTrigger(
                crux_conn_id=PLANTED,
                export_uuid="00000000-0000-4000-8000-000000000000",
                accepted_at=now,
                deadline=now + 7200,
                poll_interval=1,
                first_poll_at=now + self.first_delay,
            ),
            method_name="execute",
            kwargs={"planted": PLANTED},
            timeout=timedelta(hours=2),
        )


class UnusableTrigger(CruxExportTrigger):
    """A trigger that the triggerer cannot create. Its log names the unknown argument, which is the secret."""

    def serialize(self):
        path, arguments = super().serialize()
        return path, arguments | {PLANTED: PLANTED}


class DeferUnusable(BaseOperator):
    """Write the secret to the log of the triggerer."""

    def execute(self, context):
        trigger = UnusableTrigger(crux_conn_id="", export_uuid="", accepted_at=0, deadline=0, poll_interval=1)
        self.defer(trigger=trigger, method_name="execute")


print("while the file is parsed:", PLANTED)  # noqa: T201

with DAG(
    "secrets_planted",
    schedule=None,
    start_date=datetime(2025, 1, 1, tzinfo=UTC),
    default_args={"retries": 0},
    doc_md=PLANTED,
):
    LogSecret(task_id="log_secret")
    StoreSecret(task_id="store_secret", template="{{ dag_run.conf['planted'] }}", outlets=[ASSET])
    RaiseSecret(task_id="raise_secret")
    DeferSecret(task_id="defer_secret", first_delay=3600)
    DeferSecret(task_id="fail_in_triggerer", first_delay=1)
    DeferUnusable(task_id="fail_to_load_trigger")
