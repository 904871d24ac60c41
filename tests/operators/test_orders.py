"""The operator as a task runs it: in a real DAG, with the context of each kind of run; requests-mock plays Crux."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import airflow
import pendulum
import pytest
import requests
from airflow.providers.common.compat.sdk import DAG, AirflowFailException, Asset
from airflow.timetables.events import EventsTimetable

from airflow_provider_crux.api.orders import Sort
from airflow_provider_crux.exceptions import CruxAmbiguousError, CruxInvalidRequestError, CruxUnavailableError
from airflow_provider_crux.operators.orders import CruxOrdersExportOperator
from airflow_provider_crux.params import orders_export_params

if TYPE_CHECKING:
    from collections.abc import Callable

AIRFLOW = tuple(int(part) for part in airflow.__version__.split(".")[:2])
UUID = "b9888421-594c-4d2f-9f0d-3b138a16c845"
EXPORT_URL = "https://api.cruxconnect.com/api/orders/export/"

try:  # as a DAG file imports them from Airflow 3.2 on; before that, from the core
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


def asset_or_time(timetable):
    assets = [Asset("orders")]
    if AIRFLOW >= (3, 2):
        return AssetOrTimeSchedule(timetable=timetable, assets=assets)
    if AIRFLOW >= (3, 0):
        from airflow.timetables import assets as core_assets

        return core_assets.AssetOrTimeSchedule(timetable=timetable, assets=assets)
    from airflow.timetables.datasets import DatasetOrTimeSchedule

    return DatasetOrTimeSchedule(timetable=timetable, datasets=assets)


def instant(text: str) -> pendulum.DateTime:
    return pendulum.parse(text)


@pytest.fixture
def context_of(make_context) -> Callable[..., dict[str, Any]]:
    """Return a function that makes a run's context as Airflow does: without the keys that such a run does not have."""

    def context(
        dag: DAG, *, interval=None, run_after=None, run_type="scheduled", partition=None, params=None
    ) -> dict[str, Any]:
        dag_run = SimpleNamespace(run_type=run_type)
        if AIRFLOW >= (3, 0):
            dag_run.run_after = instant(run_after or (interval and interval[1]) or "2026-01-05T10:30")
        entries: dict[str, Any] = {"dag": dag, "dag_run": dag_run, "params": params or {}}
        if interval is not None:
            start, end = (instant(text) for text in interval)
            entries |= {"data_interval_start": start, "data_interval_end": end, "logical_date": start}
        if partition is not None:
            entries |= {"partition_date": instant(partition), "partition_key": partition}
            dag_run.partition_key = partition
        return make_context(**entries)

    return context


@pytest.fixture
def exported_interval(context_of, requests_mock) -> Callable[..., tuple[str, ...]]:
    """Return a function that runs the operator in a DAG of some schedule, and returns the interval that it requests."""

    def interval(schedule, arguments=None, **run) -> tuple[str, ...]:
        requests_mock.post(EXPORT_URL, json={"uuid": UUID})
        start = datetime(2020, 1, 1, tzinfo=UTC)
        params = orders_export_params()
        with DAG("d", schedule=schedule, start_date=start, max_active_runs=1, params=params) as dag:
            operator = CruxOrdersExportOperator(task_id="export", durable=False, **(arguments or {}))
        operator.execute(context_of(dag, **run))
        body = requests_mock.last_request.json()
        return tuple(body[name].removesuffix(":00.000Z") for name in ("start_date", "end_date"))

    return interval


@pytest.fixture(autouse=True)
def _connection(connect) -> None:
    connect(password="d7bb2fbb0c666dee5a5a36634baac3114e08ba9c")


# Runs as they were observed: the schedule, what Airflow knows about the run, and the interval that it must export.
DAY_START, DAY_END, DAY_BEFORE = "2026-01-05T00:00", "2026-01-06T00:00", "2026-01-04T00:00"
MIDDAY = "2026-01-05T10:30"
EMPTY, EMPTY_AT_MIDDAY = (DAY_START, DAY_START), (MIDDAY, MIDDAY)
NO_LOGICAL_DATE = {"run_after": MIDDAY, "run_type": "manual"}
MANUAL = {"interval": EMPTY_AT_MIDDAY, "run_type": "manual"}
LAST_DAY = (DAY_BEFORE, DAY_START)

