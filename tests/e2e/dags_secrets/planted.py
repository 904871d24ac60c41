"""What no task of ours may do: a secret written to every place that a task can reach. The search must find each."""

import base64
import logging
import os
import time
from datetime import UTC, datetime, timedelta

from airflow.providers.common.compat.sdk import DAG, Asset, BaseOperator

from airflow_provider_crux.triggers.exports import CruxExportTrigger

PLANTED = os.environ["SECRETS_PLANTED"]
ASSET = Asset("file:///planted.csv")


class Prints(BaseOperator):
    """Write it to the log, as a whole, in disguise, and by half."""

    def execute(self, context):
        print("base64", base64.b64encode(b"Token " + PLANTED.encode()).decode())  # noqa: T201 - as users do
        logging.getLogger("planted").debug("by half: %s", PLANTED[: len(PLANTED) // 2 + 4])


class Keeps(BaseOperator):
    """Write it to the database: as a template, XCom, an asset's event, and into the task's memory (Airflow 3.3)."""

    template_fields = ("template",)

    def __init__(self, *, template, **kwargs):
        super().__init__(**kwargs)
        self.template = template

    def execute(self, context):
        context["outlet_events"][ASSET].extra = {"planted": PLANTED}
        if memory := context.get("task_state_store"):
            memory.set("planted", PLANTED)
        return {"planted": PLANTED}


class Raises(BaseOperator):
    """Write it into an exception."""

    def execute(self, context):
        raise RuntimeError(PLANTED)


class Defers(BaseOperator):
    """Write it to the arguments of a trigger, and to those with which the task is to go on."""

    def __init__(self, *, first_look, **kwargs):
        super().__init__(**kwargs)
        self.first_look = first_look

    def execute(self, context):
        now = time.time()
        self.defer(
            # no connection has this id: the triggerer says so, which writes it there too
            trigger=CruxExportTrigger(
                crux_conn_id=PLANTED,
                export_uuid="00000000-0000-4000-8000-000000000000",
                asked_at=now,
                deadline=now + 7200,
                poll_interval=1,
                not_before=now + self.first_look,
            ),
            method_name="execute",
            kwargs={"planted": PLANTED},
            timeout=timedelta(hours=2),
        )


print("while the file is parsed:", PLANTED)  # noqa: T201

with DAG(
    "secrets_planted",
    schedule=None,
    start_date=datetime(2025, 1, 1, tzinfo=UTC),
    default_args={"retries": 0},
    doc_md=PLANTED,
):
    Prints(task_id="prints")
    Keeps(task_id="keeps", template="{{ dag_run.conf['planted'] }}", outlets=[ASSET])
    Raises(task_id="raises")
    Defers(task_id="defers", first_look=3600)
    Defers(task_id="fails_in_triggerer", first_look=1)
