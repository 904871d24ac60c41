"""Which interval a run exports: the pure decision first, then what is read from Airflow's runs and schedules."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import cache
from itertools import pairwise
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pendulum
import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowFailException
from airflow.timetables.base import DataInterval, TimeRestriction, Timetable
from airflow.timetables.interval import CronDataIntervalTimetable, DeltaDataIntervalTimetable
from airflow.timetables.simple import ContinuousTimetable, NullTimetable, OnceTimetable
from airflow.timetables.trigger import CronTriggerTimetable, DeltaTriggerTimetable
from croniter import croniter
from dateutil.relativedelta import MO, relativedelta
from hypothesis import assume, example, given, reject
from hypothesis import strategies as st

from airflow_provider_crux.exceptions import CruxIntervalError
from airflow_provider_crux.operators.orders import CruxOrdersExportOperator
from airflow_provider_crux.task.interval import (
    Interval,
    Run,
    export_interval,
    interval_from_context,
    parse_instant,
    run_from_context,
)
from airflow_provider_crux.task.timetables import last_complete_period, period_starting_at, schedule_name
from tests.examples import examples

if TYPE_CHECKING:
    from collections.abc import Iterator


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)


def at(day: int, hour: int = 0) -> datetime:
    return utc(2026, 1, day, hour)


# The decision.


NOON = at(10, 12)


def make_run(period: tuple[datetime, datetime] | None = None, **facts: Any) -> Run:
    """Return a run whose reference instant is noon of the tenth, when it starts."""
    return Run(period=period, reference=NOON, schedule="NullTimetable Never", **({"started": NOON} | facts))


PERIOD = (at(9), at(10))
THREE_DAYS = {"lookback": timedelta(days=3)}


@pytest.mark.parametrize(
    ("period", "arguments", "start", "end"),
    [
        (PERIOD, {}, at(9), at(10)),
        (PERIOD, THREE_DAYS, at(7), at(10)),
        (PERIOD, {"interval_start": at(1)}, at(1), at(10)),
        (PERIOD, {"interval_start": at(1), **THREE_DAYS}, at(1), at(10)),
        (PERIOD, {"interval_end": at(12)}, at(9), at(12)),
        (PERIOD, {"interval_end": at(5), **THREE_DAYS}, at(2), at(5)),
        (PERIOD, {"interval_start": at(1), "interval_end": at(2)}, at(1), at(2)),
        (PERIOD, {"interval_start": at(1), "interval_end": at(2), **THREE_DAYS}, at(1), at(2)),
        (None, THREE_DAYS, at(7, 12), at(10, 12)),
        (None, {"interval_start": at(1), **THREE_DAYS}, at(1), at(10, 12)),
        (None, {"interval_end": at(5), **THREE_DAYS}, at(2), at(5)),
        (None, {"interval_start": at(1), "interval_end": at(2), **THREE_DAYS}, at(1), at(2)),
    ],
)
def test_which_interval_a_run_exports(period, arguments, start, end) -> None:
    assert export_interval(make_run(period), now=NOON, **arguments) == Interval(start, end)


@pytest.mark.parametrize("arguments", [{}, {"interval_start": at(1)}, {"interval_end": at(1)}])
def test_a_run_without_an_interval_names_its_schedule_and_the_three_remedies(arguments) -> None:
    with pytest.raises(CruxIntervalError) as caught:
        export_interval(make_run(), now=NOON, **arguments)
    for part in ("NullTimetable Never", "interval_start and interval_end", "lookback", "CronDataIntervalTimetable"):
        assert part in str(caught.value)


@pytest.mark.parametrize(("end", "problem"), [(at(2), "is empty"), (at(1), "is reversed")])
def test_an_empty_or_reversed_interval_is_rejected_with_both_ends(end, problem) -> None:
    with pytest.raises(CruxIntervalError, match=problem) as caught:
        interval_from_context({}, interval_start=at(2), interval_end=end)
    assert at(2).isoformat() in str(caught.value)
    assert end.isoformat() in str(caught.value)


def test_a_lookback_before_the_year_1_is_rejected_with_its_length() -> None:
    with pytest.raises(CruxIntervalError, match=r"^lookback: 999999 days.*outside the years 1 to 9999; use a shorter"):
        export_interval(make_run(PERIOD), now=NOON, lookback=timedelta(days=999999))


TODAY = (at(10), at(11))


@pytest.mark.parametrize("arguments", [{}, {"interval_start": at(1)}])
@pytest.mark.parametrize("is_partition", [True, False])
def test_a_period_that_has_not_ended_is_an_error_that_names_the_remedies_of_this_run(is_partition, arguments) -> None:
    run = make_run(TODAY, is_partition=is_partition)
    with pytest.raises(CruxIntervalError, match="has not ended") as caught:
        export_interval(run, now=at(11) - timedelta(seconds=1), **arguments)
    for part in (at(10).isoformat(), at(11).isoformat(), "lookback", "interval_start and interval_end"):
        assert part in str(caught.value)
    assert ("run_offset=-1 in its schedule (NullTimetable Never)" in str(caught.value)) == is_partition


@pytest.mark.parametrize(
    ("facts", "arguments", "start", "end"),
    [
        # it has ended at the time of the request, by this machine's clock or by the scheduler's
        ({"now": at(11)}, {}, at(10), at(11)),
        ({"started": at(11)}, {}, at(10), at(11)),
        ({"started": at(11)}, THREE_DAYS, at(8), at(11)),
        # an end that is given may be in the future
        ({}, {"interval_end": at(12)}, at(10), at(12)),
        ({}, {"interval_end": at(12), **THREE_DAYS}, at(9), at(12)),
        ({}, {"interval_start": at(1), "interval_end": at(12)}, at(1), at(12)),
        # with lookback it does not count, not even for a retry after its end
        ({}, THREE_DAYS, at(7, 12), NOON),
        ({}, {"interval_start": at(1), **THREE_DAYS}, at(1), NOON),
        ({"now": at(11)}, THREE_DAYS, at(7, 12), NOON),
    ],
)
def test_which_interval_a_run_exports_whose_period_ends_after_its_start(facts, arguments, start, end) -> None:
    facts = {"now": NOON} | facts
    now = facts.pop("now")
    assert export_interval(make_run(TODAY, **facts), now=now, **arguments) == Interval(start, end)


def test_an_interval_within_one_second_is_empty() -> None:
    with pytest.raises(CruxIntervalError, match="is empty, in whole seconds"):
        Interval(at(1), at(1) + timedelta(milliseconds=999))


@pytest.mark.parametrize(
    ("value", "moment"),
    [
        ("2026-01-02", at(2)),
        (" 2026-01-02T06:00:00.000Z ", at(2, 6)),
        ("2026-01-02 06:00:00+00:00", at(2, 6)),
        ("2026-01-02T07:00:00+01:00", at(2, 6)),
        ("20260102T060000", at(2, 6)),
        (datetime(2026, 1, 2, 6), at(2, 6)),
        (date(2026, 1, 2), at(2)),
        (pendulum.datetime(2026, 1, 2, 7, tz="Europe/Berlin"), at(2, 6)),
        (pendulum.naive(2026, 1, 2, 6), at(2, 6)),
        (str(pendulum.datetime(2026, 1, 2, 6)), at(2, 6)),
        ("20260102", at(2)),
        (20260102, at(2)),  # {{ ds_nodash }} rendered as a native object
    ],
)
def test_an_instant_is_read_in_every_form_that_airflow_uses(value, moment) -> None:
    assert parse_instant("interval_start", value) == moment


@pytest.mark.parametrize(
    "value", ["yesterday", "10:30", "2026-13-01", "", 20261302, 2026010, 202601021, 1.5, timedelta(1), object(), []]
)
def test_a_value_that_is_not_an_instant_is_rejected_with_argument_value_and_remedy(value) -> None:
    with pytest.raises(CruxIntervalError) as caught:
        parse_instant("interval_end", value)
    assert str(caught.value).startswith("interval_end:")
    assert repr(value) in str(caught.value)
    assert "2026-01-02T06:00:00Z" in str(caught.value)


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00"])
def test_an_instant_outside_the_years_of_utc_is_rejected(text: str) -> None:
    with pytest.raises(CruxIntervalError, match="outside the years"):
        Interval(parse_instant("interval_start", text), at(1))


zoned = st.datetimes(min_value=datetime(1900, 1, 1), max_value=datetime(2200, 1, 1), timezones=st.timezones())


@given(zoned, zoned, zoned)
def test_adjoining_intervals_still_adjoin_when_they_are_truncated(one, two, three) -> None:
    first, middle, last = sorted(moment.astimezone(UTC) for moment in (one, two, three))
    assume(middle - first >= timedelta(seconds=1) and last - middle >= timedelta(seconds=1))
    before, after = Interval(first, middle), Interval(middle, last)
    assert before.end == after.start
    assert before.start.tzinfo is UTC
    assert before.start.microsecond == before.end.microsecond == 0


@given(zoned)
def test_every_instant_survives_being_written_and_read(moment) -> None:
    # in UTC, because Python calls no two instants of different zones equal when the clocks change
    assert parse_instant("interval_start", moment.isoformat()).astimezone(UTC) == moment.astimezone(UTC)


# What Airflow knows.


def make_context(
    timetable: Any, *, data_interval: tuple[datetime, datetime] | None = None, **dag_run: Any
) -> dict[str, Any]:
    """Return a task's context in the part that is read; without ``data_interval`` its keys are missing."""
    run = {"run_type": "manual", "run_after": at(10, 12)} | dag_run
    context = {"dag": SimpleNamespace(timetable=timetable), "dag_run": SimpleNamespace(**run)}
    if data_interval is not None:
        context |= {"data_interval_start": data_interval[0], "data_interval_end": data_interval[1]}
    return context