EVERY_VERSION = [
    ("@daily 2.11 scheduled", "@daily", {"interval": (DAY_START, DAY_END)}, (DAY_START, DAY_END)),
    ("@daily 3 scheduled, backfill", "@daily", {"interval": EMPTY}, LAST_DAY),
    ("@daily 3 manual, logical date given", "@daily", MANUAL, LAST_DAY),
    ("@daily 2.11 manual, aligned", "@daily", {"interval": LAST_DAY, "run_type": "manual"}, LAST_DAY),
    (
        "timedelta 2.11",
        timedelta(hours=6),
        {"interval": (DAY_START, "2026-01-05T06:00")},
        (DAY_START, "2026-01-05T06:00"),
    ),
    ("timedelta 3 scheduled", timedelta(hours=6), {"interval": EMPTY}, ("2026-01-04T18:00", DAY_START)),
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
    ("core class in the DAG file", core_trigger.CronTriggerTimetable("@daily", timezone="UTC"), MANUAL, LAST_DAY),
    ("@continuous", "@continuous", {"interval": (DAY_START, MIDDAY)}, (DAY_START, MIDDAY)),
    (
        "dataset 2.11: the source runs' interval",
        [Asset("orders")],
        {"interval": LAST_DAY, "run_type": "dataset_triggered"},
        LAST_DAY,
    ),
    (
        "AssetOrTime, time side",
        asset_or_time(core_trigger.CronTriggerTimetable("@daily", timezone="UTC")),
        MANUAL,
        LAST_DAY,
    ),
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
        "Berlin, an hour that the day skips",
        CronTriggerTimetable("30 2 * * *", timezone="Europe/Berlin"),
        {"interval": ("2026-03-29T01:30", "2026-03-29T01:30")},
        ("2026-03-28T01:30", "2026-03-29T01:30"),
    ),
]
AIRFLOW_3 = (
    []
    if AIRFLOW < (3, 2)
    else [
        ("@daily manual, no logical date", "@daily", NO_LOGICAL_DATE, LAST_DAY),
        ("timedelta manual, no logical date", timedelta(hours=6), NO_LOGICAL_DATE, ("2026-01-05T04:30", MIDDAY)),
        (
            "CronTrigger manual, no logical date",
            CronTriggerTimetable("@daily", timezone="UTC"),
            NO_LOGICAL_DATE,
            LAST_DAY,
        ),
        (
            "CronTrigger(interval) manual, no logical date",
            CronTriggerTimetable("@daily", timezone="UTC", interval=timedelta(hours=6)),
            NO_LOGICAL_DATE,
            ("2026-01-04T18:00", DAY_START),
        ),
        (
            "CronDataInterval manual, no logical date",
            CronDataIntervalTimetable("@daily", timezone="UTC"),
            NO_LOGICAL_DATE,
            LAST_DAY,
        ),
        (
            "core CronDataInterval manual, no logical date",
            core_interval.CronDataIntervalTimetable("@daily", timezone="UTC"),
            NO_LOGICAL_DATE,
            LAST_DAY,
        ),
        (
            "several crons",
            MultipleCronTriggerTimetable("0 0 * * *", "0 9 * * *", timezone="UTC"),
            {"interval": ("2026-01-05T09:00", "2026-01-05T09:00")},
            (DAY_START, "2026-01-05T09:00"),
        ),
        (
            "several crons at one instant",
            MultipleCronTriggerTimetable("0 0 * * *", "0 */12 * * *", timezone="UTC"),
            {"interval": EMPTY},
            ("2026-01-04T12:00", DAY_START),
        ),
        (
            "several crons manual, no logical date",
            MultipleCronTriggerTimetable("0 0 * * *", "0 9 * * *", timezone="UTC"),
            NO_LOGICAL_DATE,
            (DAY_START, "2026-01-05T09:00"),
        ),
        (
            "AssetOrTime manual, no logical date",
            asset_or_time(CronTriggerTimetable("@daily", timezone="UTC")),
            NO_LOGICAL_DATE,
            LAST_DAY,
        ),
        (
            "partition, scheduled and backfill",
            CronPartitionTimetable("@daily", timezone="UTC"),
            {"run_after": MIDDAY, "partition": DAY_BEFORE},
            LAST_DAY,
        ),
        (
            "partition of a month, its key formatted",
            CronPartitionTimetable("@monthly", timezone="UTC", run_offset=-1, key_format="%Y-%m"),
            {"run_after": "2026-03-01T00:00", "partition": "2026-02-01T00:00"},
            ("2026-02-01T00:00", "2026-03-01T00:00"),
        ),
        ("partition manual, logical date given", CronPartitionTimetable("@daily", timezone="UTC"), MANUAL, LAST_DAY),
    ]
)
RUNS = [*EVERY_VERSION, *AIRFLOW_3]


