"""
Which interval a run exports.

First the decision, which is pure. Then what Airflow knows about a run, computed by Airflow's own timetables; every
difference between its versions is here and nowhere else.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import islice, pairwise, takewhile
from typing import TYPE_CHECKING, Any, Final

from airflow_provider_crux.api.orders import describe, whole_second
from airflow_provider_crux.api.redaction import excerpt
from airflow_provider_crux.exceptions import CruxIntervalError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from airflow.timetables.base import Timetable

Period = tuple[datetime, datetime]
"""Start and end of a stretch of time, each with a time zone."""


@dataclass(frozen=True)
class Interval:
    """
    The interval to export, in UTC, both ends truncated to the second.

    :param start: its first instant.
    :param end: its end, always after ``start``.
    :raises CruxIntervalError: if it is empty or reversed.
    """

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        object.__setattr__(self, "start", truncate_instant("interval_start", self.start))
        object.__setattr__(self, "end", truncate_instant("interval_end", self.end))
        if self.end > self.start:
            return
        problem = "is empty" if self.end == self.start else "is reversed"
        raise CruxIntervalError(
            f"The interval from interval_start {self.start.isoformat()} to interval_end {self.end.isoformat()} "
            f"{problem}, in whole seconds; use an interval_end after the interval_start"
        )


@dataclass(frozen=True, kw_only=True)
class Run:
    """
    What Airflow knows about a run.

    :param period: the run's own period: its data interval, if it has length; else the period of its partition; else the
        schedule's last complete period that ended by ``reference``; ``None`` if there is none of these.
    :param reference: the end of the interval, if given; else the end of the data interval; else the instant from which
        the run may start; else now.
    :param schedule: the schedule as a person names it, for error messages.
    """

    period: Period | None
    reference: datetime
    schedule: str


def parse_instant(name: str, value: object) -> datetime:
    """
    Read an instant that a user gave.

    :param name: the argument, for error messages.
    :param value: ISO 8601 text (``2026-01-02``, ``2026-01-02T06:00:00Z``, ``2026-01-02 06:00:00+01:00``), a datetime, a
        date, or eight digits as text or number (``20260102``). Without a time zone it is UTC.
    :raises CruxIntervalError: for anything else; the message names argument, value and remedy.
    """
    moment: object = value
    if isinstance(value, int) and 10_000_000 <= value <= 99_999_999:
        value = str(value)  # a rendered {{ ds_nodash }} arrives as a number with render_template_as_native_obj
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value.strip())
        except ValueError:
            moment = None
    elif isinstance(value, date) and not isinstance(value, datetime):
        moment = datetime(value.year, value.month, value.day, tzinfo=UTC)
    if not isinstance(moment, datetime):
        raise CruxIntervalError(
            f"{name}: {describe(value)} is not an instant; use a datetime, or text such as "
            "2026-01-02T06:00:00Z (UTC without a time zone)"
        )
    return moment if moment.utcoffset() is not None else moment.replace(tzinfo=UTC)


def truncate_instant(name: str, moment: datetime) -> datetime:
    """
    Return an instant in UTC, truncated to the second.

    :param name: the argument, for error messages.
    :param moment: with a time zone.
    :raises CruxIntervalError: if it is outside the years 1 to 9999 in UTC.
    """
    try:
        return whole_second(moment)
    except OverflowError:
        raise CruxIntervalError(
            f"{name}: {moment.isoformat()} is outside the years 1 to 9999 in UTC; use an instant within"
        ) from None


def export_interval(
    run: Run,
    *,
    interval_start: datetime | None = None,
    interval_end: datetime | None = None,
    lookback: timedelta | None = None,
) -> Interval:
    """
    Decide which interval a run exports.

    The end is ``interval_end``; else the end of the run's own period; else, with ``lookback``, the reference instant.
    The start is ``interval_start``; else, with ``lookback``, that long before the end; else the start of the same
    period.

    :param run: what Airflow knows about it.
    :param interval_start: ``None`` if it is not given.
    :param interval_end: likewise.
    :param lookback: length of the interval; ``None`` for that of the run's own period.
    :raises CruxIntervalError: if there is no interval, or an empty or reversed one.
    """
    if interval_start is not None and interval_end is not None:
        return Interval(interval_start, interval_end)
    if run.period is None and lookback is None:
        raise CruxIntervalError(
            f"There is no interval to export: this run has no data interval with length, and its schedule "
            f"({run.schedule}) has no period of its own. Set interval_start and interval_end, or lookback, for example "
            "timedelta(days=1), or use a schedule with data intervals, for example CronDataIntervalTimetable"
        )
    start, end = run.period or (run.reference, run.reference)
    end = interval_end or end
    if lookback is not None:
        try:
            start = end - lookback
        except OverflowError:
            raise CruxIntervalError(
                f"lookback: {lookback} before {end.isoformat()} is outside the years 1 to 9999; use a shorter one"
            ) from None
    return Interval(interval_start or start, end)


def _with_length(period: Period | None) -> Period | None:
    return period if period is not None and period[0] < period[1] else None


# From here on: Airflow.

_ASSET_RUN_TYPES: Final = ("asset_triggered", "dataset_triggered")
# by name, because they are two classes in Airflow 3, and have another name in Airflow 2
_ASSET_OR_TIME: Final = ("AssetOrTimeSchedule", "DatasetOrTimeSchedule")

# A period of any cron ends within this time: 29 February on a given weekday can be 40 years apart.
_MAX_SEARCH: Final = timedelta(days=100 * 366)


def interval_from_context(
    context: Mapping[str, Any],
    *,
    interval_start: datetime | None = None,
    interval_end: datetime | None = None,
    lookback: timedelta | None = None,
) -> Interval:
    """
    Return the interval that a task exports; see :func:`export_interval`.

    :param context: the task's context. It is not read if both ends are given.
    """
    if interval_start is not None and interval_end is not None:
        return Interval(interval_start, interval_end)
    run = run_from_context(context, reference=interval_end)
    return export_interval(run, interval_start=interval_start, interval_end=interval_end, lookback=lookback)


def run_from_context(context: Mapping[str, Any], *, reference: datetime | None = None) -> Run:
    """
    Gather what Airflow knows about the run of a task.

    :param context: the task's context. It lacks the keys of the data interval if the run has none.
    :param reference: the reference instant, if it is given.
    """
    end = context.get("data_interval_end")
    # Airflow 2.11 has no run_after; there every run has a data interval
    reference = reference or end or getattr(context["dag_run"], "run_after", None) or datetime.now(UTC)
    timetable = context["dag"].timetable
    schedule = schedule_name(timetable)
    try:
        period = _own_period(context, timetable, reference)
    except NotImplementedError:  # Airflow's word for a timetable whose manual runs have no data interval
        period = None
    except Exception as error:
        # of whatever kind: a timetable may be anybody's, and Airflow's own raise where the clocks change
        raise CruxIntervalError(
            f"The schedule ({schedule}) gives no period that ends by {reference.isoformat()}: {type(error).__name__}: "
            f"{excerpt(str(error))}. Set interval_start and interval_end"
        ) from error
    return Run(period=period, reference=reference, schedule=schedule)


def _own_period(context: Mapping[str, Any], timetable: Any, reference: datetime) -> Period | None:
    dag_run = context["dag_run"]
    start, end = context.get("data_interval_start"), context.get("data_interval_end")
    if start and end and start < end:
        return start, end
    partition_date = context.get("partition_date")
    if partition_date and (period := period_starting_at(timetable, partition_date)) is not None:
        return period
    # The clock says nothing about a run that an asset triggered, or about one for a partition of another time
    # (Airflow 3.2 gives a task the partition's key, but not its date).
    if _run_type(dag_run) in _ASSET_RUN_TYPES or getattr(dag_run, "partition_key", None):
        return None
    return last_complete_period(timetable, reference)


def _run_type(dag_run: Any) -> str:
    run_type = getattr(dag_run, "run_type", "")
    return str(getattr(run_type, "value", run_type))


def schedule_name(timetable: Any) -> str:
    """Return how a person names a schedule: the kind of timetable, and its summary if it has one."""
    summary = getattr(timetable, "summary", None) or getattr(timetable, "expression", None)
    name = type(timetable).__name__
    return f"{name} {summary}" if summary and summary != name else name


def last_complete_period(timetable: Any, moment: datetime) -> Period | None:
    """
    Return the last complete period of a schedule that ended at or before an instant.

    For crons: the data interval of the last run due by then or, if such runs have no data interval with length, the
    time since the run before it. For a time difference: that difference before the instant. For any other timetable:
    the data interval it gives a manual run.

    :param timetable: of the DAG, or as the DAG's file wrote it.
    :param moment: with a time zone.
    :return: ``None`` if the schedule has no periods.
    """
    from airflow.timetables.interval import DeltaDataIntervalTimetable
    from airflow.timetables.trigger import DeltaTriggerTimetable

    at = _pendulum(moment)
    core = _core_timetable(timetable)
    if _is_cron(core):
        return _last_complete_cron_period(core, at)
    period = core.infer_manual_data_interval(run_after=at)
    if period.start == period.end and isinstance(core, DeltaTriggerTimetable):
        # its runs have no data interval, but the same rhythm as those of the timetable that has
        period = DeltaDataIntervalTimetable.deserialize(core.serialize()).infer_manual_data_interval(run_after=at)
    return _with_length((period.start, period.end))


def period_starting_at(timetable: Any, moment: datetime) -> Period | None:
    """
    Return the period of a cron schedule that begins at an instant, such as a partition date.

    :return: ``None`` if the schedule is no cron.
    """
    core = _core_timetable(timetable)
    if not _is_cron(core):
        return None
    return moment, next(_cron_runs(core, _pendulum(moment)))[1]


def _pendulum(moment: datetime) -> Any:
    import pendulum

    return pendulum.instance(moment).in_timezone("UTC")


def _core_timetable(timetable: Any) -> Timetable:
    """Return the timetable as the scheduler knows it; of Airflow's own that follows assets or time, the time's."""
    from airflow.timetables.base import Timetable

    is_asset_or_time = type(timetable).__name__ in _ASSET_OR_TIME and type(timetable).__module__.startswith("airflow.")
    time_side = timetable.timetable if is_asset_or_time else timetable
    if isinstance(time_side, Timetable):
        return time_side
    # From Airflow 3.2 on a DAG's file, and so a task, has the SDK's description of a timetable.
    from airflow.serialization.decoders import decode_timetable
    from airflow.serialization.encoders import encode_timetable

    core: Timetable = decode_timetable(encode_timetable(time_side))
    return core


def _is_cron(core: Timetable) -> bool:
    from airflow.timetables import trigger
    from airflow.timetables.interval import CronDataIntervalTimetable

    # 2.11 has no timetable of several crons
    multiple = getattr(trigger, "MultipleCronTriggerTimetable", trigger.CronTriggerTimetable)
    return isinstance(core, CronDataIntervalTimetable | trigger.CronTriggerTimetable | multiple)


def _cron_runs(core: Timetable, after: Any) -> Iterator[Period]:
    """Yield the data intervals of the runs that a scheduler creates after an instant, in order."""
    from airflow.timetables.base import DataInterval, TimeRestriction

    unrestricted = TimeRestriction(earliest=None, latest=None, catchup=True)
    last = DataInterval.exact(after)
    while (  # pragma: no branch - a cron always has a next run; the types do not know
        run := core.next_dagrun_info(last_automated_data_interval=last, restriction=unrestricted)
    ) is not None and run.data_interval is not None:
        if run.data_interval.end <= last.end:  # pragma: no cover - at some changes of the clocks, on Airflow 2
            # it would go back and forth forever
            raise ValueError(f"its runs do not advance past {last.end.isoformat()}")
        last = run.data_interval
        yield last.start, last.end


def _last_complete_cron_period(core: Timetable, at: Any) -> Period | None:
    # Forward from ever further back, as the scheduler goes: when the clocks change, the previous time of a cron can be
    # the very same instant, or a later one. The first run after an instant that is not the schedule's own can be an
    # hour off, so it is skipped.
    back = timedelta(minutes=1)
    while back < _MAX_SEARCH:
        due = takewhile(lambda period: period[1] <= at, _cron_runs(core, at - back))
        for previous, last in deque(pairwise(islice(due, 1, None)), maxlen=1):
            return last if last[0] < last[1] else (previous[1], last[1])
        back *= 2
    return None  # pragma: no cover - Airflow runs no cron that is due less than twice in a century
