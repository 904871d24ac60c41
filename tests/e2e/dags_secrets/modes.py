"""Every way to wait, over a token and over a login: one DAG in which all goes well, and one in which exports fail."""

from datetime import UTC, datetime, timedelta

from airflow.providers.common.compat.sdk import DAG, Asset

from airflow_provider_crux.operators.orders import CruxOrdersExportOperator
from airflow_provider_crux.sensors.exports import CruxExportSensor
from airflow_provider_crux.transfers.exports import CruxExportToObjectStorageOperator

# What the test has to know of an export that the operator asks for: what comes of it, and how soon.
STATUSES = {
    "passing": {"soon": "allocated", "later": "unallocated"},
    "failing": {"soon": "rejected", "later": "backordered"},
}


def operator(task_id, status, *, deferrable):
    """Make a task that asks for an export of its own and waits for it."""
    CruxOrdersExportOperator(
        task_id=task_id,
        lookback=timedelta(days=1),
        line_item_status=[status],
        wait_for_completion=True,
        deferrable=deferrable,
        poll_interval=1,
    )


def sensor(task_id, *, poke_interval=1, **arguments):
    """Make a task that waits for an export of the test's."""
    CruxExportSensor(
        task_id=task_id,
        export_uuid=f"{{{{ dag_run.conf['{task_id}'] }}}}",
        poke_interval=poke_interval,
        **arguments,
    )


def transfer(task_id, asset, *, deferrable):
    """Make a task that waits for an export of the test's, stores it, and tells an asset."""
    CruxExportToObjectStorageOperator(
        task_id=task_id,
        export_uuid=f"{{{{ dag_run.conf['{task_id}'] }}}}",
        path=f"{{{{ dag_run.conf['folder'] }}}}/{asset}.csv",
        deferrable=deferrable,
        poll_interval=1,
        outlets=[Asset(f"file:///{asset}.csv")],
    )


for outcome, status in STATUSES.items():
    for connection in ("token", "login"):
        dag_id = f"secrets_{outcome}_{connection}"
        with DAG(
            dag_id,
            schedule=None,
            start_date=datetime(2025, 1, 1, tzinfo=UTC),
            default_args={"crux_conn_id": f"crux_{connection}", "retries": 0},
        ) as globals()[dag_id]:
            operator("export_on_worker", status["soon"], deferrable=False)
            operator("export_deferred", status["later"], deferrable=True)
            sensor("poke", mode="poke")
            # Airflow 3.3 fails a task that is to run again before its last process is known to have ended
            sensor("reschedule", mode="reschedule", poke_interval=10)
            sensor("sense_deferred", deferrable=True)
            transfer("store_on_worker", f"{dag_id}_on_worker", deferrable=False)
            transfer("store_deferred", f"{dag_id}_deferred", deferrable=True)
