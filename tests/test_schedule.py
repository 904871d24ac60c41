"""The periods of schedules, held against Airflow's own timetables."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pendulum
import pytest
from airflow.timetables.base import DataInterval, TimeRestriction
from airflow.timetables.interval import CronDataIntervalTimetable, DeltaDataIntervalTimetable
from airflow.timetables.simple import ContinuousTimetable, NullTimetable, OnceTimetable
from airflow.timetables.trigger import CronTriggerTimetable, DeltaTriggerTimetable
from hypothesis import assume, example, given, reject
from hypothesis import strategies as st

from airflow_provider_crux.interval import last_complete_period, period_starting_at, schedule_name

EVERY_RUN = TimeRestriction(earliest=None, latest=None, catchup=True)


def scheduled(timetable, after: datetime, count: int) -> list[DataInterval]:
    """
    Give the data intervals of the runs that Airflow's scheduler would make.

    Without the first: where the clocks change between ``after`` and it, Airflow's arithmetic can be an hour off.
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
fires = st.tuples(days, months).filter(lambda date: date != ("31", "2"))  # there is no 31 February
crons = st.builds(lambda m, h, date, w: " ".join((m, h, *date, w)), minutes, hours, fires, weekdays)
ZONES = """UTC Europe/Berlin Europe/Dublin America/New_York America/Sao_Paulo Africa/Casablanca
    Asia/Kolkata Asia/Tokyo Australia/Lord_Howe Pacific/Auckland Pacific/Chatham"""
zones = st.sampled_from(ZONES.split())
moments = st.datetimes(datetime(1995, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC))


@given(crons, zones, moments)
@example("30 2 * * *", "Europe/Berlin", datetime(2026, 3, 27, tzinfo=UTC))  # 02:30 does not exist on the 29th
@example("30 2 * * *", "Europe/Berlin", datetime(2026, 10, 23, tzinfo=UTC))  # and exists twice on 25 October
@example("*/20 1-3 * * *", "Europe/Berlin", datetime(2026, 3, 28, 23, tzinfo=UTC))
@example("0 * * * *", "Australia/Lord_Howe", datetime(2026, 4, 4, 10, tzinfo=UTC))  # clocks change by half an hour
def test_every_run_of_a_cron_exports_the_time_since_the_run_before_it(cron: str, zone: str, after: datetime) -> None:
    timetable = CronTriggerTimetable(cron, timezone=zone)
    ticks = [interval.end for interval in scheduled(timetable, after, 8)]
    periods = [last_complete_period(timetable, tick) for tick in ticks]
    assert periods[1:] == list(pairwise(ticks))  # to each run its own, and all of them adjoin


@given(crons, zones, moments)
@example("0 0 * * *", "Europe/Berlin", datetime(2026, 3, 27, tzinfo=UTC))
@example("0 0 * * *", "Europe/Berlin", datetime(2026, 10, 23, tzinfo=UTC))
def test_a_cron_without_intervals_exports_what_airflow_gives_the_same_cron_with_them(cron, zone, after) -> None:
    timetable = CronTriggerTimetable(cron, timezone=zone)
    ticks = [interval.end for interval in scheduled(timetable, after, 8)]
    try:
        intervals = scheduled(CronDataIntervalTimetable(cron, timezone=zone), ticks[0], 8)
    except ValueError as stuck:
        # Airflow 3.3's own timetable cannot get past some changes of the clocks
        assert "did not advance" in str(stuck)  # noqa: PT017
        reject()
    # Where Airflow's own intervals leave a gap at a change of the clocks there is nothing to equal; the test above
    # holds ours to be whole there. Hypothesis complains if this leaves too little.
    assume(all(before.end == after.start for before, after in pairwise(intervals)))
    given_by_airflow = {interval.end: tuple(interval) for interval in intervals}
    for tick in ticks[3:]:  # Airflow 3.3 begins its intervals after the instant it is given, 2.11 at it
        assert last_complete_period(timetable, tick) == given_by_airflow[tick]


@given(crons, zones, moments)
def test_a_manual_run_in_mid_period_exports_the_last_whole_one(cron: str, zone: str, moment: datetime) -> None:
    timetable = CronTriggerTimetable(cron, timezone=zone)
    start, end = last_complete_period(timetable, moment)
    assert end <= moment < period_starting_at(timetable, end)[1]
    assert last_complete_period(timetable, end) == (start, end)
    assert period_starting_at(timetable, start) == (start, end)


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)


NOON = utc(2026, 1, 10, 12)


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
def test_the_last_whole_period_of_each_kind_of_schedule(timetable, period) -> None:
    assert last_complete_period(timetable, NOON) == period


def test_a_day_is_as_long_as_the_clocks_make_it() -> None:
    berlin = CronTriggerTimetable("@daily", timezone="Europe/Berlin")
    spring = last_complete_period(berlin, utc(2026, 3, 29, 22))
    autumn = last_complete_period(berlin, utc(2026, 10, 25, 23))
    assert spring == (utc(2026, 3, 28, 23), utc(2026, 3, 29, 22))
    assert autumn == (utc(2026, 10, 24, 22), utc(2026, 10, 25, 23))


def test_a_burst_once_a_year_reaches_back_to_the_burst_before_it() -> None:
    # Asked from a summer's day, Airflow's arithmetic gives a first run that is an hour off in winter.
    every_hour_of_january = CronTriggerTimetable("0 * * 1 *", timezone="Europe/Berlin")
    first = utc(2025, 12, 31, 23)
    assert last_complete_period(every_hour_of_january, first) == (utc(2025, 1, 31, 22), first)


def test_a_schedule_is_named_as_a_person_would() -> None:
    assert schedule_name(CronTriggerTimetable("0 0 * * *", timezone="UTC")) == "CronTriggerTimetable 0 0 * * *"
    assert "NullTimetable" in schedule_name(NullTimetable())


def test_a_relative_month_is_a_month_of_the_calendar() -> None:
    from dateutil.relativedelta import relativedelta

    month = DeltaTriggerTimetable(relativedelta(months=1))
    assert last_complete_period(month, utc(2026, 3, 31)) == (utc(2026, 2, 28), utc(2026, 3, 31))


def test_a_partition_of_what_is_no_cron_opens_no_period() -> None:
    assert period_starting_at(NullTimetable(), datetime(2026, 1, 1, tzinfo=UTC)) is None