@pytest.mark.parametrize(("schedule", "run", "expected"), [row[1:] for row in RUNS], ids=[row[0] for row in RUNS])
def test_every_kind_of_run_exports_its_interval(exported_interval, schedule, run, expected) -> None:
    assert exported_interval(schedule, **run) == expected


@pytest.mark.parametrize(("schedule", "run", "expected"), [row[1:] for row in RUNS], ids=[row[0] for row in RUNS])
def test_with_lookback_every_kind_of_run_ends_where_it_ends_without(exported_interval, schedule, run, expected) -> None:
    start = instant(expected[1]).subtract(hours=60).format("YYYY-MM-DDTHH:mm")
    assert exported_interval(schedule, {"lookback": timedelta(hours=60)}, **run) == (start, expected[1])


RUNS_WITHOUT_INTERVAL = [
    ("None", None, MANUAL),
    ("@once", "@once", {"interval": EMPTY}),
    ("@continuous manual", "@continuous", MANUAL),
    ("events", EventsTimetable([instant(DAY_START), instant(DAY_END)]), {"interval": EMPTY}),
    ("asset-triggered, empty", [Asset("orders")], {"interval": EMPTY, "run_type": "asset_triggered"}),
    ("asset manual", [Asset("orders")], MANUAL),
    (
        "AssetOrTime, asset side",
        asset_or_time(core_trigger.CronTriggerTimetable("@daily", timezone="UTC")),
        {"interval": EMPTY, "run_type": "asset_triggered"},
    ),
    *(
        []
        if AIRFLOW < (3, 2)
        else [
            ("None, no logical date", None, NO_LOGICAL_DATE),
            ("asset-triggered, absent", [Asset("orders")], {"run_after": MIDDAY, "run_type": "asset_triggered"}),
            (
                "AssetOrTime, asset side, absent",
                asset_or_time(CronTriggerTimetable("@daily", timezone="UTC")),
                {"run_after": MIDDAY, "run_type": "asset_triggered"},
            ),
        ]
    ),
]


each_run_without_interval = pytest.mark.parametrize(
    ("schedule", "run"), [row[1:] for row in RUNS_WITHOUT_INTERVAL], ids=[row[0] for row in RUNS_WITHOUT_INTERVAL]
)


@each_run_without_interval
def test_a_run_without_an_interval_sends_nothing_and_names_schedule_and_remedies(
    exported_interval, requests_mock, schedule, run
) -> None:
    with pytest.raises(AirflowFailException, match="Set interval_start and interval_end, or lookback") as error:
        exported_interval(schedule, **run)
    assert "schedule (" in str(error.value)
    assert requests_mock.call_count == 0


@each_run_without_interval
def test_lookback_gives_such_a_run_the_interval_before_its_reference_instant(exported_interval, schedule, run) -> None:
    end = run["interval"][1] if "interval" in run else run["run_after"]
    start = instant(end).subtract(hours=2).format("YYYY-MM-DDTHH:mm")
    assert exported_interval(schedule, {"lookback": timedelta(hours=2)}, **run) == (start, end)


@pytest.mark.skipif(AIRFLOW < (3, 2), reason="partitions came with Airflow 3.2")
def test_a_partition_whose_date_airflow_does_not_give_gets_no_interval_from_the_clock(
    context_of, requests_mock
) -> None:
    # as on Airflow 3.2: the key may mean a time that is long past
    schedule = CronPartitionTimetable("@daily", timezone="UTC")
    with DAG("d", schedule=schedule, start_date=datetime(2020, 1, 1, tzinfo=UTC)) as dag:
        operator = CruxOrdersExportOperator(task_id="export")
    context = context_of(dag, run_after=MIDDAY)
    context["dag_run"].partition_key = "2024-06-01T00:00:00"
    with pytest.raises(AirflowFailException, match="interval_start"):
        operator.execute(context)
    assert requests_mock.call_count == 0