DAILY_CRON = CronTriggerTimetable("@daily", timezone="UTC")


AFTERNOON = utc(2026, 1, 10, 13, 37)
THREE_DAYS_BEFORE = (AFTERNOON - timedelta(days=3), AFTERNOON)
MANUAL_AT_1337 = {"data_interval": (AFTERNOON, AFTERNOON)}
CONTINUOUS = ContinuousTimetable()


@pytest.mark.parametrize(
    ("timetable", "run", "interval", "with_three_days"),
    [
        # the run's own data interval, if it has length
        (DAILY_CRON, {"data_interval": (at(5), at(6))}, (at(5), at(6)), (at(3), at(6))),
        (
            CONTINUOUS,
            {"data_interval": (at(5), AFTERNOON)},
            (at(5), AFTERNOON),
            THREE_DAYS_BEFORE,
        ),
        (NullTimetable(), {"data_interval": (at(5), at(6))}, (at(5), at(6)), (at(3), at(6))),
        # the period of its partition
        (DAILY_CRON, {"partition": at(5), "partition_key": "5"}, (at(5), at(6)), (at(3), at(6))),
        # the schedule's last complete period
        (DAILY_CRON, {"data_interval": (at(5), at(5))}, (at(4), at(5)), (at(2), at(5))),
        (DAILY_CRON, MANUAL_AT_1337, (at(9), at(10)), (at(7), at(10))),
        (DAILY_CRON, {"run_after": AFTERNOON}, (at(9), at(10)), (at(7), at(10))),
        (DAILY_CRON, {"data_interval": PERIOD, "run_after": AFTERNOON}, (at(9), at(10)), (at(7), at(10))),
        # none of these: with lookback the reference instant
        (NullTimetable(), MANUAL_AT_1337, None, THREE_DAYS_BEFORE),
        (NullTimetable(), {"run_after": AFTERNOON}, None, THREE_DAYS_BEFORE),
        (OnceTimetable(), {"data_interval": (at(5), at(5))}, None, (at(2), at(5))),
        (CONTINUOUS, MANUAL_AT_1337, None, THREE_DAYS_BEFORE),
        (
            DAILY_CRON,
            {"run_type": "asset_triggered", "run_after": AFTERNOON},
            None,
            THREE_DAYS_BEFORE,
        ),
        (
            DAILY_CRON,
            {"run_type": "dataset_triggered", **MANUAL_AT_1337},
            None,
            THREE_DAYS_BEFORE,
        ),
        (DAILY_CRON, {"partition_key": "eu", "run_after": AFTERNOON}, None, THREE_DAYS_BEFORE),
    ],
)
def test_which_interval_a_task_exports_without_and_with_lookback(timetable, run, interval, with_three_days) -> None:
    run = dict(run)
    partition = {"partition_date": run.pop("partition")} if "partition" in run else {}
    context = make_context(timetable, **run) | partition
    if interval is None:
        with pytest.raises(CruxIntervalError, match="There is no interval to export"):
            interval_from_context(context)
    else:
        assert interval_from_context(context) == Interval(*interval)
    assert interval_from_context(context, **THREE_DAYS) == Interval(*with_three_days)


