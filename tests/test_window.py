from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pendulum
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from airflow_provider_crux.exceptions import CruxIntervalError
from airflow_provider_crux.interval import Interval, Run, instant, resolve


def at(day: int, hour: int = 0) -> datetime:
    return datetime(2026, 1, day, hour, tzinfo=UTC)


def run(**facts) -> Run:
    """Give a run that knows nothing but that it stands at noon of the tenth."""
    nothing = {
        "data_interval": None,
        "partition": None,
        "reference": at(10, 12),
        "last_complete_period": lambda moment: None,
        "schedule": "NullTimetable",
    }
    return Run(**{**nothing, **facts})


def period_before(moment: datetime):
    """Give the days of a daily schedule."""
    end = moment.replace(hour=0)
    return end - timedelta(days=1), end


DAILY = {"last_complete_period": period_before}


@pytest.mark.parametrize(
    ("facts", "given_ends", "start", "end"),
    [
        ({"data_interval": (at(3), at(4))}, {}, at(3), at(4)),
        ({"data_interval": (at(3), at(4))}, {"lookback": timedelta(hours=1)}, at(3), at(4)),
        ({"data_interval": (at(3), at(3)), "partition": (at(5), at(6)), **DAILY}, {}, at(5), at(6)),
        ({**DAILY}, {"lookback": timedelta(hours=6)}, at(10, 6), at(10, 12)),
        ({**DAILY}, {}, at(9), at(10)),
        ({"data_interval": (at(3), at(3)), "reference": at(3), **DAILY}, {}, at(2), at(3)),
        # each end that is given wins
        ({"data_interval": (at(3), at(4))}, {"interval_start": at(1)}, at(1), at(4)),
        ({"data_interval": (at(3), at(4))}, {"interval_end": at(7)}, at(3), at(7)),
        ({}, {"interval_start": at(1), "interval_end": at(2)}, at(1), at(2)),
        ({**DAILY}, {"interval_start": at(1)}, at(1), at(10)),
        # a given end is the instant that lookback and the schedule count from
        ({**DAILY}, {"interval_end": at(5, 6)}, at(4), at(5, 6)),
        ({}, {"interval_end": at(5), "lookback": timedelta(days=2)}, at(3), at(5)),
    ],
)
def test_which_interval_a_run_exports(facts, given_ends, start, end) -> None:
    assert resolve(run(**facts), **given_ends) == Interval(start, end)


@pytest.mark.parametrize("given_ends", [{}, {"interval_start": at(1)}, {"interval_end": at(1)}])
def test_no_interval_names_the_schedule_and_the_three_remedies(given_ends) -> None:
    with pytest.raises(CruxIntervalError) as caught:
        resolve(run(schedule="NullTimetable Never"), **given_ends)
    for named in ("NullTimetable Never", "interval_start and interval_end", "lookback", "CronDataIntervalTimetable"):
        assert named in str(caught.value)


@pytest.mark.parametrize(("end", "told"), [(at(2), "no length"), (at(1), "reversed")])
def test_an_empty_or_reversed_interval_is_refused_with_both_ends(end, told) -> None:
    with pytest.raises(CruxIntervalError, match=told) as caught:
        resolve(run(), interval_start=at(2), interval_end=end)
    assert at(2).isoformat() in str(caught.value)


def test_an_interval_within_one_second_is_empty() -> None:
    with pytest.raises(CruxIntervalError, match="no length"):
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
    ],
)
def test_an_instant_is_read_in_every_form_that_airflow_gives_it(value, moment) -> None:
    assert instant("interval_start", value) == moment


@pytest.mark.parametrize("value", ["yesterday", "10:30", "2026-13-01", "", 20260102, 1.5, timedelta(1), object(), []])
def test_what_is_no_instant_is_told_with_argument_value_and_remedy(value) -> None:
    with pytest.raises(CruxIntervalError) as caught:
        instant("interval_end", value)
    assert str(caught.value).startswith("interval_end:")
    assert repr(value) in str(caught.value)
    assert "2026-01-02T06:00:00Z" in str(caught.value)


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00"])
def test_an_instant_that_utc_does_not_have_is_told(text: str) -> None:
    with pytest.raises(CruxIntervalError, match="outside the years"):
        Interval(instant("interval_start", text), at(1))


zoned = st.datetimes(min_value=datetime(1900, 1, 1), max_value=datetime(2200, 1, 1), timezones=st.timezones())


@given(zoned, zoned, zoned)
def test_intervals_that_adjoin_still_adjoin_when_they_are_cut(one, two, three) -> None:
    first, middle, last = sorted(moment.astimezone(UTC) for moment in (one, two, three))
    assume(middle - first >= timedelta(seconds=1) and last - middle >= timedelta(seconds=1))
    before, after = Interval(first, middle), Interval(middle, last)
    assert before.end == after.start
    assert before.start.tzinfo is UTC
    assert before.start.microsecond == before.end.microsecond == 0


@given(zoned)
def test_every_instant_survives_being_written_and_read(moment) -> None:
    # in UTC: Python calls no two instants of different zones equal where the clocks change
    assert instant("interval_start", moment.isoformat()).astimezone(UTC) == moment.astimezone(UTC)
