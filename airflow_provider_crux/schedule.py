"""
What Airflow knows of a run's time: its interval, its partition, and the periods of its schedule.

The arithmetic is Airflow's own, through the public methods of its timetables. What differs from version to version
of Airflow stands here and nowhere else.
"""

from __future__ import annotations

from collections import deque
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise, takewhile
from typing import TYPE_CHECKING, Any, Final

from airflow_provider_crux.window import Period, Run

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from airflow.timetables.base import Timetable

_TRIGGERED_BY_ASSET: Final = ("asset_triggered", "dataset_triggered")

# A period of any cron ends within this of its beginning: 29 February on a given weekday can be 40 years apart.
_LONGEST_SEARCH: Final = timedelta(days=100 * 366)


def run_of(context: Mapping[str, Any]) -> Run:
    """
    Gather what Airflow knows of the run that a task belongs to.

    :param context: the task's context. Its keys for the data interval are missing where the run has none.
    """
    dag_run = context["dag_run"]
    timetable = context["dag"].timetable
    start, end = context.get("data_interval_start"), context.get("data_interval_end")
    # Airflow 2.11 has no run_after; there every run has a data interval
    reference = end or getattr(dag_run, "run_after", None) or datetime.now(UTC)
    partition_date = context.get("partition_date")
    # A clock says nothing of a run that an asset triggered, nor of one that stands for a partition of another time
    # (Airflow 3.2 tells a task the partition's key, but not its date).
    has_clock = _run_type(dag_run) not in _TRIGGERED_BY_ASSET and not getattr(dag_run, "partition_key", None)
    return Run(
        data_interval=(start, end) if start and end else None,
        partition=period_from(timetable, partition_date) if partition_date else None,
        reference=reference,
        last_period=lambda moment: last_period(timetable, moment) if has_clock else None,
        schedule=schedule_name(timetable),
    )


def _run_type(dag_run: Any) -> str:
    run_type = getattr(dag_run, "run_type", "")
    return str(getattr(run_type, "value", run_type))


def schedule_name(timetable: Any) -> str:
    """Return how a person would name a schedule: kind of timetable, and its summary where it has one."""
    summary = getattr(timetable, "summary", None) or getattr(timetable, "expression", None)
    name = type(timetable).__name__
    return f"{name} {summary}" if summary and summary != name else name


def last_period(timetable: Any, moment: datetime) -> Period | None:
    """
    Return the last whole period of a schedule that ended at or before an instant.

    For crons: the data interval of the last run due by then, or, where such runs have none of any length, the time
    from the run before it. For a time difference: that difference before the instant. For any other timetable: what
    it gives a manual run as its data interval.

    :param timetable: of the DAG, or as the DAG's file wrote it.
    :param moment: with a time zone.
    :returns: ``None`` where the schedule has no periods.
    """
    from airflow.timetables.interval import DeltaDataIntervalTimetable
    from airflow.timetables.trigger import DeltaTriggerTimetable

    at = _pendulum(moment)
    core = _time_side(timetable)
    if _is_cron(core):
        return _last_cron_period(core, at)
    period = core.infer_manual_data_interval(run_after=at)
    if period.start == period.end and isinstance(core, DeltaTriggerTimetable):
        # its runs carry no interval, but its rhythm is that of the timetable whose runs do
        period = DeltaDataIntervalTimetable.deserialize(core.serialize()).infer_manual_data_interval(run_after=at)
    return (period.start, period.end) if period.start < period.end else None


def period_from(timetable: Any, moment: datetime) -> Period | None:
    """
    Return the period of a cron schedule that begins at an instant, such as a partition date.

    :returns: ``None`` where the schedule is no cron.
    """
    core = _time_side(timetable)
    if not _is_cron(core):
        return None
    return moment, next(_cron_runs(core, _pendulum(moment)))[1]


def _pendulum(moment: datetime) -> Any:
    import pendulum

    return pendulum.instance(moment).in_timezone("UTC")


def _time_side(timetable: Any) -> Timetable:
    """Return the timetable as the scheduler knows it, and of one that goes by assets or time, the time."""
    from airflow.timetables.base import Timetable

    time_side = getattr(timetable, "timetable", timetable)
    if isinstance(time_side, Timetable):
        return time_side
    # From Airflow 3.2 on a DAG's file, and so a task, holds the SDK's description of a timetable.
    from airflow.serialization.decoders import decode_timetable
    from airflow.serialization.encoders import encode_timetable

    core: Timetable = decode_timetable(encode_timetable(time_side))
    return core


def _is_cron(core: Timetable) -> bool:
    from airflow.timetables import trigger
    from airflow.timetables.interval import CronDataIntervalTimetable

    # 2.11 has no timetable of several crons
    several = getattr(trigger, "MultipleCronTriggerTimetable", trigger.CronTriggerTimetable)
    return isinstance(core, CronDataIntervalTimetable | trigger.CronTriggerTimetable | several)


def _cron_runs(core: Timetable, after: Any) -> Iterator[Period]:
    """Yield the data intervals of the runs that a scheduler makes after an instant, in their order."""
    from airflow.timetables.base import DataInterval, TimeRestriction

    every_one = TimeRestriction(earliest=None, latest=None, catchup=True)
    last = DataInterval.exact(after)
    while (  # pragma: no branch - a cron has always a next run; the types allow none
        run := core.next_dagrun_info(last_automated_data_interval=last, restriction=every_one)
    ) is not None and run.data_interval is not None:
        last = run.data_interval
        yield last.start, last.end


def _last_cron_period(core: Timetable, at: Any) -> Period | None:
    # Forward from ever further back, as the scheduler goes: around a change of the clocks, asking a cron for its
    # previous time can give the very same instant, or a later one. The first run after an instant that is none of
    # the schedule's own can be an hour off, so it is passed over.
    back = timedelta(minutes=1)
    while back < _LONGEST_SEARCH:
        due = takewhile(lambda period: period[1] <= at, _cron_runs(core, at - back))
        for before, last in deque(pairwise(islice(due, 1, None)), maxlen=1):
            return last if last[0] < last[1] else (before[1], last[1])
        back *= 2
    return None  # pragma: no cover - a cron that is due less than twice in a century is none that Airflow runs