@pytest.mark.parametrize(
    ("timetable", "arguments", "start", "end"),
    [
        # a given end is the reference instant
        (DAILY_CRON, {"interval_end": at(5, 6)}, at(4), at(5, 6)),
        (DAILY_CRON, {"interval_end": at(5, 6), "lookback": timedelta(hours=6)}, at(5), at(5, 6)),
        (NullTimetable(), {"interval_end": at(5), "lookback": timedelta(days=2)}, at(3), at(5)),
        (DAILY_CRON, {"interval_start": at(1)}, at(1), at(10)),
        (DAILY_CRON, {"interval_start": at(1), **THREE_DAYS}, at(1), at(10)),
        (NullTimetable(), {"interval_start": at(1), **THREE_DAYS}, at(1), at(10, 12)),
    ],
)
def test_which_interval_a_task_exports_if_an_end_is_given(timetable, arguments, start, end) -> None:
    assert interval_from_context(make_context(timetable), **arguments) == Interval(start, end)


def test_a_run_whose_data_interval_is_an_instant_exports_the_schedules_period_before_it() -> None:
    context = make_context(DAILY_CRON, data_interval=(at(3), at(3)))
    assert interval_from_context(context) == Interval(at(2), at(3))


def test_lookback_works_with_a_timetable_that_has_no_periods_for_manual_runs() -> None:
    class OwnTimetable(Timetable):
        def next_dagrun_info(self, **_: Any) -> None:
            return None

    context = make_context(OwnTimetable(), data_interval=(at(3), at(3)))
    assert interval_from_context(context, lookback=timedelta(days=1)) == Interval(at(2), at(3))


class TimetableThatRaises(Timetable):
    """A timetable from a plugin, with a defect."""

    def next_dagrun_info(self, **_: Any) -> None:
        return None

    def infer_manual_data_interval(self, **_: Any) -> DataInterval:
        raise KeyError("holidays")


