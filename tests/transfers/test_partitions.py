"""The partitions that a stored export names on the event of an asset, so that exactly their runs start."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import airflow
import pytest
from airflow.providers.common.compat.sdk import DAG, Asset

from airflow_provider_crux.operators.orders import CruxOrdersExportOperator
from tests.transfers.transfer import OutletEvents, make_operator

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HAS_PARTITIONS = tuple(map(int, airflow.__version__.split(".")[:2])) >= (3, 3)
needs_partitions = pytest.mark.skipif(not HAS_PARTITIONS, reason="tasks name partitions since Airflow 3.3")
JANUARY = [f"2026-01-{day:02}T00:00:00" for day in range(32)]


@pytest.fixture
def partitions_of(
    done_uuid: str, make_context: Callable[..., dict[str, Any]], target: Path
) -> Callable[..., set[str] | None]:
    """
    Return a function that stores an export, in a DAG with a schedule, and returns the partitions in the asset's event.

    It returns ``None`` if Airflow's events have none.
    """

    def store(
        schedule: Any,
        start: str | None,
        end: str | None,
        *,
        requested_at: str | None = None,
        run_key: str | None = None,
    ) -> set[str] | None:
        asset = Asset("orders")
        if HAS_PARTITIONS:
            from airflow.sdk.execution_time.context import OutletEventAccessors

            events: Any = OutletEventAccessors()
        else:
            events = OutletEvents()
        with DAG("stores", schedule=schedule, start_date=datetime(2026, 1, 1, tzinfo=UTC)) as dag:
            CruxOrdersExportOperator(task_id="export")
        record = {
            "export_uuid": done_uuid,
            "requested_at": requested_at,
            "request": {"start_date": start, "end_date": end} if start else None,
        }
        run = SimpleNamespace(partition_key=run_key)
        context = make_context(upstream=[record], dag=dag, dag_run=run, outlet_events=events)
        operator = make_operator(done_uuid, target, overwrite=True, outlets=[asset])
        operator.upstream_task_ids.add("export")
        operator.execute(context)
        keys: set[str] | None = getattr(events[asset], "partition_keys", None)
        return keys

    return store


@needs_partitions
@pytest.mark.parametrize(
    ("start", "end", "days"),
    [
        ("2026-01-02T00:00:00Z", "2026-01-05T00:00:00Z", JANUARY[2:5]),
        ("2026-01-02T23:59:59Z", "2026-01-04T00:00:01Z", JANUARY[2:5]),
        ("2026-01-02T08:00:00Z", "2026-01-02T09:00:00Z", JANUARY[2:3]),
        ("2026-01-02T00:00:00Z", "2026-01-02T00:00:00Z", []),
        (None, None, []),
    ],
    ids=["days", "seconds of days", "hour", "nothing", "unknown"],
)
def test_the_partitions_are_the_days_that_the_interval_touches(
    partitions_of: Any, start: str | None, end: str | None, days: list[str]
) -> None:
    from airflow.sdk import CronPartitionTimetable, PartitionedAtRuntime

    daily = CronPartitionTimetable("0 0 * * *", timezone="UTC", run_offset=-1)
    assert partitions_of(daily, start, end, run_key="2026-01-04T00:00:00") == set(days)
    assert partitions_of(PartitionedAtRuntime(), start, end) == set(days)


@needs_partitions
def test_the_partitions_are_those_of_the_schedule(partitions_of: Any) -> None:
    from airflow.sdk import CronPartitionTimetable

    berlin = CronPartitionTimetable("0 0 * * *", timezone="Europe/Berlin", run_offset=2, key_format="%d.%m.")
    assert partitions_of(berlin, "2026-03-27T23:00:00Z", "2026-03-30T22:00:00Z") == {"28.03.", "29.03.", "30.03."}
    hourly = CronPartitionTimetable("30 * * * *", timezone="Asia/Kolkata", key_format="%H:%M")
    # local time is five and a half hours ahead
    assert partitions_of(hourly, "2026-03-29T00:15:00Z", "2026-03-29T02:00:00Z") == {"05:30", "06:30"}


@needs_partitions
@pytest.mark.parametrize(
    ("cron", "zone", "interval", "expected"),
    [
        ("0 2 * * *", "Europe/Berlin", ("2026-03-28T01:00Z", "2026-03-31T00:00Z"), {"28 02", "29 03", "30 02"}),
        ("0 2 * * *", "America/New_York", ("2026-03-07T12:00Z", "2026-03-07T15:00Z"), {"07 02"}),
        ("0 0 * * *", "Africa/Cairo", ("2026-04-22T22:00Z", "2026-04-25T21:00Z"), {"23 00", "24 01", "25 00"}),
    ],
)
def test_the_day_before_clocks_go_forward_is_named(
    partitions_of: Any, cron: str, zone: str, interval: tuple[str, str], expected: set[str]
) -> None:
    from airflow.sdk import CronPartitionTimetable

    schedule = CronPartitionTimetable(cron, timezone=zone, key_format="%d %H")
    assert partitions_of(schedule, *interval) == expected


@needs_partitions
def test_keys_that_repeat_count_once(partitions_of: Any) -> None:
    from airflow.sdk import CronPartitionTimetable

    hourly = CronPartitionTimetable("0 * * * *", timezone="UTC", key_format="%Y-%m")
    assert partitions_of(hourly, "2026-01-01T00:00:00Z", "2026-03-01T00:00:00Z") == {"2026-01", "2026-02"}


@needs_partitions
def test_time_after_the_request_is_in_no_partition(partitions_of: Any) -> None:
    from airflow.sdk import PartitionedAtRuntime

    ends = "2026-01-02T00:00:00Z", "2027-01-01T00:00:00Z"
    assert partitions_of(PartitionedAtRuntime(), *ends, requested_at="2026-01-03T08:00:00+00:00") == set(JANUARY[2:4])
    assert partitions_of(PartitionedAtRuntime(), *ends, requested_at="2026-01-01T08:00:00+00:00") == set()


def test_other_schedules_name_no_partition_so_that_dags_scheduled_on_the_asset_start(partitions_of: Any) -> None:
    lookback = "2026-01-02T00:00:00Z", "2026-01-05T00:00:00Z"
    schedules: list[tuple[Any, str | None]] = [(None, None), ("@daily", None), ([Asset("upstream")], None)]
    if HAS_PARTITIONS:
        from airflow.sdk import PartitionedAssetTimetable, PartitionedAtRuntime

        # Airflow passes the partition of the run on
        schedules += [
            (PartitionedAssetTimetable(assets=Asset("upstream")), "2026-01-02"),
            (PartitionedAtRuntime(), "us"),
        ]
    for schedule, run_key in schedules:
        assert not partitions_of(schedule, *lookback, run_key=run_key)


@needs_partitions
def test_more_partitions_than_airflow_starts_runs_for_are_not_named(
    partitions_of: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from airflow.sdk import PartitionedAtRuntime

    ten_years = "2016-01-01T00:00:00Z", "2026-01-01T00:00:00Z"
    assert partitions_of(PartitionedAtRuntime(), *ten_years) == set()
    assert "they are more than 1000, the limit of [scheduler] partition_mapper_max_downstream_keys" in caplog.text
    monkeypatch.setenv("AIRFLOW__SCHEDULER__PARTITION_MAPPER_MAX_DOWNSTREAM_KEYS", "3653")
    assert len(partitions_of(PartitionedAtRuntime(), *ten_years)) == 3653


@needs_partitions
def test_a_schedule_that_cannot_be_read_does_not_fail_the_task(
    partitions_of: Any, target: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from airflow.sdk import CronPartitionTimetable

    class Unknown(CronPartitionTimetable):
        """A schedule of somebody's own, which the scheduler knows by a plugin."""

    Unknown.__name__ = "CronPartitionTimetable"
    assert partitions_of(Unknown("0 0 * * *", timezone="UTC"), "2026-01-02T00:00:00Z", "2026-01-05T00:00:00Z") == set()
    assert target.exists()
    assert "The event of the asset does not name the partitions" in caplog.text
