"""
Which stretch of time a run exports: pure decisions on instants.

What Airflow knows of a run, and its arithmetic on schedules, is read in :mod:`airflow_provider_crux.schedule`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from airflow_provider_crux.api.orders import whole_second
from airflow_provider_crux.exceptions import CruxIntervalError

Period = tuple[datetime, datetime]
"""Start and end of a stretch of time, each with a time zone."""


@dataclass(frozen=True)
class Interval:
    """
    The stretch of time to export, in UTC, both ends cut to the second.

    :param start: its first instant.
    :param end: its end, always after ``start``.
    :raises CruxIntervalError: where it would be empty or reversed.
    """

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        object.__setattr__(self, "start", _cut("interval_start", self.start))
        object.__setattr__(self, "end", _cut("interval_end", self.end))
        if self.end > self.start:
            return
        kind = "has no length" if self.end == self.start else "is reversed"
        raise CruxIntervalError(
            f"The interval from interval_start {self.start.isoformat()} to interval_end {self.end.isoformat()} "
            f"{kind}, in whole seconds; give an interval_end after the interval_start"
        )


@dataclass(frozen=True, kw_only=True)
class Run:
    """
    What Airflow knows of a run.

    :param data_interval: the run's data interval, ``None`` where it has none.
    :param partition: the period that the run's partition date opens, ``None`` for a run without one.
    :param reference: the instant that the run stands at: end of its data interval, else the instant from which it
        may start, else the present.
    :param last_period: gives the schedule's own last whole period that ended by an instant, ``None`` where the
        schedule has no such thing.
    :param schedule: the schedule as a person would name it, for error messages.
    """

    data_interval: Period | None
    partition: Period | None
    reference: datetime
    last_period: Callable[[datetime], Period | None]
    schedule: str


def instant(name: str, value: object) -> datetime:
    """
    Read an instant that a user gave.

    :param name: the argument, for error messages.
    :param value: ISO 8601 text (``2026-01-02``, ``2026-01-02T06:00:00Z``, ``2026-01-02 06:00:00+01:00``), a datetime or
        a date. What has no time zone is UTC.
    :raises CruxIntervalError: for anything else; the message names argument, value and remedy.
    """
    moment: object = value
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value.strip())
        except ValueError:
            moment = None
    elif isinstance(value, date) and not isinstance(value, datetime):
        moment = datetime(value.year, value.month, value.day, tzinfo=UTC)
    if not isinstance(moment, datetime):
        raise CruxIntervalError(
            f"{name}: {type(value).__name__} {value!r} is not an instant; give a datetime, or text such as "
            "2026-01-02T06:00:00Z (UTC where no time zone is named)"
        )
    return moment if moment.utcoffset() is not None else moment.replace(tzinfo=UTC)


def _cut(name: str, moment: datetime) -> datetime:
    try:
        return whole_second(moment)
    except OverflowError:
        raise CruxIntervalError(
            f"{name}: {moment.isoformat()} is outside the years 1 to 9999 in UTC; give an instant within"
        ) from None


def resolve(
    run: Run,
    *,
    interval_start: datetime | None = None,
    interval_end: datetime | None = None,
    lookback: timedelta | None = None,
) -> Interval:
    """
    Decide which stretch of time a run exports.

    Each end that is given wins. What is not given comes from the first of these that there is: the run's data
    interval, if it has length; the period that its partition date opens; ``lookback`` before the run's reference
    instant; the schedule's own last whole period that ended by that instant. A given ``interval_end`` is itself the
    reference instant.

    :param run: what Airflow knows of it.
    :param interval_start: ``None`` where it is not given.
    :param interval_end: likewise.
    :param lookback: how far before the reference instant a run without an interval of its own begins.
    :raises CruxIntervalError: where no interval is found, or an empty or reversed one.
    """
    if interval_start is not None and interval_end is not None:
        return Interval(interval_start, interval_end)
    start, end = _of_run(run, interval_end or run.reference, lookback)
    return Interval(interval_start or start, interval_end or end)


def _of_run(run: Run, reference: datetime, lookback: timedelta | None) -> Period:
    if run.data_interval is not None and run.data_interval[0] < run.data_interval[1]:
        return run.data_interval
    if run.partition is not None:
        return run.partition
    if lookback is not None:
        return reference - lookback, reference
    if (period := run.last_period(reference)) is not None:
        return period
    raise CruxIntervalError(
        f"There is no interval to export: this run has no data interval of any length, and the schedule "
        f"({run.schedule}) has no period of its own. Give interval_start and interval_end; or give lookback, for "
        "example timedelta(days=1); or choose a schedule with data intervals, for example "
        "CronDataIntervalTimetable"
    )