def test_whatever_a_timetable_raises_is_an_interval_error_that_names_it_and_the_remedy() -> None:
    context = make_context(TimetableThatRaises(), run_after=at(10, 12))
    for arguments in ({}, THREE_DAYS):
        with pytest.raises(CruxIntervalError) as caught:
            interval_from_context(context, **arguments)
        for part in ("TimetableThatRaises", "KeyError", "holidays", "Set interval_start and interval_end"):
            assert part in str(caught.value)
    both = {"interval_start": at(1), "interval_end": at(2)}
    assert interval_from_context(context, **both) == Interval(at(1), at(2))


class WrappingTimetable(Timetable):
    """A timetable from a plugin that wraps another one, and whose periods are its own: noon to noon."""

    def __init__(self, timetable: Timetable) -> None:
        self.timetable = timetable

    def next_dagrun_info(self, **_: Any) -> None:
        return None

    def infer_manual_data_interval(self, *, run_after: Any) -> DataInterval:
        noon = run_after.start_of("day").add(hours=12)
        return DataInterval(noon.subtract(days=1), noon)


class AssetOrTimeSchedule(WrappingTimetable):
    """The same, under the name of a class of Airflow."""


@pytest.mark.parametrize("timetable", [WrappingTimetable(DAILY_CRON), AssetOrTimeSchedule(DAILY_CRON)])
def test_a_timetable_of_a_plugin_that_wraps_another_decides_itself(timetable) -> None:
    assert last_complete_period(timetable, NOON) == (at(9, 12), at(10, 12))


LORD_HOWE = CronDataIntervalTimetable("0 * * * *", "Australia/Lord_Howe")


@pytest.mark.parametrize("change", [utc(2026, 4, 4, 15), utc(2026, 10, 3, 15, 30)])  # by half an hour
@pytest.mark.parametrize("minutes", [-90, -30, -10, 0, 10, 40, 90, 150])
def test_when_the_clocks_change_a_period_is_right_or_an_interval_error(change: datetime, minutes: int) -> None:
    moment = change + timedelta(minutes=minutes)
    context = make_context(LORD_HOWE, data_interval=(moment, moment))
    try:
        interval = interval_from_context(context)
    except CruxIntervalError as error:
        # only if Airflow's own arithmetic does not advance
        assert minutes > 0
        assert "CronDataIntervalTimetable" in str(error)  # noqa: PT017
        assert "Set interval_start and interval_end" in str(error)  # noqa: PT017
    else:
        assert interval.end <= moment < interval.end + timedelta(hours=1, minutes=30)
        assert interval.end - interval.start == timedelta(hours=1)


def test_some_runs_after_a_change_of_the_clocks_have_no_period() -> None:
    # otherwise the test above proves less than it says
    moment = utc(2026, 4, 4, 15, 10)
    with pytest.raises(CruxIntervalError, match="advance past"):
        interval_from_context(make_context(LORD_HOWE, data_interval=(moment, moment)))


def test_an_interval_with_both_ends_does_not_need_a_run() -> None:
    assert interval_from_context({}, interval_start=at(1), interval_end=at(2)) == Interval(at(1), at(2))
    with pytest.raises(CruxIntervalError, match="is reversed"):
        interval_from_context({}, interval_start=at(2), interval_end=at(1))


@pytest.mark.parametrize(
    "dag_run",
    [{"run_type": "asset_triggered"}, {"run_type": "dataset_triggered"}, {"partition_key": "2025-07-01"}],
)
def test_the_clock_says_nothing_about_a_run_for_an_asset_or_another_partition(dag_run) -> None:
    context = make_context(DAILY_CRON, **dag_run)
    assert run_from_context(context, now=NOON).period is None
    with pytest.raises(CruxIntervalError, match="There is no interval to export"):
        interval_from_context(context)


def test_a_partition_date_begins_the_period_that_is_exported() -> None:
    context = make_context(DAILY_CRON, partition_key="2026-01-05") | {"partition_date": at(5)}
    assert interval_from_context(context) == Interval(at(5), at(6))


def test_the_reference_is_the_end_of_the_data_interval_or_else_when_the_run_may_start_or_else_now() -> None:
    def reference(given: datetime | None = None, **run: Any) -> datetime:
        return run_from_context(make_context(DAILY_CRON, **run), now=at(20), reference=given).reference

    assert reference(data_interval=(at(3), at(4))) == at(4)
    assert reference() == NOON
    assert reference(run_after=None) == at(20)
    assert reference(at(1)) == at(1)
    # an end of the data interval that was in the future
    assert reference(data_interval=(at(3), at(21))) == NOON
    assert reference(data_interval=(at(21), at(21)), run_after=None) == at(20)
    assert reference(at(22), data_interval=(at(3), at(21))) == at(22)


def test_the_time_of_the_request_is_now_unless_it_is_given() -> None:
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    context = make_context(NullTimetable(), data_interval=(tomorrow - timedelta(days=7), tomorrow))
    with pytest.raises(CruxIntervalError, match="has not ended"):
        interval_from_context(context)
    assert interval_from_context(context, now=tomorrow).end == tomorrow.replace(microsecond=0)


