"""What the tasks that wait share: how long they may wait."""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import DAG, TaskDeferred

from airflow_provider_crux.api.polling import MAX_WAIT
from airflow_provider_crux.exceptions import CruxInvalidRequestError
from airflow_provider_crux.operators.orders import CruxOrdersExportOperator
from airflow_provider_crux.sensors.exports import CruxExportSensor
from airflow_provider_crux.transfers.crux_to_object_storage import CruxExportToObjectStorageOperator
from airflow_provider_crux.transfers.crux_to_sql import CruxExportToSqlOperator

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow.providers.common.compat.sdk import BaseOperator

    from airflow_provider_crux.sandbox.state import Sandbox

INTERVAL = {"interval_start": "2026-01-01", "interval_end": "2026-01-02"}


def make_operator(export_uuid: str, **arguments: Any) -> BaseOperator:
    return CruxOrdersExportOperator(
        task_id="wait", wait_for_completion=True, deferrable=True, durable=False, **INTERVAL, **arguments
    )


def make_transfer(export_uuid: str, **arguments: Any) -> BaseOperator:
    return CruxExportToObjectStorageOperator(
        task_id="wait", export_uuid=export_uuid, path="file:///none/orders.csv", deferrable=True, **arguments
    )


def make_sql_transfer(export_uuid: str, **arguments: Any) -> BaseOperator:
    return CruxExportToSqlOperator(
        task_id="wait", export_uuid=export_uuid, conn_id="sql", table="orders", deferrable=True, **arguments
    )


def make_sensor(export_uuid: str, poll_interval: Any = None, **arguments: Any) -> BaseOperator:
    arguments |= {} if poll_interval is None else {"poke_interval": poll_interval}
    return CruxExportSensor(task_id="wait", export_uuid=export_uuid, deferrable=True, **arguments)


@pytest.mark.parametrize("make_task", [make_operator, make_transfer, make_sql_transfer])
@pytest.mark.parametrize("name", ["poll_interval", "timeout"])
@pytest.mark.parametrize(
    "seconds", [MAX_WAIT + 1, sys.maxsize, 10**5000], ids=["a year and a second", "maxsize", "10**5000"]
)
def test_a_wait_that_is_too_long_for_airflow_fails_when_the_dag_is_parsed(
    make_task: Callable[..., BaseOperator], name: str, seconds: float
) -> None:
    with pytest.raises(CruxInvalidRequestError, match=rf"Task 'wait': {name}: .*31622400"):
        make_task("uuid", **{name: seconds})


@pytest.mark.parametrize("timeout", [1e12, timedelta.max])
def test_a_sensor_defers_for_a_year_at_most(held_sandbox: Sandbox, export_uuid: str, timeout: Any) -> None:
    sensor = CruxExportSensor(task_id="wait", export_uuid=export_uuid, timeout=timeout, deferrable=True)
    with pytest.raises(TaskDeferred) as deferral:
        sensor.execute({})
    assert 0 < deferral.value.trigger.deadline - time.time() <= MAX_WAIT


@pytest.mark.parametrize("timeout", [sys.maxsize, float("inf")])
def test_a_timeout_that_airflow_cannot_count_fails_when_the_dag_is_parsed(timeout: Any) -> None:
    with pytest.raises(OverflowError):
        CruxExportSensor(task_id="wait", export_uuid="uuid", timeout=timeout)


def test_a_sensor_accepts_what_every_sensor_does() -> None:
    sensor = CruxExportSensor(task_id="wait", export_uuid="uuid", poke_interval=timedelta(minutes=2))
    assert (sensor.poke_interval, sensor.timeout) == (120, timedelta(days=7).total_seconds())
    sensor = CruxExportSensor(
        task_id="wait", export_uuid="uuid", timeout=timedelta(hours=2), default_args={"retries": 1}
    )
    assert (sensor.poke_interval, sensor.timeout) == (60, timedelta(hours=2).total_seconds())


@pytest.mark.parametrize("make_task", [make_operator, make_transfer, make_sensor])
def test_the_longest_wait_is_one_that_airflow_can_count(
    make_task: Callable[..., BaseOperator], held_sandbox: Sandbox, export_uuid: str, make_context
) -> None:
    context = make_context(dag=DAG("waiting", schedule=None), params={})
    with pytest.raises(TaskDeferred) as deferral:
        make_task(export_uuid, poll_interval=MAX_WAIT, timeout=MAX_WAIT).execute(context)
    assert datetime.now(UTC) + deferral.value.timeout > datetime.now(UTC) + timedelta(seconds=MAX_WAIT)
    assert deferral.value.trigger.deadline <= time.time() + MAX_WAIT