def test_a_runs_parameters_set_the_interval_unless_they_are_empty(exported_interval) -> None:
    params = {
        "orders_interval_start": "2026-03-04T05:06:00.000Z",
        "orders_interval_end": "2026-03-05T00:00:00+01:00",
    }
    assert exported_interval("@daily", interval=EMPTY, params=params) == ("2026-03-04T05:06", "2026-03-04T23:00")
    empty = {"orders_interval_start": None, "orders_interval_end": ""}
    assert exported_interval("@daily", interval=EMPTY, params=empty) == LAST_DAY


def test_an_argument_overrides_a_runs_parameter(exported_interval) -> None:
    arguments = {"interval_start": datetime(2026, 1, 1, tzinfo=UTC), "interval_end": datetime(2026, 1, 2)}
    params = {"orders_interval_start": "2025-01-01", "orders_interval_end": "2025-01-02"}
    interval = exported_interval("@daily", arguments, interval=EMPTY, params=params)
    assert interval == ("2026-01-01T00:00", "2026-01-02T00:00")


@pytest.mark.parametrize(
    ("end", "problem"), [("2026-01-01", "is empty"), ("2025-12-31", "is reversed"), ("soon", "'soon'")]
)
def test_an_invalid_rendered_interval_fails_before_anything_is_sent(
    exported_interval, requests_mock, end, problem
) -> None:
    params = {"orders_interval_start": "2026-01-01", "orders_interval_end": end}
    with pytest.raises(AirflowFailException, match=problem):
        exported_interval("@daily", interval=EMPTY, params=params)
    assert requests_mock.call_count == 0


DAY = {"interval_start": "2026-01-01", "interval_end": "2026-01-02"}


def make_operator(**arguments) -> CruxOrdersExportOperator:
    with DAG("d", schedule=None, start_date=datetime(2020, 1, 1, tzinfo=UTC)):
        return CruxOrdersExportOperator(task_id="export", **arguments)


@pytest.fixture
def execute(context_of) -> Callable[[CruxOrdersExportOperator], str]:
    """Return a function that executes an operator in a run whose data interval is empty."""
    return lambda operator: operator.execute(context_of(operator.dag, interval=EMPTY))


def test_the_uuid_is_returned_and_the_request_is_pushed(context_of, requests_mock) -> None:
    requests_mock.post(EXPORT_URL, json={"uuid": UUID})
    operator = make_operator(**DAY, sort=Sort("date", "desc"), line_item_status=("rejected",), start=0)
    context = context_of(operator.dag, interval=EMPTY)
    assert operator.execute(context) == UUID
    assert context["ti"].pushed["export_interval"]["request"] == requests_mock.last_request.json()
    assert requests_mock.last_request.json() == {
        "start": 0,
        "sort": {"key": "date", "dir": "des"},
        "line_item_status": ["rejected"],
        "start_date": "2026-01-01T00:00:00.000Z",
        "end_date": "2026-01-02T00:00:00.000Z",
    }


def test_no_xcom_is_pushed_if_the_dag_wants_none(context_of, requests_mock) -> None:
    requests_mock.post(EXPORT_URL, json={"uuid": UUID})
    operator = make_operator(**DAY, do_xcom_push=False)
    context = context_of(operator.dag, interval=EMPTY)
    operator.execute(context)
    assert context["ti"].pushed == {}


@pytest.mark.parametrize("status", [400, 401, 403, 404, 415, 422, 200])
def test_a_non_retryable_error_fails_the_task_immediately(execute, requests_mock, status) -> None:
    requests_mock.post(EXPORT_URL, status_code=status, text="<html>")
    with pytest.raises(AirflowFailException):
        execute(make_operator(**DAY))
    assert requests_mock.call_count == 1