# What each run of the partition of 10 January knows, and what it exports at noon of the tenth: with Airflow's default,
# run_offset=0, its scheduled run is due when the partition begins, and so is the run of a backfill whatever the offset.
PARTITION = {"partition_key": "2026-01-10", "partition_date": at(10)}
SCHEDULED = {"run_type": "scheduled", "run_after": at(10), "start_date": at(10) + timedelta(seconds=3)}


def partition_context(**run: Any) -> dict[str, Any]:
    return make_context(DAILY_CRON, partition_key="2026-01-10", **run) | PARTITION


@pytest.mark.parametrize(
    ("run", "end_with_lookback"),
    [
        (SCHEDULED, at(10)),
        (SCHEDULED | {"run_type": "backfill", "start_date": at(10, 11)}, at(10)),
        ({"run_type": "manual", "run_after": at(10, 11), "start_date": at(10, 11)}, at(10, 11)),
    ],
)
def test_a_partition_that_has_not_ended_is_exported_only_with_lookback_from_when_the_run_was_due(
    run, end_with_lookback
) -> None:
    context = partition_context(**run)
    with pytest.raises(CruxIntervalError, match="run_offset=-1 in its schedule"):
        interval_from_context(context, now=NOON)
    interval = Interval(end_with_lookback - timedelta(days=3), end_with_lookback)
    assert interval_from_context(context, now=NOON, **THREE_DAYS) == interval
    # a retry after the partition's end
    assert interval_from_context(context, now=at(11, 1), **THREE_DAYS) == interval


@pytest.mark.parametrize(
    "run",
    [
        {"run_type": "scheduled", "run_after": at(11), "start_date": at(11)},  # run_offset=-1
        SCHEDULED | {"run_type": "backfill", "start_date": at(20)},
        SCHEDULED | {"start_date": at(20)},  # cleared, or started late
        {"run_type": "manual", "run_after": at(20), "start_date": at(20)},
    ],
)
def test_a_partition_that_had_ended_when_the_run_started_is_exported(run) -> None:
    context = partition_context(**run)
    assert interval_from_context(context, now=at(20)) == Interval(at(10), at(11))
    assert interval_from_context(context, now=at(20), **THREE_DAYS) == Interval(at(8), at(11))


def test_a_task_that_waited_for_the_end_of_its_partition_exports_it() -> None:
    assert interval_from_context(partition_context(**SCHEDULED), now=at(11)) == Interval(at(10), at(11))


@pytest.mark.parametrize("interval", [(at(20), at(21)), (at(21), at(21))])
@pytest.mark.parametrize("start_date", [NOON, at(21)])  # the second is what dag.test() says
def test_a_data_interval_in_the_future_is_exported_only_with_lookback_from_when_the_run_was_due(
    interval, start_date
) -> None:
    context = make_context(DAILY_CRON, data_interval=interval, start_date=start_date)
    with pytest.raises(CruxIntervalError, match="has not ended") as caught:
        interval_from_context(context, now=NOON)
    assert "run_offset" not in str(caught.value)
    assert interval_from_context(context, now=NOON, **THREE_DAYS) == Interval(at(7, 12), NOON)


@pytest.mark.parametrize("due", [{"run_after": at(11)}, {"run_after": None, "start_date": at(11)}])  # Airflow 3, 2.11
def test_a_scheduled_run_exports_its_interval_although_this_machines_clock_is_slow(due) -> None:
    context = make_context(DAILY_CRON, data_interval=TODAY, run_type="scheduled", **due)
    slow = at(11) - timedelta(minutes=2)
    assert interval_from_context(context, now=slow) == Interval(*TODAY)
    assert interval_from_context(context, now=slow, **THREE_DAYS) == Interval(at(8), at(11))


@pytest.fixture
def error_and_end(sandbox, make_context):
    """
    Return a function that executes a task of a run, and then the same task with a lookback of a day.

    It returns the error of the first, which requests nothing, and the end of the interval that the second requests.
    """

    def execute(schedule: Any, dag_run: dict[str, Any], **facts: Any) -> tuple[str, datetime]:
        with DAG("d", schedule=schedule, start_date=at(1)) as dag:
            export = CruxOrdersExportOperator(task_id="export", retries=3)
            with_lookback = CruxOrdersExportOperator(task_id="with_lookback", lookback=timedelta(days=1))
        context = make_context(dag=dag, dag_run=SimpleNamespace(**dag_run), params={}, **facts)
        with pytest.raises(AirflowFailException) as caught:
            export.execute(context)
        assert sandbox.requests == []
        with_lookback.execute(context)
        (request,) = sandbox.requests
        start, end = (datetime.fromisoformat(request["body"][name]) for name in ("start_date", "end_date"))
        assert end - start == timedelta(days=1)
        return str(caught.value), end

    return execute


