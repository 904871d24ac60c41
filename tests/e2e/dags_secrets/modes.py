"""Every way to wait, with a token and with a login: DAGs whose exports succeed, and DAGs whose exports fail."""

from datetime import UTC, datetime, timedelta

from airflow.providers.common.compat.sdk import DAG, Asset

from airflow_provider_crux.operators.orders import CruxOrdersExportOperator
from airflow_provider_crux.sensors.exports import CruxExportSensor
from airflow_provider_crux.transfers.crux_to_object_storage import CruxExportToObjectStorageOperator

# The status filter determines how and when the sandbox finishes an export, see canary_sandbox.py.
STATUSES = {
    "passing": {"fast": "allocated", "slow": "unallocated"},
    "failing": {"fast": "rejected", "slow": "backordered"},
}


def operator(task_id, status, *, deferrable):
    """Create a task that requests an export and waits for it."""
    CruxOrdersExportOperator(
        task_id=task_id,
        lookback=timedelta(days=1),
        line_item_status=[status],
        wait_for_completion=True,
        deferrable=deferrable,
        poll_interval=1,
    )


def sensor(task_id, *, poke_interval=1, **arguments):
    """Create a task that waits for an export which the test has created."""
    CruxExportSensor(
        task_id=task_id,
        export_uuid=f"{{{{ dag_run.conf['{task_id}'] }}}}",
        poke_interval=poke_interval,
        **arguments,
    )


def transfer(task_id, asset, *, deferrable, **arguments):
    """Create a task that waits for an export which the test has created, stores it and updates an asset."""
    CruxExportToObjectStorageOperator(
        task_id=task_id,
        export_uuid=f"{{{{ dag_run.conf['{task_id}'] }}}}",
        path=f"{{{{ dag_run.conf['folder'] }}}}/{asset}.csv",
        deferrable=deferrable,
        poll_interval=1,
        outlets=[Asset(f"file:///{asset}.csv")],
        **arguments,
    )


for outcome, status in STATUSES.items():
    for connection in ("token", "login"):
        dag_id = f"secrets_{outcome}_{connection}"
        with DAG(
            dag_id,
            schedule=None,
            start_date=datetime(2025, 1, 1, tzinfo=UTC),
            # A try that Airflow loses on a busy machine is retried (see launcher.py). A failing task would not fail the
            # same way again: it would request another export.
            default_args={
                "crux_conn_id": f"crux_{connection}",
                "retries": 1 if outcome == "passing" else 0,
                "retry_delay": timedelta(seconds=1),
            },
        ) as globals()[dag_id]:
            operator("export_on_worker", status["fast"], deferrable=False)
            operator("export_deferred", status["slow"], deferrable=True)
            sensor("poke", mode="poke")
            # Airflow 3.3 fails a task that it reschedules before it knows that the previous process has ended.
            sensor("reschedule", mode="reschedule", poke_interval=10)
            sensor("sense_deferred", deferrable=True)
            hashing = {"personal_data": "hash", "crux_conn_id": "crux_hash"} if connection == "token" else {}
            transfer("store_on_worker", f"{dag_id}_on_worker", deferrable=False, **hashing)
            transfer("store_deferred", f"{dag_id}_deferred", deferrable=True)