@pytest.mark.parametrize(("status", "error"), [(500, CruxAmbiguousError), (503, CruxUnavailableError)])
def test_a_retryable_error_is_left_to_airflows_retries(connect, execute, requests_mock, status, error) -> None:
    connect(password="abc", extra={"max_retries": 0})
    requests_mock.post(EXPORT_URL, status_code=status, headers={"Retry-After": "7"})
    with pytest.raises(error):
        execute(make_operator(**DAY))


LOST = requests.exceptions.ReadTimeout("slow")


@pytest.mark.parametrize(
    "response",
    [
        {"status_code": 500},
        {"status_code": 503},
        {"status_code": 503, "headers": {"Retry-After": "soon"}},
        {"exc": LOST},
    ],
    ids=["HTTP 500", "HTTP 503", "HTTP 503 soon", "lost"],
)
def test_an_ambiguous_request_is_retried_or_not_as_the_dag_says(
    connect, execute, variables, requests_mock, response
) -> None:
    connect(password="abc", extra={"max_retries": 3})
    requests_mock.post(EXPORT_URL, **response)
    messages = []
    for arguments, error in (
        ({}, CruxAmbiguousError),
        ({"on_ambiguous": "retry"}, CruxAmbiguousError),
        ({"on_ambiguous": "fail"}, AirflowFailException),
    ):
        requests_mock.reset_mock()
        variables.clear()  # another task instance
        with pytest.raises(error) as caught:
            execute(make_operator(**DAY, **arguments))
        assert requests_mock.call_count == 1
        assert caught.type is error
        messages.append(str(caught.value))
    assert messages[0] == messages[1]
    assert "a second e-mail" in messages[0]
    assert messages[2].startswith(f"{messages[0]}. It may have been under way since 20")


def test_what_was_certainly_not_processed_is_retried_even_if_an_ambiguous_request_is_not(
    connect, execute, requests_mock
) -> None:
    connect(password="abc", extra={"max_retries": 0})
    requests_mock.post(EXPORT_URL, status_code=503, headers={"Retry-After": "7"})
    with pytest.raises(CruxUnavailableError):
        execute(make_operator(**DAY, on_ambiguous="fail"))


@pytest.mark.parametrize(
    ("rendered", "problem"),
    [({"start": "9" * 5000}, "start: str '999"), ({"limit": "-1"}, "limit: -1")],
    ids=["digits", "negative"],
)
def test_a_rendered_value_that_is_invalid_fails_the_task_immediately(execute, requests_mock, rendered, problem) -> None:
    operator = make_operator(**DAY, **dict.fromkeys(rendered, "{{ x }}"))
    for name, value in rendered.items():
        setattr(operator, name, value)
    with pytest.raises(AirflowFailException) as caught:
        execute(operator)
    assert problem in str(caught.value)
    assert requests_mock.call_count == 0


def test_a_lookback_before_the_year_1_fails_the_task_immediately(context_of, requests_mock) -> None:
    operator = make_operator(lookback=timedelta(days=999999))
    with pytest.raises(AirflowFailException, match="lookback: 999999 days"):
        operator.execute(context_of(operator.dag, interval=EMPTY))
    assert requests_mock.call_count == 0


def test_days_without_dashes_are_days_as_text_and_as_numbers(execute, requests_mock) -> None:
    requests_mock.post(EXPORT_URL, json={"uuid": UUID})
    execute(make_operator(interval_start=20260101, interval_end="20260102"))
    assert requests_mock.last_request.json() == {
        "start_date": "2026-01-01T00:00:00.000Z",
        "end_date": "2026-01-02T00:00:00.000Z",
    }


def test_the_templates_in_a_sort_are_rendered(context_of, requests_mock) -> None:
    requests_mock.post(EXPORT_URL, json={"uuid": UUID})
    operator = make_operator(**DAY, sort=Sort(key="{{ params.key }}", dir="asc"))
    context = context_of(operator.dag, interval=EMPTY, params={"key": "total"})
    operator.render_template_fields(context)
    operator.execute(context)
    assert requests_mock.last_request.json()["sort"] == {"key": "total", "dir": "asc"}