def test_a_partition_that_has_not_ended_fails_the_task_before_anything_is_sent(error_and_end) -> None:
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    this_year, next_year = (midnight.replace(year=midnight.year + n, month=1, day=1) for n in (0, 1))
    dag_run = {"run_type": "scheduled", "run_after": this_year, "partition_key": "this year"}
    error, end = error_and_end(CronTriggerTimetable("@yearly", timezone="UTC"), dag_run, partition_date=this_year)
    assert f"from {this_year.isoformat()} to {next_year.isoformat()}, has not ended" in error
    assert "Set run_offset=-1 in its schedule (CronTriggerTimetable 0 0 1 1 *), or lookback" in error
    assert end == this_year


def test_a_data_interval_that_has_not_ended_fails_the_task_before_anything_is_sent(error_and_end) -> None:
    due = datetime.now(UTC).replace(microsecond=0)
    dag_run = {"run_type": "manual", "run_after": due}
    tomorrow = due + timedelta(days=1)
    error, end = error_and_end(None, dag_run, data_interval_start=due, data_interval_end=tomorrow)
    assert f"to {tomorrow.isoformat()}, has not ended" in error
    assert "Set lookback, for example timedelta(days=1)" in error
    assert end == due


# The periods of schedules, held against Airflow's own timetables.

EVERY_RUN = TimeRestriction(earliest=None, latest=None, catchup=True)


def scheduled_intervals(timetable, after: datetime, count: int) -> list[DataInterval]:
    """
    Return the data intervals of the runs that Airflow's scheduler would create.

    Without the first: if the clocks change between ``after`` and it, Airflow's arithmetic can be an hour off.
    """
    last, intervals = DataInterval.exact(pendulum.instance(after)), []
    for _ in range(count + 1):
        last = timetable.next_dagrun_info(last_automated_data_interval=last, restriction=EVERY_RUN).data_interval
        intervals.append(last)
    return intervals[1:]


minutes = st.sampled_from(["0", "5", "30", "59", "*/15", "*"])
hours = st.sampled_from(["0", "2", "3", "23", "*/2", "*/6", "1,2,3", "*"])
days = st.sampled_from(["*", "1", "15", "29", "31", "*/7"])
months = st.sampled_from(["*", "1", "2", "*/3"])
weekdays = st.sampled_from(["*", "0", "1-5", "mon"])
dates = st.tuples(days, months).filter(lambda date: date != ("31", "2"))  # there is no 31 February
crons = st.builds(lambda m, h, date, w: " ".join((m, h, *date, w)), minutes, hours, dates, weekdays)
ZONES = """UTC Europe/Berlin Europe/Dublin America/New_York America/Sao_Paulo Africa/Casablanca
    Asia/Kolkata Asia/Tokyo Australia/Lord_Howe Pacific/Auckland Pacific/Chatham"""
zones = st.sampled_from(ZONES.split())
moments = st.datetimes(datetime(1995, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC))


