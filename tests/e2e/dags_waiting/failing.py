"""Tasks that wait for exports which fail. Sensors and the transfer get the UUIDs from the conf of the run."""

from datetime import UTC, datetime, timedelta

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_crux.operators.orders import CruxOrdersExportOperator
from airflow_provider_crux.sensors.exports import CruxExportSensor
from airflow_provider_crux.transfers.crux_to_object_storage import CruxExportToObjectStorageOperator

START_DATE = datetime(2025, 1, 1, tzinfo=UTC)
# An export that failed, or a connection that does not exist, must not be retried, so the test expects one try.
RETRIES = {"retries": 2, "retry_delay": timedelta(seconds=1)}

# No retries, because each would request another export after one that failed.
with DAG("e2e_fails_on_worker", schedule=None, start_date=START_DATE):
    CruxOrdersExportOperator(
        task_id="export",
        interval_start=datetime(2025, 3, 1, tzinfo=UTC),
        interval_end=datetime(2025, 3, 2, tzinfo=UTC),
        wait_for_completion=True,
        poll_interval=1,
        retries=0,
    )

with DAG("e2e_fails_deferred", schedule=None, start_date=START_DATE):
    CruxOrdersExportOperator(
        task_id="export",
        interval_start=datetime(2025, 3, 2, tzinfo=UTC),
        interval_end=datetime(2025, 3, 3, tzinfo=UTC),
        wait_for_completion=True,
        deferrable=True,
        poll_interval=1,
        retries=0,
    )

with DAG("e2e_poll_fails", schedule=None, start_date=START_DATE):
    CruxExportSensor(
        task_id="poke",
        export_uuid="{{ dag_run.conf['poke'] }}",
        poke_interval=1,
        **RETRIES,
    )
    CruxExportSensor(
        task_id="sense_deferred",
        export_uuid="{{ dag_run.conf['sense_deferred'] }}",
        deferrable=True,
        poke_interval=1,
        **RETRIES,
    )
    CruxExportToObjectStorageOperator(
        task_id="store",
        export_uuid="{{ dag_run.conf['store'] }}",
        path="{{ var.value.crux_orders_folder }}/failed.csv",
        deferrable=True,
        poll_interval=1,
        **RETRIES,
    )
    CruxExportSensor(
        task_id="no_connection",
        export_uuid="{{ dag_run.conf['poke'] }}",
        crux_conn_id="crux_missing",
        **RETRIES,
    )

with DAG("e2e_poll_skips", schedule=None, start_date=START_DATE):
    CruxExportSensor(
        task_id="poke",
        export_uuid="{{ dag_run.conf['poke'] }}",
        poke_interval=1,
        soft_fail=True,
        **RETRIES,
    )
    CruxExportSensor(
        task_id="sense_deferred",
        export_uuid="{{ dag_run.conf['sense_deferred'] }}",
        deferrable=True,
        poke_interval=1,
        soft_fail=True,
        **RETRIES,
    )
    # This export has failed before the sensor polls it for the first time.
    CruxExportSensor(
        task_id="sense_failed",
        export_uuid="{{ dag_run.conf['sense_failed'] }}",
        deferrable=True,
        soft_fail=True,
        **RETRIES,
    )