def test_when_the_clocks_change_the_task_fails_immediately_or_exports_the_right_hour(exported_interval) -> None:
    lord_howe = CronDataIntervalTimetable("0 * * * *", "Australia/Lord_Howe")
    before, after = "2026-04-04T14:40", "2026-04-04T15:10"
    interval = exported_interval(lord_howe, interval=(before, before), run_type="manual")
    assert interval == ("2026-04-04T13:00", "2026-04-04T14:00")
    with pytest.raises(AirflowFailException, match=r"CronDataIntervalTimetable.* Set interval_start and interval_end"):
        exported_interval(lord_howe, interval=(after, after), run_type="manual")


def test_an_interval_that_ends_in_the_future_is_warned_about(execute, requests_mock, monkeypatch) -> None:
    requests_mock.post(EXPORT_URL, json={"uuid": UUID})
    warnings: list[str] = []
    operator = make_operator(interval_start="2026-01-01", interval_end="2999-01-01")
    monkeypatch.setattr(operator.log, "warning", lambda message, *args: warnings.append(message % args))
    execute(operator)
    assert ["2999-01-01" in warning for warning in warnings if "future" in warning] == [True]
    operator.interval_end = "2026-01-02"
    execute(operator)
    assert len([warning for warning in warnings if "future" in warning]) == 1


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
def test_a_value_that_a_template_rendered_as_text_is_sent_with_its_type(
    execute, requests_mock, rendered, field, sent
) -> None:
    requests_mock.post(EXPORT_URL, json={"uuid": UUID})
    operator = make_operator(**DAY, **dict.fromkeys(rendered, "{{ x }}"))
    for name, value in rendered.items():
        setattr(operator, name, value)
    execute(operator)
    assert requests_mock.last_request.json().get(field) == sent


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"start": -1}, "start: -1"),
        ({"limit": "many"}, "limit: str 'many'"),
        ({"line_item_status": ["lost"]}, "line_item_status: unknown status ['lost']"),
        ({"status_conjunction": "or"}, "without line_item_status"),
        ({"lookback": 3600}, "lookback: 3600"),
        ({"lookback": timedelta(0)}, "timedelta above 0"),
        ({"interval_start": "yesterday"}, "interval_start: str 'yesterday'"),
        ({"interval_start": "2026-01-02", "interval_end": "2026-01-01"}, "reversed"),
        ({"crux_conn_id": ""}, "crux_conn_id"),
        ({"on_ambiguous": "never"}, "on_ambiguous: str 'never' is invalid; use 'retry' or 'fail'"),
        ({"on_ambiguous": None}, "on_ambiguous: None"),
        ({"start": "9" * 5000}, "start: str '999"),
        ({"sort": Sort("date", "up")}, "sort: dir str 'up'"),
    ],
)
def test_an_invalid_argument_fails_when_the_dag_is_parsed(arguments, problem) -> None:
    with pytest.raises(CruxInvalidRequestError) as error:
        make_operator(**arguments)
    assert problem in str(error.value)
    assert "'export'" in str(error.value)


def test_one_error_names_all_invalid_arguments() -> None:
    with pytest.raises(CruxInvalidRequestError) as error:
        make_operator(start=-1, lookback=7, interval_end="never")
    for problem in ("start: -1", "lookback: 7", "interval_end: str 'never'"):
        assert problem in str(error.value)


def test_a_template_or_another_tasks_output_is_valid_when_the_dag_is_parsed() -> None:
    from airflow.providers.common.compat.sdk import task

    with DAG("d", schedule=None, start_date=datetime(2020, 1, 1, tzinfo=UTC)):

        @task
        def statuses() -> list[str]:
            return ["rejected"]

        CruxOrdersExportOperator(task_id="one", line_item_status=statuses(), status_conjunction="only")
        CruxOrdersExportOperator(task_id="two", start="{{ params.start }}", limit=3, interval_start="{{ ds }}")
        CruxOrdersExportOperator(task_id="three", line_item_status=["{{ params.status }}"])


def test_text_that_is_no_list_is_reported_as_such() -> None:
    with pytest.raises(CruxInvalidRequestError, match="line_item_status: str 'unallocated, allocated' is not a list"):
        make_operator(line_item_status="unallocated, allocated")


def test_one_end_alone_is_checked_when_the_dag_is_parsed() -> None:
    make_operator(interval_start="2026-01-01")
    with pytest.raises(CruxInvalidRequestError, match="interval_end"):
        make_operator(interval_end="yesterday")