@pytest.fixture(scope="module", autouse=True)
def _each_cron_is_parsed_once() -> Iterator[None]:
    """Spare the properties a third of their time: Airflow lets croniter parse a cron again for each of its times."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(croniter, "_expand", staticmethod(cache(croniter._expand)))
        yield


@pytest.mark.slow
@given(crons, zones, moments)
@example("30 2 * * *", "Europe/Berlin", datetime(2026, 3, 27, tzinfo=UTC))  # 02:30 does not exist on the 29th
@example("30 2 * * *", "Europe/Berlin", datetime(2026, 10, 23, tzinfo=UTC))  # and occurs twice on 25 October
@example("*/20 1-3 * * *", "Europe/Berlin", datetime(2026, 3, 28, 23, tzinfo=UTC))
@example("0 * * * *", "Australia/Lord_Howe", datetime(2026, 4, 4, 10, tzinfo=UTC))  # clocks change by half an hour
def test_every_run_of_a_cron_exports_the_time_since_the_run_before_it(cron: str, zone: str, after: datetime) -> None:
    timetable = CronTriggerTimetable(cron, timezone=zone)
    ticks = [interval.end for interval in scheduled_intervals(timetable, after, 8)]
    periods = [last_complete_period(timetable, tick) for tick in ticks]
    assert periods[1:] == list(pairwise(ticks))  # each run has its own, and all of them adjoin


@pytest.mark.slow
@given(crons, zones, moments)
@example("0 0 * * *", "Europe/Berlin", datetime(2026, 3, 27, tzinfo=UTC))
@example("0 0 * * *", "Europe/Berlin", datetime(2026, 10, 23, tzinfo=UTC))
def test_a_cron_without_intervals_exports_those_of_the_same_cron_with_them(cron, zone, after) -> None:
    timetable = CronTriggerTimetable(cron, timezone=zone)
    ticks = [interval.end for interval in scheduled_intervals(timetable, after, 8)]
    try:
        intervals = scheduled_intervals(CronDataIntervalTimetable(cron, timezone=zone), ticks[0], 8)
    except ValueError as error:
        # Airflow 3.3's own timetable cannot pass some changes of the clocks
        assert "did not advance" in str(error)  # noqa: PT017
        reject()
    # If Airflow's own intervals leave a gap at a change of the clocks, there is nothing to compare with; the test above
    # proves that ours have no gap. Hypothesis complains if too few examples remain.
    assume(all(before.end == after.start for before, after in pairwise(intervals)))
    airflows_periods = {interval.end: tuple(interval) for interval in intervals}
    for tick in ticks[3:]:  # Airflow 3.3 begins after the instant that it receives, 2.11 at it
        assert last_complete_period(timetable, tick) == airflows_periods[tick]


@pytest.mark.slow
@given(crons, zones, moments)
def test_a_manual_run_within_a_period_exports_the_last_complete_one(cron: str, zone: str, moment: datetime) -> None:
    timetable = CronTriggerTimetable(cron, timezone=zone)
    start, end = last_complete_period(timetable, moment)
    assert end <= moment < period_starting_at(timetable, end)[1]
    assert last_complete_period(timetable, end) == (start, end)
    assert period_starting_at(timetable, start) == (start, end)


lengths = st.timedeltas(min_value=timedelta(seconds=1), max_value=timedelta(days=400))


@pytest.mark.slow
@given(crons, zones, moments, lengths, st.sampled_from(["interval", "instant", "absent", "partition", "given end"]))
def test_with_lookback_an_interval_ends_where_it_ends_without(cron, zone, moment, lookback, kind) -> None:
    timetable = CronTriggerTimetable(cron, timezone=zone)
    run: dict[str, Any] = {"run_after": moment}
    if kind in ("interval", "instant"):
        run["data_interval"] = (moment - (timedelta(hours=5) if kind == "interval" else timedelta(0)), moment)
    context = make_context(timetable, **run)
    if kind == "partition":
        context |= {"partition_date": moment}
    given_end = {"interval_end": moment} if kind == "given end" else {}
    arguments = {"now": datetime(2100, 1, 1, tzinfo=UTC), **given_end}
    with_lookback = interval_from_context(context, lookback=lookback, **arguments)
    assert with_lookback.end == interval_from_context(context, **arguments).end
    # each end is truncated to the second
    assert abs(with_lookback.end - with_lookback.start - lookback) < timedelta(seconds=1)


@pytest.mark.parametrize(
    ("timetable", "period"),
    [
        (CronDataIntervalTimetable("@daily", "UTC"), (utc(2026, 1, 9), utc(2026, 1, 10))),
        (CronTriggerTimetable("@hourly", timezone="UTC"), (utc(2026, 1, 10, 11), NOON)),
        (
            # the last run's own interval, though the one before it was six days earlier
            CronTriggerTimetable("0 0 * * 6", timezone="UTC", interval=timedelta(hours=6)),
            (utc(2026, 1, 9, 18), utc(2026, 1, 10)),
        ),
        (DeltaDataIntervalTimetable(timedelta(hours=6)), (utc(2026, 1, 10, 6), NOON)),
        (DeltaTriggerTimetable(timedelta(hours=6)), (utc(2026, 1, 10, 6), NOON)),
        (DeltaTriggerTimetable(timedelta(hours=6), interval=timedelta(hours=2)), (utc(2026, 1, 10, 10), NOON)),
        (NullTimetable(), None),
        (OnceTimetable(), None),
        (ContinuousTimetable(), None),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_last_complete_period_of_each_kind_of_schedule(timetable, period) -> None:
    assert last_complete_period(timetable, NOON) == period


def test_a_day_has_23_or_25_hours_when_the_clocks_change() -> None:
    berlin = CronTriggerTimetable("@daily", timezone="Europe/Berlin")
    spring = last_complete_period(berlin, utc(2026, 3, 29, 22))
    autumn = last_complete_period(berlin, utc(2026, 10, 25, 23))
    assert spring == (utc(2026, 3, 28, 23), utc(2026, 3, 29, 22))
    assert autumn == (utc(2026, 10, 24, 22), utc(2026, 10, 25, 23))


def test_the_first_run_of_a_yearly_burst_exports_the_time_since_the_burst_before() -> None:
    # From a day in summer, Airflow's arithmetic gives a first run that is an hour off in winter.
    every_hour_of_january = CronTriggerTimetable("0 * * 1 *", timezone="Europe/Berlin")
    first = utc(2025, 12, 31, 23)
    assert last_complete_period(every_hour_of_january, first) == (utc(2025, 1, 31, 22), first)


def test_a_schedule_is_named_by_its_kind_and_its_summary() -> None:
    assert schedule_name(CronTriggerTimetable("0 0 * * *", timezone="UTC")) == "CronTriggerTimetable 0 0 * * *"
    assert "NullTimetable" in schedule_name(NullTimetable())


def runs_of(delta: relativedelta, start: datetime, count: int = 8) -> list[datetime]:
    """Return when the scheduler starts the runs of a relativedelta, the first of them at ``start``."""
    # the scheduler has what Airflow serializes, without the fields that are 0
    timetable = DeltaTriggerTimetable.deserialize(DeltaTriggerTimetable(delta).serialize())
    last = DataInterval.exact(pendulum.instance(start))
    runs = [last.end]
    while len(runs) < count:
        last = timetable.next_dagrun_info(last_automated_data_interval=last, restriction=EVERY_RUN).data_interval
        runs.append(last.end)
    return runs


def exported_period(delta: relativedelta, moment: datetime) -> Interval | None:
    """Return what the run at an instant exports; ``None`` if there is the error that it must be."""
    context = make_context(DeltaTriggerTimetable(delta), data_interval=(moment, moment), run_type="scheduled")
    try:
        return interval_from_context(context, now=datetime(2100, 1, 1, tzinfo=UTC))
    except CruxIntervalError as error:
        for part in ("DeltaTriggerTimetable", str(delta), "Set interval_start and interval_end, or lookback"):
            assert part in str(error)  # noqa: PT017
        return None


def optional(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(st.none(), values)


relativedeltas = st.builds(
    relativedelta,
    years=st.integers(0, 2),
    months=st.integers(0, 14),
    days=st.integers(-3, 40),
    hours=st.integers(-2, 30),
    minutes=st.sampled_from([0, 15]),
    month=optional(st.sampled_from([2, 12])),
    day=optional(st.sampled_from([1, 15, 31])),
    weekday=optional(st.just(MO)),
    hour=optional(st.sampled_from([0, 2])),
)
simple_relativedeltas = st.builds(relativedelta, months=st.integers(0, 14), days=st.integers(-1, 3))
month_ends = moments.map(lambda moment: moment.replace(day=28) + timedelta(days=moment.day % 4))


@examples(1000)
@given(relativedeltas | simple_relativedeltas, moments | month_ends)
@example(relativedelta(months=1, day=31), utc(2026, 1, 15))
@example(relativedelta(days=1, hour=2), utc(2026, 1, 1))
@example(relativedelta(days=1, hour=0), utc(2026, 1, 1, 5))
@example(relativedelta(days=1, weekday=MO), utc(2026, 1, 1))
@example(relativedelta(months=1), utc(2026, 1, 31))
@example(relativedelta(months=1), utc(2026, 1, 28))
@example(relativedelta(months=1, days=1), utc(2026, 1, 30))
@example(relativedelta(years=1), utc(2024, 2, 29))
def test_every_run_of_a_relativedelta_exports_the_time_since_the_run_before_it_or_fails(delta, start) -> None:
    assume(start + delta > start)
    runs = runs_of(delta, start)
    assume(all(before < run for before, run in pairwise(runs)))
    for before, run in pairwise(runs):
        assert exported_period(delta, run) in (Interval(before, run), None)


@given(
    st.one_of(
        st.builds(relativedelta, months=st.integers(1, 30)),
        st.builds(relativedelta, days=st.integers(0, 40), hours=st.integers(1, 30)),
    ),
    moments,
)
def test_a_relativedelta_of_days_always_works_and_one_of_months_until_the_27th(delta, start) -> None:
    assume(start.day <= 27 or not delta.months + delta.years)
    for before, run in pairwise(runs_of(delta, start)):
        assert exported_period(delta, run) == Interval(before, run)


@pytest.mark.parametrize(
    ("delta", "run"),
    [
        (relativedelta(months=1, day=31), utc(2026, 2, 28)),  # its first run may have been on 15 January
        (relativedelta(days=1, hour=2), utc(2026, 1, 9, 2)),
        (relativedelta(months=1), utc(2026, 2, 28)),  # the run before it may have been on 31 January
        (relativedelta(months=1), utc(2026, 3, 31)),  # there is none a month before
    ],
)
def test_a_relativedelta_that_does_not_invert_fails_the_task_unless_lookback_is_set(error_and_end, delta, run) -> None:
    dag_run = {"run_type": "scheduled", "run_after": run}
    schedule = DeltaTriggerTimetable(delta)
    error, end = error_and_end(schedule, dag_run, data_interval_start=run, data_interval_end=run)
    assert f"schedule (DeltaTriggerTimetable {delta})" in error
    assert f"{delta} leads to {run.isoformat()} from several instants or from none" in error
    assert "Set interval_start and interval_end, or lookback" in error
    assert end == run


def test_a_relative_month_is_a_calendar_month() -> None:
    for timetable in (DeltaTriggerTimetable, DeltaDataIntervalTimetable):
        period = last_complete_period(timetable(relativedelta(months=1)), utc(2026, 3, 27))
        assert period == (utc(2026, 2, 27), utc(2026, 3, 27))


def test_a_timetable_of_a_plugin_that_extends_one_of_airflow_decides_itself() -> None:
    class Fortnights(DeltaDataIntervalTimetable):
        def infer_manual_data_interval(self, run_after: Any) -> DataInterval:
            return DataInterval(run_after.subtract(days=14), run_after)

    assert last_complete_period(Fortnights(relativedelta(months=1)), at(31)) == (at(17), at(31))


def test_a_partition_date_begins_no_period_without_a_cron() -> None:
    assert period_starting_at(NullTimetable(), utc(2026, 1, 1)) is None
