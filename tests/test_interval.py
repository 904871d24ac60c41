"""Which interval a run exports: the pure decision first, then what is read from Airflow's runs and schedules."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pendulum
import pytest
from airflow.timetables.base import DataInterval, TimeRestriction, Timetable
from airflow.timetables.interval import CronDataIntervalTimetable, DeltaDataIntervalTimetable
from airflow.timetables.simple import ContinuousTimetable, NullTimetable, OnceTimetable
from airflow.timetables.trigger import CronTriggerTimetable, DeltaTriggerTimetable
from dateutil.relativedelta import relativedelta
from hypothesis import assume, example, given, reject
from hypothesis import strategies as st

from airflow_provider_crux.exceptions import CruxIntervalError
from airflow_provider_crux.interval import (
    Interval,
    Run,
    export_interval,
    interval_from_context,
    last_complete_period,
    parse_instant,
    period_starting_at,
    run_from_context,
    schedule_name,
)


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)


def at(day: int, hour: int = 0) -> datetime:
    return utc(2026, 1, day, hour)


# The decision.


def make_run(period: tuple[datetime, datetime] | None = None) -> Run:
    """Return a run whose reference instant is noon of the tenth."""
    return Run(period=period, reference=at(10, 12), schedule="NullTimetable Never")


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
        (None, {"interval_start": at(1), "interval_end": at(2)}, at(1), at(2)),
        (None, {"interval_start": at(1), "interval_end": at(2), **THREE_DAYS}, at(1), at(2)),
    ],
)
def test_which_interval_a_run_exports(period, arguments, start, end) -> None:
    assert export_interval(make_run(period), **arguments) == Interval(start, end)


@pytest.mark.parametrize("arguments", [{}, {"interval_start": at(1)}, {"interval_end": at(1)}])
def test_a_run_without_an_interval_names_its_schedule_and_the_three_remedies(arguments) -> None:
    with pytest.raises(CruxIntervalError) as caught:
        export_interval(make_run(), **arguments)
    for part in ("NullTimetable Never", "interval_start and interval_end", "lookback", "CronDataIntervalTimetable"):
        assert part in str(caught.value)


@pytest.mark.parametrize(("end", "problem"), [(at(2), "is empty"), (at(1), "is reversed")])
def test_an_empty_or_reversed_interval_is_rejected_with_both_ends(end, problem) -> None:
    with pytest.raises(CruxIntervalError, match=problem) as caught:
        export_interval(make_run(), interval_start=at(2), interval_end=end)
    assert at(2).isoformat() in str(caught.value)
    assert end.isoformat() in str(caught.value)


def test_a_lookback_before_the_year_1_is_rejected_with_its_length() -> None:
    with pytest.raises(CruxIntervalError, match=r"^lookback: 999999 days.*outside the years 1 to 9999; use a shorter"):
        export_interval(make_run(PERIOD), lookback=timedelta(days=999999))


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
NOON = at(10, 12)


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
    assert run_from_context(context).period is None
    with pytest.raises(CruxIntervalError, match="There is no interval to export"):
        interval_from_context(context)


def test_a_partition_date_begins_the_period_that_is_exported() -> None:
    context = make_context(DAILY_CRON, partition_key="2026-01-05") | {"partition_date": at(5)}
    assert interval_from_context(context) == Interval(at(5), at(6))


def test_the_reference_is_the_end_of_the_data_interval_or_else_when_the_run_may_start_or_else_now() -> None:
    assert run_from_context(make_context(DAILY_CRON, data_interval=(at(3), at(4)))).reference == at(4)
    assert run_from_context(make_context(DAILY_CRON)).reference == at(10, 12)
    before = datetime.now(UTC)
    assert before <= run_from_context(make_context(DAILY_CRON, run_after=None)).reference <= datetime.now(UTC)
    assert run_from_context(make_context(DAILY_CRON), reference=at(1)).reference == at(1)


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
    with_lookback = interval_from_context(context, lookback=lookback, **given_end)
    assert with_lookback.end == interval_from_context(context, **given_end).end
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


def test_a_relative_month_is_a_calendar_month() -> None:
    month = DeltaTriggerTimetable(relativedelta(months=1))
    assert last_complete_period(month, utc(2026, 3, 31)) == (utc(2026, 2, 28), utc(2026, 3, 31))


def test_a_partition_date_begins_no_period_without_a_cron() -> None:
    assert period_starting_at(NullTimetable(), utc(2026, 1, 1)) is None
