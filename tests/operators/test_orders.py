"""The operator as a task runs it: a real DAG, the context that Airflow gives its kind of run, requests-mock as Crux."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import airflow
import pendulum
import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowFailException, Asset
from airflow.timetables.events import EventsTimetable

from airflow_provider_crux.api.orders import Sort
from airflow_provider_crux.exceptions import CruxAmbiguousError, CruxInvalidRequestError, CruxUnavailableError
from airflow_provider_crux.operators.orders import CruxOrdersExportOperator

AIRFLOW = tuple(int(part) for part in airflow.__version__.split(".")[:2])
UUID = "b9888421-594c-4d2f-9f0d-3b138a16c845"
EXPORT = "https://api.cruxconnect.com/api/orders/export/"

try:  # as a DAG's file writes them from Airflow 3.2 on, and before
    from airflow.sdk import (
        AssetOrTimeSchedule,
        CronDataIntervalTimetable,
        CronTriggerTimetable,
        MultipleCronTriggerTimetable,
    )
    from airflow.sdk.definitions.timetables.trigger import CronPartitionTimetable
except ImportError:
    from airflow.timetables.interval import CronDataIntervalTimetable
    from airflow.timetables.trigger import CronTriggerTimetable

from airflow.timetables import interval as core_interval
from airflow.timetables import trigger as core_trigger


def asset_or(timetable):
    assets = [Asset("orders")]
    if AIRFLOW >= (3, 2):
        return AssetOrTimeSchedule(timetable=timetable, assets=assets)
    if AIRFLOW >= (3, 0):
        from airflow.timetables import assets as core_assets

        return core_assets.AssetOrTimeSchedule(timetable=timetable, assets=assets)
    from airflow.timetables.datasets import DatasetOrTimeSchedule

    return DatasetOrTimeSchedule(timetable=timetable, datasets=assets)


class FakeTaskInstance:
    def __init__(self) -> None:
        self.pushed: dict[str, Any] = {}

    def xcom_push(self, key: str, value: Any) -> None:
        self.pushed[key] = value


def at(text: str) -> pendulum.DateTime:
    return pendulum.parse(text)


def context_of(dag: DAG, *, interval=None, run_after=None, run_type="scheduled", partition=None, params=None) -> dict:
    """Give the context as Airflow makes it: without the keys that a run of this kind does not have."""
    dag_run = SimpleNamespace(run_type=run_type)
    if AIRFLOW >= (3, 0):
        dag_run.run_after = at(run_after or (interval and interval[1]) or "2026-01-05T10:30")
    context = {"dag": dag, "dag_run": dag_run, "params": params or {}, "ti": FakeTaskInstance()}
    if interval is not None:
        start, end = (at(text) for text in interval)
        context |= {"data_interval_start": start, "data_interval_end": end, "logical_date": start}
    if partition is not None:
        context |= {"partition_date": at(partition), "partition_key": partition}
        dag_run.partition_key = partition
    return context


def sent_by(requests_mock, schedule, arguments=None, **facts) -> tuple[str, str]:
    """Run the operator in a DAG of that schedule, and give the interval that Crux Connect was asked for."""
    requests_mock.post(EXPORT, json={"uuid": UUID})
    with DAG("d", schedule=schedule, start_date=datetime(2020, 1, 1, tzinfo=UTC), max_active_runs=1) as dag:
        operator = CruxOrdersExportOperator(task_id="export", **(arguments or {}))
    operator.execute(context_of(dag, **facts))
    body = requests_mock.last_request.json()
    return tuple(body[name].removesuffix(":00.000Z") for name in ("start_date", "end_date"))


@pytest.fixture(autouse=True)
def _connection(connect) -> None:
    connect(password="d7bb2fbb0c666dee5a5a36634baac3114e08ba9c")


# Rows of the table of measured runs: schedule, what Airflow knows of the run, what must be asked for.
D, D1, BEFORE = "2026-01-05T00:00", "2026-01-06T00:00", "2026-01-04T00:00"
MIDDAY = "2026-01-05T10:30"
EMPTY, EMPTY_MIDDAY = (D, D), (MIDDAY, MIDDAY)
ABSENT = {"run_after": MIDDAY, "run_type": "manual"}
MANUAL = {"interval": EMPTY_MIDDAY, "run_type": "manual"}
LAST_DAY = (BEFORE, D)

EVERY_VERSION = [
    ("@daily 2.11 scheduled", "@daily", {"interval": (D, D1)}, (D, D1)),
    ("@daily 3 scheduled, backfill", "@daily", {"interval": EMPTY}, LAST_DAY),
    ("@daily 3 manual, L given", "@daily", MANUAL, LAST_DAY),
    ("@daily 2.11 manual, aligned", "@daily", {"interval": LAST_DAY, "run_type": "manual"}, LAST_DAY),
    ("timedelta 2.11", timedelta(hours=6), {"interval": (D, "2026-01-05T06:00")}, (D, "2026-01-05T06:00")),
    ("timedelta 3 scheduled", timedelta(hours=6), {"interval": EMPTY}, ("2026-01-04T18:00", D)),
    ("timedelta 3 manual", timedelta(hours=6), MANUAL, ("2026-01-05T04:30", MIDDAY)),
    ("CronTrigger", CronTriggerTimetable("@daily", timezone="UTC"), {"interval": EMPTY}, LAST_DAY),
    ("CronTrigger manual", CronTriggerTimetable("@daily", timezone="UTC"), MANUAL, LAST_DAY),
    (
        "CronTrigger(interval)",
        CronTriggerTimetable("@daily", timezone="UTC", interval=timedelta(days=1)),
        {"interval": LAST_DAY},
        LAST_DAY,
    ),
    (
        "CronTrigger(interval) manual",
        CronTriggerTimetable("@daily", timezone="UTC", interval=timedelta(days=1)),
        {"interval": ("2026-01-04T10:30", MIDDAY), "run_type": "manual"},
        ("2026-01-04T10:30", MIDDAY),
    ),
    ("CronDataInterval", CronDataIntervalTimetable("@daily", timezone="UTC"), {"interval": LAST_DAY}, LAST_DAY),
    ("core class in the DAG's file", core_trigger.CronTriggerTimetable("@daily", timezone="UTC"), MANUAL, LAST_DAY),
    ("@continuous", "@continuous", {"interval": (D, MIDDAY)}, (D, MIDDAY)),
    (
        "dataset 2.11: the source runs' interval",
        [Asset("orders")],
        {"interval": LAST_DAY, "run_type": "dataset_triggered"},
        LAST_DAY,
    ),
    ("AssetOrTime, time side", asset_or(core_trigger.CronTriggerTimetable("@daily", timezone="UTC")), MANUAL, LAST_DAY),
    (
        "Berlin, clocks forward",
        CronTriggerTimetable("@daily", timezone="Europe/Berlin"),
        {"interval": ("2026-03-29T22:00", "2026-03-29T22:00")},
        ("2026-03-28T23:00", "2026-03-29T22:00"),
    ),
    (
        "Berlin, clocks back",
        CronTriggerTimetable("@daily", timezone="Europe/Berlin"),
        {"interval": ("2026-10-25T23:00", "2026-10-25T23:00")},
        ("2026-10-24T22:00", "2026-10-25T23:00"),
    ),
    (
        "Berlin, an hour that the day does not have",
        CronTriggerTimetable("30 2 * * *", timezone="Europe/Berlin"),
        {"interval": ("2026-03-29T01:30", "2026-03-29T01:30")},
        ("2026-03-28T01:30", "2026-03-29T01:30"),
    ),
]
AIRFLOW_3 = (
    []
    if AIRFLOW < (3, 2)
    else [
        ("@daily manual, L null", "@daily", ABSENT, LAST_DAY),
        ("timedelta manual, L null", timedelta(hours=6), ABSENT, ("2026-01-05T04:30", MIDDAY)),
        ("CronTrigger manual, L null", CronTriggerTimetable("@daily", timezone="UTC"), ABSENT, LAST_DAY),
        (
            "CronTrigger(interval) manual, L null",
            CronTriggerTimetable("@daily", timezone="UTC", interval=timedelta(hours=6)),
            ABSENT,
            ("2026-01-04T18:00", D),
        ),
        ("CronDataInterval manual, L null", CronDataIntervalTimetable("@daily", timezone="UTC"), ABSENT, LAST_DAY),
        (
            "core CronDataInterval manual, L null",
            core_interval.CronDataIntervalTimetable("@daily", timezone="UTC"),
            ABSENT,
            LAST_DAY,
        ),
        (
            "several crons",
            MultipleCronTriggerTimetable("0 0 * * *", "0 9 * * *", timezone="UTC"),
            {"interval": ("2026-01-05T09:00", "2026-01-05T09:00")},
            (D, "2026-01-05T09:00"),
        ),
        (
            "several crons at one instant",
            MultipleCronTriggerTimetable("0 0 * * *", "0 */12 * * *", timezone="UTC"),
            {"interval": EMPTY},
            ("2026-01-04T12:00", D),
        ),
        (
            "several crons manual, L null",
            MultipleCronTriggerTimetable("0 0 * * *", "0 9 * * *", timezone="UTC"),
            ABSENT,
            (D, "2026-01-05T09:00"),
        ),
        ("AssetOrTime manual, L null", asset_or(CronTriggerTimetable("@daily", timezone="UTC")), ABSENT, LAST_DAY),
        (
            "partition, scheduled and backfill",
            CronPartitionTimetable("@daily", timezone="UTC"),
            {"run_after": MIDDAY, "partition": BEFORE},
            LAST_DAY,
        ),
        (
            "partition of a month, its key formatted",
            CronPartitionTimetable("@monthly", timezone="UTC", run_offset=-1, key_format="%Y-%m"),
            {"run_after": "2026-03-01T00:00", "partition": "2026-02-01T00:00"},
            ("2026-02-01T00:00", "2026-03-01T00:00"),
        ),
        ("partition manual, L given", CronPartitionTimetable("@daily", timezone="UTC"), MANUAL, LAST_DAY),
    ]
)
ROWS = [*EVERY_VERSION, *AIRFLOW_3]


@pytest.mark.parametrize(("schedule", "facts", "expected"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_every_kind_of_run_exports_its_interval(requests_mock, schedule, facts, expected) -> None:
    assert sent_by(requests_mock, schedule, **facts) == expected


WITHOUT = [
    ("None", None, MANUAL),
    ("@once", "@once", {"interval": EMPTY}),
    ("@continuous manual", "@continuous", MANUAL),
    ("events", EventsTimetable([at(D), at(D1)]), {"interval": EMPTY}),
    ("asset-triggered, empty", [Asset("orders")], {"interval": EMPTY, "run_type": "asset_triggered"}),
    ("asset manual", [Asset("orders")], MANUAL),
    (
        "AssetOrTime, asset side",
        asset_or(core_trigger.CronTriggerTimetable("@daily", timezone="UTC")),
        {"interval": EMPTY, "run_type": "asset_triggered"},
    ),
    *(
        []
        if AIRFLOW < (3, 2)
        else [
            ("None, L null", None, ABSENT),
            ("asset-triggered, absent", [Asset("orders")], {"run_after": MIDDAY, "run_type": "asset_triggered"}),
            (
                "AssetOrTime, asset side, absent",
                asset_or(CronTriggerTimetable("@daily", timezone="UTC")),
                {"run_after": MIDDAY, "run_type": "asset_triggered"},
            ),
        ]
    ),
]


@pytest.mark.parametrize(("schedule", "facts"), [row[1:] for row in WITHOUT], ids=[row[0] for row in WITHOUT])
def test_a_run_without_an_interval_sends_nothing_and_names_schedule_and_remedies(
    requests_mock, schedule, facts
) -> None:
    with pytest.raises(AirflowFailException, match="lookback") as caught:
        sent_by(requests_mock, schedule, **facts)
    assert "schedule (" in str(caught.value)
    assert requests_mock.call_count == 0


@pytest.mark.parametrize(("schedule", "facts"), [row[1:] for row in WITHOUT], ids=[row[0] for row in WITHOUT])
def test_lookback_gives_such_a_run_an_interval_before_the_instant_it_stands_at(requests_mock, schedule, facts) -> None:
    end = facts["interval"][1] if "interval" in facts else facts["run_after"]
    start = at(end).subtract(hours=2).format("YYYY-MM-DDTHH:mm")
    assert sent_by(requests_mock, schedule, {"lookback": timedelta(hours=2)}, **facts) == (start, end)


@pytest.mark.skipif(AIRFLOW < (3, 2), reason="partitions came with Airflow 3.2")
def test_a_partition_whose_date_airflow_does_not_tell_takes_no_period_from_the_clock(requests_mock) -> None:
    # so it is on Airflow 3.2: the key may stand for a time that is long past
    schedule = CronPartitionTimetable("@daily", timezone="UTC")
    with DAG("d", schedule=schedule, start_date=datetime(2020, 1, 1, tzinfo=UTC)) as dag:
        operator = CruxOrdersExportOperator(task_id="export")
    context = context_of(dag, run_after=MIDDAY)
    context["dag_run"].partition_key = "2024-06-01T00:00:00"
    with pytest.raises(AirflowFailException, match="interval_start"):
        operator.execute(context)
    assert requests_mock.call_count == 0


def test_a_runs_parameters_give_the_interval_where_the_dag_has_them(requests_mock) -> None:
    given = {"interval_start": "2026-03-04T05:06:00.000Z", "interval_end": "2026-03-05T00:00:00+01:00"}
    asked = sent_by(requests_mock, "@daily", interval=EMPTY, params=given)
    assert asked == ("2026-03-04T05:06", "2026-03-04T23:00")
    unset = {"interval_start": None, "interval_end": ""}
    assert sent_by(requests_mock, "@daily", interval=EMPTY, params=unset) == LAST_DAY


def test_an_argument_goes_before_a_runs_parameter(requests_mock) -> None:
    arguments = {"interval_start": datetime(2026, 1, 1, tzinfo=UTC), "interval_end": datetime(2026, 1, 2)}
    params = {"interval_start": "2025-01-01", "interval_end": "2025-01-02"}
    asked = sent_by(requests_mock, "@daily", arguments, interval=EMPTY, params=params)
    assert asked == ("2026-01-01T00:00", "2026-01-02T00:00")


@pytest.mark.parametrize(("end", "told"), [("2026-01-01", "no length"), ("2025-12-31", "reversed"), ("soon", "'soon'")])
def test_a_rendered_interval_that_cannot_be_is_refused_before_anything_is_sent(requests_mock, end, told) -> None:
    with pytest.raises(AirflowFailException, match=told):
        sent_by(requests_mock, "@daily", interval=EMPTY, params={"interval_start": "2026-01-01", "interval_end": end})
    assert requests_mock.call_count == 0


def operator_with(**arguments) -> CruxOrdersExportOperator:
    with DAG("d", schedule=None, start_date=datetime(2020, 1, 1, tzinfo=UTC)):
        return CruxOrdersExportOperator(task_id="export", **arguments)


DAY = {"interval_start": "2026-01-01", "interval_end": "2026-01-02"}


def test_the_uuid_is_returned_and_the_body_that_was_sent_is_pushed(requests_mock) -> None:
    requests_mock.post(EXPORT, json={"uuid": UUID})
    operator = operator_with(**DAY, sort=Sort("date", "desc"), line_item_status=("rejected",), start=0)
    context = context_of(operator.dag, interval=EMPTY)
    assert operator.execute(context) == UUID
    assert context["ti"].pushed["export_request"] == requests_mock.last_request.json()
    assert requests_mock.last_request.json() == {
        "start": 0,
        "sort": {"key": "date", "dir": "des"},
        "line_item_status": ["rejected"],
        "start_date": "2026-01-01T00:00:00.000Z",
        "end_date": "2026-01-02T00:00:00.000Z",
    }


def test_nothing_is_asked_for_where_the_body_cannot_be_pushed(requests_mock) -> None:
    # the other way round the retry would send a second e-mail
    operator = operator_with(**DAY)
    context = context_of(operator.dag, interval=EMPTY)

    def broken(**_: Any) -> None:
        raise ConnectionError("no database")

    context["ti"].xcom_push = broken
    with pytest.raises(ConnectionError):
        operator.execute(context)
    assert requests_mock.call_count == 0


def test_no_xcom_is_pushed_where_the_dag_wants_none(requests_mock) -> None:
    requests_mock.post(EXPORT, json={"uuid": UUID})
    operator = operator_with(**DAY, do_xcom_push=False)
    context = context_of(operator.dag, interval=EMPTY)
    operator.execute(context)
    assert context["ti"].pushed == {}


@pytest.mark.parametrize("status", [400, 401, 403, 404, 415, 422, 200])
def test_what_a_retry_cannot_mend_fails_the_task_at_once(requests_mock, status) -> None:
    requests_mock.post(EXPORT, status_code=status, text="<html>")
    operator = operator_with(**DAY)
    with pytest.raises(AirflowFailException):
        operator.execute(context_of(operator.dag, interval=EMPTY))
    assert requests_mock.call_count == 1


@pytest.mark.parametrize(("status", "kind"), [(500, CruxAmbiguousError), (503, CruxUnavailableError)])
def test_what_may_pass_is_left_to_airflows_retries(connect, requests_mock, status, kind) -> None:
    connect(password="abc", extra={"max_retries": 0})
    requests_mock.post(EXPORT, status_code=status)
    operator = operator_with(**DAY)
    with pytest.raises(kind):
        operator.execute(context_of(operator.dag, interval=EMPTY))


def test_an_interval_that_ends_in_the_future_is_warned_of(requests_mock, monkeypatch) -> None:
    requests_mock.post(EXPORT, json={"uuid": UUID})
    warned: list[str] = []
    operator = operator_with(interval_start="2026-01-01", interval_end="2999-01-01")
    monkeypatch.setattr(operator.log, "warning", lambda message, *args: warned.append(message % args))
    operator.execute(context_of(operator.dag, interval=EMPTY))
    assert ["2999-01-01" in told for told in warned if "future" in told] == [True]
    operator.interval_end = "2026-01-02"
    operator.execute(context_of(operator.dag, interval=EMPTY))
    assert len([told for told in warned if "future" in told]) == 1


@pytest.mark.parametrize(
    ("rendered", "field", "sent"),
    [
        ({"start": "3"}, "start", 3),
        ({"limit": " 25 "}, "limit", 25),
        ({"sort": "{'key': 'date', 'dir': 'asc'}"}, "sort", {"key": "date", "dir": "asc"}),
        ({"line_item_status": '["rejected", "allocated"]'}, "line_item_status", ["rejected", "allocated"]),
        ({"line_item_status": ["rejected"]}, "line_item_status", ["rejected"]),
        ({"start": "None"}, "start", None),
        ({"line_item_status": ""}, "line_item_status", None),
    ],
)
def test_what_a_template_rendered_as_text_is_read(requests_mock, rendered, field, sent) -> None:
    requests_mock.post(EXPORT, json={"uuid": UUID})
    operator = operator_with(**DAY, **dict.fromkeys(rendered, "{{ x }}"))
    for name, value in rendered.items():
        setattr(operator, name, value)
    operator.execute(context_of(operator.dag, interval=EMPTY))
    assert requests_mock.last_request.json().get(field) == sent


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"start": -1}, "start: -1"),
        ({"limit": "many"}, "limit: str 'many'"),
        ({"line_item_status": ["lost"]}, "line_item_status: ['lost']"),
        ({"status_conjunction": "or"}, "without line_item_status"),
        ({"lookback": 3600}, "lookback: 3600"),
        ({"lookback": timedelta(0)}, "timedelta above 0"),
        ({"interval_start": "yesterday"}, "interval_start: str 'yesterday'"),
        ({"interval_start": "2026-01-02", "interval_end": "2026-01-01"}, "reversed"),
        ({"crux_conn_id": ""}, "crux_conn_id"),
    ],
)
def test_a_wrong_literal_fails_when_the_dag_is_parsed(arguments, told) -> None:
    with pytest.raises(CruxInvalidRequestError) as caught:
        operator_with(**arguments)
    assert told in str(caught.value)
    assert "'export'" in str(caught.value)


def test_all_wrong_literals_are_told_at_once() -> None:
    with pytest.raises(CruxInvalidRequestError) as caught:
        operator_with(start=-1, lookback=7, interval_end="never")
    for told in ("start: -1", "lookback: 7", "interval_end: str 'never'"):
        assert told in str(caught.value)


def test_what_is_not_known_when_the_dag_is_parsed_is_no_fault() -> None:
    from airflow.providers.common.compat.sdk import task

    with DAG("d", schedule=None, start_date=datetime(2020, 1, 1, tzinfo=UTC)):

        @task
        def statuses() -> list[str]:
            return ["rejected"]

        CruxOrdersExportOperator(task_id="one", line_item_status=statuses(), status_conjunction="only")
        CruxOrdersExportOperator(task_id="two", start="{{ params.start }}", limit=3, interval_start="{{ ds }}")
        CruxOrdersExportOperator(task_id="three", line_item_status=["{{ params.status }}"])


def test_text_that_is_no_list_is_left_for_the_rules_to_name() -> None:
    with pytest.raises(CruxInvalidRequestError, match="line_item_status: str 'unallocated, allocated' is not a list"):
        operator_with(line_item_status="unallocated, allocated")


def test_one_end_alone_is_checked_when_the_dag_is_parsed() -> None:
    operator_with(interval_start="2026-01-01")
    with pytest.raises(CruxInvalidRequestError, match="interval_end"):
        operator_with(interval_end="yesterday")
